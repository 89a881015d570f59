"""The LoRA adapter's memory: how many slots a byte budget buys, and where they lie.

Sizing only; the adapter's layout, its publication and its arithmetic are C (``kernels/adapter.h``
and what it includes). The budget counts everything that exists because of the LoRA trainer and
grows with the model (both sides of A, B and the index, slot -> row, accumulators, dirty marks, the
gradients' second moments), so that "2 % of the tables" means what a memory planner would read.
"""

from dataclasses import dataclass

import numpy as np

from lorabench._hotpath import (
    MAX_RANK,
    PIN_BYTES,
    AdapterReader,
    AdapterWriter,
    Mapping,
    adapter_bytes,
    format_adapter,
)
from lorabench.errors import InputError
from lorabench.memory import HugeRegion, Region, RegionHandle
from lorabench.model.tables import TableLayout

# Writer's bookkeeping a slot: accumulator (float32), slot -> row (int32), dirty mark (uint8).
_PRIVATE_SLOT_BYTES = 4 + 4 + 1


@dataclass(frozen=True)
class AdapterPlan:
    """How a byte budget is spent.

    Parameters
    ----------
    layout : TableLayout
        The tables it adapts.
    rank : int
        R.
    servers : int
        Readers, each with a pin line.
    slots : tuple of int
        S_f, rows of each table that can be adapted; 0 where a table is not adapted.
    """

    layout: TableLayout
    rank: int
    servers: int
    slots: tuple[int, ...]

    @property
    def shared_bytes(self) -> int:
        """Both sides: A, B, index and their headers."""
        slots = np.array(self.slots, dtype=np.int64)
        return adapter_bytes(slots, self.rank, self.layout.dim)

    @property
    def breakdown(self) -> dict[str, int]:
        """Bytes by purpose."""
        dim, adapted = self.layout.dim, sum(s > 0 for s in self.slots)
        return {
            "sides": self.shared_bytes,
            "pins": self.servers * PIN_BYTES,
            "slot_state": sum(self.slots) * _PRIVATE_SLOT_BYTES,
            "second_moments": adapted * second_moment_size(dim) * 4,
        }

    @property
    def total_bytes(self) -> int:
        """All LoRA state."""
        return sum(self.breakdown.values())

    @property
    def fraction(self) -> float:
        """LoRA state as a share of the table bytes."""
        return self.total_bytes / self.layout.table_bytes

    @property
    def not_adapted(self) -> tuple[int, ...]:
        """Tables that get no slot."""
        return tuple(f for f, slots in enumerate(self.slots) if slots == 0)


def second_moment_size(dim: int) -> int:
    """Entries of a packed symmetric D x D matrix."""
    return dim * (dim + 1) // 2


def adapted_bytes(slots: int, rank: int, dim: int) -> int:
    """LoRA state of one table with so many slots, its statistics not counted; 0 at rank 0."""
    if slots == 0 or rank == 0:
        return 0
    shared = adapter_bytes(np.array([slots], dtype=np.int64), rank, dim)
    return shared + slots * _PRIVATE_SLOT_BYTES


