"""A training cluster: a full-precision copy of the tables that learns, and what it touched when.

All strategies that ship what it learns share one: they differ in which of its rows they send when,
not in how these are trained. It says which rows were touched since a step, and how often and with
how much gradient, which is what senders choose by.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lorabench.lora.learner import WINDOW
from lorabench.model.dlrm import DenseNet
from lorabench.model.full import FullTrainer, TrainedModel
from lorabench.model.tables import TableSet
from lorabench.updates.delta import Delta


class Trainer(Protocol):
    """What trains the copy; `lorabench.model.full.FullTrainer` is one, and says what these do."""

    def step(  # noqa: D102
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

    def forget(self, kept: float) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class TrainerKind:
    """How a cluster trains; clusters of the same kind, rate and decay are one.

    Parameters
    ----------
    make : callable
        From tables, net, learning rate and accumulators (or None) to what trains those in place.
    """

    make: Callable[[TableSet, DenseNet, float, Sequence[NDArray[np.float32]] | None], Trainer]


def _full_trainer(
    tables: TableSet,
    net: DenseNet,
    learning_rate: float,
    accumulators: Sequence[NDArray[np.float32]] | None,
) -> Trainer:
    return FullTrainer(tables, net, "adagrad", learning_rate, accumulators)


FULL_PRECISION = TrainerKind(_full_trainer)
"""Row-wise Adagrad by our kernels."""


class TrainingCluster:
    """Tables that learn, starting from a pre-trained model and its accumulators.

    From empty accumulators it would kick every row at its first touch.

    Parameters
    ----------
    model : TrainedModel
        Its tables stay as they are; the net is frozen.
    trainer : TrainerKind
        What trains the copy.
    learning_rate : float
        Of row-wise Adagrad.
    decay : float
        What the accumulators are multiplied by every `lorabench.lora.learner.WINDOW` samples.

    Attributes
    ----------
    tables : TableSet
        As trained so far.
    net : DenseNet
        Frozen.
    step : int
        Samples learned from.
    listeners : list of callable
        Told the rows [B, C] of each step, once it is made.

    Raises
    ------
    InputError
        The copy does not fit into memory.
    """

    def __init__(
        self, model: TrainedModel, trainer: TrainerKind, learning_rate: float, decay: float
    ) -> None:
        self.tables = model.tables.copy()
        self.net = model.net.freeze()
        self.step = 0
        self.listeners: list[Callable[[NDArray[np.int32]], None]] = []
        self._trainer = trainer.make(self.tables, self.net, learning_rate, model.accumulators)
        self._decay = decay
        self._in_window = 0
        layout = model.tables.layout
        self._columns = np.cumsum([0, *layout.lookups])
        # Filled, not zeroed: pages that are first met while learning would count as learning.
        self._touched = [np.full(rows, 0, np.int64) for rows in layout.rows]
        self._watched = False
        self.counts: list[NDArray[np.float32]] = []
        self.energy: list[NDArray[np.float32]] = []

    def watch(self) -> None:
        """Count lookups and sum squared gradients of each row from now on.

        `counts` and `energy` are then lists of float32 [V_f], the latter in squares of the norm of
        a sample's gradient.
        """
        if not self._watched:
            self._watched = True
            self.counts = [np.full(len(one), 0, np.float32) for one in self._touched]
            self.energy = [np.full(len(one), 0, np.float32) for one in self._touched]

    def learn(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> None:
        """Take one step; the arguments are those of `lorabench.model.full.FullTrainer.step`."""
        _, grad = self._trainer.step(dense, sparse, labels)
        self.step += len(labels)
        self._note(sparse, grad)
        for listener in self.listeners:
            listener(sparse)
        self._in_window += len(labels)
        if self._in_window >= WINDOW:
            self._trainer.forget(self._decay)
            self._in_window = 0

    def _note(self, sparse: NDArray[np.int32], grad: NDArray[np.float32]) -> None:
        energy = np.einsum("bfd,bfd->bf", grad, grad) if self._watched else None
        for f, (begin, end) in enumerate(zip(self._columns, self._columns[1:], strict=False)):
            ids = sparse[:, begin:end]
            self._touched[f][ids] = self.step
            if energy is not None:
                np.add.at(self.counts[f], ids, np.float32(1))
                each = np.broadcast_to(energy[:, f : f + 1], ids.shape)
                np.add.at(self.energy[f], ids, each)

    def touched_since(self, step: int) -> tuple[NDArray[np.int32], ...]:
        """Return the rows of each table, ascending, that were learned after a step."""
        return tuple(np.flatnonzero(at > step).astype(np.int32) for at in self._touched)

    def delta(self, rows: Sequence[NDArray[np.int32]], time_s: float) -> Delta:
        """Return these rows as they are now, taken at a moment of the stream."""
        values = tuple(table[ids] for table, ids in zip(self.tables.arrays, rows, strict=True))
        return Delta(self.step, time_s, tuple(rows), values)

    def close(self) -> None:
        """Let go of the copy."""
        self.tables.region.close()
