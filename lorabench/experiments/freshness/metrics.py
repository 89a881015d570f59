"""What `freshness` says of a replay: quality by window and strategy, and what that cost.

A strategy is labelled by its name. One that was interrupted has the windows that it finished; what
is of all windows together only those have that went through all.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lorabench.experiments.freshness.replay import Floats, Replayed, Window
from lorabench.results import schema, statistics
from lorabench.results.case import Case
from lorabench.results.claims import Gain
from lorabench.results.metrics import MetricTable
from lorabench.results.quality import auc, normalized_entropy
from lorabench.results.registry import metric_spec

CEILING = "ceiling"
NONE, IDEAL = "none", "ideal"

Areas = Sequence[float | None]


def strategy_case(name: str) -> Case:
    """Return the case of a strategy, or of ``ceiling``."""
    return Case(name, {"strategy": name})


class FreshnessTable:
    """Metrics and series over windows.

    Parameters
    ----------
    windows : sequence of Window
        Of the stream.
    table_bytes : int
        Of the served tables.

    Attributes
    ----------
    table : MetricTable
    series : list of schema.Series
    """

    def __init__(self, windows: Sequence[Window], table_bytes: int) -> None:
        self._windows = windows
        self._table_bytes = table_bytes
        self.table = MetricTable()
        self.series: list[schema.Series] = []

    def fill(self, strategies: Sequence[Replayed]) -> None:
        """Write down all strategies, and the ceiling where there is one."""
        areas = {
            one.spec.name: self._add_quality(one.spec.name, one.scores, whole=one.done)
            for one in strategies
        }
        known = [window.ceiling for window in self._windows if window.ceiling is not None]
        if known:
            self._add_quality(CEILING, known, whole=any(one.done for one in strategies))
        whole = {one.spec.name: areas[one.spec.name] for one in strategies if one.done}
        if NONE in whole and IDEAL in whole:
            for name in whole:
                if name not in (NONE, IDEAL):
                    self._add_gap(name, whole)
        for one in strategies:
            self._add_state(one)

    def _add_quality(self, name: str, scores: Sequence[Floats], *, whole: bool) -> Areas:
        """Write down AUC and normalized entropy a window; return the areas."""
        case, labels = strategy_case(name), [window.label for window in self._windows]
        pairs = list(zip(labels, scores, strict=False))
        areas = [auc(label, score) for label, score in pairs]
        self._over_windows("auc", case, areas)
        entropies = [normalized_entropy(label, score) for label, score in pairs]
        self._over_windows("normalized_entropy", case, entropies)
        if whole:
            last = pairs[-_third(len(pairs)) :]
            value = auc(*(np.concatenate(parts) for parts in zip(*last, strict=True)))
            self.table.add("auc_last_third", case, value)
        return areas

    def _add_gap(self, name: str, areas: Mapping[str, Areas]) -> None:
        """Write down the share of the gap between `none` and `ideal` that a strategy recovers.

        The ratio of mean differences, not the mean of ratios: a window without a gap has no share.
        """
        windows = list(zip(areas[NONE], areas[name], areas[IDEAL], strict=True))
        third = windows[-_third(len(windows)) :]
        for metric, chosen in (("gap_recovered", windows), ("gap_recovered_last_third", third)):
            there = [
                (n, v, i) for n, v, i in chosen if n is not None and v is not None and i is not None
            ]
            gap = sum(ideal - none for none, _, ideal in there)
            share = sum(value - none for none, value, _ in there) / gap if gap > 0 else None
            self.table.add(metric, strategy_case(name), share)

    def _add_state(self, one: Replayed) -> None:
        """Write down what a strategy tells of itself, and the bytes that it held."""
        case = strategy_case(one.spec.name)
        for name, values in one.by_window.items():
            self._over_windows(name, case, values)
        for name, once in one.at_end.items():
            self.table.add(name, case, *once)
        if one.spec.learns and one.learned:
            self.table.add("train_samples_per_s", case, one.learned / one.learn_s)
        if one.peak_bytes:
            self.table.add("lora_bytes", case, float(sum(one.peak_bytes.values())))
            self.table.add("lora_fraction", case, self.fraction(one))

    def fraction(self, one: Replayed) -> float:
        """Return what a strategy held at most as a share of the table bytes."""
        return sum(one.peak_bytes.values()) / self._table_bytes

    def _over_windows(self, name: str, case: Case, values: Areas) -> None:
        self.table.add(name, case, *values)
        times = [window.time_s for window in self._windows]
        there = [(t, v) for t, v in zip(times, values, strict=False) if v is not None]
        self.series.append(
            schema.Series.of(
                name,
                case,
                [t for t, _ in there],
                [v for _, v in there],
                units=("s", metric_spec(name).unit),
            )
        )

    def gain(self, strategies: Sequence[Replayed]) -> Gain | None:
        """Return what the best strategy gains on the best of those that ship deltas, by window.

        None where there are not both.
        """
        deltas = [one.spec.name for one in strategies if one.spec.kind.ships_deltas]
        beside = [one.spec.name for one in strategies if one.spec.kind.colocatable]
        if not deltas or not beside:
            return None
        strategy, against = (max(names, key=self._mean_area) for names in (beside, deltas))
        pairs = zip(
            self.table.values("auc", strategy_case(strategy)),
            self.table.values("auc", strategy_case(against)),
            strict=False,
        )
        differences = [a - b for a, b in pairs if a is not None and b is not None]
        return Gain(strategy, against, statistics.mean(differences))

    def _mean_area(self, name: str) -> float:
        estimate = self.table.estimate("auc", strategy_case(name))
        return estimate.value if estimate else 0.0


def _third(windows: int) -> int:
    """Return how many windows are the last third; all where there are fewer than three."""
    return windows // 3 if windows >= 3 else windows
