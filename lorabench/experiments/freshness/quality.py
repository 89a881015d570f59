"""How good a strategy's predictions were, window by window, and what of that outlives a replay.

A run of several seeds keeps these figures of each replay and nothing else: neither its rows nor its
model, and of the predictions only those of the windows under way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lorabench.results.quality import auc, auc_standard_error, normalized_entropy
from lorabench.strategies.base import Strategy, StrategySpec
from lorabench.updates.touch import TouchCurve

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Areas = Sequence[float | None]


def part(windows: int, parts: int) -> int:
    """Return how many windows one part of them is, such as a quarter; 0 where too few for one."""
    return windows // parts


def blocks_of(windows: int, blocks: int) -> list[range]:
    """Return the numbers of the windows of each block: consecutive, as even as they come.

    Parameters
    ----------
    windows : int
        Of the stream.
    blocks : int
        At most as many.
    """
    edges = [number * windows // blocks for number in range(blocks + 1)]
    return [range(begin, end) for begin, end in pairwise(edges)]


@dataclass
class Quality:
    """Figures of one who predicts, a window each.

    Attributes
    ----------
    windows : int
        Of the stream.
    auc, normalized_entropy : list of float or None
        Of the windows so far; None where one class is absent.
    auc_last_third : float or None
        Of the predictions of the last third of the windows, taken together; None before the end,
        or where fewer than three windows have no third.
    slices : dict of str to list of float or None
        AUC of a part of each window's rows, by what part.
    standard_errors : list of float
        Of the AUC of each window that has one, by the draw of its rows alone.
    """

    windows: int
    auc: list[float | None] = field(default_factory=list)
    normalized_entropy: list[float | None] = field(default_factory=list)
    auc_last_third: float | None = None
    slices: dict[str, list[float | None]] = field(default_factory=dict)
    standard_errors: list[float] = field(default_factory=list)
    _kept: list[tuple[NDArray[np.int8], Floats]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether it has come to the last window."""
        return len(self.auc) == self.windows

    def add(
        self, label: NDArray[np.int8], scores: Floats, parts: Mapping[str, Rows] | None = None
    ) -> None:
        """Write down the next window.

        Parameters
        ----------
        label : int8 [N]
        scores : float32 [N]
            Click probabilities.
        parts : mapping of str to int64 [n], optional
            Which of its rows belong to each slice.
        """
        for name, rows in (parts or {}).items():
            before: list[float | None] = [None] * len(self.auc)
            self.slices.setdefault(name, before).append(auc(label[rows], scores[rows]))
        area, positives = auc(label, scores), int(label.sum())
        self.auc.append(area)
        if area is not None:
            error = auc_standard_error(area, positives, len(label) - positives)
            self.standard_errors.append(error)
        self.normalized_entropy.append(normalized_entropy(label, scores))
        if len(self.auc) > self.windows - part(self.windows, 3):
            self._kept.append((label, scores))
        if self.whole and self._kept:
            labels, found = zip(*self._kept, strict=True)
            self.auc_last_third = auc(np.concatenate(labels), np.concatenate(found))
            self._kept.clear()


