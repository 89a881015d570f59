"""What can be put under load, and what is recorded of it.

A target takes a schedule through a case and hands back a `Record`: columns, one value a query, and
what its trainer and its CPUs did meanwhile. Nothing is judged here. The first target is a node of
this machine (`lorabench.targets.node`); what holds of every target is written as tests
(``tests/support/target_contract.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lorabench.targets.load import Schedule
from lorabench.targets.trace import NS

if TYPE_CHECKING:
    from lorabench.lora.basis import LearnLog

CaseT_contra = TypeVar("CaseT_contra", contravariant=True)


@dataclass(frozen=True, eq=False)
class ReuseBytes:
    """What data reuse saved, and what it cost, in bytes.

    Attributes
    ----------
    features : int
        Features whose base vectors are kept; 0: nothing is, since nothing would be saved.
    saved : int
        Table rows that the trainer did not read. A batch that is also looked at by the base alone
        counts once: the second time its rows would be in the cache.
    written, read : int
        Base vectors and versions, into the rings by the servers and out of them by the trainer.
    """

    features: int
    saved: int
    written: int
    read: int

    @property
    def net(self) -> int:
        """What is left of the saving; below 0 where it cost more."""
        return self.saved - self.written - self.read


@dataclass(frozen=True, eq=False)
class Updates:
    """What was learned and published, in that order: n samples in B batches.

    Attributes
    ----------
    sample, label_ns : int64 [n]
        Number of each sample, and when its label arrived.
    size : int64 [B]
        Samples of each batch.
    epoch, published_ns : int64 [B]
        The first epoch that includes a batch, and when it was published.
    """

    sample: NDArray[np.int64]
    label_ns: NDArray[np.int64]
    size: NDArray[np.int64]
    epoch: NDArray[np.int64]
    published_ns: NDArray[np.int64]

    @classmethod
    def of_batch(
        cls, sample: NDArray[np.int64], label_ns: NDArray[np.int64], epoch: int, published_ns: int
    ) -> "Updates":
        """Return the updates of a single batch."""
        once = (np.array([value], np.int64) for value in (len(sample), epoch, published_ns))
        return cls(sample, label_ns, *once)

    @classmethod
    def joined(cls, parts: Sequence["Updates"]) -> "Updates":
        """Return several updates as one, none where there are none."""
        none = np.zeros(0, np.int64)
        return cls(
            *(
                np.concatenate([none, *(getattr(part, column.name) for part in parts)])
                for column in fields(cls)
            )
        )

    def each(self, column: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for every sample what a column [B] has for its batch, [n]."""
        return np.repeat(column, self.size)

    def samples_per_s(self) -> float | None:
        """Samples/s from the first publish to the last; None where too little was published."""
        if len(self.size) < 2:
            return None
        # The first batch's own time lies before its publish.
        passed_ns = float(self.published_ns[-1] - self.published_ns[0])
        return float(self.size[1:].sum()) / (passed_ns / NS)


@dataclass(frozen=True, eq=False)
class TrainReport:
    """What the trainer did in one condition.

    Attributes
    ----------
    updates : Updates
        What it published.
    learner : LearnLog
        What happened beside the learning.
    publish_deferred : int
        How often a reader still held the idle side.
    replay_dropped, replay_skipped : int
        Samples that found their ring full, and that were given up because they lagged.
    slots_used : tuple of int
        Of each table, at the end.
    epoch : int
        The last one.
    throttle : float64 [n, 4]
        What the throttle did (`lorabench.targets.node.throttle.Pacer.trace`); empty without one.
    reuse : ReuseBytes or None
        What data reuse saved and cost; None without it.
    """

    updates: Updates
    learner: "LearnLog"
    publish_deferred: int
    replay_dropped: int
    replay_skipped: int
    slots_used: tuple[int, ...]
    epoch: int
    throttle: NDArray[np.float64]
    reuse: ReuseBytes | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """What became of each query of a schedule; times in ns after its start.

    Attributes
    ----------
    started, done : int64 [N]
        When its batch was taken up and finished; 0 in `done` for a query that was never served.
    batch : int32 [N]
        Queries in its batch.
    epoch : int64 [N]
        Adapter epoch that it was served from; -1 without an adapter.
    prediction : float32 [sum of rows]
        Click probabilities, query after query.
    late_ns : int64 [W]
        For every time that a server slept: how much after the deadline it ran again.
    """

    started: NDArray[np.int64]
    done: NDArray[np.int64]
    batch: NDArray[np.int32]
    epoch: NDArray[np.int64]
    prediction: NDArray[np.float32]
    late_ns: NDArray[np.int64]

    @classmethod
    def unserved(cls, queries: int, rows: int) -> "Answers":
        """Return columns for so many queries and rows, with room for a wake-up a query."""
        found = cls(
            started=np.empty(queries, np.int64),
            done=np.empty(queries, np.int64),
            batch=np.empty(queries, np.int32),
            epoch=np.empty(queries, np.int64),
            prediction=np.empty(rows, np.float32),
            late_ns=np.empty(queries, np.int64),
        )
        found.clear()
        return found

    def clear(self) -> None:
        """Mark all queries as never served; this touches every page of the columns."""
        for column in (self.started, self.done, self.batch, self.prediction, self.late_ns):
            column[:] = 0
        self.epoch[:] = -1


