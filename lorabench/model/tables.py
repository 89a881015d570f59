"""Embedding tables in shared memory: one memfd for the set, one physical copy for all processes.

The parent makes and fills them; servers and the trainer map them read-only, and only who applies a
push to them otherwise. Huge pages are the region's business (`lorabench.memory`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.lookup import Tables, advance_version
from lorabench.host.formats import format_bytes
from lorabench.host.memory import require_memory
from lorabench.memory import HugeRegion, MemoryPolicy, Region, RegionHandle

# A row never straddles a cache line more often than it must.
_ALIGNMENT = 64

# What the bench itself needs beside the tables: processes with torch, rows, rings.
_RESERVE_BYTES = 1 << 30


@dataclass(frozen=True)
class TableLayout:
    """Where each table of a set lies.

    Parameters
    ----------
    rows : tuple of int
        V_f, rows of each of the F tables.
    dim : int
        D, the same for all.
    hotness : tuple of int
        L_f, rows that a sample looks up in each table, summed; empty: one in each.
    """

    rows: tuple[int, ...]
    dim: int
    hotness: tuple[int, ...] = ()

    @property
    def lookups(self) -> tuple[int, ...]:
        """L_f of each of the F tables, whether or not all are one."""
        return self.hotness or (1,) * len(self.rows)

    @property
    def columns(self) -> int:
        """Rows that a sample looks up in all tables, C."""
        return sum(self.lookups)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Byte offset of each table, and the end of the last."""
        ends = [0]
        for rows in self.rows:
            size = rows * self.dim * 4
            ends.append(ends[-1] + -(-size // _ALIGNMENT) * _ALIGNMENT)
        return tuple(ends)

    @property
    def table_bytes(self) -> int:
        """Bytes of the embeddings themselves, fp32, without padding."""
        return sum(self.rows) * self.dim * 4


@dataclass(frozen=True)
class TablesHandle:
    """What another process needs to map a table set."""

    region: RegionHandle
    layout: TableLayout


class TableSet:
    """F embedding tables [V_f, D] fp32 in one shared region, and behind them their version.

    Use `create` in the process that fills them and `attach` in those that serve from them. Whoever
    changes them while others may keep what they read does so inside `changing`.
    """

    def __init__(self, region: Region, layout: TableLayout) -> None:
        self.region = region
        self.layout = layout
        self.arrays: list[NDArray[np.float32]] = [
            region.array(np.float32, (rows, layout.dim), offset)
            for rows, offset in zip(layout.rows, layout.offsets, strict=False)
        ]
        self._version: NDArray[np.int64] = region.array(np.int64, (1,), layout.offsets[-1])

    @classmethod
    def create(cls, layout: TableLayout, policy: MemoryPolicy | None = None) -> "TableSet":
        """Allocate the tables, all zero.

        Parameters
        ----------
        layout : TableLayout
            How many, how large.
        policy : MemoryPolicy, optional
            Which NUMA nodes they are to lie on.

        Raises
        ------
        InputError
            They do not fit into the memory that is available.
        MachineError
            They cannot lie on these nodes.
        """
        length = layout.offsets[-1] + _ALIGNMENT
        tables, reserve = format_bytes(layout.table_bytes), format_bytes(_RESERVE_BYTES)
        require_memory(
            f"tables ({tables}) and {reserve} to run",
            ordinary=_RESERVE_BYTES,
            huge=length,
            advice="use smaller cardinalities",
        )
        return cls(HugeRegion.create("tables", length, policy), layout)

    def copy(self) -> "TableSet":
        """Return tables of one's own with the same rows, settled on their pages.

        Raises
        ------
        InputError
            They do not fit into the memory that is available.
        """
        found = TableSet.create(self.layout)
        for mine, base in zip(found.arrays, self.arrays, strict=True):
            mine[:] = base
        found.region.settle()
        return found

    @classmethod
    def attach(cls, handle: TablesHandle, *, writable: bool = False) -> "TableSet":
        """Map, read-only unless they are to be written to, and take all page faults now."""
        region = Region.attach(handle.region, writable=writable)
        region.mapping.populate(write=writable)
        return cls(region, handle.layout)

    @property
    def handle(self) -> TablesHandle:
        """What to hand to a child that inherits the descriptor."""
        return TablesHandle(self.region.handle, self.layout)

    @property
    def kernels(self) -> Tables:
        """The same tables for the lookup kernels."""
        return Tables(self.arrays, self.layout.hotness or None, self._version)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """While rows are written: base vectors that were pooled before are out of date."""
        advance_version(self._version)
        try:
            yield
        finally:
            advance_version(self._version)

    @contextmanager
    def rewriting(self) -> Iterator[None]:
        """While rows are written over with the values that they have.

        Each piece of it is a change as any other (`changing`). In the end the version is what it
        was before, since base vectors that were pooled then are as good as ever.
        """
        before = int(self._version[0])
        try:
            yield
        finally:
            self._version[0] = before

    def initialise(self, rng: np.random.Generator) -> None:
        """Fill with U(-1/sqrt(V), 1/sqrt(V)), as the reference DLRM does (Naumov et al. 2019)."""
        with self.changing():
            for table in self.arrays:
                bound = np.float32(1.0 / np.sqrt(table.shape[0]))
                rng.random(out=table, dtype=np.float32)
                np.multiply(table, 2 * bound, out=table)
                np.subtract(table, bound, out=table)