def plan_adapter(
    layout: TableLayout, rank: int, servers: int, budget_fraction: float
) -> AdapterPlan:
    """Share a budget out among tables: as many slots each, up to a table's rows.

    Every sample looks one row up in every table, so equal slots is where a further slot catches
    about as many lookups in one table as in another; a table with fewer rows than that is adapted
    whole. A table whose own statistics (B and second moments) would outweigh it is left out.

    Parameters
    ----------
    layout : TableLayout
        The tables.
    rank : int
        R.
    servers : int
        Readers.
    budget_fraction : float
        Of the table bytes.

    Raises
    ------
    InputError
        The rank is out of range, or the budget does not buy a single slot.
    """
    if not 1 <= rank <= min(MAX_RANK, layout.dim):
        raise InputError(
            f"--rank: found {rank}, expected 1 to {min(MAX_RANK, layout.dim)} "
            f"(the embedding dim is {layout.dim})"
        )
    fixed = 2 * rank * layout.dim * 4 + second_moment_size(layout.dim) * 4
    worth = [rows if rows * layout.dim * 4 > fixed else 0 for rows in layout.rows]
    budget = int(budget_fraction * layout.table_bytes)

    def at(level: int) -> AdapterPlan:
        return AdapterPlan(layout, rank, servers, tuple(min(rows, level) for rows in worth))

    low, high = 0, max(worth)
    while low < high:
        middle = (low + high + 1) // 2
        if at(middle).total_bytes <= budget:
            low = middle
        else:
            high = middle - 1
    if low == 0:
        raise InputError(
            f"the adapter's budget is too small: found {budget_fraction:.2%} of "
            f"{layout.table_bytes:,} table bytes, expected at least {at(1).total_bytes:,} bytes "
            f"for one row a table at rank {rank}; use a lower --rank or larger tables"
        )
    return at(low)


@dataclass(frozen=True)
class AdapterHandle:
    """What servers and the trainer need to map the adapter."""

    sides: RegionHandle
    pins: RegionHandle
    plan: AdapterPlan


class Adapter:
    """The adapter's shared memory, made by the conductor and empty at first."""

    def __init__(self, plan: AdapterPlan) -> None:
        self.plan = plan
        self.sides = HugeRegion.create("adapter", plan.shared_bytes)
        self.pins = Region.create("pins", plan.servers * PIN_BYTES)
        _format(self.sides.mapping, plan)
        # Its buckets and rows of A are read at random, as the tables' rows are.
        self.sides.settle()
        self.handle = AdapterHandle(self.sides.handle, self.pins.handle, plan)

    def close(self) -> None:
        """Let go of the memory."""
        self.sides.close()
        self.pins.close()


def attach_reader(handle: AdapterHandle, server: int) -> AdapterReader:
    """Map the adapter for one server: the sides read-only, the pins writable."""
    sides = Region.attach(handle.sides, writable=False)
    sides.mapping.populate()
    pins = Region.attach(handle.pins, writable=True)
    return AdapterReader(sides.mapping, pins.mapping, server)


def _format(sides: Mapping, plan: AdapterPlan) -> None:
    format_adapter(sides, np.array(plan.slots, dtype=np.int64), plan.rank, plan.layout.dim)


class WriterState:
    """The trainer's end: an empty adapter and the optimiser's private arrays.

    Attributes
    ----------
    writer : AdapterWriter
        Trains and publishes.
    accumulators : list of float32 [S_f]
        Row-wise Adagrad accumulators, one array a table.
    """

    def __init__(self, handle: AdapterHandle) -> None:
        self._handle = handle
        self._sides = Region.attach(handle.sides, writable=True)
        self._pins = Region.attach(handle.pins, writable=True)
        self.reset()

    @property
    def pins(self) -> Mapping:
        """The pin lines, one a server."""
        return self._pins.mapping

    def reset(self) -> None:
        """Start over with an empty adapter at epoch 0; only while no server reads it."""
        plan = self._handle.plan
        _format(self._sides.mapping, plan)
        slots = np.array(plan.slots, dtype=np.int64)
        total = int(slots.sum())
        flat = np.zeros(total, dtype=np.float32)
        self.accumulators = np.split(flat, np.cumsum(slots)[:-1])
        self.writer = AdapterWriter(
            self._sides.mapping,
            self._pins.mapping,
            plan.servers,
            flat,
            np.zeros(total, dtype=np.int32),
            np.zeros(total, dtype=np.uint8),
        )

    def medians(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """Median accumulator of each table's slots in use, float32 [F]; 0 where there is none."""
        return np.array(
            [
                np.median(values[:used]) if used else 0.0
                for values, used in zip(self.accumulators, self.writer.used, strict=True)
            ],
            dtype=np.float32,
        )
