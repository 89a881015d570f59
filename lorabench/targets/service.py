"""How long a batch takes as a rule, and which batches the host held up.

A virtual machine's CPU is taken away now and then, for milliseconds, and no counter of the guest
says so. But the guest knows what it did itself: a server's thread that was far too slow, or woke up
far too late, while it was not switched out, did not wait in the run queue and met no page fault,
was held up from outside. What the guest did to itself stays what it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench.targets.target import Record
from lorabench.targets.trace import NS

STALL_NS = 1_000_000
"""A wake-up so late was held up; a batch, if so much slower than its norm, and twice as slow."""

# By how much of that the run queue may account before the guest itself is the cause.
_OWN_SHARE = 0.1


@dataclass(frozen=True)
class ServiceTime:
    """Time of a batch by its rows, ns: `fixed_ns` and `row_ns` a row."""

    fixed_ns: float
    row_ns: float

    def of(self, rows: int) -> int:
        """Return the time of a batch of so many rows, ns."""
        return int(self.fixed_ns + self.row_ns * rows)

    def __mul__(self, factor: float) -> "ServiceTime":
        return ServiceTime(self.fixed_ns * factor, self.row_ns * factor)

    @classmethod
    def fitted(cls, record: Record) -> "ServiceTime | None":
        """Fit a line through the median times of batches of as many rows; None without batches.

        Parameters
        ----------
        record : Record
            Served alone.
        """
        batches = _Batches.of(record)
        if not len(batches.first):
            return None
        sizes, place, count = np.unique(batches.rows, return_inverse=True, return_counts=True)
        median = np.array([np.median(batches.took_ns[place == n]) for n in range(len(sizes))])
        if len(sizes) == 1:
            return cls(float(median[0]), 0.0)
        slope, fixed = np.polyfit(sizes, median, 1, w=np.sqrt(count))
        if slope < 0 or fixed < 0:
            return cls(float(np.average(median, weights=count)), 0.0)
        return cls(float(fixed), float(slope))


@dataclass(frozen=True, eq=False)
class Stalls:
    """What the host held up.

    Attributes
    ----------
    at_ns : int64 [S]
        When each stall was over, by the case's clock.
    held_ns : float64 [S]
        How long it was.
    touched : bool [N]
        Queries that a stall touched: those of its batch and of all batches after it, until the
        server had nothing more to do.
    """

    at_ns: NDArray[np.int64]
    held_ns: NDArray[np.float64]
    touched: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Batches:
    """Batches of one record, server after server: their first query and what is known of each."""

    first: NDArray[np.int64]
    rows: NDArray[np.int64]
    took_ns: NDArray[np.int64]
    of_query: NDArray[np.int64]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, record: Record) -> "_Batches":
        order = np.lexsort((record.slices, record.server))  # stable: in order of arrival
        order = order[record.served[order]]
        same = (
            (np.diff(record.started[order]) == 0)
            & (np.diff(record.server[order]) == 0)
            & (np.diff(record.slices[order]) == 0)
        )
        begin = np.append(True, ~same) if len(order) else np.zeros(0, bool)
        of_query = np.cumsum(begin) - 1
        first = order[begin]
        rows = np.zeros(len(first), np.int64)
        np.add.at(rows, of_query, record.rows[order])
        return cls(first, rows, record.done[first] - record.started[first], of_query, order)


def stalls(record: Record, norm: ServiceTime, *, held_back: ServiceTime | None = None) -> Stalls:
    """Find what the host held up.

    Parameters
    ----------
    record : Record
        What was recorded.
    norm : ServiceTime
        What a batch takes as a rule.
    held_back : ServiceTime, optional
        What every answer was held back for on purpose.

    Returns
    -------
    Stalls
        Wake-ups and batches later than `STALL_NS`, of a thread to which the kernel did nothing that
        accounts for it, in slices in which no limit on CPU time had it stopped. None where the
        kernel does not say how long threads wait.
    """
    batches = _Batches.of(record)
    first = batches.first
    expected = norm.fixed_ns + norm.row_ns * batches.rows
    if held_back is not None:
        expected = expected + held_back.fixed_ns + held_back.row_ns * batches.rows
    slow = np.maximum(0.0, batches.took_ns - expected)
    late = np.maximum(0, record.late_ns[first]).astype(np.float64)
    # Of a large batch contention alone can cost a millisecond, but not as much again as the norm.
    held = np.where(slow > np.maximum(STALL_NS, expected), slow, 0.0) + np.where(
        late > STALL_NS, late, 0.0
    )
    own = (
        (record.switches[first] > 0)
        | (record.faults[first] > 0)
        | (record.delay_ns[first] < 0)
        | (record.delay_ns[first] > _OWN_SHARE * held)
        # Who was stopped for a limit of a control group was not held up by the host.
        | record.stopped[record.slices[first]]
    )
    stalled = (held > 0) & ~own
    # A server that slept before a batch had nothing left to do of what came before it.
    rested = np.flatnonzero(record.late_ns[first] >= 0)
    apart = np.flatnonzero(np.diff(record.slices[first] * 65536 + record.server[first])) + 1
    idle = np.union1d(np.union1d(rested, apart), [0])
    busy_period = np.searchsorted(idle, np.arange(len(first)), side="right") - 1
    # The first stall of a busy period touches all that comes after it there.
    last = np.where(stalled, np.arange(len(first)), -1)
    before = np.maximum.accumulate(last) if len(last) else last
    touched_batch = before >= idle[busy_period] if len(first) else np.zeros(0, bool)
    touched = np.zeros(len(record.done), bool)
    touched[batches.order] = touched_batch[batches.of_query] if len(first) else False
    return Stalls(record.done[first][stalled], held[stalled], touched)


def measured_stalls(record: Record, found: Stalls) -> tuple[int, float]:
    """Return how many stalls were over within what is measured, and s that they took together."""
    inside = record.measured(found.at_ns)
    return int(inside.sum()), float(found.held_ns[inside].sum()) / NS
