"""What simulated comparisons of two versions say, and the metrics that it becomes.

How they are made up: `lorabench.results.pairs`. A gate on p99 is asked, and whether the interval
shows the head to be worse at all, where nothing differs and where the head is slower by a known
factor.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np
from numpy.typing import NDArray

from lorabench.results.case import Case, Label
from lorabench.results.metrics import MetricTable
from lorabench.results.pairs import STRETCH, Compared
from lorabench.results.sequential import Looks
from lorabench.results.shares import Share, variance_between
from lorabench.results.simulation import Values, make_runs, make_worlds
from lorabench.results.statistics import Estimate

SLOWDOWN = 0.15
"""How much slower the head is where a gate is to fail."""

MOST_CASES = 0.9
"""The share of comparisons that makes a slowdown one that is found, a tolerance one that passes."""

WORLDS = 50
"""How often comparisons are simulated from recorded pairs that are drawn anew."""

_WORLD_RUNS = 200


@dataclass(frozen=True, eq=False)
class Comparisons:
    """What simulated comparisons say of one quantile.

    Parameters
    ----------
    measure : str
        Name of the metric that the quantile is.
    tolerance : float
        Of the gate: a share.
    runs : Compared
        Comparisons where nothing differs.
    worlds : tuple of Compared
        The same from recorded pairs that were drawn anew.
    """

    measure: str
    tolerance: float
    runs: Compared
    worlds: tuple[Compared, ...]

    @classmethod
    def simulated(
        cls, measure: str, ratios: Values, looks: Looks, *, tolerance: float, runs: int, seed: int
    ) -> "Comparisons":
        """Simulate so many comparisons of pairs with such log ratios."""
        worlds = make_worlds(ratios, WORLDS, _WORLD_RUNS, looks.most, seed, stretch=STRETCH)
        return cls(
            measure,
            tolerance,
            Compared.of(make_runs(ratios, runs, looks.most, seed), looks),
            tuple(Compared.of(logs, looks) for logs in worlds),
        )

    @cached_property
    def false_alarms(self) -> Share:
        """How many fail the gate where nothing differs."""
        return self._share(lambda one: one.gate(1.0, self.tolerance).failed)

    @cached_property
    def found(self) -> Share:
        """How many fail the gate where the head is slower."""
        return self._share(lambda one: one.gate(1 + SLOWDOWN, self.tolerance).failed)

    def write(self, table: MetricTable) -> None:
        """Write down all shares, after how many pairs a gate fails, and what it takes."""
        slower = 1 + SLOWDOWN
        table.put("gate_false_alarm_share", self.case(1.0), self.false_alarms.estimate())
        table.put("gate_found_share", self.case(slower), self.found.estimate())
        for ratio, name in ((1.0, "worse_false_share"), (slower, "worse_found_share")):
            table.put("gate_unknown_share", self.case(ratio), self._unknown(ratio).estimate())
            table.put(name, self.case(ratio), self._worse(ratio).estimate())
        needed = median(self.runs.gate(slower, self.tolerance).after.tolist())
        table.put("pairs_needed", self.case(slower), self._estimate(needed))
        table.put(
            "least_slowdown_found",
            self.case(),
            self._over_worlds(lambda one: one.least_slowdown(self.tolerance, MOST_CASES)),
        )
        table.put(
            "least_tolerance_passed",
            Case(self.measure, {"measure": self.measure}),
            self._over_worlds(lambda one: one.least_tolerance(MOST_CASES)),
        )

    def case(self, ratio: float | None = None) -> Case:
        """Return the case of a gate, at a true ratio of head and base."""
        text = f"{self.measure}, gate of {self.tolerance * 100:g} %"
        labels: dict[str, Label] = {"measure": self.measure, "tolerance": self.tolerance}
        if ratio is None:
            return Case(text, labels)
        return Case(f"{text}, ratio {ratio:.2f}", {**labels, "ratio": ratio})

    def _unknown(self, ratio: float) -> Share:
        return self._share(lambda one: one.gate(ratio, self.tolerance).unknown)

    def _worse(self, ratio: float) -> Share:
        bound = -math.log(ratio)
        return self._share(lambda one: np.any(one.found.low > bound, axis=1))

    def _share(self, does: Callable[[Compared], NDArray[np.bool_]]) -> Share:
        between = variance_between(np.array([does(world) for world in self.worlds]))
        done = does(self.runs)
        return Share(int(done.sum()), len(done), between)

    def _over_worlds(self, least: Callable[[Compared], float | None]) -> Estimate | None:
        value = least(self.runs)
        if value is None:
            return None
        # An interval of 95 % leaves out a world in forty on either side.
        outside = len(self.worlds) // 40
        spread = sorted(math.inf if one is None else one for one in map(least, self.worlds))
        # Of few pairs the worlds may all lie on one side of what all pairs say.
        low, high = min(spread[outside], value), max(spread[-1 - outside], value)
        return self._estimate(value, (low, high) if math.isfinite(high) else None)

    def _estimate(
        self, value: float, interval: tuple[float, float] | None = None
    ) -> Estimate | None:
        runs = len(self.runs.detectable)
        return Estimate(value, interval, runs) if math.isfinite(value) else None
