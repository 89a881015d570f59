"""Whose a thing is that a run makes on the machine: its name or its environment says so.

A folder that a run makes in a kernel file system is named ``lorabench-PID-START-ROLE``, and every
process that it starts has ``LORABENCH_OWNER=PID-START`` in its environment. A pid and the time at
which that process started name it for good, so that anybody can tell whether the owner still runs:
anybody for whom pids mean the same, and who is not told apart (``LORABENCH_RUN_DIR``).
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lorabench.host.processes import start_time

PREFIX = "lorabench-"
"""What the name of every folder begins with that lorabench makes in a kernel file system."""
VARIABLE = "LORABENCH_OWNER"
"""What tells in the environment of a process which run has started it."""
RUN_DIR = "LORABENCH_RUN_DIR"
"""What tells runs apart that cannot measure each other: containers with their own cores, tests."""

# Inode of the machine's own namespace of pids (the kernel's PROC_PID_INIT_INO).
_MACHINES_OWN = 0xEFFFFFFC

_TOKEN = re.compile(r"([1-9][0-9]{0,9})-([0-9]{1,20})(?:@([0-9a-f]{8}))?")
_NAME = re.compile(f"{PREFIX}({_TOKEN.pattern})-(.+)")


@dataclass(frozen=True, order=True)
class Owner:
    """A run.

    Attributes
    ----------
    pid, start : int
        Its process, and when that started (`lorabench.host.processes.start_time`).
    domain : str
        Who can tell whether it runs (`domain`); empty for the whole machine.
    """

    pid: int
    start: int
    domain: str = ""

    @classmethod
    def this(cls) -> Self:
        """Return this process."""
        start = start_time(os.getpid())
        assert start is not None  # it runs
        return cls(os.getpid(), start, domain())

    @classmethod
    def parse(cls, token: str) -> Self | None:
        """Read what `token` writes; None where it is something else."""
        found = _TOKEN.fullmatch(token)
        return cls(int(found[1]), int(found[2]), found[3] or "") if found else None

    @property
    def token(self) -> str:
        """``PID-START``; where not the whole machine can tell, ``PID-START@DOMAIN``."""
        return f"{self.pid}-{self.start}" + (f"@{self.domain}" if self.domain else "")

    def name(self, role: str) -> str:
        """Return the name of a folder of this run: ``lorabench-PID-START-serving``."""
        return f"{PREFIX}{self.token}-{role}"

    @property
    def gone(self) -> bool:
        """Whether it has ended, as far as that can be told from here."""
        return self.domain == domain() and start_time(self.pid) != self.start


def read_name(name: str) -> tuple[Owner, str] | None:
    """Read owner and role from a folder's name; None where it is none of ours.

    Examples
    --------
    >>> read_name("lorabench-12-345-trainer")
    (Owner(pid=12, start=345, domain=''), 'trainer')
    """
    found = _NAME.fullmatch(name)
    owner = Owner.parse(found[1]) if found else None
    return None if found is None or owner is None else (owner, found[5])


def domain() -> str:
    """Return a word for those among whom a pid names a run; empty for the whole machine.

    A container's pids mean other processes outside; and runs with another ``LORABENCH_RUN_DIR``
    keep to themselves.
    """
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:  # a kernel without them
        namespace = _MACHINES_OWN
    apart = run_domain()
    if namespace == _MACHINES_OWN:
        return apart
    return hashlib.sha256(f"{namespace} {apart}".encode()).hexdigest()[:8]


def run_domain() -> str:
    """Return a word for ``LORABENCH_RUN_DIR``; empty without it."""
    given = os.environ.get(RUN_DIR)
    return hashlib.sha256(os.path.realpath(given).encode()).hexdigest()[:8] if given else ""
