"""A serving node on this machine as a target: servers and a trainer, each a process.

`NodeSetup` holds what stays the same throughout a run (model, adapter, how queries are served);
`NodeSetup.round` starts a round's processes; `NodeProcesses.measure` takes them through a case.
Nothing is judged here.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import MachineError
from lorabench.host.counters import CpuUse, Snapshot
from lorabench.isolation.confine import Workers
from lorabench.lora.layout import AdapterPlan
from lorabench.memory import PageSizes
from lorabench.model.prepare import Prepared
from lorabench.strategies.base import StrategySpec
from lorabench.targets.load import Schedule
from lorabench.targets.node.exchange import NOWHERE, Exchange
from lorabench.targets.node.launch import Fleet, Worker
from lorabench.targets.node.memory import PlacedMemory, RoundMemory
from lorabench.targets.node.messages import (
    Go,
    ModelSetup,
    Prepare,
    Ready,
    Serve,
    Served,
    ServerSetup,
    Stop,
    Train,
    TrainerSetup,
)
from lorabench.targets.node.model import model_setup
from lorabench.targets.node.settings import NodeCase, Serving, TrainerSettings
from lorabench.targets.target import Answers, CpuUsage, Record, Target
from lorabench.targets.trace import NS
from lorabench.targets.training import TrainReport
from lorabench.workload.block import Block

# Between telling the processes to go and the case's clock reading what it should: until then each
# has heard it, be there more servers than cores.
_LEAD_NS = NS // 50

# How much longer than it may serve a server may take to say that it is done.
_GRACE_S = 60.0


@dataclass(frozen=True, eq=False)
class Saturated:
    """What servers did that always had a full batch waiting.

    Attributes
    ----------
    qps : float
        Queries/s, all servers together, each until it had answered its last.
    answers : Answers
        Of the last time that each query was answered.
    """

    qps: float
    answers: Answers


class NodeProcesses(Target[NodeCase]):
    """A round's processes and the rows that they serve."""

    def __init__(
        self,
        fleet: Fleet,
        exchange: Exchange,
        serving: Serving,
        labels: NDArray[np.int8],
        server_cpus: Sequence[frozenset[int]],
    ) -> None:
        self._fleet = fleet
        self._exchange = exchange
        self._serving = serving
        self._server_cpus = server_cpus
        self.labels = labels

    @property
    def pids(self) -> list[int]:
        """Process ids of all workers."""
        return self._fleet.pids

    def workers(self, settings: TrainerSettings) -> Workers:
        """Return who is where in a condition that places the trainer like this."""
        pids = [worker.pid for worker in self._fleet.servers]
        return Workers(
            dict(zip(pids, self._server_cpus, strict=True)), self._trainer.pid, settings.cpus
        )

    @property
    def table_pages(self) -> list[PageSizes]:
        """What each worker maps the tables with, the servers first."""
        return [ready.table_pages for ready in self._fleet.ready]

    def measure(self, case: NodeCase, schedule: Schedule) -> Record:
        """Take servers and trainer through one slice of a case; one start for all."""
        settings = case.settings
        if settings is not None:
            seat = None if settings.sham is not None else case.seat
            self._prepare(Prepare(settings, seat, anew=case.anew))
        self._offer(schedule, _job(case, self._serving))
        start_ns = self._go(case.begin_s, case.patience_s)
        if settings is not None:
            begin_ns, end_ns = int(case.begin_s * NS), int(case.window_s[1] * NS)
            self._trainer.send(Train(start_ns, begin_ns, end_ns))
        cpu = self._follow(case, start_ns)
        served = self._fleet.gather(Served, case.patience_s - case.begin_s + _GRACE_S)
        report = None
        if settings is not None:
            self._trainer.send(Stop())
            report = self._trainer.receive(TrainReport)
        answers = self._exchange.collect()
        return Record(
            **vars(answers),
            **vars(replace(cpu, append_s=sum(each.append_ns for each in served) / NS)),
            condition=case.name,
            schedule=schedule,
            windows_ns=np.array([[int(at * NS) for at in case.window_s]], np.int64),
            slices=np.zeros(len(schedule), np.int32),
            length_s=case.window_s[1] - case.begin_s,
            train=None if settings is None or settings.sham is not None else report,
        )

    def saturate(self, schedule: Schedule, serve_s: float) -> Saturated:
        """Let every server go through its part of a schedule over and over, for so long.

        Parameters
        ----------
        schedule : Schedule
            Queries that are all due at once, some of each server.
        serve_s : float
            How long.

        Raises
        ------
        MachineError
            A server answered nothing in that time.
        """
        self._offer(schedule, Serve(NOWHERE, wait=self._serving.wait, cycle=True))
        self._go(0.0, serve_s)
        return self._saturated(serve_s)

    def train_alone(
        self, schedule: Schedule, settings: TrainerSettings, fill_s: float, train_s: float
    ) -> float | None:
        """Measure what the trainer does when servers neither run beside it nor keep it waiting.

        Parameters
        ----------
        schedule : Schedule
            Queries, all due at once, with which the rings are filled beforehand.
        settings : TrainerSettings
            Where it runs.
        fill_s, train_s : float
            How long the rings are filled and how long it may then learn, the label delay included.

        Returns
        -------
        float or None
            Samples/s from its first publish to its last; None where it published too little.

        Raises
        ------
        MachineError
            A server answered nothing.
        """
        self._prepare(Prepare(settings, 0, drain=True))
        self._offer(schedule, Serve(NOWHERE, seat=0, wait=self._serving.wait, cycle=True))
        start_ns = self._go(0.0, fill_s)
        self._saturated(fill_s)
        self._trainer.send(Train(start_ns))
        time.sleep(train_s)
        self._trainer.send(Stop())
        return self._trainer.receive(TrainReport).updates.samples_per_s()

    @property
    def _trainer(self) -> Worker:
        trainer = self._fleet.trainer
        assert trainer is not None, "a round without a trainer is asked for one"
        return trainer

    def _prepare(self, message: Prepare) -> None:
        self._trainer.send(message)
        self._trainer.receive(Ready)

    def _offer(self, schedule: Schedule, job: Serve) -> None:
        """Hand each server its part of a schedule, and wait until all are ready for it."""
        parts = self._exchange.offer(schedule, len(self.labels), len(self._fleet.servers))
        for worker, part in zip(self._fleet.servers, parts, strict=True):
            worker.send(replace(job, part=part))
        self._fleet.gather(Ready, _GRACE_S)

    def _go(self, begin_s: float, stop_s: float) -> int:
        """Start all servers at once; return when the case's clock read 0."""
        start_ns = time.monotonic_ns() + _LEAD_NS - int(begin_s * NS)
        for worker in self._fleet.servers:
            worker.send(Go(start_ns, int(stop_s * NS)))
        return start_ns

    def _saturated(self, serve_s: float) -> Saturated:
        served = self._fleet.gather(Served, serve_s + _GRACE_S)
        for server, each in enumerate(served):
            if each.queries == 0:
                raise MachineError(
                    f"server {server}: answered nothing in {serve_s:g} s of full load, expected at "
                    "least one query; give it a core of its own (--servers), or ask for smaller "
                    "queries (--query-rows)"
                )
        rates = [each.queries / (each.last_ns / NS) for each in served]
        return Saturated(sum(rates), self._exchange.collect())

    def _follow(self, case: NodeCase, start_ns: int) -> CpuUsage:
        """Read the CPUs' counters at both ends of the measured window, which passes meanwhile."""
        pids, settings = self._fleet.pids, case.settings
        near = case.cpus if settings is None else settings.cpus
        begin_s, end_s = case.window_s
        with ExitStack() as stack:
            watched = None
            if case.watch and settings is not None:
                watched = stack.enter_context(CpuUse(self._trainer.pid).sampling())
            _sleep_until(start_ns + int(begin_s * NS))
            before = Snapshot.take(pids, case.cpus), Snapshot.take((), near)
            _sleep_until(start_ns + int(end_s * NS))
            spent = Snapshot.take(pids, case.cpus) - before[0]
            beside = Snapshot.take((), near) - before[1]
        trainer = self._fleet.trainer
        samples = np.zeros((0, 2)) if watched is None else watched.samples
        samples[:, 0] -= start_ns
        return CpuUsage(
            cpu_busy=spent.cpu_busy,
            steal_s=spent.steal_s,
            involuntary_switches=spent.involuntary_switches,
            trainer_cpu_s=0.0 if trainer is None else spent.cpu_s[trainer.pid],
            trainer_idle_s=beside.idle_s,
            trainer_cpus=len(near),
            trainer_cpu=samples,
        )


