"""How many slots of a LoRA adapter a byte budget buys.

Sizing only; memory is allocated in `lorabench.lora.writer`, and the order of its bytes is C's
(``kernels/shared/adapter.h`` and what it includes). The budget counts all that exists because of
the LoRA trainer and grows with the model (both sides of A, B and the index, and what the trainer
keeps a slot: row, accumulator, count of lookups, dirty mark, sketch; the gradient sums of the
signal spectrum), so that "2 % of the tables" means what a memory planner would read: shared memory
as it is mapped, in whole pages (what the trainer keeps for itself as it is asked for).

A table whose own statistics would outweigh it is small: it has a plain delta [V, D] in place of
A, B and index, and takes no part in what follows. Every sample looks it up, so it is worth its
bytes.

Ranks and slots change while the trainer runs; the memory does not. What both sides take is
allocated once (`AdapterPlan.room_bytes`), and every later layout has to fit into it, with the
trainer's own share within what is left of the budget.
"""

import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lorabench._kernels.adapter import MAX_RANK, PIN_BYTES, adapter_bytes, slot_state_bytes
from lorabench.errors import InputError
from lorabench.memory import HugeRegion, Region
from lorabench.model.tables import TableLayout

AUTO_RANK = 4
"""What an adapter whose rank is chosen at run time begins with, and is laid out for."""

MOST_AUTO_RANK = 16

# Rows of a table whose gradient sums are kept for the signal spectrum, and the most that all those
# sums may take of the budget.
_SIGNAL_ROWS = (16, 512)
_SIGNAL_SHARE = 0.25

# The most that all plain deltas may take of the budget.
_PLAIN_SHARE = 0.25

_ROUNDING = 64

AdapterPages = Literal["2m", "4k"]
"""Of both sides; "4k" are the machine's ordinary pages, which some have larger."""

_REGIONS: dict[AdapterPages, type[Region]] = {"2m": HugeRegion, "4k": Region}

# Huge pages save address translations, and rounding to them costs slots: they are taken where at
# least this share is left of the slots that ordinary pages would have.
_HUGE_KEEPS = 7 / 8


