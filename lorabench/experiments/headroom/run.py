"""Which of the three experiments ``headroom`` is asked for."""

from lorabench.bench.experiment import Experiment
from lorabench.experiments.headroom.observe import Observation
from lorabench.experiments.headroom.options import HeadroomOptions
from lorabench.experiments.headroom.trace import TraceReading


def make(options: HeadroomOptions) -> Experiment:
    """Return the experiment that the options ask for; only the one that measures loads torch."""
    if options.mode == "trace":
        return TraceReading(options)
    if options.mode == "passive":
        return Observation(options)
    from lorabench.experiments.headroom.sweep import DutySweep

    return DutySweep(options.sweep())
