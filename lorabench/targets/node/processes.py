"""A serving node on this machine as a target: servers and a trainer, each a process.

A round's processes come from `lorabench.targets.node.setup`; `NodeProcesses.measure` takes them
through a case. Nothing is judged here.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import MachineError
from lorabench.host.files import Files
from lorabench.host.quota import Throttled, ThrottleWatch
from lorabench.isolation.confine import Workers
from lorabench.memory import PageSizes
from lorabench.replacing import temporary_folder
from lorabench.targets.load import Schedule
from lorabench.targets.loadgen import LoadTest
from lorabench.targets.node.exchange import NOT_ISSUED, NOWHERE, Exchange
from lorabench.targets.node.follow import follow
from lorabench.targets.node.launch import Fleet, Worker
from lorabench.targets.node.messages import (
    Go,
    Issue,
    Issued,
    Prepare,
    Ready,
    Serve,
    Served,
    Stop,
    Train,
)
from lorabench.targets.node.settings import NodeCase, Serving, TrainerSettings
from lorabench.targets.target import Answers, Record, Target
from lorabench.targets.trace import NS
from lorabench.targets.training import TrainReport

# Between telling the processes to go and the case's clock reading what it should: until then each
# has heard it, be there more servers than cores.
_LEAD_NS = NS // 50

# How much longer than it may serve a server may take to say that it is done.
_GRACE_S = 60.0

# How many times as long as planned a load test may take, and what no slice takes.
_SLOWEST = 20
_LONG_S = 1e6


@dataclass(frozen=True, eq=False)
class _End:
    """What is known once all is served: by whom, what was due when, what is measured of it."""

    served: list[Served]
    schedule: Schedule
    window_ns: tuple[int, int]
    length_s: float


@dataclass(frozen=True, eq=False)
class Saturated:
    """What servers did that always had a full batch waiting.

    Attributes
    ----------
    qps : float
        Queries/s, all servers together, each until it had answered its last.
    answers : Answers
        Of the last time that each query was answered.
    throttled : Throttled
        How often the kernel stopped them meanwhile for a limit on CPU time.
    """

    qps: float
    answers: Answers
    throttled: Throttled


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
        return [ready.table_pages for ready in self._fleet.ready if ready.table_pages is not None]

    def measure(self, case: NodeCase, schedule: Schedule) -> Record:
        """Take servers and trainer through one slice of a case; one start for all."""
        self._ready(case)
        self._offer(schedule, _job(case, self._serving))
        start_ns = self._go(case.begin_s, case.patience_s)
        window_ns = int(case.window_s[0] * NS), int(case.window_s[1] * NS)

        def end() -> _End:
            served = self._fleet.gather(Served, case.patience_s - case.begin_s + _GRACE_S)
            return _End(served, schedule, window_ns, case.window_s[1] - case.begin_s)

        return self._record(case, start_ns, end)

    def load_test(
        self, case: NodeCase, schedule: Schedule, test: LoadTest
    ) -> tuple[Record, dict[str, bytes]]:
        """Take servers and trainer through one test of LoadGen's in place of a slice.

        Parameters
        ----------
        case : NodeCase
            Its window is as long as the test.
        schedule : Schedule
            The test's, from 0 on.
        test : LoadTest
            What LoadGen is asked for.

        Returns
        -------
        record : Record
            All queries of the test. They were due when LoadGen had planned them: where its clock
            began is told by the query that it handed over most promptly.
        logs : dict of str to bytes
            What LoadGen wrote (`lorabench.targets.loadgen.LOGS`).
        """
        generator = self._fleet.load_generator
        assert generator is not None, "a round without a load generator is asked for a test"
        self._ready(case)
        unknown = np.full(len(schedule), NOT_ISSUED, np.int64)
        self._offer(
            replace(schedule, arrivals=unknown), replace(_job(case, self._serving), live=True)
        )
        # Made and taken away here, so that nothing of it is left whatever ends the load generator.
        with temporary_folder() as folder:
            generator.send(Issue(test, schedule.server, schedule.total_rows, folder))
            generator.receive(Ready)
        # A test ends when all is answered: nothing is given up.
        start_ns = self._go(case.begin_s, _LONG_S)
        generator.send(Go(start_ns + int(case.begin_s * NS), 0))
        said: list[Issued] = []

        def end() -> _End:
            served, one = self._fleet.gather_issued(test.duration_ms / 1000 * _SLOWEST + _GRACE_S)
            said.append(one)
            late = self._exchange.issued() - start_ns - schedule.arrivals
            arrivals = schedule.arrivals + late.min()
            window_ns = int(arrivals[0]), int(arrivals[-1]) + 1
            length_s = (window_ns[1] - window_ns[0]) / NS
            return _End(served, replace(schedule, arrivals=arrivals), window_ns, length_s)

        record = self._record(case, start_ns, end)
        return replace(record, issued=self._exchange.issued() - start_ns), said[0].logs

    def _ready(self, case: NodeCase) -> None:
        """Have the trainer take its seat, where there is one."""
        settings = case.settings
        if settings is not None:
            seat = case.seat if settings.learns else None
            self._prepare(Prepare(settings, seat, anew=case.anew, name=case.name, push=case.push))

    def _record(self, case: NodeCase, start_ns: int, end: Callable[[], "_End"]) -> Record:
        """Follow what has been started, and wait for its end."""
        settings = case.settings
        if settings is not None:
            begin_ns, end_ns = int(case.begin_s * NS), int(case.window_s[1] * NS)
            self._trainer.send(Train(start_ns, begin_ns, end_ns))
        trainer = self._fleet.trainer
        limits = self._limits()
        trainer_pid = None if trainer is None else trainer.pid
        cpu = follow(case, start_ns, self._fleet.pids, trainer_pid, limits)
        ended = end()
        throttled = limits.found
        report = None
        if settings is not None:
            self._trainer.send(Stop())
            report = self._trainer.receive(TrainReport)
        answers = self._exchange.collect()
        return Record(
            **vars(answers),
            **vars(
                replace(
                    cpu,
                    append_s=sum(each.append_ns for each in ended.served) / NS,
                    throttled=np.array([astuple(throttled)], np.float64),
                )
            ),
            condition=case.name,
            schedule=ended.schedule,
            windows_ns=np.array([ended.window_ns], np.int64),
            slices=np.zeros(len(ended.schedule), np.int32),
            length_s=ended.length_s,
            train=report if settings is not None and settings.learns else None,
            applied=None if report is None else report.applied,
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
        limits = self._limits()
        self._go(0.0, serve_s)
        return self._saturated(serve_s, limits)

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
        self._saturated(fill_s, self._limits())
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

    def _limits(self) -> ThrottleWatch:
        """Count from now on how often the kernel stops the servers for a limit on CPU time."""
        return ThrottleWatch(Files(), [str(worker.pid) for worker in self._fleet.servers])

    def _saturated(self, serve_s: float, limits: ThrottleWatch) -> Saturated:
        served = self._fleet.gather(Served, serve_s + _GRACE_S)
        for server, each in enumerate(served):
            if each.queries == 0:
                raise MachineError(
                    f"server {server}: answered nothing in {serve_s:g} s of full load, expected at "
                    "least one query; give it a core of its own (--servers), or ask for smaller "
                    "queries (--query-rows)"
                )
        rates = [each.queries / (each.last_ns / NS) for each in served]
        return Saturated(sum(rates), self._exchange.collect(), limits.found)


def _job(case: NodeCase, serving: Serving) -> Serve:
    """Return what the servers are told of a slice."""
    settings = case.settings
    learns = settings is not None and settings.learns
    return Serve(
        NOWHERE,
        seat=case.seat if learns else None,
        wait=serving.wait,
        reuse=learns and settings is not None and settings.reuse,
        # A sham's throttle watches the load as a trainer's does.
        tell=settings is not None and (learns or settings.throttle is not None),
        slowdown=case.slowdown,
    )
