"""Who applies a push beside the servers: rows from a buffer into the tables that are served.

It stands where a LoRA trainer would, on the trainer's CPUs, and costs the servers what writing into
their tables costs: memory traffic, and cache lines that they held. All cases of a round share the
tables, and what they predict is compared, so the values that are written are those that the rows
hold already: for memory and caches that is the same as any others.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.train import RowWriter
from lorabench.model.tables import TableSet
from lorabench.targets.node.push import Push
from lorabench.targets.trace import NS


class Staging:
    """A push as it lies in memory once the link has delivered it.

    Parameters
    ----------
    push : Push
        Its rows.
    tables : TableSet
        Where their values come from.

    Attributes
    ----------
    values : float32 [N, D]
        What is to be written, in the order of ``push.rows``.
    at : int
        The piece that comes next.
    """

    def __init__(self, push: Push, tables: TableSet) -> None:
        self.push = push
        self.at = 0
        self.values: NDArray[np.float32] = np.empty((len(push.rows), tables.layout.dim), np.float32)
        for piece in push.offsets.tolist():
            for table, begin, end in zip(tables.arrays, piece, piece[1:], strict=False):
                if begin < end:
                    self.values[begin:end] = table[push.rows[begin:end]]


class Applier:
    """Writes what is staged, a piece at a time.

    Parameters
    ----------
    staging : Staging
        What; a delta goes on where it was left.
    tables : TableSet
        Where; mapped writable.
    clock : callable
        Now, ns of the case's clock.
    bytes_per_s : float or None
        Most that is written a second; None for as much as one core can.
    until_ns : int
        What is written later does not count.

    Attributes
    ----------
    rows : int
        Written, and counted.
    row_bytes : int
        Of the values of one.
    """

    def __init__(
        self,
        staging: Staging,
        tables: TableSet,
        *,
        clock: Callable[[], int],
        bytes_per_s: float | None = None,
        until_ns: int,
    ) -> None:
        self._staging = staging
        self._tables = tables
        self._writer = RowWriter(tables.arrays)
        self.row_bytes = tables.layout.dim * 4
        self._clock = clock
        self._bytes_per_s = bytes_per_s
        self._begun_ns = clock()
        self._until_ns = until_ns
        self._written = 0
        self.rows = 0

    def step(self) -> int:
        """Write a piece, where one has arrived and the pace allows; return its rows, or 0."""
        staging, push, now = self._staging, self._staging.push, self._clock()
        if staging.at == len(push.offsets) or not self._paced(now):
            return 0
        if push.due_ns is not None and push.due_ns[staging.at] > now:
            return 0
        with self._tables.changing():
            count = self._writer.write(push.rows, staging.values, push.offsets[staging.at])
        staging.at += 1
        if push.due_ns is None:
            staging.at %= len(push.offsets)
        self._written += count
        if self._clock() <= self._until_ns:
            self.rows += count
        return count

    @property
    def left(self) -> int:
        """Rows that have not been written of a stream that has come to its end; 0 of a delta."""
        push = self._staging.push
        if push.due_ns is None or not len(push.offsets):
            return 0
        return len(push.rows) - self._written

    def _paced(self, now_ns: int) -> bool:
        if self._bytes_per_s is None:
            return True
        allowed = self._bytes_per_s * (now_ns - self._begun_ns) / NS
        return self._written * self.row_bytes <= allowed
