"""How a served model ages, and what keeps it fresh."""

from lorabench.bench.command import Command
from lorabench.experiments.freshness.options import FreshnessOptions

COMMAND = Command(
    "freshness",
    "Replay a drifting stream: how a frozen model ages, and what LoRA recovers of it.",
    FreshnessOptions,
    experiment="lorabench.experiments.freshness.run:Freshness",
    view="lorabench.experiments.freshness.view:render",
    example="lorabench freshness --preset tiny --rows 20000 --windows 3 -o freshness.json",
    start="lorabench.experiments.freshness.start:start",
)
