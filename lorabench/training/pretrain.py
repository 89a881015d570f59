"""The brief pre-training that a run starts from: the whole DLRM, one pass over the first rows.

Nothing here runs beside a server. The dense net is trained with Adam and the tables with row-wise
Adagrad, in place in their shared memory.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lorabench.model.dlrm import DenseNet
from lorabench.model.tables import TableSet

# Bumped when the procedure changes, since pre-trained models are cached by what made them.
VERSION = 1

_DENSE_LEARNING_RATE = 1e-3
_TABLE_LEARNING_RATE = 0.05
_LARGEST_BATCH = 1024
_STEPS_WANTED = 200


class RowWiseAdagrad:
    """Row-wise Adagrad on embedding tables: one accumulator a row (as in Naumov et al. 2019).

    Parameters
    ----------
    tables : list of float32 [V_f, D]
        Updated in place.
    learning_rate : float
        Step size.
    epsilon : float
        Added to the root of the accumulator.
    """

    def __init__(
        self, tables: list[NDArray[np.float32]], learning_rate: float, epsilon: float = 1e-8
    ) -> None:
        self._tables = tables
        self._rate = learning_rate
        self._epsilon = epsilon
        self._accumulators = [np.zeros(len(table), np.float32) for table in tables]

    def step(self, indices: NDArray[np.int32], grad: NDArray[np.float32]) -> None:
        """Update from `grad` [B, F, D], the gradient by the rows `indices` [B, F].

        Duplicates in the batch are summed first; the accumulator takes the mean square of a
        row's summed gradient.
        """
        for f, (table, accumulator) in enumerate(
            zip(self._tables, self._accumulators, strict=True)
        ):
            rows, place = np.unique(indices[:, f], return_inverse=True)
            summed = torch.zeros(len(rows), table.shape[1]).index_add_(
                0, torch.from_numpy(place.ravel()), torch.from_numpy(grad[:, f])
            )
            total = summed.numpy()
            accumulator[rows] += np.square(total).mean(axis=1)
            scale = self._rate / (np.sqrt(accumulator[rows]) + self._epsilon)
            table[rows] -= scale[:, None] * total


def pretrain(
    tables: TableSet,
    net: DenseNet,
    dense: NDArray[np.float32],
    sparse: NDArray[np.int32],
    labels: NDArray[np.int8],
    *,
    progress: Callable[[float], None] = lambda _done: None,
) -> None:
    """Train tables and net in place, one pass in stream order.

    Parameters
    ----------
    tables, net
        Initialised; trained when this returns.
    dense : float32 [N, num_dense]
    sparse : int32 [N, F]
    labels : int8 [N]
    progress : callable
        Told the share of the rows that is done.
    """
    rows = len(labels)
    batch = max(32, min(_LARGEST_BATCH, rows // _STEPS_WANTED))
    kernels = tables.kernels
    optimiser = torch.optim.Adam(net.parameters(), lr=_DENSE_LEARNING_RATE)
    table_optimiser = RowWiseAdagrad(tables.arrays, _TABLE_LEARNING_RATE)
    for begin in range(0, rows, batch):
        end = min(begin + batch, rows)
        looked_up = np.empty((end - begin, kernels.count, kernels.dim), np.float32)
        kernels.lookup(sparse[begin:end], looked_up)
        embeddings = torch.from_numpy(looked_up).requires_grad_()
        optimiser.zero_grad()
        logits = net(torch.from_numpy(dense[begin:end]), embeddings)
        target = torch.from_numpy(labels[begin:end].astype(np.float32))
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        assert embeddings.grad is not None
        table_optimiser.step(sparse[begin:end], embeddings.grad.numpy())
        progress(end / rows)
