"""What `freshness` says of its replicates: quality by strategy, differences, and what that cost.

A strategy is labelled by its name. A replicate is a seed's replay, or a block of time of the only
one, and gives one value of each metric. What is of a replay as a whole (what was held at most, the
stream's first quarter and last third) has one value a replay. A strategy that was interrupted has
the windows that it finished; into comparisons go only those that went through all and did not
diverge.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, compress, product
from statistics import fmean

import numpy as np

from lorabench.experiments.freshness.quality import Areas, Quality, Replayed, Replicate, part
from lorabench.results import schema, statistics
from lorabench.results.case import Case
from lorabench.results.claims import Gain
from lorabench.results.metrics import MetricTable
from lorabench.results.registry import metric_spec
from lorabench.results.statistics import Estimate

CEILING = "ceiling"
NONE, IDEAL = "none", "ideal"


def strategy_case(name: str) -> Case:
    """Return the case of a strategy, or of ``ceiling``."""
    return Case(name, {"strategy": name})


def difference_case(name: str, against: str) -> Case:
    """Return the case of a strategy held against another."""
    return Case(f"{name} - {against}", {"strategy": name, "against": against})


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
    table : MetricTable
    series : list of schema.Series
    """

    def __init__(self, replays: Sequence[Replicate], blocks: Sequence[range]) -> None:
        self._replays = replays
        self._blocks = blocks
        self._windows = blocks[-1].stop
        # In the order in which they run; a replay that is under way may not have come to all.
        self._specs = {one.spec.name: one.spec for replay in replays for one in replay.strategies}
        self.table = MetricTable()
        self.series: list[schema.Series] = []

    def fill(self) -> None:
        """Write down all strategies, and the ceiling where there is one."""
        for name in self._specs:
            found = self._of(name)
            usable = [None if one.diverged else one.quality for one in found]
            self._add_quality(name, [one.quality for one in found], usable)
        ceilings = [replay.ceiling for replay in self._replays if replay.ceiling is not None]
        if ceilings:
            self._add_quality(CEILING, ceilings, ceilings)
        for name in self._specs:
            if name not in (NONE, IDEAL):
                self._add_gap(name)
        for name, against in self._pairs():
            self._add_difference(name, against)
        for name in self._specs:
            self._add_state(name)

    def most_fraction(self) -> float | None:
        """Return the most LoRA state held in any replay, as a share of the table bytes."""
        held = [
            _fraction(replay, one)
            for replay in self._replays
            for one in replay.strategies
            if one.spec.kind.has_adapter and one.peak_bytes
        ]
        return max(held, default=None)

    def gain(self) -> Gain | None:
        """Return what the best strategy gains on the best of those that ship deltas.

        A value a seed where there are several, else one a window; None where there are not both.
        """
        specs = self._specs.values()
        deltas = [spec.name for spec in specs if spec.kind.ships_deltas]
        beside = [spec.name for spec in specs if spec.kind.colocatable]
        if not deltas or not beside:
            return None
        strategy, against = (max(names, key=self._mean_area) for names in (beside, deltas))
        if len(self._replays) > 1:
            found = self._by_replicate(strategy, against, _mean_difference)
            return Gain(strategy, against, statistics.mean(found), over="seeds")
        (ours,), (theirs,) = self._of(strategy), self._of(against)
        if ours.diverged or theirs.diverged:
            return Gain(strategy, against, None)
        pairs = zip(ours.quality.auc, theirs.quality.auc, strict=False)
        differences = [a - b for a, b in pairs if a is not None and b is not None]
        return Gain(strategy, against, statistics.mean(differences))

    def _mean_area(self, name: str) -> float:
        estimate = self.table.estimate("auc", strategy_case(name))
        return estimate.value if estimate else 0.0

    def _of(self, name: str) -> list[Replayed]:
        """Return a strategy's replays: one that is through has all strategies."""
        return [
            one for replay in self._replays for one in replay.strategies if one.spec.name == name
        ]

    def _comparable(self, *names: str) -> list[list[Areas] | None]:
        """Return the areas of strategies by replay; None where not all can be compared."""
        return [
            [one.quality.auc for one in found] if all(one.comparable for one in found) else None
            for found in zip(*map(self._of, names), strict=True)
        ]

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

    def _add_means(self, metric: str, case: Case, replays: Iterable[Areas]) -> None:
        """Write down a mean over windows of each replicate."""
        for found in replays:
            self.table.add(metric, case, *(_mean(_within(found, block)) for block in self._blocks))

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
        found, case = self._comparable(NONE, name, IDEAL), strategy_case(name)
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
                _gap_sums(*(_within(one, block) for one in areas)) if areas else None
                for areas, block in product(found, blocks)
            ]
            self.table.put(metric, case, statistics.ratio_of_sums(sums))
            self.table.add(metric, case, *(one and _share(*one) for one in sums))

    def _pairs(self) -> Iterator[tuple[str, str]]:
        """Return who is held against whom: all against `none`, then those that learn."""
        if NONE in self._specs:
            yield from ((name, NONE) for name in self._specs if name != NONE)
        yield from combinations((name for name, spec in self._specs.items() if spec.learns), 2)

    def _by_replicate(
        self, name: str, against: str, measure: Callable[[Areas, Areas], float | None]
    ) -> list[float | None]:
        """Measure two strategies' areas in the windows of each replicate."""
        return [
            measure(*(_within(areas, block) for areas in found)) if found else None
            for found in self._comparable(name, against)
            for block in self._blocks
        ]

    def _add_difference(self, name: str, against: str) -> None:
        """Write down a paired difference; over seeds also the smallest that would have shown."""
        values = self._by_replicate(name, against, _mean_difference)
        known = sum(value is not None for value in values)
        if known == 0:
            return
        case = difference_case(name, against)
        self.table.add("auc_difference", case, *values)
        # From one block of time to the next a frozen model ages: what they differ by is no noise.
        least = None if len(self._blocks) > 1 else statistics.detectable_difference(values)
        if least is not None:
            self.table.put("auc_difference_detectable", case, Estimate(least, None, known))
        if against == NONE:
            below = self._by_replicate(name, against, _windows_below)
            self.table.add("windows_below_none", strategy_case(name), *below)

    def _add_state(self, name: str) -> None:
        """Write down what a strategy tells of itself, and the bytes that it held.

        Of a replay in which it diverged the bytes alone.
        """
        case, found = strategy_case(name), self._of(name)
        sound = [not one.diverged for one in found]
        for metric in dict.fromkeys(metric for one in found for metric in one.by_window):
            windows = [_finite(one.by_window.get(metric, ())) for one in found]
            usable = [w if is_sound else () for w, is_sound in zip(windows, sound, strict=True)]
            self._add_means(metric, case, usable)
            self._add_series(metric, case, windows, sound)
        for metric in dict.fromkeys(metric for one in found for metric in one.at_end):
            if metric != "diverged":
                once = (
                    None if one.diverged else _mean(_finite(one.at_end.get(metric, ())))
                    for one in found
                )
                self.table.add(metric, case, *once)
        ended = [one for one in found if one.done or one.diverged]
        if ended and (self._specs[name].learns or any(one.diverged for one in ended)):
            self.table.add("diverged", case, *(float(one.diverged) for one in ended))
        if self._specs[name].learns and any(one.learned for one in found):
            rates = (None if one.diverged else one.samples_per_s for one in found)
            self.table.add("train_samples_per_s", case, *rates)
        self._add_updates(name, found)
        if any(one.peak_bytes for one in found):
            held = (float(sum(one.peak_bytes.values())) for one in found)
            self.table.add("lora_bytes", case, *held)
            self.table.add("lora_fraction", case, *map(_fraction, self._replays, found))

    def _add_updates(self, name: str, found: Sequence[Replayed]) -> None:
        """Write down how old what it served was, and how long an update took to be served."""
        case, specs = strategy_case(name), self._specs
        ended = [one if one.comparable and len(one.staleness_s) else None for one in found]
        if not any(ended):
            return
        told: dict[str, Callable[[Replayed], float | None]] = {
            "staleness_p50": lambda one: float(np.quantile(one.staleness_s, 0.5)),
            "staleness_p95": lambda one: float(np.quantile(one.staleness_s, 0.95)),
        }
        if specs[name].learns:
            told |= {
                "learn_cpu_s": lambda one: one.learn_s,
                "update_latency_p50": lambda one: one.latency(0.5),
                "update_latency_p95": lambda one: one.latency(0.95),
            }
        for metric, measure in told.items():
            self.table.add(metric, case, *(measure(one) if one else None for one in ended))


def _fraction(replay: Replicate, one: Replayed) -> float:
    """Return what a strategy held at most as a share of the table bytes."""
    return sum(one.peak_bytes.values()) / replay.table_bytes


def _within(values: Areas, block: range) -> Areas:
    return values[block.start : block.stop]


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that there are."""
    there = [value for value in values if value is not None]
    return fmean(there) if there else None


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    """Return the mean where all are there."""
    return None if None in values else _mean(values)


def _mean_difference(areas: Areas, against: Areas) -> float | None:
    pairs = zip(areas, against, strict=True)
    return _mean(a - b for a, b in pairs if a is not None and b is not None)


def _windows_below(areas: Areas, none: Areas) -> float:
    pairs = zip(areas, none, strict=True)
    return float(sum(a < b for a, b in pairs if a is not None and b is not None))


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