@dataclass(frozen=True, eq=False, kw_only=True)
class CpuUsage:
    """What the CPUs in use did while a case was measured.

    Attributes
    ----------
    cpu_busy : float
        Busy share of the CPUs in use, in the measured window.
    steal_s : float
        Time the hypervisor took from them.
    involuntary_switches : int
        Of all workers.
    trainer_cpu_s : float
        CPU time of the trainer in the measured window.
    trainer_idle_s : float
        Time in it that the trainer's CPUs were idle; of all in use without a trainer.
    trainer_cpus : int
        How many CPUs the trainer has.
    trainer_cpu : float64 [n, 2]
        CPU time of the trainer until then, s, at ns of the monotonic clock; empty where nobody
        watched.
    """

    cpu_busy: float
    steal_s: float
    involuntary_switches: int
    trainer_cpu_s: float
    trainer_idle_s: float
    trainer_cpus: int
    trainer_cpu: NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Record(Answers, CpuUsage):
    """What was recorded of one case under one schedule; answers are in the schedule's order.

    Attributes
    ----------
    condition : str
        Name of the case.
    schedule : Schedule
        What was asked.
    start_ns : int
        Its start on the monotonic clock.
    train : TrainReport or None
        What the trainer did.
    """

    condition: str
    schedule: Schedule
    start_ns: int
    train: TrainReport | None = None

    @property
    def scheduled(self) -> NDArray[np.int64]:
        """Arrivals, ns after the start, int64 [N]."""
        return self.schedule.arrivals

    @property
    def server(self) -> NDArray[np.int32]:
        """Who served each query, int32 [N]."""
        return self.schedule.server

    @property
    def rows(self) -> NDArray[np.int32]:
        """Rows that each query asked for, int32 [N]."""
        return self.schedule.rows

    @property
    def schedule_digest(self) -> str:
        """Of the arrivals."""
        return self.schedule.digest

    @property
    def served(self) -> NDArray[np.bool_]:
        """Which queries got an answer."""
        return self.done > 0

    def inside(self, window_s: tuple[float, float]) -> NDArray[np.bool_]:
        """Which queries were due in a window, s after the start, and got an answer."""
        begin, end = (int(at * NS) for at in window_s)
        inside: NDArray[np.bool_] = (self.scheduled >= begin) & (self.scheduled < end) & self.served
        return inside

    def latencies(self, window_s: tuple[float, float]) -> NDArray[np.float64]:
        """Latencies, s, of the queries that were due in a window and were answered."""
        latency: NDArray[np.float64] = (self.done - self.scheduled)[self.inside(window_s)] / NS
        return latency

    def first_answered(self, epoch: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return when the first answer came from each of these epochs or from a later one.

        Parameters
        ----------
        epoch : int64 [n]
            Adapter epochs.

        Returns
        -------
        int64 [n]
            ns after the start; -1 where none came before the schedule ended.
        """
        served = np.flatnonzero(self.served & (self.epoch >= 0))
        order = served[np.argsort(self.done[served], kind="stable")]
        # Epochs only grow on a server; across servers the first to reach one is what counts.
        reached = np.maximum.accumulate(self.epoch[order])
        first = np.searchsorted(reached, epoch, side="left")
        return np.append(self.done[order], -1)[first]

    def raw(self) -> dict[str, NDArray[np.generic]]:
        """Arrays for the file of raw samples."""
        arrays: dict[str, NDArray[np.generic]] = {
            "scheduled_ns": self.scheduled,
            "started_ns": self.started,
            "done_ns": self.done,
            "batch": self.batch,
            "server": self.server,
            "rows": self.rows,
            "epoch": self.epoch,
        }
        if self.train is not None:
            updates, learner = self.train.updates, self.train.learner
            throttle = self.train.throttle.copy()
            throttle[:, 0] -= self.start_ns
            arrays |= {
                "trained_sample": updates.sample,
                "trained_epoch": updates.each(updates.epoch),
                "label_ns": updates.label_ns - self.start_ns,
                "published_ns": updates.each(updates.published_ns) - self.start_ns,
                "throttle": throttle,
                "window_samples": np.array(learner.samples, np.int64),
                "window_ranks": np.array(learner.ranks, np.int64),
            }
        return arrays


class Target(Protocol[CaseT_contra]):
    """What can be put under load; what a case says is its own."""

    def measure(self, case: CaseT_contra, schedule: Schedule) -> Record:
        """Take it through one case under one schedule.

        Every query is answered or marked as never served, whatever becomes of the others; what is
        returned is nobody else's memory.
        """
