"""Options of ``lorabench export``."""

from dataclasses import dataclass
from pathlib import Path

from lorabench.bench.options import INPUT, OUTPUT, option
from lorabench.errors import InputError

FORMATS = ("pyperf", "hlog", "openmetrics")


@dataclass(frozen=True)
class ExportOptions:
    """What is written, and as what."""

    results: tuple[Path, ...] = option(
        (),
        "Result documents; by default the newest in results/.",
        "RESULT",
        metavar="RESULT",
        panel=INPUT,
    )
    pyperf: str | None = option(
        None,
        "Write every metric in seconds as a benchmark of pyperf's.",
        metavar="FILE",
        panel=OUTPUT,
    )
    hlog: str | None = option(
        None,
        "Write latencies as a log of HdrHistogram's: a histogram of each block and case.",
        metavar="FILE",
        panel=OUTPUT,
    )
    openmetrics: str | None = option(
        None,
        "Write estimates, intervals and verdicts as gauges for Prometheus.",
        metavar="FILE",
        panel=OUTPUT,
    )
    like: Path | None = option(
        None,
        "With --pyperf: what this will be compared with, so that both have as many values.",
        metavar="RESULT",
    )
    timestamps: bool = option(
        False, "With --openmetrics: give each sample the time of its document, for backfilling."
    )

    def check(self) -> None:
        """Find out whether one format was asked for, and nothing that another has.

        Raises
        ------
        InputError
            None was, or several, or an option goes with another.
        """
        given = [f"--{name}" for name in FORMATS if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                f"found {' and '.join(given) or 'no format'}, expected one of "
                f"{', '.join(f'--{name}' for name in FORMATS)}"
            )
        if self.like is not None and self.pyperf is None:
            raise InputError(f"--like: found {given[0]}, expected it with --pyperf alone")
        if self.timestamps and self.openmetrics is None:
            raise InputError(
                f"--timestamps: found {given[0]}, expected it with --openmetrics alone"
            )
