"""What runs on a host that makes a load for a bench: such a host is not in production."""

import os
from contextlib import suppress
from pathlib import Path

# Names under which load generators run; a host that runs one is not in production.
_GENERATORS = frozenset(
    [
        *("fio", "hey", "iperf", "iperf3", "k6", "memtier_benchmark", "stress", "stress-ng"),
        *("sysbench", "vegeta", "wrk", "wrk2"),
    ]
)


def bench_load(proc: Path = Path("/proc")) -> tuple[str, ...]:
    """Return what runs here that makes a load for a bench: runs of this program, load generators.

    What this user must not see, or what runs on another machine, is not found.

    Returns
    -------
    tuple of str
        A name and a process number each.
    """
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdecimal() or entry.name == str(os.getpid()):
            continue
        with suppress(OSError):
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if what := _makes_load(arguments):
                found.append(f"{what} (process {entry.name})")
    return tuple(sorted(found))


def _makes_load(arguments: list[str]) -> str | None:
    """Return what a command line is, if it makes load; None if it does not."""
    names = [Path(word).name for word in arguments[:3]]
    if names and names[0] in _GENERATORS:
        return names[0]
    if any("lorabench.targets.node.worker" in word for word in arguments[:3]):
        return "a server or trainer of lorabench"
    for place, name in enumerate(names):
        # Watching is no load.
        if name == "lorabench" and not {"headroom", "doctor"} & set(arguments[place + 1 :]):
            return "lorabench"
    return None
