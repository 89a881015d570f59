"""Old name of what a process is known by, until those who use it have moved on."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Process:
    """A process that a run has started."""

    pid: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Name it."""
        return cls(pid)
