"""What simulated runs are asked, and the metrics and curves that their answers become.

Each question is a run of its own, which looks until it is answered: a run of colocate that stops
once its verdict is known asks no more.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np
from numpy.typing import NDArray

from lorabench.results.case import Case, Label
from lorabench.results.evidence import ISOLATED
from lorabench.results.limit import MIN_ROUNDS
from lorabench.results.metrics import MetricTable
from lorabench.results.schema import Series
from lorabench.results.sequential import Looks, plan_looks
from lorabench.results.shares import Share, variance_between
from lorabench.results.simulation import (
    Intervals,
    Question,
    intervals,
    least_seen,
    make_runs,
    make_worlds,
)
from lorabench.results.statistics import Estimate

RAW = "latency_p99"
UNSTALLED = "latency_p99_unstalled"

LIMIT = ISOLATED.limit
SLOWDOWNS = (0.10, 0.15, 0.20)
MOST_CASES = 0.9
"""The share of runs that makes a slowdown one that is seen."""

TOO_SLOW = (Question("missed", LIMIT, LIMIT, above=True), Question("above", 1.0, 1.0, above=True))
TOO_FAST = (Question("met", LIMIT, LIMIT, above=False), Question("below", 1.0, 1.0, above=False))
"""What is false whenever a run says it. Both of a pair are as frequent: one is a multiple."""

MET = Question("met", 1.0, LIMIT, above=False)
PROOF = Question("above", 1 + SLOWDOWNS[-1], LIMIT, above=True)
SEEN = tuple(Question("above", 1 + slowdown, 1.0, above=True) for slowdown in SLOWDOWNS)

WORLDS = 50
"""How often runs are simulated from recorded blocks that are drawn anew."""

_WORLD_RUNS = 200

# The curves go up to this slowdown, in such steps.
_CURVE = np.arange(101) / 100


def labels_of(question: Question) -> dict[str, Label]:
    """Return what tells a question from others in a document."""
    return {"verdict": question.verdict, "ratio": question.ratio, "bound": question.bound}


@dataclass(frozen=True, eq=False)
class Answers:
    """What the simulated runs say of one quantile.

    Parameters
    ----------
    measure : str
        Name of the metric that the quantile is.
    looks : Looks
        When a run looks.
    logs : float64 [runs, blocks]
        Log ratios where nothing differs.
    worlds : float64 [worlds, runs, blocks]
        The same from recorded blocks that were drawn anew.
    """

    measure: str
    looks: Looks
    logs: NDArray[np.float64]
    worlds: NDArray[np.float64]

    @classmethod
    def simulated(
        cls, measure: str, ratios: NDArray[np.float64], looks: Looks, runs: int, seed: int
    ) -> "Answers":
        """Simulate so many runs of blocks with such ratios (`lorabench.results.simulation`)."""
        return cls(
            measure,
            looks,
            make_runs(ratios, runs, looks.most, seed),
            make_worlds(ratios, WORLDS, _WORLD_RUNS, looks.most, seed),
        )

    @cached_property
    def found(self) -> Intervals:
        """Intervals of every run at every look."""
        return intervals(self.logs, self.looks)

    @cached_property
    def _found_in_worlds(self) -> Intervals:
        return intervals(self.worlds.reshape(-1, self.looks.most), self.looks)

    def errors(self) -> dict[str, Share]:
        """Return how many runs made each error, by what it is, in words."""
        return {
            f"{question.verdict} at a true ratio of {question.ratio:.2f}": self._share(question)
            for question in (TOO_SLOW[0], TOO_FAST[0])
        }

    def write(self, table: MetricTable) -> None:
        """Write down all shares, and after how many blocks runs decide."""
        for name, questions in (
            ("false_verdict_share", (*TOO_SLOW, *TOO_FAST)),
            ("slowdown_seen_share", (*SEEN, PROOF)),
            ("met_share", (MET,)),
        ):
            for question in questions:
                table.put(name, self.case(question), self._share(question).estimate())
        for question in (*SEEN, PROOF, MET):
            middle = median(question.decided(self.found).tolist())
            estimate = Estimate(middle, None, len(self.logs)) if math.isfinite(middle) else None
            table.put("blocks_needed", self.case(question), estimate)

    def write_least(self, table: MetricTable, minutes: float, blocks: int) -> None:
        """Write down the smallest slowdown that most runs of so many minutes see.

        In `blocks`, and with the looks that a run of so many has; none where they are too few for a
        verdict.
        """
        labels: dict[str, Label] = {"measure": self.measure, "minutes": minutes}
        case = Case(f"{self.measure}, {minutes:g} min", labels)
        table.put(
            "least_slowdown_seen", case, self._least(blocks) if blocks >= MIN_ROUNDS else None
        )

    def _least(self, blocks: int) -> Estimate | None:
        looks = plan_looks(blocks)
        least, *worlds = (
            least_seen(intervals(logs, looks), MOST_CASES) for logs in (self.logs, *self.worlds)
        )
        if least is None:
            return None
        # An interval of 95 % leaves out a world in forty on either side.
        outside = len(worlds) // 40
        spread = sorted(math.inf if one is None else one for one in worlds)
        low, high = spread[outside], spread[-1 - outside]
        # Of few blocks the worlds may all lie on one side of what all blocks say.
        bounds = (min(low, least) - 1, max(high, least) - 1)
        return Estimate(least - 1, bounds if math.isfinite(high) else None, len(self.logs))

    def series(self) -> Iterator[Series]:
        """Return the chance to see a slowdown against its size, and the blocks that it takes."""
        sizes = _CURVE.tolist()
        asked = [Question("above", 1 + size, 1.0, above=True) for size in sizes]
        seen = [question.decided(self.found) for question in asked]
        yield self._series("slowdown_seen_share", sizes, [np.isfinite(b).mean() for b in seen])
        middles = [median(blocks.tolist()) for blocks in seen]
        decided = [place for place, middle in enumerate(middles) if math.isfinite(middle)]
        yield self._series(
            "blocks_needed", [sizes[n] for n in decided], [middles[n] for n in decided]
        )

    def case(self, question: Question) -> Case:
        """Return the case of a question."""
        side = "above" if question.above else "below"
        text = f"{self.measure}, ratio {question.ratio:.2f}: {side} {question.bound:.2f}"
        return Case(text, {"measure": self.measure, **labels_of(question)})

    def _share(self, question: Question) -> Share:
        does = np.isfinite(question.decided(self._found_in_worlds))
        between = variance_between(does.reshape(self.worlds.shape[:2]))
        count = int(np.isfinite(question.decided(self.found)).sum())
        return Share(count, len(self.logs), between)

    def _series(self, name: str, x: Sequence[float], y: Sequence[float]) -> Series:
        return Series.of(name, Case(self.measure), x, y, units=("1", "1"))
