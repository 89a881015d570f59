"""One condition of one round: run it on a fleet, and record everything that happened.

Nothing is judged here. `NodeSetup` holds what stays the same throughout a run (memory, plan, load);
`NodeSetup.round` starts a round's processes; `NodeProcesses.run` takes them through a condition.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench._hotpath import LOAD_BYTES
from lorabench.host.counters import CpuUse, Snapshot
from lorabench.isolation.confine import Workers
from lorabench.isolation.numa import verify_placement
from lorabench.isolation.plan import MemoryPlan
from lorabench.lora.layout import AdapterPlan
from lorabench.lora.learner import LearnerConfig
from lorabench.lora.writer import Adapter
from lorabench.memory import MemoryPolicy, PageSizes, Region
from lorabench.model.prepare import Prepared
from lorabench.model.tables import TableSet
from lorabench.targets.load import Traffic, schedule_digest, split_arrivals
from lorabench.targets.node.launch import Fleet
from lorabench.targets.node.memory import Feed
from lorabench.targets.node.server import ServeJob, ServeRecord, Wait
from lorabench.targets.node.settings import TrainerSettings
from lorabench.targets.node.worker import (
    ModelSetup,
    Prepare,
    Ready,
    ServerSetup,
    Stop,
    Train,
    TrainerSetup,
    TrainReport,
)
from lorabench.workload.block import Block, dense_features

NS = 1_000_000_000

# Between telling the processes to go and the first arrival.
_LEAD_NS = NS // 10

# A condition whose queue only grows is given up on after this many times its schedule.
_PATIENCE = 3


@dataclass(frozen=True)
class Schedule:
    """Arrivals of a round, the same in each of its conditions.

    Attributes
    ----------
    arrivals : int64 [N]
        ns after the start, rising.
    server : int32 [N]
        Who serves each.
    rows : int32 [N]
        How many rows each asks for.
    """

    arrivals: NDArray[np.int64]
    server: NDArray[np.int32]
    rows: NDArray[np.int32]

    @property
    def total_rows(self) -> int:
        """Rows of all queries."""
        return int(self.rows.sum(dtype=np.int64))

    def first_rows(self, available: int) -> NDArray[np.int64]:
        """First row of each query among those available, which may be gone through again."""
        first = np.cumsum(self.rows, dtype=np.int64) - self.rows
        if self.total_rows > available:  # only when capacity is measured
            first %= available - int(self.rows.max()) + 1
        return first

    @property
    def digest(self) -> str:
        """What the result shows, so that one sees that conditions had the same arrivals."""
        return schedule_digest(self.arrivals, self.server, self.rows)

    @classmethod
    def draw(
        cls, traffic: Traffic, qps: float, duration_s: float, *, servers: int, seed: Sequence[int]
    ) -> "Schedule":
        """Draw arrivals and sizes, and share them out between servers."""
        rng = np.random.default_rng(seed)
        arrivals, rows = traffic.draw(qps, duration_s, rng)
        return cls(arrivals, split_arrivals(len(arrivals), servers, rng), rows)


@dataclass(frozen=True)
class Record:
    """What was recorded of one condition of one round.

    Attributes
    ----------
    condition : str
        Its name.
    start_ns : int
        The schedule's start on the monotonic clock.
    scheduled, started, done : int64 [N]
        ns after the start; `done` is 0 for a query that was never served.
    batch, server : int32 [N]
        Queries in its batch, and who served it.
    epoch : int64 [N]
        Adapter epoch; -1 without an adapter.
    rows : int32 [N]
        Rows that each query asked for.
    prediction : float32 [sum of rows]
        Click probabilities, query after query.
    late_ns : int64 [W]
        Lateness of every wake-up.
    schedule_digest : str
        Of the arrivals.
    cpu_busy : float
        Busy share of the CPUs in use, in the measured window.
    steal_s : float
        Time the hypervisor took from them.
    involuntary_switches : int
        Of all workers.
    trainer_cpu_s : float
        CPU time of the trainer in the measured window.
    trainer_idle_s : float
        Time in it that the trainer's CPUs were idle; of `cpus` without a trainer.
    trainer_cpus : int
        How many CPUs the trainer has.
    trainer_cpu : float64 [n, 2]
        CPU time of the trainer until then, s, at ns of the monotonic clock; empty where nobody
        watched.
    train : TrainReport or None
        What the trainer did.
    """

    condition: str
    start_ns: int
    scheduled: NDArray[np.int64]
    started: NDArray[np.int64]
    done: NDArray[np.int64]
    batch: NDArray[np.int32]
    server: NDArray[np.int32]
    epoch: NDArray[np.int64]
    rows: NDArray[np.int32]
    prediction: NDArray[np.float32]
    late_ns: NDArray[np.int64]
    schedule_digest: str
    cpu_busy: float
    steal_s: float
    involuntary_switches: int
    trainer_cpu_s: float
    trainer_idle_s: float
    trainer_cpus: int
    trainer_cpu: NDArray[np.float64]
    train: TrainReport | None

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
            arrays["trained_sample"] = joined(self.train.log.sample)
            arrays["trained_epoch"] = joined(self.train.log.epoch)
            arrays["label_ns"] = joined(self.train.log.label_ns) - self.start_ns
            arrays["published_ns"] = joined(self.train.log.published_ns) - self.start_ns
            learner = self.train.log.learner
            throttle = self.train.throttle.copy()
            throttle[:, 0] -= self.start_ns
            arrays["throttle"] = throttle
            arrays["window_samples"] = np.array(learner.samples, np.int64)
            arrays["window_ranks"] = np.array(learner.ranks, np.int64)
        return arrays


def joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Concatenate, where there may be nothing to concatenate."""
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


