"""``ideal``: all tables trained at full rank and served at once.

No deployment can, and every strategy is held against it.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lorabench.lora.learner import WINDOW
from lorabench.model.dlrm import DenseNet
from lorabench.model.full import FullTrainer, TrainedModel
from lorabench.model.tables import TableSet
from lorabench.strategies.base import Strategy, StrategySpec, table_logits


class Trainer(Protocol):
    """What trains the copy; `lorabench.model.full.FullTrainer` is one, and says what these do."""

    def step(  # noqa: D102
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

    def forget(self, kept: float) -> None: ...  # noqa: D102


class Ideal(Strategy):
    """A copy of the tables on which pre-training's row-wise Adagrad goes on, accumulators included.

    From empty ones it would kick every row at its first touch, and so be no ideal.

    Parameters as of `Strategy`; no budget binds it.
    """

    forms = ("ideal",)
    default_rate = 0.05
    default_decay = 0.25

    def __init__(
        self,
        spec: StrategySpec,
        model: TrainedModel,
        memory_budget: float,  # noqa: ARG002 - no budget binds it
    ) -> None:
        self._tables = TableSet.create(model.tables.layout)
        for mine, base in zip(self._tables.arrays, model.tables.arrays, strict=True):
            mine[:] = base
        self._tables.region.settle()
        self._kernels = self._tables.kernels
        self._net = model.net.freeze()
        rate = spec.learning_rate or self.default_rate
        self._trainer = self.trainer(self._tables, self._net, rate, model.accumulators)
        self._decay = spec.accumulator_decay
        self._in_window = 0

    @classmethod
    def trainer(
        cls,
        tables: TableSet,
        net: DenseNet,
        learning_rate: float,
        accumulators: Sequence[NDArray[np.float32]] | None,
    ) -> Trainer:
        """Return what trains the copy; the arguments are those of `FullTrainer`."""
        return FullTrainer(tables, net, "adagrad", learning_rate, accumulators)

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the logits [B] of the tables as trained so far."""
        return table_logits(self._net, self._kernels, dense, sparse)

    def learn(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> None:
        """Take one step."""
        self._trainer.step(dense, sparse, labels)
        self._in_window += len(labels)
        if self._in_window >= WINDOW:
            self._trainer.forget(self._decay)
            self._in_window = 0

    def close(self) -> None:
        """Let go of the copy."""
        self._tables.region.close()
