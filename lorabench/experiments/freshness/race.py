"""All strategies of a replay, side by side: they predict each batch of the stream in turn.

One training cluster learns for all that ship what it learned. Strategies share nothing else but the
base tables, so that they take their turns at the same time, a thread each; what each does is the
same however these fall. torch and numpy's BLAS keep to one thread meanwhile: sums are the same on
every number of cores, the time that a thread takes is all that its work takes, and none of BLAS's
own threads waits busily on a core that an arm could use.
"""

import os
from collections.abc import Callable, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lorabench.experiments.freshness.arms import NS, Arm, Batch, History, Learner
from lorabench.experiments.freshness.quality import Replayed
from lorabench.experiments.freshness.slices import Rows, Slices, most
from lorabench.strategies.base import StrategySpec
from lorabench.strategies.deployment import Deployment, Pushes
from lorabench.strategies.shipping import Shipping
from lorabench.updates.cluster import TrainingCluster
from lorabench.workload.block import Block
from lorabench.workload.features import DenseSpec

Pace = Callable[[str], float | None]
"""From a strategy's name, or `CLUSTER`, to what learning a sample takes, s; None: as measured."""

CLUSTER = "cluster"

Look = Callable[[NDArray[np.int64], NDArray[np.int32]], None]
"""Told times [B] and rows [B, C] of a batch."""


@dataclass(frozen=True, eq=False)
class Entrant:
    """A strategy as it takes part.

    Parameters
    ----------
    spec : StrategySpec
    pushes : Pushes, optional
        How updates come to it, if otherwise than to all.
    memory_budget : float, optional
        What it may add, likewise.
    """

    spec: StrategySpec
    pushes: Pushes | None = None
    memory_budget: float | None = None


class Race:
    """Strategies that replay a stream together.

    Parameters
    ----------
    deployment : Deployment
        Of all of them; whoever made it closes it.
    dense : DenseSpec
        How dense values become the model's inputs.
    delay_s : float
        From a row to its label.
    pace : callable
        What learning takes.
    slices : bool
        Parts of each window have a quality of their own.

    Attributes
    ----------
    arms : list of Arm
        That are still going on.
    lookers : list of callable
        Told the times [B] and rows [B, C] of each batch, while the arms take their turns.
    """

    def __init__(
        self,
        deployment: Deployment,
        dense: DenseSpec,
        delay_s: float,
        pace: Pace,
        *,
        slices: bool = True,
    ) -> None:
        self.arms: list[Arm] = []
        self._deployment = deployment
        self._dense = dense
        self._pace = pace
        self._history = History(int(delay_s * NS))
        self._clusters: dict[TrainingCluster, Learner] = {}
        self._slices = Slices(deployment.model.tables.layout) if slices else None
        self.lookers: list[Look] = []
        self._number = 0
        self._began_ns: int | None = None
        self._last_ns = 0
        self._stack = ExitStack()
        self._stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        self._stack.enter_context(threadpool_limits(1, user_api="blas"))
        # torch's number of threads is each thread's own.
        self._pool = self._stack.enter_context(
            ThreadPoolExecutor(
                len(os.sched_getaffinity(0)), initializer=torch.set_num_threads, initargs=(1,)
            )
        )

    def enter(
        self,
        spec: StrategySpec,
        found: Replayed,
        pushes: Pushes | None = None,
        memory_budget: float | None = None,
    ) -> Arm:
        """Let a strategy take part; `pushes` and `memory_budget` are as of `Entrant`.

        Raises
        ------
        InputError
            Its memory does not fit, or its budget buys nothing.
        """
        strategy = spec.make(self._deployment.varied(pushes, memory_budget))
        self._stack.callback(strategy.close)
        # What a cluster learns for it, it need not have the time for itself.
        pace = self._pace(spec.name) if spec.kind.learns_here else 0.0
        learner = Learner(strategy.learn, self._history, pace)
        for cluster in self._deployment.clusters:
            self._trainer(cluster)
        trainer = learner
        if not spec.kind.learns_here and spec.kind.trained_by is not None:
            trainer = self._trainer(spec.cluster(self._deployment))
        beside = None
        if spec.kind.learns_here and isinstance(strategy, Shipping):
            beside = self._trainer(strategy.cluster)
        slices = self._slices is not None
        arm = Arm(strategy, found, learner, trainer, beside, slices=slices)
        self.arms.append(arm)
        return arm

    def _trainer(self, cluster: TrainingCluster) -> Learner:
        if cluster not in self._clusters:
            self._clusters[cluster] = Learner(cluster.learn, self._history, self._pace(CLUSTER))
        return self._clusters[cluster]

    def step(self, rows: Block) -> None:
        """Let all predict a batch, and learn what is due by then."""
        batch = Batch.of(self._number, rows, self._dense)
        self._number += 1
        self._last_ns = batch.now_ns
        if self._began_ns is None:
            self._began_ns = batch.now_ns
        clusters = [
            self._pool.submit(each.catch_up, batch.now_ns) for each in self._clusters.values()
        ]
        # What is independent of a cluster need not wait for it.
        apart = {arm for arm in self.arms if arm.found.spec.kind.trained_by is None}
        turns = self._begin(batch, apart)
        if self._slices is not None:
            self._slices.add(batch.rows.sparse)
        for look in self.lookers:
            look(batch.rows.time_ns, batch.rows.sparse)
        for each in clusters:
            each.result()
        turns |= self._begin(batch, set(self.arms) - apart)
        finite = {arm: turn.result() for arm, turn in turns.items()}
        for arm in [one for one in self.arms if not finite[one]]:
            self.arms.remove(arm)
            arm.found.diverge(arm.strategy)
        self._history.add(batch)
        self._history.forget(
            min(
                each.following
                for each in (*self._clusters.values(), *(arm.learner for arm in self.arms))
            )
            if self.arms
            else self._number
        )

    def _begin(self, batch: Batch, arms: Set[Arm]) -> dict[Arm, Future[bool]]:
        """Let arms take their turns; those that learn first, lest the others wait for them."""
        assert self._began_ns is not None
        order = sorted(
            (arm for arm in self.arms if arm in arms),
            key=lambda arm: not arm.found.spec.kind.learns_here,
        )
        return {
            arm: self._pool.submit(arm.turn, batch, self._began_ns, self._history) for arm in order
        }

    def end_window(self, label: NDArray[np.int8]) -> None:
        """Write down how well all predicted the rows since the last window."""
        parts: dict[str, Rows] = dict(self._slices.end_window()) if self._slices else {}
        for arm in self.arms:
            if (held := arm.take_held()) is not None:
                parts[f"unsent by {arm.found.spec.name}"] = most(held)
        for arm in self.arms:
            arm.told()
            arm.found.note(arm.strategy, label, arm.take_scores(), parts)
        self._deployment.progress.windows_ended += 1

    def finish(self) -> None:
        """Write down that the stream is over."""
        for arm in self.arms:
            arm.finish(self._last_ns, self._history)

    def close(self) -> None:
        """Let go of the strategies and the threads."""
        self._stack.close()
        self.arms.clear()
