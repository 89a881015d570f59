"""The co-located LoRA trainer: learn from what was just served, publish, repeat.

Base tables and dense net are frozen; only the adapter's A moves, after a warm-up in which B is
chosen (`lorabench.training.basis`). Every batch is one epoch: it is trained in the adapter's idle
side and published at once. The trainer never waits for a server: when a reader still holds the
idle side, it comes back later. What it does at each call is decided here; when it is called, on
which cores and with how many threads, is not.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lorabench._hotpath import Tables
from lorabench.model.adapter import WriterState
from lorabench.model.dlrm import DenseNet
from lorabench.training.basis import SecondMoments
from lorabench.training.guard import QualityGuard, log_loss
from lorabench.training.replay import Replay

# The accumulators' medians change slowly; a look every so many batches keeps them off the profile.
_MEDIAN_BATCHES = 64


@dataclass(frozen=True)
class TrainerConfig:
    """How the trainer learns.

    Parameters
    ----------
    rank : int
        R.
    batch : int
        Most samples of a batch.
    learning_rate, epsilon : float
        Row-wise Adagrad on A.
    basis_samples : int
        Labelled samples from whose gradients B is taken.
    guard_window : int
        Scored samples of one window of the quality guard, and the samples that a tripped guard
        lets pass before learning starts anew.
    guard_share : int
        One in this many samples is scored by the base as well.
    """

    rank: int
    batch: int = 512
    learning_rate: float = 0.02
    epsilon: float = 1e-8
    basis_samples: int = 4096
    guard_window: int = 4096
    guard_share: int = 8


class Stage(Enum):
    """What the trainer does with a batch."""

    BASIS = "basis"
    LEARN = "learn"
    OFF = "off"
    DIVERGED = "diverged"


@dataclass
class TrainLog:
    """What was learned, sample by sample, in the order in which it was.

    Attributes
    ----------
    sample, label_ns, epoch, published_ns : list of int64 arrays
        Of every batch: the samples' numbers, when their labels arrived, the epoch that first
        includes them and when that was published.
    basis_samples : int
        Samples that went into choosing B.
    refused : int
        Lookups whose row found no free slot.
    guard_trips : int
        How often the adapter was switched off.
    diverged : bool
        Training met a NaN or an infinite value and stopped publishing.
    """

    sample: list[NDArray[np.int64]] = field(default_factory=list)
    label_ns: list[NDArray[np.int64]] = field(default_factory=list)
    epoch: list[NDArray[np.int64]] = field(default_factory=list)
    published_ns: list[NDArray[np.int64]] = field(default_factory=list)
    basis_samples: int = 0
    refused: int = 0
    guard_trips: int = 0
    diverged: bool = False


class Trainer:
    """Trains one adapter from one replay.

    Parameters
    ----------
    tables : Tables
        Base tables.
    net : DenseNet
        Frozen here.
    state : WriterState
        The adapter.
    replay : Replay
        Where samples come from.
    config : TrainerConfig
        How to learn.
    clock : callable
        Now, in the ns of `time.monotonic_ns`; labels that arrive later are not seen.
    """

    def __init__(
        self,
        tables: Tables,
        net: DenseNet,
        state: WriterState,
        replay: Replay,
        config: TrainerConfig,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._clock = clock
        self._tables = tables
        self._net = net.freeze()
        self._state = state
        self._replay = replay
        self._config = config
        self._embeddings = np.zeros((config.batch, tables.count, tables.dim), np.float32)
        self._base = np.zeros_like(self._embeddings[: -(-config.batch // config.guard_share)])
        self._adapted = [f for f, rank in enumerate(state.writer.rank) if rank]
        self._start_over()
        self.log = TrainLog()

    def reset(self) -> None:
        """Begin anew with an empty adapter and empty rings; only while no server runs."""
        self._state.reset()
        self._replay.reset()
        self._start_over()
        self.log = TrainLog()

    def _start_over(self) -> None:
        self.stage = Stage.BASIS
        self._moments = SecondMoments(self._adapted, self._tables.dim)
        self._guard = QualityGuard(self._config.guard_window)
        self._medians = np.zeros(self._tables.count, np.float32)
        self._batches = 0
        self._passed = 0

    def step(self) -> int:
        """Do one batch, if one is due and the adapter can be written.

        Returns
        -------
        int
            Samples taken; 0 means that there is nothing to do just now.
        """
        if not self._state.writer.begin():
            return 0
        n = self._replay.take(self._clock())
        if n == 0:
            return 0
        if self.stage is Stage.OFF:
            self._passed += n
            if self._passed >= self._config.guard_window:
                self._start_over()
        elif self.stage is not Stage.DIVERGED:
            self._learn(n)
        return n

    def _learn(self, n: int) -> None:
        labels = self._replay.labels(n)
        logits, grad = self._gradients(n, labels)
        if not (math.isfinite(float(logits.sum())) and math.isfinite(float(grad.sum()))):
            # The idle side is never published: servers go on with the last good epoch.
            self.stage = Stage.DIVERGED
            self.log.diverged = True
            return
        if self.stage is Stage.BASIS:
            self._moments.add(grad)
            self.log.basis_samples += n
            if self._moments.samples >= self._config.basis_samples:
                self._choose_basis()
            return
        if self._scored_worse(n, logits, labels):
            self._switch_off()
            return
        writer = self._state.writer
        if self._batches % _MEDIAN_BATCHES == 0:
            self._medians = self._state.medians()
        self._batches += 1
        self.log.refused += writer.learn(
            self._tables,
            self._replay.sparse[:n],
            grad,
            learning_rate=self._config.learning_rate,
            epsilon=self._config.epsilon,
            initial_accumulator=self._medians,
        )
        epoch = writer.publish()
        self.log.sample.append(self._replay.sample[:n].copy())
        self.log.label_ns.append(self._replay.label_ns[:n].copy())
        self.log.epoch.append(np.full(n, epoch, np.int64))
        self.log.published_ns.append(np.full(n, self._clock(), np.int64))

    def _gradients(
        self, n: int, labels: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits [n] and the summed loss's gradient [n, F, D] by the adapted embeddings."""
        looked_up = self._embeddings[:n]
        self._state.writer.lookup(self._tables, self._replay.sparse[:n], looked_up)
        embeddings = torch.from_numpy(looked_up).requires_grad_()
        logits = self._net(torch.from_numpy(self._replay.dense[:n]), embeddings)
        loss = functional.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(labels), reduction="sum"
        )
        (grad,) = torch.autograd.grad(loss, embeddings)
        return logits.detach().numpy(), grad.contiguous().numpy()

    def _scored_worse(
        self, n: int, logits: NDArray[np.float32], labels: NDArray[np.float32]
    ) -> bool:
        """Score a share of the batch by the base too; prequential, since A has not moved yet."""
        scored = slice(0, n, self._config.guard_share)
        sparse = np.ascontiguousarray(self._replay.sparse[:n][scored])
        base = self._base[: len(sparse)]
        self._tables.lookup(sparse, base)
        with torch.inference_mode():
            plain = self._net(
                torch.from_numpy(self._replay.dense[:n][scored]), torch.from_numpy(base)
            ).numpy()
        return self._guard.observe(
            log_loss(plain, labels[scored]), log_loss(logits[scored], labels[scored])
        )

    def _choose_basis(self) -> None:
        basis = self._moments.basis(self._config.rank, self._tables.count)
        self._state.writer.set_basis(basis)
        self._state.writer.publish()
        self.stage = Stage.LEARN

    def _switch_off(self) -> None:
        self._state.writer.clear()
        self._state.writer.publish()
        self.log.guard_trips += 1
        self._passed = 0
        self.stage = Stage.OFF
