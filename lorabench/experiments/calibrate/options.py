"""Options of ``lorabench calibrate``."""

from dataclasses import dataclass
from pathlib import Path

from lorabench.bench.options import INPUT, option


@dataclass(frozen=True)
class CalibrateOptions:
    """What runs are made up from, and how many."""

    result: Path | None = option(
        None,
        "Result document of colocate, its raw samples beside it; by default the newest "
        "colocate-*.json in results/.",
        "RESULT",
        metavar="RESULT",
        panel=INPUT,
    )
    runs: int = option(
        400,
        "Simulated runs; more of them know no more than the recorded blocks can tell.",
        least=100,
        most=20_000,
    )
    minutes: float = option(
        10.0,
        "Length of the run that is spoken of.",
        unit="min",
        above=0,
        most=1440,
    )
    compare_minutes: float = option(
        15.0,
        "Length of the comparison of two versions that is spoken of.",
        unit="min",
        above=0,
        most=1440,
    )
    case: str | None = option(
        None,
        "Case whose p99 a comparison of two versions is about, such as isolated.",
        metavar="CASE",
        shown="solo",
    )
    tolerance: float = option(
        5.0,
        "Tolerance of a gate on p99, by which a comparison of two versions is judged.",
        unit="%",
        above=0,
        below=1000,
    )
    seed: int = option(0, "Same seed, same runs.", least=0)
