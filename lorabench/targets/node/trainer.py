"""The co-located LoRA trainer: learn from what was just served, publish, repeat.

Joins the replay rings with a `lorabench.lora.learner.Learner` and writes down which sample went
into which epoch. The trainer never waits for a server: when a reader still holds the idle side, it
comes back later. What it does at each call is decided here; when it is called, on which cores and
with how many threads, is not.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lorabench._hotpath import Tables
from lorabench.lora.basis import LearnLog
from lorabench.lora.learner import Learner, LearnerConfig, Stage
from lorabench.lora.writer import AdapterOwner
from lorabench.model.dlrm import DenseNet
from lorabench.targets.node.replay import Replay


@dataclass
class TrainLog:
    """What was learned, sample by sample, in the order in which it was.

    Attributes
    ----------
    sample, label_ns, epoch, published_ns : list of int64 arrays
        Of every batch: the samples' numbers, when their labels arrived, the epoch that first
        includes them and when that was published.
    learner : LearnLog
        What happened beside.
    """

    learner: LearnLog
    sample: list[NDArray[np.int64]] = field(default_factory=list)
    label_ns: list[NDArray[np.int64]] = field(default_factory=list)
    epoch: list[NDArray[np.int64]] = field(default_factory=list)
    published_ns: list[NDArray[np.int64]] = field(default_factory=list)


class Trainer:
    """Trains one adapter from one replay.

    Parameters
    ----------
    tables : Tables
        Base tables.
    net : DenseNet
        Frozen here.
    state : AdapterOwner
        The adapter.
    replay : Replay
        Where samples come from.
    config : LearnerConfig
        How to learn.
    clock : callable
        Now, in the ns of `time.monotonic_ns`; labels that arrive later are not seen.
    """

    def __init__(
        self,
        tables: Tables,
        net: DenseNet,
        state: AdapterOwner,
        replay: Replay,
        config: LearnerConfig,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._clock = clock
        self._state = state
        self._replay = replay
        self._learner = Learner(tables, net, state, config)
        self.log = TrainLog(learner=self._learner.log)
        self._rerank_ns: int | None = None
        self._reranked_ns = 0

    @property
    def stage(self) -> Stage:
        """What is done with a batch just now."""
        return self._learner.stage

    def reset(self, rerank_s: float | None = None, *, reuse: bool = False) -> None:
        """Begin anew with an empty adapter and empty rings; only while no server runs.

        Parameters
        ----------
        rerank_s : float, optional
            Change the rank this often, s (`Learner.change_ranks`).
        reuse : bool
            Take base vectors out of the rings (`lorabench.targets.node.replay`).
        """
        self._rerank_ns = None if rerank_s is None else round(rerank_s * 1e9)
        self._reranked_ns = self._clock()
        self._state.reset()
        self._replay.reset(reuse=reuse)
        self._learner.reset()
        self.log = TrainLog(learner=self._learner.log)

    def step(self) -> int:
        """Do one batch, if one is due and the adapter can be written.

        Returns
        -------
        int
            Samples taken; 0 means that there is nothing to do just now.
        """
        if not self._learner.begin():
            return 0
        if self._rerank_due() and self._learner.change_ranks():
            self._reranked_ns = self._clock()
            return 0
        replay = self._replay
        n = replay.take(self._clock())
        if n == 0:
            return 0
        labels = replay.labels(n)
        base = replay.base(n) if self._learner.looks_up else None
        epoch = self._learner.learn(replay.dense[:n], replay.sparse[:n], labels, base)
        if epoch is not None:
            self.log.sample.append(replay.sample[:n].copy())
            self.log.label_ns.append(replay.label_ns[:n].copy())
            self.log.epoch.append(np.full(n, epoch, np.int64))
            self.log.published_ns.append(np.full(n, self._clock(), np.int64))
        return n

    def _rerank_due(self) -> bool:
        return self._rerank_ns is not None and self._clock() - self._reranked_ns >= self._rerank_ns
