"""What all cases of a run have in common: the tables, the peers, and where values go."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lorabench.bench.timing import Candidate, Floats, Times, time_interleaved
from lorabench.experiments.kernels.options import KernelsOptions
from lorabench.experiments.kernels.ours import TableMemory
from lorabench.results.case import Case
from lorabench.results.metrics import MetricTable
from lorabench.results.schema import Series

BAGS = 2048
"""B of lookups and updates."""

BUDGET = 0.02
"""LoRA state as a share of the table's bytes."""


@dataclass(frozen=True)
class Step:
    """A part of a run: what is measured together.

    Parameters
    ----------
    text : str
        For whoever watches.
    measure : callable
        Measures, and writes down what came out.
    """

    text: str
    measure: Callable[[], None]


@dataclass
class Comparison:
    """What the steps of a run share.

    Parameters
    ----------
    options : KernelsOptions
        Of the run.
    sizes : tuple of int
        Bytes of the tables that fit.
    peers : tuple of str
        Those that can be used here.
    memory : dict of str to TableMemory
        By page size, ``"4k"`` and ``"2m"``; filled before the first step.
    begin : callable
        Told of each round of a step before it begins, by its number.
    table, series
        Filled step by step.
    """

    options: KernelsOptions
    sizes: tuple[int, ...]
    peers: tuple[str, ...] = ()
    memory: dict[str, TableMemory] = field(default_factory=dict)
    begin: Callable[[int], None] = lambda _: None
    table: MetricTable = field(default_factory=MetricTable)
    series: list[Series] = field(default_factory=list)

    @property
    def large(self) -> int:
        """Bytes of the table that is beyond any cache, where one that large fits."""
        return min(self.options.large, max(self.sizes))

    def time(self, candidates: Sequence[Candidate], units: int, case: str) -> dict[str, Times]:
        """Let candidates take turns; the text of the case is part of the seed."""
        seed = [self.options.seed, *case.encode()]
        return time_interleaved(
            candidates, units=units, rounds=self.options.rounds, seed=seed, begin=self.begin
        )

    def add(self, name: str, case: Case, values: Floats) -> None:
        """Write down a value a round."""
        self.table.add(name, case, *map(float, values))


Family = Callable[[Comparison], Iterator[Step]]
"""Gives the steps of one or several kernels, of those that are asked for."""
