"""``lora``: base tables with an adapter that learns beside them.

``lora`` has the rank that the signal asks for and ``lora-rN`` rank N, both with a basis from the
signal; ``lora-rN-random`` has a random basis that stays.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.lookup import Tables
from lorabench.lora.basis import fitted
from lorabench.lora.file import SavedTable, load_adapter, save_adapter
from lorabench.lora.layout import AdapterPlan, plan_adapter
from lorabench.lora.learner import LEARNING_RATE, Learner, LearnerConfig, Stage
from lorabench.lora.writer import Adapter, AdapterOwner
from lorabench.model.dlrm import DenseNet
from lorabench.model.tables import TableLayout
from lorabench.strategies.base import Strategy, StrategySpec
from lorabench.strategies.deployment import Deployment

_NAME = re.compile(r"lora(?:-r(?P<rank>[0-9]+)(?P<random>-random)?)?")


def adapter_metrics(plan: AdapterPlan) -> Mapping[str, float]:
    """Return the mean rank of adapted tables, and the bytes in use."""
    rank = float(np.mean([rank for rank in plan.ranks if rank]))
    return {"rank": rank, "lora_used_bytes": float(plan.used_bytes)}


class ServedCount:
    """How many of the samples that a learner was given are in what it publishes.

    None are before a basis is chosen and after the guard has tripped: the base is served then.

    Parameters
    ----------
    learner : Learner
        Who learns.

    Attributes
    ----------
    step : int
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._given = 0
        self.step = 0

    def learned(self, samples: int, epoch: int | None) -> None:
        """Count a batch that the learner was given, and the epoch that it returned."""
        self._given += samples
        if epoch is not None:
            self.step = self._given
        elif self._learner.stage in (Stage.BASIS, Stage.OFF):
            self.step = 0


class Lora(Strategy):
    """Base tables and an adapter within the budget; parameters as of `Strategy`."""

    forms = ("lora", "lora-rN", "lora-rN-random")
    default_rate = LEARNING_RATE
    resumable = True
    colocatable = True
    has_adapter = True

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        model = deployment.model
        self._adapter = Adapter(self.plan(spec, model.tables.layout, 1, deployment.memory_budget))
        self._owner = AdapterOwner(self._adapter.handle)
        self._learner = self.learner(spec, model.tables.kernels, model.net, self._owner)
        self._count = ServedCount(self._learner)

    @classmethod
    def read(cls, name: str) -> Mapping[str, Any] | None:
        """Return rank and basis; None where the name is another strategy's."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        rank = match["rank"] and int(match["rank"])
        return {"rank": rank, "basis": "random" if match["random"] else "pca"}

    @classmethod
    def check(
        cls, spec: StrategySpec, layout: TableLayout, memory_budget: float, saved: Any = None
    ) -> None:
        """Refuse a budget that buys nothing, and saved ranks that do not fit into it."""
        plan = cls.plan(spec, layout, 1, memory_budget)
        if saved is not None:
            fitted(plan, saved)

    @classmethod
    def plan(
        cls, spec: StrategySpec, layout: TableLayout, servers: int, memory_budget: float
    ) -> AdapterPlan:
        """Return how the budget is spent on an adapter."""
        return plan_adapter(layout, spec.params["rank"], servers, memory_budget)

    @classmethod
    def learner(
        cls, spec: StrategySpec, tables: Tables, net: DenseNet, owner: AdapterOwner
    ) -> Learner:
        """Return what learns the adapter."""
        config = LearnerConfig(
            learning_rate=spec.learning_rate or 0.0,
            accumulator_decay=spec.accumulator_decay,
            seed=spec.seed,
            **spec.params,
        )
        return Learner(tables, net, owner, config)

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the logits [B] of base tables and adapter."""
        self._learner.begin()
        return self._learner.predict(dense, sparse)

    def learn(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> None:
        """Take one step and publish it."""
        self._learner.begin()
        self._count.learned(len(labels), self._learner.learn(dense, sparse, labels))
        # What is published has to be copied over, and a window may end: that is part of learning.
        self._learner.begin()

    @property
    def step(self) -> int:
        """Samples that went into the adapter that is served; none while it warms up."""
        return self._count.step

    def window_metrics(self) -> Mapping[str, float]:
        """Return the mean rank of adapted tables, and the bytes in use."""
        return adapter_metrics(self._owner.plan)

    def final_metrics(self) -> Mapping[str, Sequence[float]]:
        """Return what the bases' changes cost, and what the guard had to do."""
        log = self._learner.log
        return {
            "rebases": [float(log.rebases)],
            "guard_trips": [float(log.guard_trips)],
            "diverged": [float(log.diverged)],
            "rebase_loss": list(log.rebase_loss),
        }

    @property
    def peak_bytes(self) -> Mapping[str, int]:
        """Bytes of all LoRA state by purpose, allocated and not only used, when they were most."""
        return self._learner.log.peak_bytes

    def save(self, path: Path) -> None:
        """Write the adapter as it is published."""
        save_adapter(path, self._owner)

    @classmethod
    def load(cls, path: Path, layout: TableLayout) -> dict[int, SavedTable]:
        """Read an adapter and check that it belongs to these tables."""
        return load_adapter(path, layout)

    def resume(self, saved: dict[int, SavedTable]) -> None:
        """Begin with a saved adapter."""
        self._learner.resume(saved)

    def close(self) -> None:
        """Let go of the adapter."""
        self._adapter.close()
