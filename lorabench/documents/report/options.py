"""Options of ``lorabench report``."""

from dataclasses import dataclass
from pathlib import Path

from lorabench.bench.options import INPUT, OUTPUT, option, shares
from lorabench.errors import InputError


@dataclass(frozen=True)
class ReportOptions:
    """What is reported."""

    results: tuple[Path, ...] = option(
        (),
        "Result documents, or one folder of them; by default the newest in results/.",
        "RESULT",
        metavar="RESULT",
        panel=INPUT,
    )
    percentiles: tuple[float, ...] = option(
        (50.0, 95.0, 99.0, 99.9),
        "Percentiles of the latency distribution.",
        metavar="Q[,Q]...",
        parse=shares,
        above=0,
        below=100,
    )

    def check(self) -> None:
        """Refuse no percentiles, and more than a plot has room for.

        Raises
        ------
        InputError
            Naming them.
        """
        if not 1 <= len(self.percentiles) <= 12:
            raise InputError(f"--percentiles: found {len(self.percentiles)}, expected 1 to 12")


@dataclass(frozen=True)
class ReportOutput:
    """In which format, and where to."""

    output: Path | None = option(
        None,
        "File to write, a folder for png; by default html beside the result, md and csv on stdout.",
        "--output",
        "-o",
        metavar="PATH",
        panel=OUTPUT,
    )
    format: str = option(
        "html",
        "A page, Markdown to paste, its plots as images, or the numbers.",
        choices=("html", "md", "png", "csv"),
        panel=OUTPUT,
    )
    interactive: bool = option(
        False, "Add Vega to the page: values under the pointer.", panel=OUTPUT
    )

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises
        ------
        InputError
            Naming them.
        """
        if self.interactive and self.format != "html":
            raise InputError(
                f"--interactive: found it beside --format {self.format}, expected html"
            )
        if self.format == "png" and self.output is None:
            raise InputError("--format: found png without -o, expected a folder for the images")
        if self.format == "png" and self.output is not None and self.output.suffix == ".png":
            raise InputError(
                f"--output: found {self.output} for png, expected a folder: each plot is an image"
            )
