"""What can be put under load, and what is recorded of it.

A target takes a schedule through a case and hands back a `Record`: columns, one value a query, and
what its trainer and its CPUs did meanwhile. Nothing is judged here. The first target is a node of
this machine (`lorabench.targets.node`); what holds of every target is written as tests
(``tests/support/target_contract.py``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lorabench.targets.load import Schedule
from lorabench.targets.trace import NS
from lorabench.targets.training import Applied, TrainReport, Updates

if TYPE_CHECKING:
    from lorabench.lora.basis import LearnLog

CaseT_contra = TypeVar("CaseT_contra", contravariant=True)


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """What became of each query of a schedule; times in ns of its case's clock.

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
    late_ns : int64 [N]
        Where the server slept until this query was due: how much later it ran again. -1 otherwise.
    switches, faults : int32 [N]
        Involuntary switches and page faults of the server's thread since its last batch.
    delay_ns : int64 [N]
        What that thread waited in the run queue since then.
    """

    started: NDArray[np.int64]
    done: NDArray[np.int64]
    batch: NDArray[np.int32]
    epoch: NDArray[np.int64]
    prediction: NDArray[np.float32]
    late_ns: NDArray[np.int64]
    switches: NDArray[np.int32]
    faults: NDArray[np.int32]
    delay_ns: NDArray[np.int64]

    @classmethod
    def unserved(cls, queries: int, rows: int) -> "Answers":
        """Return columns for so many queries and rows."""
        found = cls(
            started=np.empty(queries, np.int64),
            done=np.empty(queries, np.int64),
            batch=np.empty(queries, np.int32),
            epoch=np.empty(queries, np.int64),
            prediction=np.empty(rows, np.float32),
            late_ns=np.empty(queries, np.int64),
            switches=np.empty(queries, np.int32),
            faults=np.empty(queries, np.int32),
            delay_ns=np.empty(queries, np.int64),
        )
        found.clear()
        return found

    def clear(self) -> None:
        """Mark all queries as never served; this touches every page of the columns."""
        for field in fields(Answers):
            getattr(self, field.name)[:] = -1 if field.name in ("epoch", "late_ns") else 0


@dataclass(frozen=True, eq=False, kw_only=True)
class CpuUsage:
    """What the CPUs in use did while a case was measured.

    Attributes
    ----------
    cpu_busy : float
        Busy share of the CPUs; stolen time counts. Not a number where the kernel counts no time.
    steal_s : float
        What the hypervisor gave to others, summed over these CPUs.
    involuntary_switches : int
        Of all threads of all workers.
    trainer_cpu_s, trainer_idle_s : float
        CPU time of the trainer, and idle time of the CPUs that are its own to use.
    trainer_cpus : int
        How many these are.
    trainer_cpu : float64 [n, 2]
        CPU time of the trainer until then, s, at ns of the case's clock; empty where nobody
        watched.
    append_s : float
        What the servers took to offer rows to the trainer.
    throttled : float64 [S, 3]
        Of each slice: periods of a limit on the servers' CPU time, those in which the kernel
        stopped their group for it, and s for which it did.
    """

    cpu_busy: float
    steal_s: float
    involuntary_switches: int
    trainer_cpu_s: float
    trainer_idle_s: float
    trainer_cpus: int
    trainer_cpu: NDArray[np.float64]
    append_s: float = 0.0
    throttled: NDArray[np.float64] = dataclass_field(default_factory=lambda: np.zeros((1, 3)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Record(Answers, CpuUsage):
    """What was recorded of one case: one slice of it, or several as one (`joined`).

    Answers are in the schedule's order. All times are those of the case's clock, which stands still
    while the case does not run.

    Attributes
    ----------
    condition : str
        Name of the case.
    schedule : Schedule
        What was asked.
    windows_ns : int64 [S, 2]
        Begin and end of what is measured of each slice.
    slices : int32 [N]
        Number of the slice that each query belongs to.
    length_s : float
        How long it was served, the heads of its slices included.
    train : TrainReport or None
        What the trainer did.
    before : TrainReport or None
        What it had done when this began; None where it began anew.
    issued : int64 [N] or None
        When each query was handed over, where a load generator with a clock of its own did that.
    applied : Applied or None
        What was written of a push, where that was done in a trainer's stead.
    """

    condition: str
    schedule: Schedule
    windows_ns: NDArray[np.int64]
    slices: NDArray[np.int32]
    length_s: float
    train: TrainReport | None = None
    before: TrainReport | None = None
    issued: NDArray[np.int64] | None = None
    applied: Applied | None = None

    @classmethod
    def joined(cls, parts: Sequence["Record"]) -> "Record":
        """Return the slices of a case, in order, as one record."""
        first, last = parts[0], parts[-1]
        measured = np.array([part.measured_s for part in parts])
        merged: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in (
                *(field.name for field in fields(Answers)),
                *("trainer_cpu", "windows_ns", "throttled"),
            )
        }
        train = None
        if last.train is not None:
            reports = [part.train for part in parts if part.train is not None]
            train = replace(
                last.train,
                updates=Updates.joined([report.updates for report in reports]),
                throttle=np.concatenate([report.throttle for report in reports]),
                steps=sum(report.steps for report in reports),
                cpu_s=sum(report.cpu_s for report in reports),
            )
        issued = [part.issued for part in parts if part.issued is not None]
        # A slice's own number counts from 0, however many parts went before.
        counts = np.cumsum([0, *(int(part.slices.max(initial=-1)) + 1 for part in parts[:-1])])
        busy = np.array([part.cpu_busy for part in parts])
        told = np.isfinite(busy)
        weights = measured[told] if measured[told].sum() > 0 else None
        return cls(
            **merged,
            **{
                name: sum(getattr(part, name) for part in parts)
                for name in (
                    "length_s",
                    "steal_s",
                    "involuntary_switches",
                    "trainer_cpu_s",
                    "trainer_idle_s",
                    "append_s",
                )
            },
            cpu_busy=float(np.average(busy[told], weights=weights)) if told.any() else math.nan,
            trainer_cpus=first.trainer_cpus,
            condition=first.condition,
            schedule=Schedule.joined([part.schedule for part in parts]),
            slices=np.concatenate(
                [part.slices + np.int32(n) for part, n in zip(parts, counts, strict=True)]
            ),
            train=train,
            before=first.before,
            issued=np.concatenate(issued) if len(issued) == len(parts) else None,
            applied=Applied.joined([part.applied for part in parts if part.applied is not None]),
        )

    @property
    def learned(self) -> "LearnLog":
        """What happened beside the learning in this record alone; of one with a trainer."""
        assert self.train is not None
        log = self.train.learner
        return log if self.before is None else log.since(self.before.learner)

    @property
    def throttle(self) -> NDArray[np.float64]:
        """What a throttle did to the trainer, or to who applies a push, float64 [n, 4]."""
        done = self.train or self.applied
        return np.zeros((0, 4)) if done is None else done.throttle

    @property
    def stopped(self) -> NDArray[np.bool_]:
        """In which slices the kernel stopped the servers for a limit on CPU time, bool [S]."""
        found: NDArray[np.bool_] = np.any(self.throttled[:, 1:] > 0, axis=1)
        return found

    @property
    def measured_s(self) -> float:
        """How long was measured, all slices together."""
        return float(np.diff(self.windows_ns, axis=1).sum()) / NS

    @property
    def scheduled(self) -> NDArray[np.int64]:
        """Arrivals, int64 [N]."""
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

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which queries were due in what is measured, and got an answer."""
        return self.measured(self.scheduled) & self.served

    def measured(self, at_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which moments lie in what is measured."""
        begin, end = self.windows_ns.T
        slot = np.searchsorted(begin, at_ns, side="right") - 1
        return (slot >= 0) & (at_ns < np.append(end, -1)[slot])

    @property
    def latency_s(self) -> NDArray[np.float64]:
        """From scheduled arrival to answer, s, of the queries that count."""
        latency: NDArray[np.float64] = (self.done - self.scheduled)[self.counted] / NS
        return latency

    def latencies(self, window_s: tuple[float, float]) -> NDArray[np.float64]:
        """Latencies, s, of the queries that were due in a window and were answered."""
        begin, end = (int(at * NS) for at in window_s)
        inside = (self.scheduled >= begin) & (self.scheduled < end) & self.served
        latency: NDArray[np.float64] = (self.done - self.scheduled)[inside] / NS
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
            ns of the case's clock; -1 where none came before the schedule ended.
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
            "first_sample": self.schedule.skipped_rows
            + np.cumsum(self.rows, dtype=np.int64)
            - self.rows,
            "epoch": self.epoch,
            "late_ns": self.late_ns,
            "switches": self.switches,
            "faults": self.faults,
            "delay_ns": self.delay_ns,
            "slice": self.slices,
            "counted": self.counted,
            "throttled": self.throttled,
        }
        if self.issued is not None:
            arrays["issued_ns"] = self.issued
        if self.applied is not None:
            arrays["throttle"] = self.applied.throttle
        if self.train is not None:
            updates, learner = self.train.updates, self.train.learner
            arrays |= {
                "trained_first": updates.first,
                "trained_count": updates.count,
                "label_ns": updates.label_ns,
                "trained_epoch": updates.each(updates.epoch),
                "published_ns": updates.each(updates.published_ns),
                "throttle": self.train.throttle,
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
