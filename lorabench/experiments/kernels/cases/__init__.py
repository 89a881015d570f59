"""What is measured, a module for each family of kernels; a further family is a line here."""

from collections.abc import Iterator

from lorabench.experiments.kernels.cases import lookup, lora, scaling, single
from lorabench.experiments.kernels.comparison import Comparison, Family, Step

FAMILIES: tuple[Family, ...] = (lookup.steps, lora.steps, single.steps, scaling.steps)


def steps(run: Comparison) -> Iterator[Step]:
    """Return what a run is asked for, in order."""
    for family in FAMILIES:
        yield from family(run)
