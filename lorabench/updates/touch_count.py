"""The touch curve of a trace: how many rows are touched within windows of some length.

For each of some lengths, the mean number of distinct rows over consecutive whole windows. One pass
counts all lengths: a touch is its row's first in a window if the touch before it was in another.
That takes the last touch of every row. Where there are more rows than memory is for, those of a
random half are counted, or of a quarter and so on (adaptive sampling, Flajolet 1990, Computing 43):
which rows that are is their names' to say, so that a row is counted always or never.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.updates.touch import TouchCurve
from lorabench.updates.touch_trace import Touches, TouchTrace

MOST_ROWS = 1 << 21
"""Rows whose last touch is held: some 40 MB, and a few times that while they are sorted."""

# Of lengths that follow one another.
_RATIO = 2**0.5


@dataclass(frozen=True)
class Counted:
    """What a trace tells.

    Parameters
    ----------
    curve : TouchCurve
        The share of all rows that is touched within a time.
    rows : int
        Distinct rows that were counted.
    sampled : float
        The share of the rows that were looked at; 1 for all of them.
    """

    curve: TouchCurve
    rows: int
    sampled: float


class _LastTouches:
    """The last touch of each row that is looked at.

    Parameters
    ----------
    path : Path
        Of the trace, for what is refused.
    """

    def __init__(self, trace: TouchTrace) -> None:
        self._path = trace.path
        self.row = np.empty(0, np.uint64)
        self._tick = np.empty(0, np.int64)
        self.table = np.empty(0, np.int32)

    def take(self, found: Touches) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Take touches; return their ticks and those of the touches before, -1 where none was.

        Raises
        ------
        InputError
            A row that is in two tables.
        """
        row = np.concatenate([self.row, found.row])
        order = np.argsort(row, kind="stable")
        row = row[order]
        tick = np.concatenate([self._tick, found.tick])[order]
        table = np.concatenate([self.table, found.table])[order]
        same = row[1:] == row[:-1]
        if (twice := same & (table[1:] != table[:-1])).any():
            at = int(twice.argmax())
            raise InputError(
                f"{self._path}: found the row {row[at]} in the tables {table[at]} and "
                f"{table[at + 1]}, expected names that are unique over all tables"
            )
        before = np.full(len(row), -1, np.int64)
        before[1:][same] = tick[:-1][same]
        new = order >= len(self.row)
        last = np.append(~same, True)
        self.row, self._tick, self.table = row[last], tick[last], table[last]
        return tick[new], before[new]


def count(trace: TouchTrace, most_rows: int = MOST_ROWS) -> Counted:
    """Count a trace's rows by window.

    Parameters
    ----------
    trace : TouchTrace
        Whose.
    most_rows : int
        Of how many rows the last touch is held at most.

    Raises
    ------
    InputError
        The trace cannot be read, or has more rows than its tables.
    """
    halvings = 0
    while (found := _pass(trace, most_rows, halvings)) is None:
        halvings += 1
    return found


def _pass(trace: TouchTrace, most_rows: int, halvings: int) -> Counted | None:
    """Count the rows of a sample; None where they are too many."""
    ticks = trace.ticks
    lengths = _lengths(ticks)
    firsts = [0] * len(lengths)
    last = _LastTouches(trace)
    for touches in trace.touches():
        at, before = last.take(_sampled(touches, halvings))
        if len(last.row) > most_rows:
            return None
        for n, length in enumerate(lengths):
            window = at // length
            # A window that the trace's end cuts short has had less time.
            counted = (window < ticks // length) & ((before < 0) | (before // length != window))
            firsts[n] += int(counted.sum())
    share = 0.5**halvings
    _check_tables(trace, last, share)
    rows = sum(trace.table_rows)
    points = (
        (length * trace.resolution_s, min(1.0, first / (ticks // length) / rows / share))
        for length, first in zip(lengths, firsts, strict=True)
    )
    return Counted(TouchCurve.of(points), len(last.row), share)


def _lengths(ticks: int) -> list[int]:
    """Return lengths of windows in ticks: a geometric grid, and all of it."""
    found, length = {ticks}, 1.0
    while length < ticks:
        found.add(round(length))
        length *= _RATIO
    return sorted(found)


def _sampled(touches: Touches, halvings: int) -> Touches:
    """Return the touches of the rows that are looked at."""
    if not halvings:
        return touches
    # The finaliser of SplitMix64 (Steele et al. 2014), lest names that somebody numbered are no
    # random ones.
    mixed = touches.row + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    kept = (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(64 - halvings) == 0
    return Touches(touches.tick[kept], touches.table[kept], touches.row[kept])


def _check_tables(trace: TouchTrace, last: _LastTouches, share: float) -> None:
    """Refuse more rows of a table than it has, where all were counted."""
    found = np.bincount(last.table, minlength=len(trace.table_rows))
    for table, (rows, there) in enumerate(zip(found, trace.table_rows, strict=True)):
        if share == 1 and rows > there:
            raise InputError(
                f"{trace.path}: found {rows:,} rows of the table {table}, expected at most the "
                f"{there:,} of its metadata"
            )