@dataclass
class Replayed:
    """What a strategy has served so far.

    Attributes
    ----------
    spec : StrategySpec
    quality : Quality
        Of the windows that it has gone through.
    by_window : dict of str to list of float
        Metrics that the strategy tells at each window's end.
    at_end : mapping of str to sequence of float
        Metrics that it tells once it is `done`, or has `diverged`.
    peak_bytes : dict of str to int
        What it held beside the tables, by purpose, when that was most.
    learned : int
        Samples that have been learned from, by itself or by its training cluster.
    learn_s : float
        CPU time that this took.
    cluster_learned : int
        Samples that a training cluster learned from beside that, where it learns here and there.
    cluster_s : float
        CPU time that this took.
    staleness_s : float32 array
        How old what was served was, a batch each.
    latency_s : float32 array
        From a label to the first batch that was predicted with it, of each sample that came to be
        served.
    waiting_s : float32 array
        From a label to the end, of each sample whose label came and that was not served before.
    done : bool
        It has gone through all windows.
    diverged : bool
        What it predicted or learned was not finite any more.
    """

    spec: StrategySpec
    quality: Quality
    by_window: dict[str, list[float]] = field(default_factory=dict)
    at_end: Mapping[str, Sequence[float]] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    learned: int = 0
    learn_s: float = 0.0
    cluster_learned: int = 0
    cluster_s: float = 0.0
    staleness_s: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    latency_s: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    waiting_s: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    done: bool = False
    diverged: bool = False

    @property
    def comparable(self) -> bool:
        """Whether it can be held against others: it has gone through all windows and learned."""
        return self.done and not self.diverged

    @property
    def samples_per_s(self) -> float | None:
        """How fast it learns; None where it has learned nothing."""
        return self.learned / self.learn_s if self.learned else None

    def staleness(self, quantile: float) -> float:
        """Return a quantile of how old what was served was, s."""
        return float(np.quantile(self.staleness_s, quantile))

    @property
    def unserved_share(self) -> float | None:
        """Share of the labels that were not served before the end; None where none came."""
        count = len(self.latency_s) + len(self.waiting_s)
        return len(self.waiting_s) / count if count else None

    def latency(self, quantile: float) -> float | None:
        """Return a quantile of the update latency, s; None where it lies beyond the replay's end.

        Samples that were not served before the end count as if they took longer than any that
        were, which some of the last may not have: it is never too low.
        """
        return _order_statistic(self.latency_s, quantile, len(self.latency_s) + len(self.waiting_s))

    def latency_bound(self, quantile: float) -> float | None:
        """Return what that quantile is at least, s; None where no label came.

        Samples that were not served before the end count with what they had waited until then.
        """
        every = np.concatenate([self.latency_s, self.waiting_s])
        return _order_statistic(every, quantile, len(every))

    def note(
        self,
        strategy: Strategy,
        label: NDArray[np.int8],
        scores: Floats,
        parts: Mapping[str, Rows] | None = None,
    ) -> None:
        """Write down a window at its end."""
        self.quality.add(label, scores, parts)
        for name, value in strategy.window_metrics().items():
            self.by_window.setdefault(name, []).append(value)
        self.peak_bytes = dict(strategy.peak_bytes)

    def finish(self, strategy: Strategy) -> None:
        """Write down that all windows are through."""
        self.at_end = strategy.final_metrics()
        self.diverged = any(self.at_end.get("diverged", ()))
        self.done = True

    def diverge(self, strategy: Strategy) -> None:
        """Write down that what it serves is not finite any more."""
        self.peak_bytes = dict(strategy.peak_bytes)
        self.at_end = strategy.final_metrics()
        self.diverged = True


def _order_statistic(values: Floats, quantile: float, count: int) -> float | None:
    """Return a quantile of so many values, of which these are known and the others are greater."""
    place = int(np.ceil(round(quantile * count, 9))) - 1
    return float(np.partition(values, place)[place]) if 0 <= place < len(values) else None


@dataclass(frozen=True)
class Replicate:
    """What is kept of a replay.

    Attributes
    ----------
    seed : int
        Of its rows, initial weights and draws.
    table_bytes : int
        Of the served tables.
    pretrain_rows : int
        Rows that the model was trained on.
    origin : str
        Where its weights came from, in words.
    times_s : sequence of float
        Mean of the rows' times in workload time, a window each, in s.
    strategies : sequence of Replayed
        Those that have finished a window or diverged.
    ceiling : Quality or None
        Of the planted truth; None where nothing is planted.
    rows : int
        Of its windows together.
    positives : int
        Of these rows.
    one_class : int
        Windows whose rows are all of one class, which have no AUC.
    touched : TouchCurve or None
        Which share of the tables' rows it touched within a time; None where nothing learned.
    dim : int
        D of the tables.
    span_s : float
        From its first row to its last, of the windows so far, in s of the stream.
    """

    seed: int
    table_bytes: int
    pretrain_rows: int
    origin: str
    times_s: Sequence[float]
    strategies: Sequence[Replayed]
    ceiling: Quality | None
    rows: int = 0
    positives: int = 0
    one_class: int = 0
    touched: TouchCurve | None = None
    dim: int = 1
    span_s: float = 0.0
