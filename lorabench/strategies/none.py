"""``none``: the base tables as they are."""

import numpy as np
from numpy.typing import NDArray

from lorabench.strategies.base import Strategy, StrategySpec, table_logits
from lorabench.strategies.deployment import Deployment


class Frozen(Strategy):
    """What nothing keeps fresh; parameters as of `Strategy`."""

    forms = ("none",)

    def __init__(
        self,
        spec: StrategySpec,  # noqa: ARG002 - it has no choice
        deployment: Deployment,
    ) -> None:
        self._kernels = deployment.model.tables.kernels
        self._net = deployment.model.net.freeze()

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the logits [B] of the base model."""
        return table_logits(self._net, self._kernels, dense, sparse)

    def learn(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> None:
        """Learn nothing."""
