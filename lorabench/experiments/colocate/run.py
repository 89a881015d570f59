"""The main experiment: p99 of a serving node with and without a LoRA trainer beside its servers.

Rounds of interleaved conditions on fresh processes, open-loop arrivals that are the same in every
condition of a round, statistics over rounds: ``docs/methodology.md`` says why each is so. This
module decides what is run and assembles what was recorded into one result document; how a
condition is run is in `lorabench.targets.node.processes`, how a verdict is reached in
`lorabench.results.claims`.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lorabench.bench.calibration import CAPACITY_ROWS, Calibration, Calibrator
from lorabench.errors import InputError
from lorabench.experiments.colocate import metrics as measures
from lorabench.experiments.colocate.metrics import MetricTable
from lorabench.host import environment
from lorabench.host.missing import Missing
from lorabench.host.topology import parse_cpu_list
from lorabench.isolation.affinity import pin_threads, restore_threads, thread_affinities
from lorabench.isolation.conditions import Condition, parse_condition
from lorabench.isolation.confine import confined
from lorabench.isolation.journal import Journal
from lorabench.isolation.machine import Machine
from lorabench.isolation.plan import Request
from lorabench.isolation.resctrl import CounterSeries, Monitor
from lorabench.isolation.undo import Process
from lorabench.lora.adapter import AdapterPlan, plan_adapter
from lorabench.lora.learner import LEARNING_RATE, LearnerConfig
from lorabench.memory import Region
from lorabench.model.checkpoint import load_checkpoint
from lorabench.model.prepare import Prepared, prepare
from lorabench.results import claims as verdict
from lorabench.results import schema, statistics
from lorabench.results.program import program
from lorabench.targets.load import open_traffic
from lorabench.targets.node.processes import (
    NS,
    NodeProcesses,
    NodeSetup,
    PlacedMemory,
    Record,
    Schedule,
    Serving,
)
from lorabench.targets.node.samples import open_ring
from lorabench.targets.node.server import Wait
from lorabench.targets.node.settings import TrainerSettings
from lorabench.targets.node.throttle import ThrottleRule
from lorabench.targets.node.worker import TrainReport
from lorabench.workload.source import RowSource, open_source

# What a run consists of besides the isolation conditions it was asked for.
BASELINE = "solo"
CONTROL = "solo_repeat"
ALL_CORES = "solo_all"

# `pinned` with a change of rank every second: held against `pinned`.
RERANK = "pinned+rerank"
_RERANK_S = 1.0

# What isolates best is what a verdict is about, if it was run: these first.
_STRONGEST = ("isolated", "rdt", "numa")

# Without --slo-ms a query beside a trainer is late above this many times the p99 of solo.
_SLO_RATIO = 1.10

# On cores that it shares, a throttled trainer makes so many steps of one batch.
_SHARED_STEPS = 4

# A throttled trainer stops when so many full batches are due at one server.
_DUE_BATCHES = 4


@dataclass(frozen=True)
class ColocateConfig:
    """What a run of the experiment is asked for.

    Parameters
    ----------
    conditions : tuple of str
        Isolation conditions beside `solo`, in the order in which they are shown
        (`lorabench.isolation.conditions`).
    rounds : int
        Repetitions of every condition.
    duration_s : float
        Measured time of a condition; its warm-up comes before.
    load : float
        Offered load as a share of the measured capacity, unless `qps` is given.
    qps : float or None
        Offered load in queries/s.
    rank : int or None
        R of the adapter; None lets the signal decide.
    seed : int
        Of generated rows, arrivals, orders and initial weights.
    servers : int or None
        Server processes; None for all cores but the trainer's.
    serving_cpus, trainer_cpus : str or None
        CPUs in the kernel's list format, in place of the plan's own choice.
    slo_s : float or None
        Latency above which a query is late to a throttle; None for 1.10 times the p99 of `solo`.
    arrivals : str
        ``poisson``, ``bursts``, ``diurnal``, ``spike``, or the path of a trace
        (`lorabench.targets.load`).
    query_rows : str
        Candidate rows a query.
    max_batch : int
        Most queries scored together.
    label_delay_s : float
        From a prediction to its label.
    warmup_s : float
        Discarded at the start of a condition, the label delay not counted.
    replay_bytes : int
        Bytes of each server's replay ring.
    memory_budget : float
        LoRA state as a share of the table bytes.
    train_batch : int
        Most samples the trainer takes at once.
    learning_rate : float
        Of the row-wise Adagrad on A.
    wait : {"block", "spin"}
        What a server does between arrivals.
    """

    conditions: tuple[str, ...] = ("naive", "pinned", "isolated")
    rounds: int = 8
    duration_s: float = 5.0
    load: float = 0.5
    qps: float | None = None
    rank: int | None = None
    seed: int = 0
    servers: int | None = None
    serving_cpus: str | None = None
    trainer_cpus: str | None = None
    slo_s: float | None = None
    arrivals: str = "poisson"
    query_rows: str = "32"
    max_batch: int = 4
    label_delay_s: float | None = None
    warmup_s: float = 1.0
    replay_bytes: int = 16 << 20
    memory_budget: float = 0.02
    train_batch: int = 512
    learning_rate: float = LEARNING_RATE
    wait: Wait = "block"

    @property
    def discarded_s(self) -> float:
        """Time at the start of a condition that is not measured."""
        return self.warmup_s + (self.label_delay_s or 0.0)

    @property
    def total_s(self) -> float:
        """Length of a condition's schedule."""
        return self.discarded_s + self.duration_s

    @property
    def window_s(self) -> tuple[float, float]:
        """Begin and end of what is measured."""
        return self.discarded_s, self.total_s

    def check(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        InputError
            Naming the option, what was found and what was expected.
        """
        traffic = open_traffic(self.arrivals, self.query_rows)
        self.parsed_conditions()
        spike_s = traffic.spike_s(self.total_s)
        if spike_s is not None and spike_s[0] <= self.discarded_s:
            raise InputError(
                f"--duration: found {self.duration_s}, expected a longer one with --arrivals spike "
                f"(the spike would begin {spike_s[0]:.1f} s after the start, within the first "
                f"{self.discarded_s:.1f} s that are discarded)"
            )
        at_least: tuple[tuple[str, float, float], ...] = (
            ("--rounds", self.rounds, 1),
            ("--max-batch", self.max_batch, 1),
            ("--seed", self.seed, 0),
            ("--label-delay", self.label_delay_s or 0.0, 0),
            ("--warmup", self.warmup_s, 0),
            ("--replay-bytes", self.replay_bytes, 4096),
        )
        for option, found, least in at_least:
            if not found >= least:
                raise InputError(f"{option}: found {found}, expected at least {least}")
        above_zero: tuple[tuple[str, float, float], ...] = (
            ("--duration", self.duration_s, 86_400),
            ("--load", self.load, 10),
            ("--qps", 1.0 if self.qps is None else self.qps, 1e9),
            ("--slo-ms", 1.0 if self.slo_s is None else self.slo_s * 1e3, 1e9),
            ("--memory-budget", self.memory_budget, 1),
        )
        for option, found, most in above_zero:
            if not 0 < found <= most:
                raise InputError(f"{option}: found {found}, expected above 0 and at most {most:g}")

    def parsed_conditions(self) -> list[Condition]:
        """Read the conditions' names.

        Raises
        ------
        InputError
            One is none.
        """
        return [parse_condition(name) for name in dict.fromkeys(self.conditions)]

    def request(self) -> Request:
        """Form what the plan has to keep to.

        Raises
        ------
        InputError
            What is given as CPUs is no list of them.
        """
        cpus: dict[str, frozenset[int] | None] = {}
        for name in ("serving_cpus", "trainer_cpus"):
            text: str | None = getattr(self, name)
            try:
                cpus[name] = None if text is None else parse_cpu_list(text)
            except ValueError as error:
                raise InputError(f"--{name.replace('_', '-')}: {error}") from None
        return Request(self.servers, **cpus)

    def resolved(self) -> dict[str, Any]:
        """Form it as the result document's ``config``."""
        return asdict(self) | {"conditions": list(self.conditions)}


class Observer(Protocol):
    """Whoever wants to know how a run is getting on."""

    def stage(self, text: str, done: float) -> None:
        """Something that is not a condition is going on; `done` is the share of it."""

    def condition(self, number: int, total: int, text: str) -> None:
        """Condition `number` of `total` begins."""


@dataclass
class RunState:
    """What a run has so far: enough for a document at any moment, so that none is lost."""

    sheet: MetricTable = field(default_factory=MetricTable)
    rounds: list[schema.Round] = field(default_factory=list)
    raw: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    pages: dict[str, Any] = field(default_factory=dict)
    adapter_bytes: dict[str, int] = field(default_factory=dict)
    calibration: Calibration | None = None
    traces: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    counters: dict[str, tuple[CounterSeries, ...]] = field(default_factory=dict)


class Interleaved:
    """Rounds in which serving alone, twice, and conditions with a trainer run in shuffled order.

    What `colocate` and the active `headroom` have in common: memory, calibration, rounds, their
    recording on a sheet. What runs in a round is `_names`; which condition each of these is, and
    where it puts the trainer, `_condition` and `_placement`.

    Parameters
    ----------
    config : ColocateConfig
        What is asked for.
    machine : Machine
        Where.
    source : RowSource
        Rows.
    prepared : Prepared
        Model.
    observer : Observer
        Told how it goes.

    Attributes
    ----------
    outcome : RunState
        What has been measured so far.
    """

    # Conditions that run once, after the rounds.
    _afterwards = 0
    # What a throttle's limit is of the p99 of solo.
    _slo_ratio = _SLO_RATIO

    def __init__(
        self,
        config: ColocateConfig,
        machine: Machine,
        *,
        source: RowSource,
        prepared: Prepared,
        observer: Observer,
    ) -> None:
        self.config = config
        self.machine = machine
        self.outcome = RunState()
        self._traffic = open_traffic(config.arrivals, config.query_rows)
        self._source = source
        self._prepared = prepared
        self._observer = observer
        self._stream = prepared.stream(source)
        self._servers = [frozenset({cpu}) for cpu in machine.plan.serving_cpus]
        self._cpus = frozenset(machine.plan.serving_cpus + machine.plan.trainer_cpus)
        asked = config.parsed_conditions()
        runnable, _ = machine.fit(asked)
        if not prepared.tables.kernels.kept:
            runnable = [condition.without_reuse for condition in runnable]
        self.conditions = {condition.name: condition for condition in runnable}
        self.unavailable: list[Missing] = machine.unavailable(asked)
        self._per_round = (BASELINE, CONTROL, *self._names())
        self._total = config.rounds * len(self._per_round) + self._afterwards
        self._number = 0
        # What buys nothing is better found out before the first measurement.
        self._bench(len(self._servers))
        self._check_ring()
        self._placed_memory: PlacedMemory | None = None
        if any(condition.has("numa") for condition in runnable):
            memory = machine.plan.memory
            assert memory is not None
            self._placed_memory = PlacedMemory.create(
                prepared.tables, memory, machine.nodes_of(machine.plan.trainer_cpus)
            )

    @classmethod
    def from_input(
        cls,
        config: ColocateConfig,
        machine: Machine,
        *,
        preset: str | None,
        data: Path | None,
        checkpoint: Path | None,
        observer: Observer,
    ) -> Self:
        """Open the rows, make the model ready, and set the experiment up.

        Raises
        ------
        InputError
            The input is not what it should be, or the tables or the adapter do not fit.
        """
        weights = None if checkpoint is None else load_checkpoint(checkpoint)
        rows = None if weights is None else weights.layout.rows
        source = open_source(preset, data, config.seed, rows)
        if config.label_delay_s is None:
            config = replace(config, label_delay_s=source.spec.labels.delay_s)
        prepared = prepare(source, weights, config.seed, observer.stage)
        return cls(config, machine, source=source, prepared=prepared, observer=observer)

    def run(self, journal: Journal) -> None:
        """Measure; `outcome` grows with every finished round.

        Parameters
        ----------
        journal : Journal
            Undoes what is changed on the machine.
        """
        self._journal = journal
        # What the conductor itself does must not fall on a core that serves.
        before = thread_affinities(os.getpid())
        pin_threads(os.getpid(), frozenset(self.machine.plan.trainer_cpus))
        try:
            self._run()
        finally:
            restore_threads(before)

    def _run(self) -> None:
        bench = self._bench(len(self._servers))
        calibration = self._calibrate(bench)
        for index in range(self.config.rounds):
            self._round(bench, index, calibration.qps)
        self._finish(calibration.qps)

    def _names(self) -> tuple[str, ...]:
        """Name what runs in a round beside `solo` and its repetition."""
        return tuple(self.conditions)

    def _finish(self, qps: float) -> None:
        """Run what comes once, after the rounds."""

    def _check_ring(self) -> None:
        """See that a ring holds a sample at all."""
        tables, num_dense = self._prepared.tables.kernels, self._source.spec.num_dense
        region = Region.create("ring", self.config.replay_bytes)
        try:
            reuse = any(condition.has("reuse") for condition in self.conditions.values())
            open_ring(region, tables, num_dense, reuse=reuse)
        finally:
            region.close()

    def _bench(self, servers: int) -> NodeSetup:
        config = self.config
        adapter = plan_adapter(
            self._prepared.tables.layout, config.rank, servers, config.memory_budget
        )
        return NodeSetup(
            prepared=self._prepared,
            serving=Serving(self._traffic.most_rows, config.max_batch, config.wait),
            adapter=adapter,
            trainer=LearnerConfig(rank=config.rank, learning_rate=config.learning_rate),
            train_batch=config.train_batch,
            label_delay_s=config.label_delay_s or 0.0,
            replay_bytes=config.replay_bytes,
        )

    def _calibrate(self, bench: NodeSetup) -> Calibration:
        """Measure what has to be known before the first round, and write it down."""
        config, sheet = self.config, self.outcome.sheet
        rows = self._stream.take(max(CAPACITY_ROWS, 2 * self._traffic.most_rows))
        trains = bool(self.conditions)
        throttled = any(condition.has("throttle") for condition in self.conditions.values())
        with (
            bench.round(rows, self._servers, with_trainer=trains) as processes,
            self._noted(processes),
        ):
            self.outcome.pages = environment.pages(
                self._prepared.tables.region.method, processes.table_pages
            )
            calibrator = Calibrator(
                processes,
                self._traffic,
                len(self._servers),
                self._cpus,
                config.seed,
                self._observer.stage,
            )
            capacity = None if config.qps is not None else calibrator.capacity_qps()
            qps = config.load * capacity if capacity is not None else config.qps
            assert qps is not None
            found = Calibration(capacity, qps)
            if trains:
                trainer_cpus = self.machine.plan.trainer_cpus
                alone = TrainerSettings(frozenset(trainer_cpus), len(trainer_cpus))
                found = replace(
                    found,
                    neighbours=calibrator.neighbours(self._prepared.tables, trainer_cpus),
                    alone_samples_per_s=calibrator.alone_samples_per_s(
                        alone, config.label_delay_s or 0.0
                    ),
                )
            if throttled and config.slo_s is None:
                found = replace(
                    found, baseline_p99_s=calibrator.baseline_p99_s(qps, config.discarded_s)
                )
        if found.capacity_qps is not None:
            sheet.add("capacity_qps", BASELINE, found.capacity_qps)
        if found.alone_samples_per_s is not None:
            sheet.add("train_samples_per_s", "alone", found.alone_samples_per_s)
        if found.neighbours is not None:
            for name, turns in found.neighbours.values.items():
                for value in turns:
                    sheet.add("neighbour_batch_ratio", name, value)
        self.outcome.calibration = found
        return found

    def _round(self, bench: NodeSetup, index: int, qps: float) -> None:
        config = self.config
        schedule = self._schedule(qps, len(self._servers), index)
        order = list(self._per_round)
        np.random.default_rng((config.seed, 2, index)).shuffle(order)
        rows = self._stream.take(max(1, schedule.total_rows))
        with ExitStack() as stack:
            # Processes that wait for their turn sleep; a condition on placed memory needs its own.
            fleets: dict[bool, NodeProcesses] = {}
            for placed in dict.fromkeys((None, self._placed_memory)):
                processes = stack.enter_context(
                    bench.round(rows, self._servers, with_trainer=True, placed=placed)
                )
                stack.enter_context(self._noted(processes))
                fleets[placed is not None] = processes
            trials = [
                self._trial(fleets[self._on_placed_memory(name)], name, schedule, index)
                for name in order
            ]
        # Written down only now: an interrupted round leaves no half of itself.
        self._record(index, order, trials, rows.label, bench.adapter)

    def _schedule(self, qps: float, servers: int, index: int) -> Schedule:
        seed = (self.config.seed, 1, index)
        return Schedule.draw(self._traffic, qps, self.config.total_s, servers=servers, seed=seed)

    def _trial(self, processes: NodeProcesses, name: str, schedule: Schedule, index: int) -> Record:
        self._number += 1
        where = f"round {index + 1} of {self.config.rounds}: {name}"
        if name == ALL_CORES:
            where = name
        self._observer.condition(self._number, self._total, where)
        place = self._placement(name)
        # A cpuset that came and went can have widened it.
        pin_threads(os.getpid(), frozenset(self.machine.plan.trainer_cpus))
        with self._confined(name, processes, place) as monitor:
            trial = processes.run(
                name,
                schedule,
                place,
                cpus=self._cpus,
                window_s=self.config.window_s,
                watch=self._traffic.spike_s(self.config.total_s) is not None,
            )
        if monitor is not None:
            self.outcome.counters[name] = monitor.series()
        return trial

    @contextmanager
    def _noted(self, processes: NodeProcesses) -> Iterator[None]:
        """Have the journal end the workers if this process is killed and they are not."""
        with self._journal.scope():
            for pid in processes.pids:
                self._journal.record(Process.of(pid))
            yield

    @contextmanager
    def _confined(
        self, name: str, processes: NodeProcesses, place: TrainerSettings | None
    ) -> Iterator[Monitor | None]:
        """Make the control groups that a condition takes, for as long as it lasts."""
        condition, machine = self._condition(name), self.machine
        if condition is None or place is None:
            yield None
            return
        resctrl = None
        if condition.has("rdt"):
            assert machine.resctrl is not None
            assert machine.plan.rdt is not None
            resctrl = machine.resctrl, machine.plan.rdt
        offer = machine.cgroups if condition.has("cgroup") else None
        workers = processes.workers(place)
        with confined(self._journal, workers, offer=offer, resctrl=resctrl) as monitor:
            yield monitor

    def _on_placed_memory(self, name: str) -> bool:
        condition = self._condition(name)
        return condition is not None and condition.has("numa")

    def _condition(self, name: str) -> Condition | None:
        """Find the condition behind a name of `_names`; None for serving alone."""
        return self.conditions.get(name)

    def _placement(self, name: str) -> TrainerSettings | None:
        """Say where what is named so puts the trainer, and on what terms; None without one."""
        condition = self._condition(name)
        return None if condition is None else self._placed(condition)

    def _placed(self, condition: Condition) -> TrainerSettings:
        """Say where a condition puts the trainer, and on what terms.

        The servers stay where the plan has them in every condition, so that a ratio to `solo`
        shows what the trainer does and nothing else.
        """
        cpus = {
            "naive": self.machine.topology.allowed,
            "pinned": frozenset(self.machine.plan.trainer_cpus),
            "shared": frozenset(self.machine.plan.serving_cpus),
        }[condition.place]
        return TrainerSettings(
            cpus,
            len(cpus),
            scheduling=condition.scheduling,
            throttle=self._rule(condition) if condition.has("throttle") else None,
            batch=self._step(condition),
            reuse=condition.has("reuse"),
            rerank_s=_RERANK_S if condition.has("rerank") else None,
        )

    def _step(self, condition: Condition) -> int | None:
        """Say how many samples a step may have where the run's own batch is too many.

        The throttle is asked between steps, and on a busy core that it shares a trainer takes ten
        times a step's CPU time and more to finish it.
        """
        if condition.place == "shared" and condition.has("throttle"):
            return max(1, self.config.train_batch // _SHARED_STEPS)
        return None

    def _rule(self, condition: Condition) -> ThrottleRule:
        calibration = self.outcome.calibration
        assert calibration is not None
        limit_s = self.config.slo_s
        if limit_s is None:
            # Where too few queries gave no p99, the queue and the busy share are all there is.
            baseline_s = calibration.baseline_p99_s
            limit_s = self._slo_ratio * baseline_s if baseline_s is not None else 3600.0
        due_high = _DUE_BATCHES * self.config.max_batch
        return ThrottleRule(limit_s, due_high, shared=condition.place == "shared")

    def _record(
        self,
        index: int,
        order: list[str],
        trials: list[Record],
        labels: NDArray[np.int8],
        adapter: AdapterPlan,
    ) -> None:
        outcome, config = self.outcome, self.config
        spike_s = self._traffic.spike_s(config.total_s)
        found = {
            trial.condition: measures.measure(trial, labels, config.window_s, spike_s)
            for trial in trials
        }
        stuck = [
            trial.condition
            for trial in trials
            if not trial.served.all() or any(_queue_grows(trial))
        ]
        for trial in trials:
            name = trial.condition
            for metric, value in found[name].items():
                outcome.sheet.add(metric, name, value)
            if trial.train is not None:
                self._compare_rate(name, found[name]["train_samples_per_s"])
                if len(trial.train.throttle):
                    trace = trial.train.throttle.copy()
                    trace[:, 0] = (trace[:, 0] - trial.start_ns) / NS
                    outcome.traces[name] = trace
                ring = config.replay_bytes * len(self._servers)
                parts = trial.train.log.learner.most
                used = sum(parts.values())
                if used > sum(outcome.adapter_bytes.values()):
                    outcome.adapter_bytes = parts
                outcome.sheet.add("lora_bytes", name, used)
                outcome.sheet.add("lora_fraction", name, used / adapter.layout.table_bytes)
                outcome.sheet.add("replay_bytes", name, ring)
                outcome.sheet.add(
                    "overhead_fraction",
                    name,
                    (used + ring) / adapter.layout.table_bytes,
                )
            if name != BASELINE and BASELINE in found:
                self._compare(name, found, valid=not {name, BASELINE} & set(stuck))
            if name == RERANK and "pinned" in found:
                self._compare_rerank(found, valid=not {name, "pinned"} & set(stuck))
            for key, array in trial.raw().items():
                outcome.raw[f"round{index}/{name}/{key}"] = array
        outcome.rounds.append(
            schema.Round(
                index=index,
                order=order,
                schedule_sha256={t.condition: t.schedule_digest for t in trials},
                queries={
                    t.condition: schema.Queries(
                        offered=len(t.scheduled), served=int(t.served.sum())
                    )
                    for t in trials
                },
                saturated=stuck,
                wraps=self._stream.wraps,
                steal_s={t.condition: t.steal_s for t in trials},
                involuntary_switches={t.condition: t.involuntary_switches for t in trials},
                notes=[
                    note
                    for t in trials
                    if t.train is not None
                    for note in (
                        *_training_notes(t.condition, t.train),
                        *self._throttle_notes(t.condition),
                    )
                ],
            )
        )

    def _compare(
        self, name: str, found: Mapping[str, Mapping[str, float | None]], *, valid: bool
    ) -> None:
        head, base = found[name]["latency_p99"], found[BASELINE]["latency_p99"]
        ratio = impact = None
        if valid and head is not None and base is not None:
            ratio, impact = head / base, head - base
        self.outcome.sheet.add("latency_p99_ratio", name, ratio)
        self.outcome.sheet.add("latency_impact", name, impact)
        if "spike_p99" in found[name]:
            head, base = found[name]["spike_p99"], found[BASELINE]["spike_p99"]
            ratio = head / base if valid and head is not None and base is not None else None
            self.outcome.sheet.add("spike_p99_ratio", name, ratio)

    def _throttle_notes(self, name: str) -> Iterator[str]:
        condition, calibration = self._condition(name), self.outcome.calibration
        if condition is None or calibration is None or not condition.has("throttle"):
            return
        if self.config.slo_s is None and calibration.baseline_p99_s is None:
            yield (
                f"{name}: too few queries lay beyond the p99 of solo to set the throttle a limit, "
                "so it watched queue and busy share alone; give one with --slo-ms"
            )

    def _compare_rate(self, name: str, rate: float | None) -> None:
        """Hold what the trainer learned against what it learns alone on its cores."""
        alone = self.outcome.calibration and self.outcome.calibration.alone_samples_per_s
        if alone and rate is not None:
            self.outcome.sheet.add("train_rate_ratio", name, rate / alone)

    def _compare_rerank(
        self, found: Mapping[str, Mapping[str, float | None]], *, valid: bool
    ) -> None:
        head, base = found[RERANK]["latency_p99"], found["pinned"]["latency_p99"]
        ratio = head / base if valid and head is not None and base is not None else None
        self.outcome.sheet.add("rank_change_p99_ratio", RERANK, ratio)

    def _document(
        self,
        command: str,
        *,
        metrics: list[schema.Metric],
        claims: list[schema.Claim],
        series: list[schema.Series],
        partial: bool,
    ) -> schema.Result:
        """Assemble a result document from what has been measured so far and made of it."""
        config = {
            "experiment": self.config.resolved()
            # Not as typed: the same trace elsewhere is the same run.
            | {
                "arrivals": self._traffic.arrivals,
                "query_rows": str(self._traffic.query_rows),
            },
            "traffic": self._traffic.describe(),
            "workload": {
                "kind": self._source.kind,
                "digest": self._source.digest,
                "spec": self._source.spec.model_dump(mode="json"),
            },
            "model": {
                "origin": self._prepared.origin,
                "pretrain_rows": self._prepared.pretrain_rows,
            },
            "plan": self.machine.plan.as_document(),
            "conditions": {
                name: {"place": condition.place, "mechanisms": list(condition.mechanisms)}
                for name, condition in self.conditions.items()
            },
        }
        hashed = {**config, "model": self._prepared.pretrain_rows}
        now = datetime.now(UTC)
        adapter = self._bench(len(self._servers)).adapter
        return schema.Result(
            command=command,
            id=schema.new_id(now),
            created=now,
            lorabench=program(),
            config=config,
            config_hash=schema.config_hash(hashed),
            environment=environment.capture(self.machine.topology)
            | {
                "pages": self.outcome.pages,
                "adapter": {
                    "bytes": self.outcome.adapter_bytes or adapter.breakdown,
                    "slots": adapter.slots,
                    "tables_not_adapted": adapter.not_adapted,
                },
            },
            partial=partial,
            rounds=self.outcome.rounds,
            metrics=metrics,
            claims=claims,
            unavailable=[schema.Unavailable(**asdict(missing)) for missing in self.unavailable],
            series=series,
        )


class Colocate(Interleaved):
    """One run of the experiment: the conditions that were asked for, and at last all cores serving.

    As `Interleaved`.
    """

    _afterwards = 1

    def _finish(self, qps: float) -> None:
        """Every core serves the same load, once: what the donated cores would have been worth."""
        config = self.config
        servers = [*self._servers, *(frozenset({cpu}) for cpu in self.machine.plan.trainer_cpus)]
        schedule = self._schedule(qps, len(servers), config.rounds)
        rows = self._stream.take(max(1, schedule.total_rows))
        bench = self._bench(len(servers))
        with bench.round(rows, servers, with_trainer=False) as processes, self._noted(processes):
            trial = self._trial(processes, ALL_CORES, schedule, config.rounds)
        self._record(config.rounds, [ALL_CORES], [trial], rows.label, bench.adapter)

    def document(self, *, partial: bool) -> schema.Result:
        """Assemble the result document from what has been measured so far."""
        return self._document(
            "colocate",
            metrics=self.outcome.sheet.metrics(),
            claims=self._claims(self._bench(len(self._servers)).adapter),
            series=list(self._series()),
            partial=partial,
        )

    def _series(self) -> Iterator[schema.Series]:
        """Draw what each throttle did, and what each group used, in the last round."""
        for name, counters in self.outcome.counters.items():
            for found in counters:
                yield schema.Series(
                    name=f"{found.name} of {found.group}, domain {found.domain}",
                    condition=name,
                    x=list(found.times_s),
                    y=list(found.values),
                    x_unit="s",
                    y_unit=found.unit,
                )
        for name, trace in self.outcome.traces.items():
            for place, metric in enumerate(("throttle_duty", "server_busy", "queries_due"), 1):
                yield schema.Series(
                    name=metric,
                    condition=name,
                    x=trace[:, 0].tolist(),
                    y=trace[:, place].tolist(),
                    x_unit="s",
                    y_unit="1",
                )

    def _about_machine(self, condition: Condition) -> str | None:
        """Say what puts a figure into its place: what its trainer shares with the servers."""
        if condition.place == "shared":
            return "the trainer ran on the servers' own cores"
        calibration = self.outcome.calibration
        neighbours = None if calibration is None else calibration.neighbours
        return None if neighbours is None else neighbours.sentence()

    def _claims(self, adapter: AdapterPlan) -> list[schema.Claim]:
        basis = self._source.basis
        met = [
            value
            for (metric, _), values in self.outcome.sheet.rows.items()
            if metric == "lora_fraction"
            for value in values
            if value is not None
        ]
        claims = [verdict.memory_budget(max(adapter.fraction, *met, 0.0), basis)]
        name = strongest(self.conditions.values())
        if name is None:
            return [*claims, *verdict.latency_not_run(basis)]
        sheet = self.outcome.sheet
        evidence = verdict.Evidence(
            condition=name,
            control=statistics.geometric_mean(sheet.values("latency_p99_ratio", CONTROL)),
            saturated=any(
                {name, BASELINE} & set(round_.saturated) for round_ in self.outcome.rounds
            ),
            basis=basis,
            machine=self._about_machine(self.conditions[name]),
        )
        return [
            *claims,
            verdict.latency_impact(evidence, statistics.mean(sheet.values("latency_impact", name))),
            verdict.latency_isolated(
                evidence, statistics.geometric_mean(sheet.values("latency_p99_ratio", name))
            ),
        ]


def strongest(conditions: Iterable[Condition]) -> str | None:
    """Name the condition that a verdict is about; None where none of them isolates.

    The bundles go first, what isolates most before what isolates less; then of those with cores of
    their own, and then of those that share, the one with most mechanisms, the last if there are
    several.
    """
    found: list[tuple[int, int, int, str]] = []
    for number, condition in enumerate(conditions):
        name = condition.name
        checked = set(condition.mechanisms) - {"reuse"}
        if condition.place == "naive" or condition.has("rerank"):
            continue
        if name in _STRONGEST:
            found.append((2 + len(_STRONGEST) - _STRONGEST.index(name), 0, 0, name))
        elif condition.place == "pinned":
            found.append((1, len(checked), number, name))
        elif checked:
            found.append((0, len(checked), number, name))
    return max(found)[3] if found else None


def _queue_grows(trial: Record) -> Iterator[bool]:
    """Say of each server whether its queue only grew: one that is stuck must not hide."""
    for server in range(int(trial.server.max(initial=0)) + 1):
        mine = trial.server == server
        yield statistics.saturated(trial.scheduled[mine], trial.started[mine])


def _training_notes(condition: str, report: TrainReport) -> list[str]:
    notes = []
    if report.log.learner.guard_trips:
        notes.append(
            f"{condition}: the quality guard switched the adapter off "
            f"{report.log.learner.guard_trips} times: it predicted worse than the base tables"
        )
    if report.log.learner.diverged:
        notes.append(
            f"{condition}: training diverged (a value that is not finite) and stopped "
            "publishing; the servers went on with the last good epoch"
        )
    if report.reuse is not None and not report.reuse.features:
        notes.append(
            f"{condition}: nothing was kept for reuse (0 bytes): no feature has more than 2 ids, "
            "and a base vector that is written and read again takes the bytes of 2 rows"
        )
    return notes
