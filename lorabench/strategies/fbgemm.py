"""``ideal-fbgemm``: what ``ideal`` does, by FBGEMM's training operators instead of our kernels.

A second trainer that has nothing in common with the first but the dense net: what they learn has to
agree, and its speed is what ours is held against.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.model import fbgemm
from lorabench.model.dlrm import DenseNet
from lorabench.model.gradients import embedding_gradients
from lorabench.model.tables import TableLayout, TableSet
from lorabench.strategies.base import StrategySpec
from lorabench.strategies.ideal import Ideal
from lorabench.updates.cluster import TrainerKind

# As of the kernels' own step.
_EPSILON = 1e-8


class FbgemmTrainer:
    """Trains tables in place, in their shared memory, beside a frozen dense net.

    As `lorabench.model.full.FullTrainer` with row-wise Adagrad, whose parameters it has.

    Raises
    ------
    InputError
        The embedding dim is none that FBGEMM can train.
    """

    def __init__(
        self,
        tables: TableSet,
        net: DenseNet,
        learning_rate: float,
        accumulators: Sequence[NDArray[np.float32]] | None = None,
    ) -> None:
        layout = tables.layout
        _check_dim(layout)
        self._set = tables
        self._net = net
        self._dim = layout.dim
        self._hotness = layout.lookups
        *begins, end = layout.offsets
        self._optimizer = fbgemm.RowwiseAdagrad(
            torch.from_numpy(tables.region.array(np.float32, (end // 4,), 0)),
            layout.rows,
            layout.dim,
            offsets=[begin // 4 for begin in begins],
            learning_rate=learning_rate,
            epsilon=_EPSILON,
        )
        for mine, given in zip(self.accumulators, accumulators or (), strict=False):
            mine[:] = given

    @property
    def accumulators(self) -> list[NDArray[np.float32]]:
        """Each row's running sum of mean squared gradients, F times float32 [V_f]."""
        return self._optimizer.accumulators

    def step(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Learn from a batch; as of `FullTrainer`."""
        bags = self._bags(sparse)
        pooled = self._optimizer.forward(*bags).numpy()
        embeddings = pooled.reshape(len(labels), len(self._hotness), self._dim)
        logits, grad = embedding_gradients(self._net, dense, embeddings, labels)
        with self._set.changing():
            self._optimizer.backward(*bags, torch.from_numpy(grad.reshape(pooled.shape)))
        return logits, grad

    def _bags(self, sparse: NDArray[np.int32]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return samples [B, C] as bags: indices, one table after the other, and offsets."""
        columns = np.split(sparse, np.cumsum(self._hotness)[:-1], axis=1)
        indices = np.concatenate([ids.ravel() for ids in columns])
        sizes = np.repeat(np.array(self._hotness, np.int32), len(sparse))
        offsets = np.zeros(len(sizes) + 1, np.int32)
        np.cumsum(sizes, out=offsets[1:])
        return torch.from_numpy(indices), torch.from_numpy(offsets)

    def forget(self, kept: float) -> None:
        """Keep this share of the accumulators; as of `FullTrainer`."""
        for sums in self.accumulators:
            np.multiply(sums, np.float32(kept), out=sums)


def _check_dim(layout: TableLayout) -> None:
    if layout.dim % 4:
        raise InputError(
            f"--dim: found {layout.dim}, expected a multiple of 4 for FBGEMM (ideal-fbgemm)"
        )


class FbgemmIdeal(Ideal):
    """As `Ideal`, trained by FBGEMM."""

    forms = ("ideal-fbgemm",)
    trained_by = TrainerKind(FbgemmTrainer)

    @classmethod
    def read(cls, name: str) -> Mapping[str, Any] | None:
        """Return nothing but that the name means it.

        Raises
        ------
        InputError
            FBGEMM cannot be used here.
        """
        params = super().read(name)
        if params is not None and (reason := fbgemm.unavailable()) is not None:
            raise InputError(
                f"--strategies: found {name}, but {reason}; expected the optional extra fbgemm "
                f"({fbgemm.INSTALL})"
            )
        return params

    @classmethod
    def check(
        cls, spec: StrategySpec, layout: TableLayout, memory_budget: float, saved: Any = None
    ) -> None:
        """Refuse an embedding dim that FBGEMM cannot train."""
        super().check(spec, layout, memory_budget, saved)
        _check_dim(layout)
