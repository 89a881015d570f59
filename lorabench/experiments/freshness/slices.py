"""Parts of a window's rows for which quality is also told by itself.

Magnitude says little about rows that are rare: whether what is sent serves them too shows only
where they are looked at alone. A row is placed by the ids that it has: `new` by how many of them no
row before it had in the replay, `cold` and `hot` by how often, on average on a logarithmic scale,
the replay had them before. Each part is the third of a window's rows that has most of it.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lorabench.model.tables import TableLayout
from lorabench.updates.rows import RowNumbers

Rows = NDArray[np.int64]


class Slices:
    """Counts ids as they come, and divides each window by them.

    Parameters
    ----------
    layout : TableLayout
        Of the tables.
    """

    def __init__(self, layout: TableLayout) -> None:
        self._numbers = RowNumbers(layout)
        self._counts = np.zeros(self._numbers.count, np.uint32)
        self._new: list[NDArray[np.int64]] = []
        self._heat: list[NDArray[np.float64]] = []

    def add(self, sparse: NDArray[np.int32]) -> None:
        """Look at a batch's ids [B, C], then count them."""
        rows = self._numbers.of_samples(sparse)
        counts = self._counts[rows]
        self._new.append((counts == 0).sum(axis=1))
        self._heat.append(np.log1p(counts).mean(axis=1))
        np.add.at(self._counts, rows, np.uint32(1))

    def end_window(self) -> Mapping[str, Rows]:
        """Return which rows of the window make up each part, and begin the next window."""
        heat = np.concatenate(self._heat)
        found = {
            "new": most(np.concatenate(self._new)),
            "cold": most(heat.max(initial=0.0) - heat, also_zero=True),
            "hot": most(heat, also_zero=True),
        }
        self._new, self._heat = [], []
        return found


def most(of_each: NDArray[np.int64] | NDArray[np.float64], *, also_zero: bool = False) -> Rows:
    """Return the third of the rows that has most of something, ascending; of equals, the first.

    Parameters
    ----------
    of_each : array [N]
        At least 0.
    also_zero : bool
        Rows that have nothing of it may belong to them; otherwise they never do.
    """
    first = np.argsort(-of_each, kind="stable")[: max(1, len(of_each) // 3)]
    return np.sort(first if also_zero else first[of_each[first] > 0])
