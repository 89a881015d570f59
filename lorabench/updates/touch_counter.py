"""The touch curve of rows as they come: how many a replay touches within windows of some length.

As `lorabench.updates.touch_count` counts a trace, for rows that are numbered and never leave the
process: the last touch of each is in an array. Lengths are 1, 2, 4, ... and 3, 6, 12, ... ticks.
Each is a multiple of the one before it, so that a touch that is not its row's first in a short
window is none in a longer one either, and need not be looked at again.
"""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lorabench.model.tables import TableLayout
from lorabench.updates.rows import RowNumbers
from lorabench.updates.touch import TouchCurve

_NS = 1e9
_DOUBLINGS = 40


class TouchCounter:
    """Counts the distinct rows of windows while rows come in the order of time.

    Parameters
    ----------
    layout : TableLayout
        Of the tables.
    resolution_s : float
        A tick, within which a row is touched once.
    """

    def __init__(self, layout: TableLayout, resolution_s: float) -> None:
        self._numbers = RowNumbers(layout)
        self._last = np.full(self._numbers.count, -1, np.int64)
        self._place = np.empty(self._numbers.count, np.int32)
        self._resolution_s = resolution_s
        self._tick_ns = max(1, round(resolution_s * _NS))
        self._began_ns: int | None = None
        self._ticks = 0
        # Of each length whose first window is over; in that one all rows seen so far were touched.
        self._firsts: dict[int, list[int]] = {}
        self._seen = 0

    def add(self, time_ns: NDArray[np.int64], sparse: NDArray[np.int32]) -> None:
        """Count a batch.

        Parameters
        ----------
        time_ns : int64 [B]
            Ascending.
        sparse : int32 [B, C]
            Rows of each column's table.
        """
        if self._began_ns is None:
            self._began_ns = int(time_ns[0])
        ticks = (time_ns - self._began_ns) // self._tick_ns
        edges = [0, *(np.flatnonzero(np.diff(ticks)) + 1), len(ticks)]
        numbers = self._numbers.of_samples(sparse)
        for begin, end in pairwise(edges):
            rows = numbers[begin:end].ravel()
            self._count(int(ticks[begin]), self._each_once(rows))

    def _each_once(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return rows without those that are there twice, which takes no sorting."""
        places = np.arange(len(rows), dtype=np.int32)
        self._place[rows] = places
        return np.asarray(rows[self._place[rows] == places])

    def _count(self, tick: int, rows: NDArray[np.int64]) -> None:
        before = self._last[rows]
        self._last[rows] = tick
        self._ticks = max(self._ticks, tick + 1)
        before = before[before != tick]
        for first in (1, 3):
            left = before
            for length in (first << n for n in range(_DOUBLINGS)):
                window = tick // length
                if not window:
                    break
                left = left[(left < 0) | (left // length != window)]
                if not len(left):
                    break
                firsts = self._firsts.setdefault(length, [self._seen])
                firsts.extend([0] * (window + 1 - len(firsts)))
                firsts[window] += len(left)
        self._seen += int(np.count_nonzero(before < 0))

    def points(self) -> Iterable[tuple[float, float]]:
        """Return lengths of windows, s, and the mean share of the rows that those touch.

        Whole windows of each length end elsewhere before the stream does, so that of a stream that
        changes their plain means are of different stretches: with a growing rate a longer window
        may touch less. What is compared is each length and the one before it within the stretch
        that both divide, and these ratios are chained, as of an index number, from the mean of all
        ticks. A longer window so touches no fewer rows, and no more than its parts do together.
        """
        if not self._ticks:
            return
        one = self._mean(1, self._ticks) / len(self._last)
        yield self._resolution_s, one
        for first in (1, 3):
            shorter, share = 1, one
            for length in (first << n for n in range(_DOUBLINGS)):
                # A window that the end cuts short has had less time.
                whole = self._ticks // length
                if not whole:
                    break
                parts = whole * length // shorter
                ratio = self._mean(length, whole) / self._mean(shorter, parts)
                share = min(1.0, share * ratio)
                shorter = length
                if length > 1:
                    yield length * self._resolution_s, share

    def _mean(self, length: int, windows: int) -> float:
        """Return the rows touched in the mean of the first windows of a length."""
        return sum(self._firsts.get(length, [self._seen])[:windows]) / windows

    def curve(self) -> TouchCurve | None:
        """Return the curve; None before anything was touched."""
        return TouchCurve.of(self.points()) if self._ticks else None
