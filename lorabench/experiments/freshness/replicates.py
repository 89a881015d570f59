"""Replicates of a run by strategy: a seed's replay each, or a block of time of the only one.

Whatever is measured of them takes the windows of a replicate, and None where a strategy cannot be
compared there.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from lorabench.experiments.freshness.quality import Areas, Replayed, Replicate
from lorabench.results.case import Case
from lorabench.results.learnable import LabelCount
from lorabench.strategies.base import Strategy, StrategySpec

CEILING = "ceiling"
NONE, IDEAL, DELTA = "none", "ideal", "delta"

Measure = Callable[[Areas, Areas], float | None]
Pick = Callable[[Replayed], Areas]


def strategy_case(name: str) -> Case:
    """Return the case of a strategy, or of ``ceiling``."""
    return Case(name, {"strategy": name})


def difference_case(name: str, against: str) -> Case:
    """Return the case of a strategy held against another."""
    return Case(f"{name} - {against}", {"strategy": name, "against": against})


def deployable(kind: type[Strategy]) -> bool:
    """Whether it can be had: who serves what is trained elsewhere has to be sent it."""
    return kind.trained_by is None or kind.ships_deltas or kind.learns_here


@dataclass(frozen=True)
class Replicates:
    """What was replayed, by strategy.

    Parameters
    ----------
    replays : sequence of Replicate
        One a seed.
    blocks : sequence of range
        Windows of each replicate within a replay: all of them where there are several replays.
    """

    replays: Sequence[Replicate]
    blocks: Sequence[range]

    @property
    def windows(self) -> int:
        """Windows of a replay."""
        return self.blocks[-1].stop

    @property
    def specs(self) -> dict[str, StrategySpec]:
        """Strategies in the order in which they run.

        A replay that is under way may not have come to all.
        """
        return {one.spec.name: one.spec for replay in self.replays for one in replay.strategies}

    def labels(self, *, known: bool) -> LabelCount:
        """Return which labels all replayed rows had together; `known`: they have labels."""
        rows = sum(replay.rows for replay in self.replays)
        return LabelCount(rows, sum(replay.positives for replay in self.replays), known)

    def of(self, name: str) -> list[Replayed]:
        """Return a strategy's replays: one that is through has all strategies."""
        return [
            one for replay in self.replays for one in replay.strategies if one.spec.name == name
        ]

    def comparable(
        self, *names: str, pick: Pick = lambda one: one.quality.auc
    ) -> list[list[Areas] | None]:
        """Return figures of strategies by replay, AUC unless told; None where not all compare."""
        return [
            [pick(one) for one in found] if all(one.comparable for one in found) else None
            for found in zip(*map(self.of, names), strict=True)
        ]

    def paired(
        self, name: str, against: str, measure: Measure, pick: Pick = lambda one: one.quality.auc
    ) -> list[float | None]:
        """Measure two strategies' figures in the windows of each replicate."""
        return [
            measure(*(within(areas, block) for areas in found)) if found else None
            for found in self.comparable(name, against, pick=pick)
            for block in self.blocks
        ]


def within(values: Areas, block: range) -> Areas:
    """Return what is of the windows of a replicate."""
    return values[block.start : block.stop]


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that there are."""
    there = [value for value in values if value is not None]
    return fmean(there) if there else None


def mean_difference(areas: Areas, against: Areas) -> float | None:
    """Return the mean difference over the windows that have both."""
    pairs = zip(areas, against, strict=True)
    return mean(a - b for a, b in pairs if a is not None and b is not None)
