"""An adapter rebased onto base rows that were trained elsewhere, without what is newer being lost.

A push carries rows as they were at one moment, t0, and lands at another, t1. Until then the adapter
serves in their place: its term of a row has learned from samples up to t0, which the pushed row has
learned from as well, and from samples since, which it has not. So at t0 it is noted what the
adapter holds (`Snapshot`), and at t1 that is taken away from the rows that landed:

    W' + (A_1 - A_0) B  =  W' + what the adapter learned in (t0, t1]

Rows that the push did not carry keep their term. Much may happen to an adapter in between. A basis
turns: the note turns with it, so that A_0 is what is left in A_1 of what was noted, in today's
coordinates, and the difference loses nothing. What a turn itself costs of the newer part is in
``rebase_loss`` as ever; what it costs of the older, the pushed row makes good. A row loses its
slot, and perhaps wins one again: its term began anew, so that all of it is newer, and it is dropped
from the note. The guard empties the adapter: nothing is left of the note.

The same bookkeeping of "what has been sent" against "what has been learned since" is the local
delta of asynchronous parameter servers (Dean et al. 2012, "Large Scale Distributed Deep Networks").
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.writer import AdapterWriter

Slots = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class _Noted:
    """What is left of a table's note.

    Attributes
    ----------
    slots, rows : int32 [n]
        Where the rows that are noted stand now, and which these are.
    A : float32 [n, R]
        What their A holds of what it held then; of a plain delta, R is D.
    """

    slots: Slots
    rows: NDArray[np.int32]
    A: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        return self.slots.nbytes + self.rows.nbytes + self.A.nbytes

    def only(self, there: NDArray[np.bool_]) -> "_Noted":
        if there.all():
            return self
        return _Noted(self.slots[there], self.rows[there], self.A[there])

    def turned(self, keep: Slots, turn: NDArray[np.floating] | None) -> "_Noted":
        """Follow the slots `keep` into their new order, and a change of basis."""
        now = np.full(max(self.slots.max(initial=-1), keep.max(initial=-1)) + 1, -1, np.int32)
        now[keep] = np.arange(len(keep), dtype=np.int32)
        slots = now[self.slots]
        found = replace(self, slots=slots).only(slots >= 0)
        if turn is None:
            return found
        return replace(found, A=found.A @ turn.astype(np.float32))


class Snapshot:
    """What an adapter held at one moment, as far as it still holds it.

    Its owner keeps it true to what the adapter becomes (`lorabench.lora.writer.AdapterOwner`).

    Parameters
    ----------
    writer : AdapterWriter
        What it has published is noted: a copy of the rows, A and plain deltas in use. That is less
        than one side of the adapter, which has an index besides.
    """

    def __init__(self, writer: AdapterWriter) -> None:
        self._tables = []
        for table in range(len(writer.used)):
            A, _, rows = writer.arrays(table)
            self._tables.append(_Noted(np.arange(len(rows), dtype=np.int32), rows, A))

    @property
    def nbytes(self) -> int:
        """Bytes of all that is noted."""
        return sum(noted.nbytes for noted in self._tables)

    @property
    def rows(self) -> list[NDArray[np.int32]]:
        """Rows of each table of whose term something is noted, F times int32 [n]."""
        return [noted.rows for noted in self._tables]

    def void(self) -> None:
        """Forget everything: so has the adapter."""
        self._tables = [noted.only(np.zeros(len(noted.rows), bool)) for noted in self._tables]

    def follow(self, writer: AdapterWriter) -> None:
        """Drop the rows that have lost their slot; after each step.

        A row that wins a slot again within the step does not get its old one: that was given to
        another, and stays with it until the step is published.
        """
        for table, noted in enumerate(self._tables):
            if len(noted.rows):
                holders = writer.slot_state(table)[1]
                self._tables[table] = noted.only(holders[noted.slots] == noted.rows)

    def turn(self, keep: Sequence[Slots], turns: Iterable[NDArray[np.floating] | None]) -> None:
        """Follow a new layout.

        Parameters
        ----------
        keep : sequence of int32 arrays, length F
            Of each table, the slots whose rows stay, in their new order.
        turns : iterable of float arrays [R, R'] or None, length F
            What A was multiplied by; None for a plain delta.
        """
        self._tables = [
            noted.turned(kept, turn)
            for noted, kept, turn in zip(self._tables, keep, turns, strict=True)
        ]

    def newer(
        self, table: int, A: NDArray[np.float32], landed: NDArray[np.int32]
    ) -> NDArray[np.float32] | None:
        """Return A [used, R] without what is noted of the rows that landed; None: that is nothing.

        Parameters
        ----------
        table : int
        A : float32 [used, R]
            As it is now.
        landed : int32 [n]
            Rows of this table, in any order.
        """
        noted = self._tables[table]
        noted = noted.only(np.isin(noted.rows, landed))
        if len(noted.rows) == 0:
            return None
        left = A.copy()
        left[noted.slots] -= noted.A
        return left
