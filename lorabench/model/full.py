"""Ordinary training: every table at full rank, and the dense net unless it is frozen.

What the LoRA trainer is an approximation of. Pre-training, ``profile`` and the ``ideal`` strategy
of ``freshness`` use it; nothing of it runs beside a server.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lorabench._kernels.train import TableOptimizer
from lorabench.model.dlrm import DenseNet
from lorabench.model.tables import TableSet

OptimizerName = Literal["adagrad", "sgd"]

DENSE_LEARNING_RATE = 1e-3
TABLE_LEARNING_RATE: dict[OptimizerName, float] = {"adagrad": 0.05, "sgd": 10.0}
"""Of a batch's mean loss, hence the size of SGD's: a row sees a share of 1 / batch of it."""


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A DLRM, and where the optimiser of its tables stands.

    Parameters
    ----------
    tables : TableSet
        Filled.
    net : DenseNet
        Weights.
    accumulators : list of float32 [V_f], or None
        Of row-wise Adagrad, as of `FullTrainer`; None where they are not known, or nobody trains
        on at full rank.
    """

    tables: TableSet
    net: DenseNet
    accumulators: list[NDArray[np.float32]] | None = None


class FullTrainer:
    """Trains tables in place, in their shared memory, and the dense net with Adam.

    Parameters
    ----------
    tables : TableSet
        Writable.
    net : DenseNet
        Trained too, unless its parameters want no gradient.
    optimizer : {"adagrad", "sgd"}
        Of the tables; Adagrad is row-wise (Naumov et al. 2019).
    learning_rate : float, optional
        Of the tables.
    accumulators : sequence of float32 [V_f], optional
        What Adagrad begins with, for training that goes on; copied. From zero, by default, a row's
        first step has the learning rate's length whatever its gradient. SGD takes none.

    Attributes
    ----------
    accumulators : list of float32 [V_f], or None
        Each row's running sum of the mean squares, over D, of its gradients by a batch's summed
        loss: the sum, and not the mean, so that they hold for batches of another size. None for
        SGD.
    """

    def __init__(
        self,
        tables: TableSet,
        net: DenseNet,
        optimizer: OptimizerName = "adagrad",
        learning_rate: float | None = None,
        accumulators: Sequence[NDArray[np.float32]] | None = None,
    ) -> None:
        self._set = tables
        self._kernels = tables.kernels
        self._net = net
        self.learning_rate = learning_rate or TABLE_LEARNING_RATE[optimizer]
        self.accumulators: list[NDArray[np.float32]] | None = None
        if optimizer == "adagrad":
            self.accumulators = (
                [np.zeros(rows, np.float32) for rows in tables.layout.rows]
                if accumulators is None
                else [sums.copy() for sums in accumulators]
            )
        self._tables = TableOptimizer(
            tables.arrays, self.accumulators, tables.layout.hotness or None
        )
        trained = [p for p in net.parameters() if p.requires_grad]
        self._dense = (
            torch.optim.Adam(trained, lr=DENSE_LEARNING_RATE, fused=True) if trained else None
        )
        self._embeddings = np.empty((0, self._kernels.count, self._kernels.dim), np.float32)

    def step(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Learn from a batch.

        Parameters
        ----------
        dense : float32 [B, num_dense]
        sparse : int32 [B, C]
        labels : int8 [B]

        Returns
        -------
        logits : float32 [B]
            Before the step.
        grad : float32 [B, F, D]
            Of the batch's summed loss, by the looked-up embeddings: one sample's gradient a row,
            whatever the batch.
        """
        logits, grad = self.gradients(dense, sparse, labels)
        if self._dense is not None:
            self._dense.step()
            self._dense.zero_grad(set_to_none=True)
        # Adagrad does not mind the loss's scale; SGD's rate is of the mean loss.
        rate = self.learning_rate / (1 if self.accumulators is not None else len(labels))
        with self._set.changing():
            self._tables.step(sparse, grad, learning_rate=rate)
        return logits, grad

    def gradients(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As `step`, without the step; the dense net's gradients, if any, are left in place."""
        if len(self._embeddings) < len(labels):
            self._embeddings = np.empty((len(labels), *self._embeddings.shape[1:]), np.float32)
        looked_up = self._embeddings[: len(labels)]
        self._kernels.lookup(sparse, looked_up)
        embeddings = torch.from_numpy(looked_up).requires_grad_()
        logits = self._net(torch.from_numpy(dense), embeddings)
        target = torch.from_numpy(labels.astype(np.float32))
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        loss.backward()  # type: ignore[no-untyped-call]
        assert embeddings.grad is not None
        return logits.detach().numpy(), embeddings.grad.mul_(len(labels)).numpy()

    def forget(self, kept: float) -> None:
        """Keep this share of the accumulators, so that steps grow again.

        Parameters
        ----------
        kept : float
            Above 0, at most 1.
        """
        for sums in self.accumulators or ():
            np.multiply(sums, np.float32(kept), out=sums)