@dataclass(frozen=True)
class Serving:
    """How queries are served; the same in every condition.

    Parameters
    ----------
    query_rows : int
        Most candidate rows of a query.
    max_batch : int
        Most queries scored together.
    wait : {"block", "spin"}
        What a server does between arrivals.
    """

    query_rows: int
    max_batch: int
    wait: Wait


class NodeProcesses:
    """A round's processes and the rows that they serve."""

    def __init__(
        self,
        fleet: Fleet,
        serving: Serving,
        labels: NDArray[np.int8],
        server_cpus: Sequence[frozenset[int]],
    ) -> None:
        self._fleet = fleet
        self._serving = serving
        self._server_cpus = server_cpus
        self.labels = labels

    @property
    def pids(self) -> list[int]:
        """Process ids of all workers."""
        return self._fleet.pids

    def workers(self, place: TrainerSettings) -> Workers:
        """Say who is where in a condition that places the trainer like this."""
        fleet = self._fleet
        assert fleet.trainer is not None
        pids = [worker.pid for worker in fleet.servers]
        return Workers(
            dict(zip(pids, self._server_cpus, strict=True)), fleet.trainer.pid, place.cpus
        )

    @property
    def table_pages(self) -> list[PageSizes]:
        """What each worker maps the tables with, the servers first."""
        return [ready.table_pages for ready in self._fleet.ready if isinstance(ready, Ready)]

    def run(
        self,
        condition: str,
        schedule: Schedule,
        place: TrainerSettings | None,
        *,
        cpus: frozenset[int],
        window_s: tuple[float, float],
        give_up_s: float | None = None,
        watch: bool = False,
    ) -> Record:
        """Take servers and trainer through one condition.

        Parameters
        ----------
        condition : str
            Its name.
        schedule : Schedule
            Arrivals.
        place : TrainerSettings or None
            The trainer's; None leaves it idle and serves plain lookups.
        cpus : frozenset of int
            Whose busy and stolen time is counted.
        window_s : tuple of float
            Begin and end of the measured window after the start.
        give_up_s : float, optional
            When to stop serving; three times the window's end by default.
        watch : bool
            Follow the trainer's CPU time throughout.
        """
        fleet = self._fleet
        if place is not None:
            self._prepare(Prepare(place))
        begin_s, end_s = window_s
        give_up_s = end_s * _PATIENCE if give_up_s is None else give_up_s
        start_ns = time.monotonic_ns() + _LEAD_NS
        self._serve(schedule, start_ns, give_up_s, place)
        if place is not None and fleet.trainer is not None:
            fleet.trainer.send(Train())
        stack, use = ExitStack(), None
        if watch and place is not None and fleet.trainer is not None:
            use = stack.enter_context(CpuUse(fleet.trainer.pid).sampling())
        _sleep_until(start_ns + int(begin_s * NS))
        near = cpus if place is None else place.cpus
        before = Snapshot.take(fleet.pids, cpus), Snapshot.take((), near)
        _sleep_until(start_ns + int(min(end_s, give_up_s) * NS))
        spent = Snapshot.take(fleet.pids, cpus) - before[0]
        beside = Snapshot.take((), near) - before[1]
        stack.close()
        records: list[ServeRecord] = fleet.gather(fleet.servers, give_up_s + 60.0)
        report: TrainReport | None = None
        if place is not None and fleet.trainer is not None:
            fleet.trainer.send(Stop())
            report = fleet.trainer.receive()
        total = len(schedule.arrivals)
        trial = Record(
            condition=condition,
            start_ns=start_ns,
            scheduled=schedule.arrivals,
            started=np.zeros(total, np.int64),
            done=np.zeros(total, np.int64),
            batch=np.zeros(total, np.int32),
            server=schedule.server,
            epoch=np.zeros(total, np.int64),
            rows=schedule.rows,
            prediction=np.zeros(schedule.total_rows, np.float32),
            late_ns=np.concatenate([record.late_ns for record in records]),
            schedule_digest=schedule.digest,
            cpu_busy=spent.cpu_busy,
            steal_s=spent.steal_s,
            involuntary_switches=spent.involuntary_switches,
            trainer_cpu_s=0.0 if fleet.trainer is None else spent.cpu_s[fleet.trainer.pid],
            trainer_idle_s=beside.idle_s,
            trainer_cpus=len(near),
            trainer_cpu=np.zeros((0, 2)) if use is None else use.samples,
            train=report,
        )
        server_of_row = np.repeat(schedule.server, schedule.rows)
        for server, record in enumerate(records):
            mine = schedule.server == server
            trial.started[mine] = record.started
            trial.done[mine] = record.done
            trial.batch[mine] = record.batch
            trial.epoch[mine] = record.epoch
            trial.prediction[server_of_row == server] = record.prediction
        return trial

    def train_alone(
        self, schedule: Schedule, place: TrainerSettings, fill_s: float, train_s: float
    ) -> float | None:
        """Measure what the trainer does when servers neither run beside it nor keep it waiting.

        Parameters
        ----------
        schedule : Schedule
            Queries, all due at once, with which the rings are filled beforehand.
        place : TrainerSettings
            Where it runs.
        fill_s, train_s : float
            How long the rings are filled and how long it may then learn, the label delay included.

        Returns
        -------
        float or None
            Samples/s from its first publish to its last; None where it published too little.
        """
        trainer = self._fleet.trainer
        assert trainer is not None
        self._prepare(Prepare(place, drain=True))
        self._serve(schedule, time.monotonic_ns(), fill_s, place)
        self._fleet.gather(self._fleet.servers, fill_s + 60.0)
        trainer.send(Train())
        time.sleep(train_s)
        trainer.send(Stop())
        report: TrainReport = trainer.receive()
        batches = report.log.published_ns
        if len(batches) < 2:
            return None
        # The first batch's own time lies before its publish.
        learned = sum(map(len, batches[1:]))
        return learned / (float(batches[-1][0] - batches[0][0]) / NS)

    def _prepare(self, message: Prepare) -> None:
        assert self._fleet.trainer is not None
        self._fleet.trainer.send(message)
        self._fleet.trainer.receive()

    def _serve(
        self, schedule: Schedule, start_ns: int, give_up_s: float, place: TrainerSettings | None
    ) -> None:
        """Give each server its part of a schedule."""
        first_rows = schedule.first_rows(len(self.labels))
        for server, worker in enumerate(self._fleet.servers):
            mine = schedule.server == server
            worker.send(
                ServeJob(
                    start_ns=start_ns,
                    stop_ns=start_ns + int(give_up_s * NS),
                    scheduled=schedule.arrivals[mine],
                    first_row=first_rows[mine],
                    rows=schedule.rows[mine].astype(np.int64),
                    adapted=place is not None,
                    wait=self._serving.wait,
                    reuse=place is not None and place.reuse,
                )
            )


