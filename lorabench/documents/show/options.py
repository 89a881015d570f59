"""Options of ``lorabench show``."""

from dataclasses import dataclass
from pathlib import Path

from lorabench.bench.options import INPUT, option


@dataclass(frozen=True)
class ShowOptions:
    """What is shown."""

    result: Path | None = option(
        None,
        "Result document; by default the newest in results/.",
        "RESULT",
        metavar="RESULT",
        panel=INPUT,
    )
