"""Update strategies: how a served model takes in what its labels teach.

One small protocol stands between a strategy and whoever replays a stream: rows are predicted by
what the strategy serves at that moment, and learned from when their labels have arrived. Those
here need no network: ``none`` never changes, ``lora`` learns inside the serving node, ``ideal``
trains every table at full rank and serves it at once, which no deployment can and every one is
held against. Strategies that ship tables over a link implement the same protocol.
"""

import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lorabench._hotpath import Tables
from lorabench.errors import InputError
from lorabench.lora.basis import BasisKind, LearnLog
from lorabench.lora.file import SavedTable
from lorabench.lora.layout import plan_adapter
from lorabench.lora.learner import (
    ACCUMULATOR_DECAY,
    LEARNING_RATE,
    WINDOW,
    Learner,
    LearnerConfig,
)
from lorabench.lora.writer import Adapter, AdapterOwner
from lorabench.model.dlrm import DenseNet
from lorabench.model.full import FullTrainer
from lorabench.model.tables import TableSet

NONE = "none"
IDEAL = "ideal"
LORA = "lora"

_LORA = re.compile(r"lora(?:-r(\d+))?(-random)?")

RATES = {IDEAL: 0.05, LORA: LEARNING_RATE}


class Strategy(Protocol):
    """What serves, and how it learns."""

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits [B] of what is served now."""
        ...

    def learn(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> None:
        """Take in a batch whose labels have arrived."""
        ...

    def close(self) -> None:
        """Let go of memory."""
        ...


@dataclass(frozen=True)
class StrategySpec:
    """A strategy as it is asked for.

    Parameters
    ----------
    name : str
        ``none``, ``ideal``, or ``lora[-rN][-random]``: LoRA of automatic rank, or of rank N, with
        a basis from the signal or a random one.
    learning_rate : float or None
        Of what it learns; None where it learns nothing.
    accumulator_decay : float
        What Adagrad's sums are multiplied by every `lorabench.lora.learner.WINDOW` samples.
    """

    name: str
    learning_rate: float | None
    accumulator_decay: float = ACCUMULATOR_DECAY

    @classmethod
    def parse(cls, name: str) -> "StrategySpec":
        """Read a name.

        Raises
        ------
        InputError
            It names no strategy.
        """
        if name == NONE:
            return cls(name, None)
        if name == IDEAL:
            return cls(name, RATES[IDEAL])
        match = _LORA.fullmatch(name)
        if match is None or (match[2] and not match[1]):
            raise InputError(
                f"--strategies: found {name!r}, expected some of none, lora, lora-rN, "
                "lora-rN-random, ideal"
            )
        return cls(name, RATES[LORA])

    @property
    def learns(self) -> bool:
        """Whether it ever changes."""
        return self.learning_rate is not None

    @property
    def rank(self) -> int | None:
        """Rank of a LoRA arm; None where it is automatic."""
        match = _LORA.fullmatch(self.name)
        return int(match[1]) if match and match[1] else None

    @property
    def basis(self) -> BasisKind:
        """Where a LoRA arm's basis comes from."""
        return "random" if self.name.endswith("-random") else "pca"


class Frozen:
    """``none``: base tables as they are.

    Parameters
    ----------
    tables : TableSet
    net : DenseNet
    """

    def __init__(self, tables: TableSet, net: DenseNet) -> None:
        self._kernels = tables.kernels
        self._net = net.freeze()

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits [B] of the base model."""
        return _logits(self._net, dense, sparse, self._kernels)

    def learn(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> None:
        """Learn nothing."""

    def close(self) -> None:
        """Nothing is held."""


class Ideal:
    """``ideal``: all tables trained at full rank, row-wise Adagrad from empty accumulators.

    The dense net stays as it is, as it does in every strategy here: what differs is how embeddings
    are kept fresh.

    Parameters
    ----------
    tables : TableSet
        Copied.
    net : DenseNet
    arm : StrategySpec
        Learning rate and decay.
    """

    def __init__(self, tables: TableSet, net: DenseNet, arm: StrategySpec) -> None:
        self._tables = TableSet.create(tables.layout)
        for mine, base in zip(self._tables.arrays, tables.arrays, strict=True):
            mine[:] = base
        self._tables.region.settle()
        self._kernels = self._tables.kernels
        self._net = net.freeze()
        rate = arm.learning_rate or 0.0
        self._trainer = FullTrainer(self._tables, self._net, "adagrad", rate)
        self._decay = arm.accumulator_decay
        self._in_window = 0

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits [B] of the tables as trained so far."""
        return _logits(self._net, dense, sparse, self._kernels)

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


class Lora:
    """``lora``: base tables with an adapter that learns beside them.

    Parameters
    ----------
    tables : TableSet
    net : DenseNet
    arm : StrategySpec
        Rank, basis and learning rate.
    memory_budget : float
        LoRA state as a share of the table bytes.

    Attributes
    ----------
    state : AdapterOwner
        The adapter.
    """

    def __init__(
        self, tables: TableSet, net: DenseNet, arm: StrategySpec, memory_budget: float
    ) -> None:
        plan = plan_adapter(tables.layout, arm.rank, 1, memory_budget)
        self._adapter = Adapter(plan)
        self.state = AdapterOwner(self._adapter.handle)
        config = LearnerConfig(
            rank=arm.rank,
            learning_rate=arm.learning_rate or 0.0,
            accumulator_decay=arm.accumulator_decay,
            basis=arm.basis,
        )
        self._learner = Learner(tables.kernels, net, self.state, config)

    @property
    def log(self) -> LearnLog:
        """What happened beside the learning."""
        return self._learner.log

    def resume(self, saved: dict[int, SavedTable]) -> None:
        """Begin with a saved adapter."""
        self._learner.resume(saved)

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits [B] of base tables and adapter."""
        self._learner.begin()
        return self._learner.predict(dense, sparse)

    def learn(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> None:
        """Take one step and publish it."""
        self._learner.begin()
        self._learner.learn(dense, sparse, labels)

    def close(self) -> None:
        """Let go of the adapter."""
        self._adapter.close()


def make(arm: StrategySpec, tables: TableSet, net: DenseNet, memory_budget: float) -> "Strategy":
    """Make an arm ready to serve.

    Raises
    ------
    InputError
        Its memory does not fit, or its budget buys nothing.
    """
    if arm.name == NONE:
        return Frozen(tables, net)
    if arm.name == IDEAL:
        return Ideal(tables, net, arm)
    return Lora(tables, net, arm, memory_budget)


def _logits(
    net: DenseNet,
    dense: NDArray[np.float32],
    sparse: NDArray[np.int32],
    tables: Tables,
) -> NDArray[np.float32]:
    embeddings = np.empty((len(sparse), tables.count, tables.dim), np.float32)
    tables.lookup(sparse, embeddings)
    with torch.inference_mode():
        logits: NDArray[np.float32] = net(
            torch.from_numpy(dense), torch.from_numpy(embeddings)
        ).numpy()
    return logits
