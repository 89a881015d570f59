"""The co-located LoRA trainer: learn from what was just served, publish, repeat.

Joins the replay rings with what a strategy learns by (`lorabench.strategies`) and writes down which
sample went into which epoch. The trainer never waits for a server: when a reader still holds the
idle side, it comes back later. What it does at each call is decided here; when it is called, on
which cores and with how many threads, is not. In its process, and on the same terms, runs what
stands in its stead: a sham, or what applies a push.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection

import numpy as np
import torch
from numpy.typing import NDArray

from lorabench._kernels.serve import LoadLines
from lorabench.isolation.affinity import pin_threads, verify
from lorabench.isolation.mechanism import PushKind
from lorabench.isolation.numa import verify_process
from lorabench.isolation.scheduling import schedule_threads, verify_classes
from lorabench.lora.basis import LearnLog
from lorabench.lora.learner import Stage
from lorabench.lora.writer import AdapterOwner
from lorabench.memory import Region
from lorabench.model.tables import TableSet
from lorabench.strategies.base import ColocatedLearner
from lorabench.targets.node.applier import Applier, Staging
from lorabench.targets.node.messages import Prepare, Ready, Stop, Train, TrainerSetup
from lorabench.targets.node.model import dense_net
from lorabench.targets.node.replay import Replay
from lorabench.targets.node.settings import TrainerSettings
from lorabench.targets.node.sham import Calculation
from lorabench.targets.node.throttle import Pacer, Throttle
from lorabench.targets.training import Applied, TrainReport, Updates

# How long the trainer rests when nothing is due, and how often it looks for threads that libraries
# have started since and that are not where its plan says.
_REST_S = 0.0005
_RESCAN_S = 1.0

_NEVER = 1 << 62


class Trainer:
    """Trains one adapter from one replay.

    Parameters
    ----------
    learner : ColocatedLearner
        What a strategy learns by.
    state : AdapterOwner
        The adapter in which it publishes.
    replay : Replay
        Where samples come from.
    clock : callable
        Now, in the ns of `time.monotonic_ns`; labels that arrive later are not seen.
    """

    def __init__(
        self,
        learner: ColocatedLearner,
        state: AdapterOwner,
        replay: Replay,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._clock = clock
        self._state = state
        self._replay = replay
        self._learner = learner
        self._published: list[Updates] = []
        self._rank_change_ns: int | None = None
        self._ranks_changed_ns = 0

    @property
    def stage(self) -> Stage:
        """What is done with a batch just now."""
        return self._learner.stage

    @property
    def updates(self) -> Updates:
        """What was published since the last reset, and has not been taken since."""
        return Updates.joined(self._published)

    def take_updates(self) -> Updates:
        """Return `updates` and forget them."""
        found, self._published = self.updates, []
        return found

    @property
    def log(self) -> LearnLog:
        """What happened beside, since the last reset."""
        return self._learner.log

    def reset(self, rank_change_s: float | None = None, *, reuse: bool = False) -> None:
        """Begin anew with an empty adapter and empty rings; only while no server runs.

        Parameters
        ----------
        rank_change_s : float, optional
            Change the rank this often, s (`ColocatedLearner.change_ranks`).
        reuse : bool
            Take base vectors out of the rings (`lorabench.targets.node.replay`).
        """
        self._rank_change_ns = None if rank_change_s is None else round(rank_change_s * 1e9)
        self._ranks_changed_ns = self._clock()
        self._state.reset()
        self._replay.reset(reuse=reuse)
        self._learner.reset()
        self._published = []

    def step(self) -> int:
        """Do one batch, if one is due and the adapter can be written.

        Returns
        -------
        int
            Samples taken; 0 means that there is nothing to do just now.
        """
        if not self._learner.begin():
            return 0
        if self._rank_change_due() and self._learner.change_ranks():
            self._ranks_changed_ns = self._clock()
            return 0
        replay = self._replay
        n = replay.take(self._clock())
        if n == 0:
            return 0
        labels = replay.labels(n)
        base = replay.base(n) if self._learner.looks_up else None
        epoch = self._learner.learn(replay.dense[:n], replay.sparse[:n], labels, base)
        if epoch is not None:
            self._published.append(
                Updates.of_batch(
                    replay.sample[:n].copy(), replay.label_ns[:n], epoch, self._clock()
                )
            )
        return n

    def _rank_change_due(self) -> bool:
        return (
            self._rank_change_ns is not None
            and self._clock() - self._ranks_changed_ns >= self._rank_change_ns
        )


class _Seat:
    """An adapter, its rings, and who learns it: what a case keeps from slice to slice."""

    def __init__(self, setup: TrainerSetup, number: int, tables: TableSet) -> None:
        rings = [Region.attach(handle, writable=True) for handle in setup.rings[number]]
        labels = Region.attach(setup.labels, writable=False)
        self.replay = Replay(
            rings,
            tables.kernels,
            labels.array(np.int8, (setup.labels.length,)),
            label_delay_ns=setup.label_delay_ns,
            batch=setup.batch,
            num_dense=setup.num_dense,
        )
        self.owner = AdapterOwner(setup.adapters[number])
        learner = setup.strategy.kind.learner(
            setup.strategy, tables.kernels, dense_net(setup.model), self.owner
        )
        self.start_ns, self.end_ns = 0, _NEVER
        self.trainer = Trainer(learner, self.owner, self.replay, clock=self.now)
        self.throttle: Throttle | None = None

    def now(self) -> int:
        """Read the case's clock, which stands still from the end of a slice to the next."""
        return min(time.monotonic_ns() - self.start_ns, self.end_ns)


