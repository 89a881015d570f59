"""A cursor over a source's rows that never ends: what serves them takes as many as it needs."""

from dataclasses import replace

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.source import RowSource


class RowStream:
    """A cursor over a source's rows from `start` on, without end: it wraps round to `start`.

    Time goes on over a wrap: the first row again comes one mean gap after the last.

    Parameters
    ----------
    source : RowSource
        Where the rows come from.
    start : int
        First row, and the row to wrap round to.

    Attributes
    ----------
    wraps : int
        How often the stream went back to `start`.
    position : int
        Row of the source that comes next; at the end of the data, its number of rows.
    """

    def __init__(self, source: RowSource, start: int) -> None:
        self.wraps = 0
        self.position = start
        self._source = source
        self._start = start
        self._blocks = source.blocks(start)
        self._rest: Block | None = None
        self._gap_ns = max(1, round(1e9 / source.spec.rows_per_s))
        self._shift_ns = 0
        self._last_ns = 0

    def take(self, n: int) -> Block:
        """Hand out the next n rows, in stream order, contiguous by row.

        Raises
        ------
        ValueError
            n < 1.
        InputError
            No rows at all from `start` on, or bad data on the way.
        """
        if n < 1:
            raise ValueError(f"n: found {n}, expected at least 1")
        taken: list[Block] = []
        wanted = n
        while wanted:
            block = self._rest if self._rest is not None else self._next_block()
            part = block.slice(0, wanted)
            self._rest = block.slice(wanted, len(block)) if len(block) > wanted else None
            wanted -= len(part)
            self.position += len(part)
            taken.append(part)
        return (taken[0] if len(taken) == 1 else Block.concat(taken)).by_row()

    def take_unbroken(self, n: int) -> Block:
        """Hand out n rows that follow one another without a wrap, if there are as many.

        Where too few are left, these are passed over: who learns from a stream meets rows of long
        ago after a wrap, as if the world had gone back. Errors are those of `take`.
        """
        wraps = self.wraps
        found = self.take(n)
        anew = self.position - self._start
        if self.wraps == wraps or anew >= n:
            return found
        rest = self.take(n - anew)
        return Block.concat([found.slice(n - anew, n), rest]).by_row()

    def _next_block(self) -> Block:
        block = next(self._blocks, None)
        if block is None:
            self._blocks = self._source.blocks(self._start)
            block = next(self._blocks, None)
            if block is None:
                raise InputError(
                    f"{self._source.description}: found no row {self._start} "
                    "(counting from 0), expected rows to serve from there"
                )
            self.wraps += 1
            self.position = self._start
            self._shift_ns = self._last_ns + self._gap_ns - int(block.time_ns[0])
        if self._shift_ns:
            block = replace(block, time_ns=block.time_ns + self._shift_ns)
        self._last_ns = int(block.time_ns[-1])
        return block
