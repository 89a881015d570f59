"""Control groups with a CPU quota, made for real: of version 1, on a machine that this is root of.

Those of version 2 are tried in the guest (`quota_guest.py`).
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

MOUNTS = Path("/sys/fs/cgroup")
# What counts CPU time may be mounted with what limits it, or beside it.
HIERARCHIES = ("cpu", "cpuacct")

# Of a contended CPU; anybody else has 1,024.
_MOST_SHARES = 1 << 18

# Puts itself into the groups that are named before a "--", then becomes what follows.
_JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@"'


def lacking() -> str | None:
    """Say what is lacking for a group of version 1; None where nothing is."""
    if not (MOUNTS / "cpu/cpu.cfs_quota_us").parent.is_dir():
        return "no control groups of version 1 with the controller cpu are mounted"
    if not os.access(MOUNTS / "cpu", os.W_OK):
        return "making control groups takes root"
    return None


@contextmanager
def quota_group(cpus: float, *, below: str = "") -> Iterator[str]:
    """Make a group that is allowed so many CPUs, and a group in it if `below` is a name.

    Yields the inner one's path below the mounts.
    """
    if (why := lacking()) is not None:
        pytest.skip(why)
    name = f"quota-of-test-{os.getpid()}"
    paths = [name, f"{name}/{below}"] if below else [name]
    folders = [MOUNTS / each / path for each in HIERARCHIES for path in paths]
    try:
        for folder in folders:
            folder.mkdir()
        (MOUNTS / "cpu" / name / "cpu.cfs_quota_us").write_text(f"{round(cpus * 100_000)}\n")
        # Among many other tasks it would never get what it is allowed, and so not be stopped.
        (MOUNTS / "cpu" / name / "cpu.shares").write_text(f"{_MOST_SHARES}\n")
        yield paths[-1]
    finally:
        for folder in reversed(folders):
            if folder.is_dir():
                folder.rmdir()


def joined(path: str, command: Sequence[object]) -> list[str]:
    """Return the command that runs another one in a group."""
    groups = [str(MOUNTS / each / path) for each in HIERARCHIES]
    return ["sh", "-c", _JOIN, "join", *groups, "--", *map(str, command)]