def _job(case: NodeCase, serving: Serving) -> Serve:
    """Return what the servers are told of a slice."""
    settings = case.settings
    learns = settings is not None and settings.sham is None
    return Serve(
        NOWHERE,
        seat=case.seat if learns else None,
        wait=serving.wait,
        reuse=learns and settings is not None and settings.reuse,
        # A sham's throttle watches the load as a trainer's does.
        tell=settings is not None and (learns or settings.throttle is not None),
        slowdown=case.slowdown,
    )


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
    strategy : StrategySpec
        What the trainer learns by; one that is `colocatable`.
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
    strategy: StrategySpec
    train_batch: int
    label_delay_s: float
    replay_bytes: int

    @contextmanager
    def round(
        self,
        rows: Block,
        server_cpus: Sequence[frozenset[int]],
        *,
        seats: int,
        placed: PlacedMemory | None = None,
    ) -> Iterator[NodeProcesses]:
        """Start fresh processes that serve `rows`; end them when the context is left.

        Parameters
        ----------
        rows : Block
            What is served.
        server_cpus : sequence of frozenset of int
            Of each server.
        seats : int
            Adapters, each with its rings: one for each case that learns. 0 for servers alone.
        placed : PlacedMemory, optional
            Take memory from these nodes, and make sure that it is there; None lets it come from
            wherever it is first touched.

        Raises
        ------
        MachineError
            The kernel does not place the memory as it is told.
        """
        plan = None if placed is None else placed.plan
        with closing(
            RoundMemory.create(
                rows,
                self.adapter,
                ring_bytes=self.replay_bytes,
                servers=len(server_cpus),
                seats=seats,
                plan=plan,
            )
        ) as memory:
            if plan is not None:
                memory.verify(plan)
            with Fleet(
                self._servers(memory, server_cpus, placed),
                self._trainer(memory, placed) if seats else None,
                pins=[seat.adapter.pins.mapping for seat in memory.seats],
            ) as fleet:
                yield NodeProcesses(fleet, memory.exchange, self.serving, rows.label, server_cpus)

    def _model(self, placed: PlacedMemory | None) -> ModelSetup:
        tables = self.prepared.tables if placed is None else placed.tables
        return model_setup(tables, self.prepared.net)

    def _servers(
        self,
        memory: RoundMemory,
        cpus: Sequence[frozenset[int]],
        placed: PlacedMemory | None,
    ) -> list[ServerSetup]:
        model = self._model(placed)
        return [
            ServerSetup(
                model=model,
                feed=memory.feed.handle,
                adapters=tuple(seat.adapter.handle.reader for seat in memory.seats),
                rings=tuple(seat.rings[number].handle for seat in memory.seats),
                load=memory.load.handle,
                exchange=memory.exchange.handle,
                server=number,
                cpus=own,
                query_rows=self.serving.query_rows,
                max_batch=self.serving.max_batch,
            )
            for number, own in enumerate(cpus)
        ]

    def _trainer(self, memory: RoundMemory, placed: PlacedMemory | None) -> TrainerSetup:
        return TrainerSetup(
            model=self._model(placed),
            labels=memory.labels.handle,
            adapters=tuple(seat.adapter.handle for seat in memory.seats),
            rings=tuple(tuple(ring.handle for ring in seat.rings) for seat in memory.seats),
            load=memory.load.handle,
            num_dense=memory.feed.dense.shape[1],
            label_delay_ns=int(self.label_delay_s * NS),
            strategy=self.strategy,
            batch=self.train_batch,
            memory_nodes=None if placed is None else placed.trainer_nodes,
        )


def _sleep_until(deadline_ns: int) -> None:
    time.sleep(max(0, deadline_ns - time.monotonic_ns()) / NS)
