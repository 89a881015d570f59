"""``ideal``: all tables trained at full rank and served at once.

No deployment can, and every strategy is held against it.
"""

import numpy as np
from numpy.typing import NDArray

from lorabench.strategies.base import Strategy, StrategySpec, table_logits
from lorabench.strategies.deployment import Deployment
from lorabench.updates.cluster import FULL_PRECISION


class Ideal(Strategy):
    """The training cluster's own tables, served as they are; parameters as of `Strategy`.

    No budget binds it.
    """

    forms = ("ideal",)
    default_rate = 0.05
    default_decay = 0.25
    learns_here = False
    trained_by = FULL_PRECISION

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        self._cluster = spec.cluster(deployment)
        self._kernels = self._cluster.tables.kernels

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the logits [B] of the tables as trained so far."""
        return table_logits(self._cluster.net, self._kernels, dense, sparse)

    def learn(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> None:
        """Learn nothing: the cluster does."""

    @property
    def step(self) -> int:
        """Samples that the cluster has learned from."""
        return self._cluster.step