@dataclass(frozen=True)
class PlacedMemory:
    """Memory whose nodes are the plan's choice and not the first touch's.

    Use `create`.

    Parameters
    ----------
    tables : TableSet
        A copy of the tables, placed.
    plan : MemoryPlan
        Where the rest comes from.
    trainer_nodes : tuple of int
        Where the trainer's own memory comes from.
    """

    tables: TableSet
    plan: MemoryPlan
    trainer_nodes: tuple[int, ...]

    @classmethod
    def create(
        cls, tables: TableSet, plan: MemoryPlan, trainer_nodes: tuple[int, ...]
    ) -> "PlacedMemory":
        """Copy tables to where the plan wants them: pages in use are not moved.

        Raises
        ------
        InputError
            A second copy does not fit into memory.
        MachineError
            The kernel does not place it as it is told.
        """
        copy = TableSet.create(tables.layout, plan.tables)
        for target, source in zip(copy.arrays, tables.arrays, strict=True):
            target[:] = source
        copy.region.settle()
        _verify(copy.region, plan.tables)
        return cls(copy, plan, trainer_nodes)


def _verify(region: Region, policy: MemoryPolicy) -> None:
    region.mapping.populate()
    verify_placement(region, policy)


@dataclass(frozen=True)
class NodeSetup:
    """What stays the same throughout a run.

    Parameters
    ----------
    prepared : Prepared
        Tables and weights.
    serving : Serving
        How queries are served.
    adapter : AdapterPlan
        Slots and rank.
    trainer : LearnerConfig
        How the trainer learns.
    train_batch : int
        Most samples that it takes at once.
    label_delay_s : float
        From a prediction to its label.
    replay_bytes : int
        Bytes of each replay ring.
    """

    prepared: Prepared
    serving: Serving
    adapter: AdapterPlan
    trainer: LearnerConfig
    train_batch: int
    label_delay_s: float
    replay_bytes: int

    @contextmanager
    def round(
        self,
        rows: Block,
        server_cpus: Sequence[frozenset[int]],
        *,
        with_trainer: bool,
        placed: PlacedMemory | None = None,
    ) -> Iterator[NodeProcesses]:
        """Start fresh processes that serve `rows`; end them when the context is left.

        Parameters
        ----------
        rows : Block
            What is served.
        server_cpus : sequence of frozenset of int
            Of each server.
        with_trainer : bool
            Whether there is one.
        placed : PlacedMemory, optional
            Take memory from these nodes, and make sure that it is there; None lets it come from
            wherever it is first touched.

        Raises
        ------
        MachineError
            The kernel does not place the memory as it is told.
        """
        feed = Feed.create(dense_features(rows.dense), rows.sparse)
        labels = Region.create("labels", len(rows))
        labels.array(np.int8, (len(rows),))[:] = rows.label
        plan = None if placed is None else placed.plan
        adapter = Adapter(self.adapter, None if plan is None else plan.adapter)
        rings = [
            Region.create("ring", self.replay_bytes, None if plan is None else plan.replay[server])
            for server in range(len(server_cpus))
        ]
        load = Region.create("load", LOAD_BYTES * len(rings))
        try:
            net = self.prepared.net
            model = ModelSetup(
                tables=(self.prepared.tables if placed is None else placed.tables).handle,
                shape=net.shape,
                weights={name: value.numpy() for name, value in net.state_dict().items()},
                adapter=adapter.handle,
                rings=tuple(ring.handle for ring in rings),
                load=load.handle,
            )
            servers = [
                ServerSetup(
                    model=model,
                    feed=feed.handle,
                    server=number,
                    cpus=cpus,
                    query_rows=self.serving.query_rows,
                    max_batch=self.serving.max_batch,
                )
                for number, cpus in enumerate(server_cpus)
            ]
            trainer = TrainerSetup(
                model=model,
                labels=labels.handle,
                num_dense=rows.dense.shape[1],
                label_delay_ns=int(self.label_delay_s * NS),
                config=self.trainer,
                batch=self.train_batch,
                memory_nodes=None if placed is None else placed.trainer_nodes,
            )
            if plan is not None:
                _verify(adapter.sides, plan.adapter)
                for ring, policy in zip(rings, plan.replay, strict=True):
                    _verify(ring, policy)
            regions = [
                model.tables.region,
                feed.handle.features,
                labels.handle,
                adapter.handle.sides,
                adapter.handle.pins,
                *model.rings,
                model.load,
            ]
            with Fleet(
                servers,
                trainer if with_trainer else None,
                descriptors=[region.fd for region in regions],
                pins=adapter.pins.mapping,
            ) as fleet:
                yield NodeProcesses(fleet, self.serving, rows.label, server_cpus)
        finally:
            feed.close()
            adapter.close()
            for region in (labels, load, *rings):
                region.close()


def _sleep_until(deadline_ns: int) -> None:
    time.sleep(max(0, deadline_ns - time.monotonic_ns()) / NS)