class _Process:
    """The trainer's process: what lasts from slice to slice."""

    def __init__(self, setup: TrainerSetup) -> None:
        self._setup = setup
        self._tables = TableSet.attach(setup.model.tables)
        load = Region.attach(setup.load, writable=True)
        self._servers = len(setup.rings[0])
        self._lines = LoadLines(load.mapping, self._servers)
        self._seats = [_Seat(setup, n, self._tables) for n in range(len(setup.rings))]
        # Of what has no seat, by the name of its case.
        self._throttles: dict[str, Throttle | None] = {}
        self._staged: dict[PushKind, Staging] = {}
        # Mapped writable for what applies a push, as long as its slice lasts.
        self._writable: TableSet | None = None
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        self.ready = Ready(self._tables.region.page_sizes())

    def prepare(self, message: Prepare) -> None:
        """Take a seat, placed and on the terms that a case gives."""
        settings, setup, pid = message.settings, self._setup, os.getpid()
        torch.set_num_threads(settings.threads)
        rule = settings.throttle
        throttle = None if rule is None else Throttle(rule, self._servers)
        if message.seat is None:
            if message.anew or rule is None:
                self._throttles[message.name] = throttle
            self._stage(message)
        else:
            seat = self._seats[message.seat]
            if message.anew:
                seat.start_ns, seat.end_ns = time.monotonic_ns(), _NEVER
                seat.trainer.reset(settings.rank_change_s, reuse=settings.reuse)
                seat.throttle = throttle
            seat.replay.drain = message.drain
            seat.replay.batch = setup.batch if settings.batch is None else settings.batch
        self._place(settings)
        verify(pid, settings.cpus)
        verify_classes(pid, replace(settings.scheduling, nice=self._nice))
        if setup.memory_nodes is not None:
            verify_process(pid, setup.memory_nodes)
        self._lines.reset(0 if rule is None else round(rule.limit_s * 1e9))

    def _stage(self, message: Prepare) -> None:
        """Put what is to be applied into memory, and map the tables writable."""
        applying = message.settings.applying
        if applying is None:
            return
        if message.push is not None:
            self._staged[applying.kind] = Staging(message.push, self._tables)
        self._writable = TableSet.attach(self._setup.model.tables, writable=True)

    def train(self, message: Prepare, begin: Train, stopped: Callable[[], bool]) -> TrainReport:
        """Learn, or do what stands in for it, at the pace that is allowed, until told to stop."""
        settings, start_ns = message.settings, begin.start_ns
        time.sleep(max(0, start_ns + begin.begin_ns - time.monotonic_ns()) / 1e9)
        seat = None if message.seat is None else self._seats[message.seat]
        sham = None if settings.sham is None else Calculation(settings.sham, settings.threads)
        if seat is not None:
            seat.start_ns = start_ns
            seat.end_ns = _NEVER if begin.end_ns is None else begin.end_ns
        pacer = Pacer(
            1.0 if sham is not None else settings.duty,
            settings.threads,
            throttle=self._throttles.get(message.name) if seat is None else seat.throttle,
            read=self._lines.read,
            stops_only=sham is not None,
        )
        with self._applying(settings, begin) as applier:
            step = self._stepping(seat, sham, applier)
            steps, cpu_s = self._work(pacer, step, settings, stopped)
        if sham is not None:
            sham.close()
        trace = pacer.trace
        trace[:, 0] -= start_ns
        report = self._report(seat, trace, steps, cpu_s)
        return report if applier is None else replace(report, applied=_applied(applier, trace))

    @contextmanager
    def _applying(self, settings: TrainerSettings, begin: Train) -> Iterator[Applier | None]:
        """Give what applies a push, where that is done, and have the tables writable no longer."""
        applying, tables = settings.applying, self._writable
        if applying is None:
            yield None
            return
        assert tables is not None, "a slice is prepared before it begins"
        with tables.rewriting():
            yield Applier(
                self._staged[applying.kind],
                tables,
                clock=lambda: time.monotonic_ns() - begin.start_ns,
                bytes_per_s=applying.bytes_per_s,
                until_ns=_NEVER if begin.end_ns is None else begin.end_ns,
            )
        self._writable = None

    def _work(
        self,
        pacer: Pacer,
        step: Callable[[], int],
        settings: TrainerSettings,
        stopped: Callable[[], bool],
    ) -> tuple[int, float]:
        """Step until told to stop; return the steps that did something, and their CPU time."""
        steps, cpu_s = 0, 0.0
        scanned = time.monotonic()
        while not stopped():
            rest_s = pacer.wait_s()
            begun_s = time.process_time()
            worked = rest_s == 0.0 and step() > 0
            if rest_s == 0.0 and not worked:
                rest_s = _REST_S
            spent_s = time.process_time() - begun_s
            pacer.worked(spent_s)
            if worked:
                steps, cpu_s = steps + 1, cpu_s + spent_s
            if rest_s > 0.0:
                time.sleep(rest_s)
            if time.monotonic() - scanned > _RESCAN_S:
                self._place(settings)
                scanned = time.monotonic()
        return steps, cpu_s

    def _stepping(
        self, seat: _Seat | None, sham: Calculation | None, applier: Applier | None
    ) -> Callable[[], int]:
        if sham is not None:
            return sham.step
        if applier is not None:
            return applier.step
        assert seat is not None, "without a seat there is nothing to learn"
        return seat.trainer.step

    def _report(
        self,
        seat: _Seat | None,
        trace: NDArray[np.float64],
        steps: int,
        cpu_s: float,
    ) -> TrainReport:
        """Return what was done; of a sham nothing but the time that it took."""
        return TrainReport(
            updates=Updates.joined([]) if seat is None else seat.trainer.take_updates(),
            learner=LearnLog({}) if seat is None else seat.trainer.log,
            publish_deferred=0 if seat is None else seat.owner.writer.deferred,
            replay_dropped=0 if seat is None else seat.replay.dropped,
            replay_skipped=0 if seat is None else seat.replay.skipped,
            slots_used=() if seat is None else tuple(seat.owner.writer.used),
            epoch=0 if seat is None else seat.owner.writer.epoch,
            throttle=trace,
            reuse=None if seat is None else seat.replay.reuse_bytes,
            steps=steps,
            cpu_s=cpu_s,
        )

    def _place(self, settings: TrainerSettings) -> None:
        """Put all threads of this process where, and into the class that, the case says.

        The nice value stays the one that the run was started with.
        """
        pin_threads(os.getpid(), settings.cpus)
        schedule_threads(os.getpid(), replace(settings.scheduling, nice=self._nice))


def _applied(applier: Applier, trace: NDArray[np.float64]) -> Applied:
    return Applied(applier.rows, applier.rows * applier.row_bytes, applier.left, trace)


def run_trainer(setup: TrainerSetup, link: Connection) -> None:
    """Be the trainer, slice by slice, until the parent hangs up."""
    process = _Process(setup)
    link.send(process.ready)
    prepared: Prepare | None = None
    while True:
        message: Prepare | Train | Stop = link.recv()
        match message:
            case Prepare():
                prepared = message
                process.prepare(message)
                link.send(process.ready)
            case Train():
                assert prepared is not None, "a slice is prepared before it begins"
                # The next message is the one that ends it.
                link.send(process.train(prepared, message, link.poll))
            case Stop():
                pass
