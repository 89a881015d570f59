"""What the bench can and cannot tell on a machine."""

from lorabench.bench.command import Command
from lorabench.experiments.calibrate.options import CalibrateOptions

COMMAND = Command(
    "calibrate",
    "Tell how often colocate would err on this machine, and how small a slowdown it would see.",
    CalibrateOptions,
    experiment="lorabench.experiments.calibrate.run:Calibrate",
    view="lorabench.experiments.calibrate.view:render",
    about="Makes runs up from the raw samples of solo and solo_repeat in a result of colocate, "
    "plants slowdowns of known size in them, and counts what they say. It measures nothing itself.",
    example="lorabench colocate --preset tiny --conditions pinned --rounds 3 "
    "-o run.json && lorabench calibrate run.json",
)
