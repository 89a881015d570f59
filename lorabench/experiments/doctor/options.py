"""Options of ``lorabench doctor``."""

from dataclasses import dataclass
from pathlib import Path

from lorabench.bench.command import Output
from lorabench.bench.options import INPUT, OUTPUT, again, option
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


@dataclass(frozen=True)
class DoctorOutput:
    """Where what was found goes; it makes no claim, so that nothing can be missed."""

    output: str | None = option(
        None,
        "Result document; without it none is written.",
        "--output",
        "-o",
        metavar="FILE",
        panel=OUTPUT,
    )
    as_json: bool = again(Output, "as_json", default=False)
    quiet: bool = again(Output, "quiet", default=False)
    verbose: bool = again(Output, "verbose", default=False)
