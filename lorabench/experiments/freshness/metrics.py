"""What `freshness` says of its replicates: quality by strategy, differences, and what that cost.

A strategy is labelled by its name. A replicate is a seed's replay, or a block of time of the only
one, and gives one value of each metric. What is of a replay as a whole (what was held at most, the
stream's first quarter and last third) has one value a replay. A strategy that was interrupted has
the windows that it finished; into comparisons go only those that went through all and did not
diverge.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import compress, product
from statistics import fmean

from lorabench.experiments.freshness.differences import add_differences
from lorabench.experiments.freshness.quality import Areas, Quality, Replicate, part
from lorabench.experiments.freshness.replicates import (
    CEILING,
    IDEAL,
    NONE,
    Replicates,
    mean,
    strategy_case,
    within,
)
from lorabench.experiments.freshness.states import add_at_end, add_fronts, finite
from lorabench.results import schema, statistics
from lorabench.results.case import Case
from lorabench.results.metrics import MetricTable
from lorabench.results.registry import metric_spec
from lorabench.results.statistics import Estimate


class FreshnessTable:
    """Metrics of replicates, and series over windows.

    Parameters
    ----------
    replays : sequence of Replicate
        One a seed.
    blocks : sequence of range
        Windows of each replicate within a replay: all of them where there are several replays.

    Attributes
    ----------
    found : Replicates
        The replicates by strategy.
    table : MetricTable
    series : list of schema.Series
    """

    def __init__(self, replays: Sequence[Replicate], blocks: Sequence[range]) -> None:
        self.found = Replicates(replays, blocks)
        self._replays = replays
        self._blocks = blocks
        self._windows = self.found.windows
        self._specs = self.found.specs
        self.table = MetricTable()
        self.series: list[schema.Series] = []

    def fill(self) -> None:
        """Write down all strategies, and the ceiling where there is one."""
        for name in self._specs:
            found = self.found.of(name)
            usable = [None if one.diverged else one.quality for one in found]
            self._add_quality(name, [one.quality for one in found], usable)
        ceilings = [replay.ceiling for replay in self._replays if replay.ceiling is not None]
        if ceilings:
            self._add_quality(CEILING, ceilings, ceilings)
        for name in self._specs:
            if name not in (NONE, IDEAL):
                self._add_gap(name)
        add_differences(self.table, self.found)
        for name in self._specs:
            self._add_windows(name)
            add_at_end(self.table, self.found, name)
        add_fronts(self.table, self.found)

    def _add_quality(
        self, name: str, found: Sequence[Quality], usable: Sequence[Quality | None]
    ) -> None:
        """Write down AUC and normalized entropy of all replays, and means of those not diverged."""
        case = strategy_case(name)
        for metric in ("auc", "normalized_entropy"):
            self._add_means(metric, case, [getattr(one, metric) if one else () for one in usable])
            sound = [one is not None for one in usable]
            self._add_series(metric, case, [getattr(one, metric) for one in found], sound)
        if part(self._windows, 3) and any(one is not None and one.whole for one in usable):
            last = [one.auc_last_third if one else None for one in usable]
            self.table.add("auc_last_third", case, *last)
        errors = [_mean_error(one.standard_errors) for one in usable if one is not None]
        if (error := mean(errors)) is not None:
            self.table.put("auc_standard_error", case, Estimate(error, None, len(errors)))

    def _add_means(self, metric: str, case: Case, replays: Iterable[Areas]) -> None:
        """Write down a mean over windows of each replicate."""
        for found in replays:
            self.table.add(metric, case, *(mean(within(found, block)) for block in self._blocks))

    def _add_series(
        self, metric: str, case: Case, replays: Sequence[Areas], sound: Sequence[bool]
    ) -> None:
        """Write down what was in each window: the mean over seeds, and where several, each one.

        Of several seeds the mean is over the `sound` ones, which did not diverge; of the only one
        there is what it has.
        """
        every = list(zip(self._replays, replays, strict=True))
        several = len(every) > 1
        if averaged := list(compress(every, sound)) if several else every:
            times = [fmean(at) for at in zip(*(one.times_s for one, _ in averaged), strict=True)]
            means = [_mean_of_all(at) for at in zip(*(ys for _, ys in averaged), strict=False)]
            self._append_series(metric, case, times, means)
        if several:
            for replay, values in every:
                one = case.also(f"seed {replay.seed}", seed=replay.seed)
                self._append_series(metric, one, replay.times_s, values)

    def _append_series(
        self, metric: str, case: Case, times_s: Sequence[float], values: Areas
    ) -> None:
        there = [(t, v) for t, v in zip(times_s, values, strict=False) if v is not None]
        units = ("s", metric_spec(metric).unit)
        x, y = [t for t, _ in there], [v for _, v in there]
        self.series.append(schema.Series.of(metric, case, x, y, units=units))

    def _add_gap(self, name: str) -> None:
        """Write down the share of the gap between `none` and `ideal` that a strategy recovers.

        The estimate is of all replicates together (`lorabench.results.statistics.ratio_of_sums`);
        a replicate's value is its own share, where it has a gap.
        """
        if not {NONE, IDEAL} <= set(self._specs):
            return
        found, case = self.found.comparable(NONE, name, IDEAL), strategy_case(name)
        if not any(found):
            return
        quarter, third = part(self._windows, 4), part(self._windows, 3)
        for metric, blocks in (
            ("gap_recovered", self._blocks),
            ("gap_recovered_first_quarter", [range(quarter)]),
            ("gap_recovered_last_third", [range(self._windows - third, self._windows)]),
        ):
            if not any(blocks):  # too few windows for such a part
                continue
            sums = [
                _gap_sums(*(within(one, block) for one in areas)) if areas else None
                for areas, block in product(found, blocks)
            ]
            self.table.put(metric, case, statistics.ratio_of_sums(sums))
            self.table.add(metric, case, *(one and _share(*one) for one in sums))

    def _add_windows(self, name: str) -> None:
        """Write down what a strategy tells at each window's end."""
        case, found = strategy_case(name), self.found.of(name)
        sound = [not one.diverged for one in found]
        for metric in dict.fromkeys(metric for one in found for metric in one.by_window):
            windows = [finite(one.by_window.get(metric, ())) for one in found]
            usable = [w if is_sound else () for w, is_sound in zip(windows, sound, strict=True)]
            self._add_means(metric, case, usable)
            self._add_series(metric, case, windows, sound)


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    """Return the mean where all are there."""
    return None if None in values else mean(values)


def _gap_sums(none: Areas, areas: Areas, ideal: Areas) -> tuple[float, float] | None:
    """Return what a strategy gains on `none` and what `ideal` does, summed over windows."""
    there = [
        (v - n, i - n)
        for n, v, i in zip(none, areas, ideal, strict=True)
        if n is not None and v is not None and i is not None
    ]
    if not there:
        return None
    return math.fsum(gain for gain, _ in there), math.fsum(gap for _, gap in there)


def _share(gain: float, gap: float) -> float | None:
    """Return a replicate's own ratio: a window without a gap has no share of its own."""
    return gain / gap if gap > 0 else None


def _mean_error(errors: Sequence[float]) -> float | None:
    """Return the standard error of a mean over windows, whose rows are draws of their own."""
    return math.sqrt(math.fsum(one**2 for one in errors)) / len(errors) if errors else None
