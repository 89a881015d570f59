"""Rows of all tables under one numbering, and picking those that are worth sending.

A budget of rows is shared by all tables, so that scores have to be compared across them: row r of
table f has the number ``start[f] + r``, one table behind the other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lorabench.model.tables import TableLayout


@dataclass(frozen=True)
class RowNumbers:
    """The numbering of a table set's rows.

    Parameters
    ----------
    layout : TableLayout
        Of the tables.
    """

    layout: TableLayout

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Number of each table's first row, and behind them that of all rows, int64 [F + 1]."""
        return np.concatenate([[0], np.cumsum(self.layout.rows, dtype=np.int64)])

    @property
    def count(self) -> int:
        """Rows of all tables."""
        return int(self.starts[-1])

    @cached_property
    def of_columns(self) -> NDArray[np.int64]:
        """Number of the first row of the table that each column of a sample asks, int64 [C]."""
        return np.repeat(self.starts[:-1], self.layout.lookups)

    def of_samples(self, sparse: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the numbers int64 [B, C] of the rows that samples [B, C] look up."""
        return sparse + self.of_columns

    def join(self, rows: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
        """Return the numbers int64 [n] of each table's rows, table by table."""
        return np.concatenate(
            [one + start for one, start in zip(rows, self.starts[:-1], strict=True)], dtype=np.int64
        )

    def split(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int32], ...]:
        """Return each table's rows int32 [n_f] of ascending numbers [n]; the inverse of `join`."""
        cuts = np.searchsorted(numbers, self.starts)
        return tuple(
            (numbers[begin:end] - start).astype(np.int32)
            for begin, end, start in zip(cuts[:-1], cuts[1:], self.starts[:-1], strict=True)
        )

    def share(self, share: float) -> int:
        """Return how many rows a share of all is, rounded up, and at least one.

        Raises
        ------
        ValueError
            It is not above 0 and at most 1.
        """
        if not 0 < share <= 1:
            raise ValueError(f"found a share of {share:g}, expected one above 0 and at most 1")
        # What floating point leaves behind the product is no further row: 0.07 * 100 > 7.
        return max(1, math.ceil(share * self.count - 1e-6))


def top_rows(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the k numbers of the highest scores, ascending; of equal ones the lower number.

    What scores 0 or less, or NaN, has nothing to send and is never among them: fewer than k may be
    returned. Exact, in time linear in the number of rows (a selection, not a sort).

    Parameters
    ----------
    scores : float32 [n]
        Of each row by its number; or of some, whose places are returned then.
    k : int
        At most how many, at least 0.

    Returns
    -------
    int64 [at most k]
    """
    candidates: NDArray[np.int64] = np.flatnonzero(scores > 0)
    if len(candidates) <= k:
        return candidates
    if k == 0:
        return candidates[:0]
    of_candidates = scores[candidates]
    least = np.partition(of_candidates, len(candidates) - k)[len(candidates) - k]
    chosen = of_candidates > least
    equal = np.flatnonzero(of_candidates == least)
    chosen[equal[: k - int(chosen.sum())]] = True
    return np.asarray(candidates[chosen])