def spectrum_bytes(rows: int, dim: int) -> int:
    """Bytes of what a table's signal spectrum is taken from.

    Gradient sums and counts of `rows` rows over two halves, their index (`SplitGradientSums` of
    `lorabench.lora.spectrum`), and the averaged matrix (`lorabench.lora.rank`).
    """
    if rows == 0:
        return 0
    index = ((rows + rows // 2) // 8 + 1) * _ROUNDING + max(4, 2 * rows)
    return 2 * rows * (dim + 1) * 4 + index + dim * dim * 4


@dataclass(frozen=True)
class AdapterPlan:
    """How a byte budget is spent.

    Parameters
    ----------
    layout : TableLayout
        The tables it adapts.
    ranks : tuple of int
        R_f, 0 where a table is not adapted or has a plain delta.
    servers : int
        Readers, each with a pin line.
    slots : tuple of int
        S_f, rows of each table that can be adapted at one time; all where it has a plain delta; 0
        where a table is not adapted.
    signal_rows : tuple of int
        Rows of each table whose gradient sums are kept.
    room_bytes : int
        Of the shared memory: both sides, in any layout that there will be; whole pages.
    pages : {"2m", "4k"}
        Of that memory: 2 MiB where the machine gives such, unless the budget is too small for them.
    budget_bytes : int
        What all of it must stay within.
    """

    layout: TableLayout
    ranks: tuple[int, ...]
    servers: int
    slots: tuple[int, ...]
    signal_rows: tuple[int, ...]
    room_bytes: int
    pages: AdapterPages
    budget_bytes: int

    @property
    def shared_bytes(self) -> int:
        """Both sides in this layout: A, B, index and their headers."""
        return adapter_bytes(np.array(self.slots, dtype=np.int64), self.ranks, self.layout.dim)

    @property
    def region(self) -> type[Region]:
        """What both sides lie in."""
        return _REGIONS[self.pages]

    @property
    def pins_bytes(self) -> int:
        """The readers' pin lines, as mapped."""
        return Region.mapped_bytes(self.servers * PIN_BYTES)

    @property
    def breakdown(self) -> dict[str, int]:
        """Bytes by purpose.

        ``sides`` and ``pins`` are shared memory, as it is mapped: whole pages, whether touched or
        not. ``slot_state`` and ``spectra`` are the trainer's own arrays, as they are asked for:
        without what its allocator adds, and between two layouts, when tables go from one to the
        other in turn and one has its ``slot_state`` twice, as in the larger of both.
        """
        rows = np.array(self.layout.rows, dtype=np.int64)
        return {
            "sides": self.room_bytes,
            "pins": self.pins_bytes,
            "slot_state": slot_state_bytes(np.array(self.slots, dtype=np.int64), rows),
            "spectra": sum(spectrum_bytes(n, self.layout.dim) for n in self.signal_rows),
        }

    @property
    def total_bytes(self) -> int:
        """All LoRA state."""
        return sum(self.breakdown.values())

    @property
    def used_bytes(self) -> int:
        """All LoRA state, of both sides only what this layout fills."""
        return self.total_bytes - self.room_bytes + self.shared_bytes

    @property
    def fraction(self) -> float:
        """LoRA state as a share of the table bytes."""
        return self.total_bytes / self.layout.table_bytes

    @property
    def fits(self) -> bool:
        """Whether this layout is within its room and its budget."""
        return self.shared_bytes <= self.room_bytes and self.total_bytes <= self.budget_bytes

    @property
    def plain(self) -> tuple[int, ...]:
        """Small tables, which have a plain delta."""
        return tuple(
            f
            for f, (slots, rank) in enumerate(zip(self.slots, self.ranks, strict=True))
            if slots and not rank
        )

    @property
    def not_adapted(self) -> tuple[int, ...]:
        """Tables that get no slot and no plain delta."""
        return tuple(f for f, slots in enumerate(self.slots) if slots == 0)

    def with_ranks(self, ranks: Sequence[int], slots: Sequence[int]) -> "AdapterPlan":
        """Lay the same memory out for other ranks and slots.

        Raises
        ------
        ValueError
            It does not fit: a mistake of the caller, who has `fits` to ask.
        """
        found = replace(self, ranks=tuple(ranks), slots=tuple(slots))
        if not found.fits:
            raise ValueError(
                f"layout: found {found.shared_bytes} bytes in a room of {self.room_bytes}, and "
                f"{found.total_bytes} bytes in all of a budget of {self.budget_bytes}"
            )
        return found


def adapted_bytes(slots: int, rank: int, dim: int) -> int:
    """LoRA state of one table with so many slots, its statistics not counted; 0 at rank 0."""
    if slots == 0 or rank == 0:
        return 0
    count = np.array([slots], dtype=np.int64)
    return adapter_bytes(count, rank, dim) + slot_state_bytes(count)


def plan_adapter(
    layout: TableLayout, rank: int | None, servers: int, budget_fraction: float
) -> AdapterPlan:
    """Share a budget out among tables: as many slots each, up to a table's rows.

    Every sample looks one row up in every table, so equal slots is where a further slot catches
    about as many lookups in one table as in another; a table with fewer rows than that is adapted
    whole. A table whose own statistics (B and gradient sums) would outweigh it gets a plain delta:
    the smallest first, as many as a quarter of the budget pays for. Where the statistics of all
    others are too much for another quarter, the largest are left out.

    Both sides lie on 2 MiB pages, unless rounding to these is more than the budget holds, or leaves
    less than 7/8 of the slots that 4 KiB pages have.

    Parameters
    ----------
    layout : TableLayout
        The tables.
    rank : int or None
        R of all tables; None where it will be chosen at run time.
    servers : int
        Readers.
    budget_fraction : float
        Of the table bytes.

    Raises
    ------
    InputError
        The rank is out of range, or the budget does not buy a single slot.
    """
    start = _first_rank(layout, rank)
    budget = int(budget_fraction * layout.table_bytes)
    found = _plan(layout, start, servers, budget)
    if found is not None:
        return found
    enough = _enough(layout, start, servers, budget)
    if enough is None:
        raise InputError(
            f"found no table that an adapter of rank {start} would not outweigh, expected larger "
            "ones"
        )
    raise InputError(
        f"the adapter's budget is too small: found {budget:,} bytes ({budget_fraction:.4g} of the "
        f"tables), expected at least {enough:,} ({_rounded_up(enough / layout.table_bytes)}), as "
        f"mapped, at rank {start}"
    )


def _rounded_up(share: float) -> float:
    return math.ceil(share * 1e6) / 1e6


def _plan(layout: TableLayout, start: int, servers: int, budget: int) -> AdapterPlan | None:
    """Share `budget` bytes out at rank `start`; None where they do not buy a single slot."""
    signal_rows = _signal_rows(layout, start, int(budget * _SIGNAL_SHARE))
    highest = max((rows for f, rows in enumerate(layout.rows) if signal_rows[f]), default=0)

    def at(level: int, pages: AdapterPages, plain: Container[int]) -> AdapterPlan:
        ranks = tuple(start if kept and level else 0 for kept in signal_rows)
        slots = tuple(
            rows if f in plain else min(rows, level) if ranks[f] else 0
            for f, rows in enumerate(layout.rows)
        )
        asked = adapter_bytes(np.array(slots, dtype=np.int64), ranks, layout.dim)
        room = _REGIONS[pages].mapped_bytes(asked)
        return AdapterPlan(layout, ranks, servers, slots, signal_rows, room, pages, budget)

    def most(pages: AdapterPages, plain: Container[int]) -> AdapterPlan:
        level = _largest(highest, lambda level: at(level, pages, plain).fits)
        return at(level, pages, plain)

    # Where the budget buys a slot only without them, plain deltas are done without.
    for plain in (_plain_tables(layout, signal_rows, int(budget * _PLAIN_SHARE)), ()):
        huge, small = most("2m", plain), most("4k", plain)
        if _slots(small):
            return huge if _slots(huge) >= _HUGE_KEEPS * _slots(small) else small
    return None


def _slots(plan: AdapterPlan) -> int:
    """Return how many slots a plan has beside those of plain deltas."""
    return sum(slots for slots, rank in zip(plan.slots, plan.ranks, strict=True) if rank)


def _enough(layout: TableLayout, start: int, servers: int, too_small: int) -> int | None:
    """Return a budget in bytes that buys a slot, near the least that does; None: none does."""
    low, high = too_small, max(2 * too_small, Region.mapped_bytes(1))
    while _plan(layout, start, servers, high) is None:
        if high > 2 * layout.table_bytes:
            return None
        low, high = high, 2 * high
    while high - low > max(1, high // 1000):
        middle = (low + high) // 2
        if _plan(layout, start, servers, middle) is None:
            low = middle
        else:
            high = middle
    return high


def _first_rank(layout: TableLayout, rank: int | None) -> int:
    """Return the rank to begin with, or refuse what no table can have."""
    if rank is None:
        return min(AUTO_RANK, layout.dim)
    if not 1 <= rank <= min(MAX_RANK, layout.dim):
        raise InputError(
            f"--rank: found {rank}, expected auto or 1 to {min(MAX_RANK, layout.dim)} "
            f"(the embedding dim is {layout.dim})"
        )
    return rank


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number up to `most` that fits, as all below it do; 0 where none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _plain_tables(layout: TableLayout, signal_rows: Sequence[int], budget: int) -> frozenset[int]:
    """Return the smallest of the tables without a signal, as many as `budget` bytes pay for."""
    taken: list[int] = []
    without = (f for f, kept in enumerate(signal_rows) if kept == 0)
    for f in sorted(without, key=lambda f: layout.rows[f]):
        slots = np.array([layout.rows[one] for one in (*taken, f)], dtype=np.int64)
        if adapter_bytes(slots, 0, layout.dim) + slot_state_bytes(slots) > budget:
            break
        taken.append(f)
    return frozenset(taken)


def _signal_rows(layout: TableLayout, rank: int, budget: int) -> tuple[int, ...]:
    """Rows of each table whose gradient sums are kept; 0 for a table that is not worth it."""
    least, most = _SIGNAL_ROWS

    def sums(rows: int, kept: int) -> int:
        return spectrum_bytes(min(rows, kept), layout.dim)

    basis = 2 * rank * layout.dim * 4
    candidates = sorted(
        (
            f
            for f, rows in enumerate(layout.rows)
            if rows * layout.dim * 4 > basis + sums(rows, least)
        ),
        key=lambda f: layout.rows[f],
    )
    # The smallest tables whose least statistics the budget pays for, and at least one: equal slots
    # catch more lookups in a smaller table.
    taken: list[int] = []
    spent = 0
    for f in candidates:
        spent += sums(layout.rows[f], least)
        if taken and spent > budget:
            break
        taken.append(f)
    kept = most
    while kept > least and sum(sums(layout.rows[f], kept) for f in taken) > budget:
        kept -= 1
    found = [0] * len(layout.rows)
    for f in taken:
        found[f] = min(layout.rows[f], kept)
    return tuple(found)
