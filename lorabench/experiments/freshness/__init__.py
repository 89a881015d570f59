"""How a served model ages, and what keeps it fresh."""

from lorabench.bench.command import Command
from lorabench.experiments.freshness.options import FreshnessOptions

COMMAND = Command(
    "freshness",
    "Replay a drifting stream: every way to keep a served model fresh, side by side.",
    FreshnessOptions,
    experiment="lorabench.experiments.freshness.run:Freshness",
    view="lorabench.experiments.freshness.view:render",
    example="lorabench freshness --preset tiny --rows 20000 --windows 3 -o freshness.json",
    start="lorabench.experiments.freshness.start:start",
)
