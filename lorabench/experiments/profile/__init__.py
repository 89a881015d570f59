"""How low-rank embedding updates are."""

from lorabench.bench.command import Command
from lorabench.experiments.profile.options import ProfileOptions

COMMAND = Command(
    "profile",
    "Measure how low-rank embedding updates are, table by table, and which rank LoRA needs.",
    ProfileOptions,
    experiment="lorabench.experiments.profile.run:make",
    view="lorabench.experiments.profile.view:render",
    example="lorabench profile --preset tiny --windows 6 -o profile.json",
)
