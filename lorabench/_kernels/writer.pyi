"""The trainer's side of the adapter.

Batches as in `lorabench._kernels.lookup`.
"""

from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.lookup import Indices, Tables
from lorabench._kernels.memory import Mapping

@final
class AdapterWriter:
    """The trainer's side of the adapter: train in the idle side, then publish it.

    Parameters
    ----------
    sides, pins : Mapping
        As for `adapter.AdapterReader`, both writable.
    servers : int
        How many pin lines there are.
    rows : int64 [F], optional
        Rows of each table, 1 to 2^31 - 1. Where there are fewer slots than rows, a row must then
        earn its slot (it is met twice within a count-min sketch's memory), and takes the one of a
        colder row when none is free (TinyLFU; Einziger, Friedman and Manes 2017). Without it,
        slots are given out as rows come and never taken back.
    """

    servers: int
    epoch: int
    deferred: int
    def __new__(
        cls,
        sides: Mapping,
        pins: Mapping,
        servers: int,
        rows: NDArray[np.int64] | None = None,
    ) -> AdapterWriter: ...
    def seed(self, seeds: NDArray[np.uint32]) -> None:
        """Draw from `seeds` uint32 [F] on, a table each, whose slots are looked at to take one.

        Nothing else is random here. A new writer draws from the tables' numbers on.
        """

    @property
    def used(self) -> list[int]:
        """Slots in use, table by table."""

    @property
    def rank(self) -> list[int]:
        """Rank of each table's adapter; 0 where there is none, or a plain delta."""

    def begin(self) -> bool:
        """Bring the idle side up to date and start to write in it.

        Returns
        -------
        bool
            False when a reader still pins the idle side; nothing was done, `deferred` was
            counted, and the caller does something else and tries again later.
        """

    def lookup(
        self,
        tables: Tables,
        indices: Indices,
        out: NDArray[np.float32],
        offsets: Indices | None = None,
        *,
        weights: NDArray[np.float32] | None = None,
        mode: Literal["sum", "mean"] = "sum",
        base: NDArray[np.float32] | None = None,
    ) -> None:
        """As `adapter.AdapterReader.lookup`, in the idle side; between `begin` and `publish`.

        `base` float32 [B, K, D] is given here, not written: what a reader handed out. Only the LoRA
        term of ``tables.reusable_features`` is then computed, and no row of theirs is read. Equal
        base vectors give equal bits.
        """

    def learn(
        self,
        tables: Tables,
        indices: Indices,
        grad: NDArray[np.float32],
        *,
        learning_rate: float,
        epsilon: float,
        initial_accumulator: NDArray[np.float32],
        plain_rate: float | None = None,
        offsets: Indices | None = None,
        weights: NDArray[np.float32] | None = None,
        mode: Literal["sum", "mean"] = "sum",
        basis_grad: NDArray[np.float32] | None = None,
    ) -> int:
        """One row-wise Adagrad step of every table's A, and of the plain deltas.

        Rows that a batch repeats are summed before the update, in the order of the batch.

        Parameters
        ----------
        grad : float32 [B, F, D]
            Gradient of the loss by each pooled embedding.
        initial_accumulator : float32 [F]
            What a slot that is given out in this step starts with, or one that has never learned.
        plain_rate : float, optional
            Learning rate of plain deltas; `learning_rate` by default.
        basis_grad : float32 [F, R, D], optional
            The gradient by B, taken at the A before the step, is added to it.

        Returns
        -------
        int
            Lookups whose row got no slot because all of the table's are taken.
        """

    def set_basis(self, basis: NDArray[np.float32]) -> None:
        """Set B to `basis` float32 [F, R, D] and forget every row; A is relative to B."""

    def relayout(
        self,
        slots: NDArray[np.int64],
        ranks: Sequence[int] | NDArray[np.int64],
        keep: list[NDArray[np.int32]],
        basis: NDArray[np.float32],
        turn: NDArray[np.float32],
    ) -> None:
        """Lay the idle side out anew: other ranks, other numbers of slots, other bases.

        Right after `begin`: what was learned since then is lost. Sketches begin anew.

        Parameters
        ----------
        slots, ranks : int64 [F]
            Of each table; must fit in the room that there is. Plain deltas stay as they are.
        keep : list of int32 arrays
            Of each table, the slots whose rows stay, in their new order.
        basis : float32 [F, R, D]
            New B, orthonormal, of each table; R is at least the largest of `ranks`.
        turn : float32 [F, R_old, R]
            The new A is the old one times this.
        """

    def put(
        self,
        t: int,
        rows: NDArray[np.int32],
        A: NDArray[np.float32],
        accumulator: NDArray[np.float32] | None = None,
    ) -> None:
        """Give rows [n] of table `t` slots, with `A` [n, R] and accumulators [n].

        Between `begin` and `publish`. An accumulator that is 0 starts as that of a new slot does.
        """

    def put_plain(
        self, t: int, delta: NDArray[np.float32], accumulator: NDArray[np.float32]
    ) -> None:
        """Set the plain delta [V, D] of table `t` and its accumulators [V]; as `put`."""

    def rewrite(self, t: int, A: NDArray[np.float32]) -> None:
        """Set A [used, R] of the slots in use of table `t`, or its plain delta [V, D]; as `put`.

        Which row has which slot, accumulators and counts of lookups stay.
        """

    def decay(self, accumulators: float = ...) -> None:
        """Halve every count of lookups, and look anew at how large a row of A typically is.

        Parameters
        ----------
        accumulators : float
            What every accumulator is multiplied by, above 0 and at most 1.
        """

    def slot_state(
        self, t: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.uint16]]:
        """Copy accumulators, rows and lookups of late of the slots in use [used] of table `t`."""

    @property
    def state_bytes(self) -> tuple[int, int]:
        """Bytes in use: private (slot state and sketches), and shared (both sides)."""

    def gram(self, t: int) -> NDArray[np.float64]:
        """Compute ``A.T @ A`` [R, R] of the published side of table `t`."""

    def basis(self, t: int) -> NDArray[np.float32]:
        """Copy B [R, D] of the published side of table `t`."""

    def clear(self) -> None:
        """Forget every row: from the next publish on the base tables alone are served."""

    def publish(self) -> int:
        """Make the idle side the active one and return its epoch."""

    def arrays(
        self, table: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
        """Copy A [used, R], B [R, D] and the rows [used] of the published side.

        Of a plain delta, A is [used, D] and B empty.
        """
