"""``lora+delta``: an adapter bridges the delay until each delta lands.

A training cluster learns at full precision and pushes the rows that it touched; meanwhile an
adapter learns where the tables are served. When a push lands, its rows include what the cluster had
learned when it was taken, and the adapter is rebased onto them: of its terms it keeps what is newer
than that (`lorabench.lora.rebase`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lorabench.lora.rebase import Snapshot
from lorabench.lora.writer import Adapter, AdapterOwner
from lorabench.model.tables import TableLayout
from lorabench.strategies.base import StrategySpec
from lorabench.strategies.deployment import Deployment
from lorabench.strategies.ideal import Ideal
from lorabench.strategies.lora import Lora, ServedCount, adapter_metrics
from lorabench.strategies.pushed import Flight
from lorabench.strategies.shipping import Deltas
from lorabench.updates.apply import Applied, Refused
from lorabench.updates.delta import Delta

# What is noted of the adapter while a push is under way is less than a side of it.
_WITHOUT_NOTE = 2 / 3


class LoraDelta(Deltas):
    """Pushed rows and an adapter within the budget; parameters as of `Strategy`.

    Its rate and decay are the adapter's. Those of the cluster are in ``cluster`` of the spec's
    params, `lorabench.strategies.ideal.Ideal`'s by default.
    """

    forms: ClassVar[tuple[str, ...]] = ("lora+delta", "lora+delta-rN")
    default_rate = Lora.default_rate
    default_decay = Lora.default_decay
    learns_here = True
    has_adapter = True
    # Neither of the two that freshness.quality holds against each other, but both.
    ships_deltas = False

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        super().__init__(self.training(spec), deployment)
        lora = _adapter_spec(spec)
        budget = _WITHOUT_NOTE * deployment.memory_budget
        self._adapter = Adapter(Lora.plan(lora, self.layout, 1, budget))
        self._owner = AdapterOwner(self._adapter.handle)
        self._learner = Lora.learner(lora, self.kernels, self.cluster.net, self._owner)
        self._count = ServedCount(self._learner)
        self._noted: Snapshot | None = None

    @classmethod
    def training(cls, spec: StrategySpec) -> StrategySpec:
        """Return the spec with the cluster's rate and decay."""
        rate, decay = spec.params.get("cluster", (Ideal.default_rate, Ideal.default_decay))
        return replace(spec, learning_rate=rate, accumulator_decay=decay)

    @classmethod
    def read(cls, name: str) -> Mapping[str, Any] | None:
        """Return rank and basis; None where the name is another strategy's."""
        lora, plus, rank = name.partition("+delta")
        return Lora.read(lora + rank) if plus and lora == "lora" else None

    @classmethod
    def check(
        cls, spec: StrategySpec, layout: TableLayout, memory_budget: float, saved: Any = None
    ) -> None:
        """Refuse a budget that buys nothing."""
        Lora.check(_adapter_spec(spec), layout, _WITHOUT_NOTE * memory_budget, saved)

    def send(self, delta: Delta, begin_s: float) -> Flight:
        """Put a push on the link, and note what the adapter holds at that moment.

        As if the cluster had learned as much by then. Where it lags behind the adapter, what the
        adapter alone has learned of these rows goes with the note when they land.
        """
        self._noted = self._learner.note()
        return super().send(delta, begin_s)

    def land(self, delta: Delta) -> Applied | Refused:
        """Serve the rows of a push, and of the adapter what is newer than they are."""
        outcome = super().land(delta)
        if isinstance(outcome, Applied) and self._noted is not None:
            self._learner.begin()
            self._learner.rebase(self._noted, delta.rows)
            self._noted = None
        return outcome

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the logits [B] of the pushed tables and the adapter."""
        self._learner.begin()
        return self._learner.predict(dense, sparse)

    def learn(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> None:
        """Take one step of the adapter's and publish it."""
        super().learn(dense, sparse, labels)
        self._learner.begin()
        self._count.learned(len(labels), self._learner.learn(dense, sparse, labels))
        self._learner.begin()

    @property
    def step(self) -> int:
        """Samples in what is served, by the adapter or the last push, whichever has more."""
        return max(self._count.step, self.served.version.step)

    def window_metrics(self) -> Mapping[str, float]:
        """Return the mean rank of adapted tables, and the bytes in use."""
        return adapter_metrics(self._owner.plan)

    def final_metrics(self) -> Mapping[str, Sequence[float]]:
        """Return how much was sent, and what the adapter's learner had to do."""
        log = self._learner.log
        return {
            **super().final_metrics(),
            "rebases": [float(log.rebases)],
            "guard_trips": [float(log.guard_trips)],
            "diverged": [float(log.diverged)],
        }

    @property
    def peak_bytes(self) -> Mapping[str, int]:
        """Bytes of all LoRA state by purpose, what is noted of it included, when they were most."""
        return self._learner.log.peak_bytes

    def close(self) -> None:
        """Let go of the adapter and the copy."""
        self._adapter.close()
        super().close()


def _adapter_spec(spec: StrategySpec) -> StrategySpec:
    """Return the spec without what is the cluster's."""
    return replace(spec, params={k: v for k, v in spec.params.items() if k != "cluster"})
