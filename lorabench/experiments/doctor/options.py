"""Options of ``lorabench doctor``."""

from dataclasses import dataclass
from pathlib import Path

from lorabench.bench.options import INPUT, option
from lorabench.errors import InputError


@dataclass(frozen=True)
class DoctorOptions:
    """What to examine, or to clean up."""

    sysroot: Path | None = option(
        None,
        "Examine a recorded machine: the folder with its proc and sys.",
        metavar="DIR",
        shown="this machine",
        panel=INPUT,
    )
    cleanup: bool = option(False, "Undo what a killed run has left changed, and list it.")

    def check(self) -> None:
        """Refuse to clean up another machine.

        Raises
        ------
        InputError
            Both were asked for.
        """
        if self.cleanup and self.sysroot is not None:
            raise InputError("--sysroot: found it beside --cleanup, expected one or the other")
