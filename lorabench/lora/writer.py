"""The LoRA adapter's shared memory: allocated once, mapped by servers, written by one owner.

Its layout in bytes, its publication and its arithmetic are C (``kernels/shared/adapter.h`` and what
it includes); how large it is has been decided in `lorabench.lora.layout`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.adapter import AdapterReader, format_adapter
from lorabench._kernels.memory import Mapping
from lorabench._kernels.writer import AdapterWriter
from lorabench.lora.layout import AdapterPlan
from lorabench.lora.rebase import Snapshot
from lorabench.memory import MemoryPolicy, Region, RegionHandle


@dataclass(frozen=True)
class ReaderHandle:
    """What a server needs to map the adapter, which says itself how it is laid out."""

    sides: RegionHandle
    pins: RegionHandle


@dataclass(frozen=True)
class AdapterHandle(ReaderHandle):
    """What the trainer needs to map the adapter and to lay it out."""

    plan: AdapterPlan

    @property
    def reader(self) -> ReaderHandle:
        """A server's part of it."""
        return ReaderHandle(self.sides, self.pins)


class Adapter:
    """The adapter's shared memory, made by the parent and empty at first.

    Parameters
    ----------
    plan : AdapterPlan
        What it has room for.
    policy : MemoryPolicy, optional
        Which NUMA nodes it is to lie on.

    Raises
    ------
    MachineError
        It cannot lie on these nodes.
    """

    def __init__(self, plan: AdapterPlan, policy: MemoryPolicy | None = None) -> None:
        self.plan = plan
        self.sides = plan.region.create("adapter", plan.room_bytes, policy)
        self.pins = Region.create("pins", plan.pins_bytes, policy)
        _format(self.sides.mapping, plan)
        # Its buckets and rows of A are read at random, as the tables' rows are.
        self.sides.settle()
        self.handle = AdapterHandle(self.sides.handle, self.pins.handle, plan)

    def close(self) -> None:
        """Let go of the memory."""
        self.sides.close()
        self.pins.close()


def attach_reader(handle: ReaderHandle, server: int) -> AdapterReader:
    """Map the adapter for one server: the sides read-only, the pins writable."""
    sides = Region.attach(handle.sides, writable=False)
    sides.mapping.populate()
    pins = Region.attach(handle.pins, writable=True)
    return AdapterReader(sides.mapping, pins.mapping, server)


def _format(sides: Mapping, plan: AdapterPlan) -> None:
    format_adapter(sides, np.array(plan.slots, dtype=np.int64), plan.ranks, plan.layout.dim)


class AdapterOwner:
    """The trainer's end: the writer, and the layout that it has just now.

    Attributes
    ----------
    writer : AdapterWriter
        Trains and publishes.
    plan : AdapterPlan
        What the memory is laid out for now.
    noted : Snapshot or None
        What it held when a push was begun that has not landed yet.
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
        self.plan = self._handle.plan
        self.noted: Snapshot | None = None
        _format(self._sides.mapping, self.plan)
        rows = np.array(self.plan.layout.rows, dtype=np.int64)
        self.writer = AdapterWriter(
            self._sides.mapping, self._pins.mapping, self.plan.servers, rows
        )

    def relayout(
        self,
        plan: AdapterPlan,
        basis: Sequence[NDArray[np.floating]],
        turn: Sequence[NDArray[np.floating]],
    ) -> None:
        """Lay the idle side out for another plan; right after the writer's ``begin``.

        Where a table gets fewer slots, the rows that were looked up least of late lose theirs.

        Parameters
        ----------
        plan : AdapterPlan
            Within the room and the budget of the one that the memory was made for.
        basis : sequence of float arrays, length F
            New B [R', D] of each table.
        turn : sequence of float arrays, length F
            [R, R']; the new A is the old one times this.

        Raises
        ------
        ValueError
            The plan does not fit.
        """
        plan = self.plan.with_ranks(plan.ranks, plan.slots)
        old, new = max(self.plan.ranks), max(plan.ranks)
        bases = np.zeros((len(plan.ranks), new, plan.layout.dim), np.float32)
        turns = np.zeros((len(plan.ranks), old, new), np.float32)
        keep: list[NDArray[np.int32]] = []
        for f, slots in enumerate(plan.slots):
            if plan.ranks[f]:
                bases[f, : plan.ranks[f]] = basis[f]
                turns[f, : self.plan.ranks[f], : plan.ranks[f]] = turn[f]
            used = self.writer.used[f]
            if used <= slots:
                keep.append(np.arange(used, dtype=np.int32))
                continue
            count = self.writer.slot_state(f)[2]
            popular = np.argpartition(count, used - slots)[used - slots :] if slots else count[:0]
            keep.append(np.sort(popular).astype(np.int32))
        slots_of = np.array(plan.slots, dtype=np.int64)
        self.writer.relayout(slots_of, list(plan.ranks), keep, bases, turns)
        self.plan = plan
        if self.noted is not None:
            applied = zip(plan.ranks, turn, strict=True)
            self.noted.turn(keep, [one if rank else None for rank, one in applied])

    def clear(self) -> None:
        """Forget every row; between the writer's ``begin`` and ``publish``."""
        self.writer.clear()
        if self.noted is not None:
            self.noted.void()

    def note(self) -> Snapshot:
        """Note what is published, in place of what was noted before."""
        self.noted = Snapshot(self.writer)
        return self.noted

    def follow(self) -> None:
        """Keep what is noted true; after each step of learning."""
        if self.noted is not None:
            self.noted.follow(self.writer)

    def rebase(self, snapshot: Snapshot, landed: Sequence[NDArray[np.int32]]) -> bool:
        """Publish the adapter without what was noted of rows that landed; after ``begin``.

        Accumulators, counts of lookups and slots stay. The note ends.

        Parameters
        ----------
        snapshot : Snapshot
            What `note` returned last.
        landed : sequence of int32 arrays, length F
            Rows of each table, as the push carried them.

        Returns
        -------
        bool
            False where there was nothing to take away; then nothing is published.

        Raises
        ------
        ValueError
            Another snapshot than the last, or not as many tables.
        """
        if snapshot is not self.noted:
            raise ValueError("snapshot: found one that has ended, expected what was noted last")
        if len(landed) != len(self.plan.ranks):
            raise ValueError(f"landed: found {len(landed)}, expected {len(self.plan.ranks)} tables")
        self.noted = None
        moved = False
        for f, rows in enumerate(landed):
            A = snapshot.newer(f, self.writer.arrays(f)[0], rows)
            if A is not None:
                self.writer.rewrite(f, A)
                moved = True
        if moved:
            self.writer.publish()
        return moved

    def medians(self) -> NDArray[np.float32]:
        """Median accumulator of each table's slots in use, float32 [F]; 0 where there is none."""
        return np.array(
            [
                np.median(self.writer.slot_state(table)[0]) if used else 0.0
                for table, used in enumerate(self.writer.used)
            ],
            dtype=np.float32,
        )
