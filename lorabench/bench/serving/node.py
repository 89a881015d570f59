"""A serving node of this machine, opened for an experiment: its model, its rows, its plan.

What stays the same through all rounds; `ServingNode.round` starts a round's processes and gives
what takes them through a slice of a case.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

from lorabench.bench.experiment import Observer
from lorabench.bench.serving.cases import ServingCase
from lorabench.bench.serving.inputs import open_inputs
from lorabench.bench.serving.options import ApplyTerms, ServingOptions
from lorabench.bench.serving.pushes import Pushes, staged_bytes
from lorabench.bench.serving.slices import Slice, Slicing
from lorabench.host.memory import require_memory
from lorabench.isolation.affinity import pin_threads
from lorabench.isolation.conditions import applied
from lorabench.isolation.machine import Machine
from lorabench.isolation.resctrl import Monitor
from lorabench.memory import Region
from lorabench.model.prepare import Prepared, prepare
from lorabench.strategies.registry import parse
from lorabench.targets.load import Schedule
from lorabench.targets.loadgen import LoadTest
from lorabench.targets.node.memory import PlacedMemory
from lorabench.targets.node.processes import NodeProcesses
from lorabench.targets.node.samples import open_ring
from lorabench.targets.node.settings import NodeCase, Serving, TrainerSettings
from lorabench.targets.node.setup import NodeSetup
from lorabench.targets.service import ServiceTime
from lorabench.targets.target import Record
from lorabench.workload.block import Block
from lorabench.workload.source import RowSource

# Of a query: what is asked and answered, as servers map it and as it is kept.
_QUERY_BYTES = 160

Measured = tuple[Record, Monitor | None]


@dataclass(frozen=True, eq=False)
class Asked:
    """A test of LoadGen's, in place of a slice of a case.

    Parameters
    ----------
    schedule : Schedule
        Its arrivals, from 0 on.
    test : LoadTest
        What LoadGen is asked for.
    logs : dict of str to bytes
        What LoadGen has written is put here.
    """

    schedule: Schedule
    test: LoadTest
    logs: dict[str, bytes] = field(default_factory=dict)


class Run(Protocol):
    """Takes a round's processes through a slice of a case, or through a test of LoadGen's."""

    def __call__(
        self,
        case: ServingCase,
        part: Slice,
        settings: TrainerSettings | None,
        asked: Asked | Schedule | None = None,
    ) -> Measured:
        """Run `part` of the round's schedule, or what is asked in its place."""


class ServingNode:
    """What is put under load. Use `open`.

    Parameters
    ----------
    options : ServingOptions
        What is asked for; its label delay is known.
    machine : Machine
        Where.
    source : RowSource
        Rows.
    prepared : Prepared
        Model.
    """

    def __init__(
        self,
        options: ServingOptions,
        machine: Machine,
        source: RowSource,
        prepared: Prepared,
    ) -> None:
        self.options = options
        self.machine = machine
        self.source = source
        self.prepared = prepared
        self.traffic = options.traffic()
        self.stream = prepared.stream(source)
        self.servers = [frozenset({cpu}) for cpu in machine.plan.serving_cpus]
        self.cpus = frozenset(machine.plan.serving_cpus + machine.plan.trainer_cpus)
        # What buys nothing is better found out before the first measurement.
        self.setup = self.setup_for(len(self.servers))
        self._placed: PlacedMemory | None = None
        # How a push is applied, in the cases that do that.
        self.apply = ApplyTerms()
        # What a batch takes as a rule, once that has been measured.
        self.service: ServiceTime | None = None

    @classmethod
    def open(cls, options: ServingOptions, machine: Machine, observer: Observer) -> Self:
        """Open the rows and make the model ready.

        Raises
        ------
        InputError
            The input is not what it should be, or the tables or the adapter do not fit.
        """
        weights, source = open_inputs(options)
        if options.label_delay_s is None:
            options = replace(options, label_delay_s=source.spec.labels.delay_s)
        prepared = prepare(source, weights, options.seed, observer.stage)
        return cls(options, machine, source, prepared)

    def setup_for(self, servers: int) -> NodeSetup:
        """Return what a node of so many servers consists of.

        Raises
        ------
        InputError
            The budget buys no adapter.
        """
        options = self.options
        learned = parse("lora", options.learning_rate, seed=options.seed, colocated=True)
        strategy = learned.given(rank=options.rank)
        return NodeSetup(
            prepared=self.prepared,
            serving=Serving(
                self.traffic.most_rows,
                options.max_batch,
                "spin" if options.wait == "spin" else "block",
            ),
            adapter=strategy.kind.plan(
                strategy, self.prepared.tables.layout, servers, options.memory_budget
            ),
            strategy=strategy,
            train_batch=options.train_batch,
            label_delay_s=options.label_delay_s or 0.0,
            replay_bytes=options.replay_bytes,
            dense=self.source.spec.dense,
        )

    def ready_for(self, cases: Sequence[ServingCase]) -> None:
        """Make ready what cases take beside the tables: rings that hold a sample, placed memory.

        Raises
        ------
        InputError
            A ring does not hold a sample, or a second copy of the tables does not fit.
        MachineError
            The kernel does not place memory as it is told.
        """
        tables, num_dense = self.prepared.tables.kernels, self.source.spec.num_dense
        region = Region.create("ring", self.options.replay_bytes)
        try:
            open_ring(region, tables, num_dense, reuse=any(case.has("reuse") for case in cases))
        finally:
            region.close()
        if any(case.has("numa") for case in cases):
            plan = self.machine.plan
            assert plan.memory is not None
            nodes = self.machine.nodes_of(plan.trainer_cpus)
            self._placed = PlacedMemory.create(self.prepared.tables, plan.memory, nodes)

    def schedule(
        self, qps: float, servers: int, slicing: Slicing, round_: int, blocks: range
    ) -> Schedule:
        """Draw the arrivals of a round, the same in each of its cases.

        Parameters
        ----------
        qps : float
            Offered load.
        servers : int
            How many there are.
        slicing : Slicing
            How a case's time is cut.
        round_ : int
            Number of the round.
        blocks : range
            Numbers of its blocks in the run.
        """
        traffic, seed = self.traffic, self.options.seed
        parts = [
            Schedule.draw(traffic, qps, slicing.warmup_s, servers=servers, seed=(seed, 8, round_))
        ]
        for place, block in enumerate(blocks):
            drawn = Schedule.draw(
                traffic, qps, slicing.block_s, servers=servers, seed=(seed, 1, block)
            )
            parts.append(drawn.later(slicing.warmup_s + place * slicing.block_s))
        return Schedule.joined(parts)

    def rows(self, schedule: Schedule, cases: Sequence[ServingCase]) -> Block:
        """Take the rows of a schedule from the stream, if there is room for what a round takes.

        Raises
        ------
        InputError
            Rows, adapters and rings do not fit into memory.
        """
        spec, count = self.source.spec, max(1, schedule.total_rows)
        row = 4 * (spec.num_dense + self.prepared.tables.kernels.columns)
        # Cases on placed memory have servers of their own, with all that they map.
        fleets = len({case.has("numa") for case in cases})
        rows = count * (row + 1 + 8) + fleets * (
            count * (row + 1 + 4) + len(schedule) * _QUERY_BYTES
        )
        seats = sum(case.learns for case in cases)
        rings = self.options.replay_bytes * len(self.servers)
        require_memory(
            f"a round of {count:,} rows",
            rows
            + seats * (self.setup.adapter.total_bytes + rings)
            + staged_bytes(self.apply, self.prepared.tables.layout, cases),
            advice="use a shorter block (--duration), less load (--load) or fewer conditions",
        )
        return self.stream.take_unbroken(count)

    def processes(
        self,
        rows: Block,
        *,
        setup: NodeSetup | None = None,
        servers: Sequence[frozenset[int]] | None = None,
        seats: int = 1,
        placed: PlacedMemory | None = None,
        load_generator: bool = False,
    ) -> AbstractContextManager[NodeProcesses]:
        """Start processes over rows; they end with the context, or with this process."""
        return (setup or self.setup).round(
            rows,
            servers or self.servers,
            seats=seats,
            placed=placed,
            load_generator=load_generator,
        )

    @contextmanager
    def round(
        self,
        rows: Block,
        schedule: Schedule,
        cases: Sequence[ServingCase],
        *,
        load_generator: bool = False,
    ) -> Iterator[Run]:
        """Start a round's processes; give what takes them through a slice of a case.

        Processes that wait for their turn sleep; cases on placed memory need their own. With a load
        generator they can be taken through its tests.
        """
        on: dict[bool, NodeProcesses] = {}
        seats: dict[ServingCase, int] = {}
        with ExitStack() as stack:
            for numa in (False, True):
                own = [case for case in cases if case.has("numa") == numa]
                learning = [case for case in own if case.learns]
                seats |= {case: seat for seat, case in enumerate(learning)}
                if own:
                    on[numa] = stack.enter_context(
                        self.processes(
                            rows,
                            # What stands in for a trainer has no seat, but its process.
                            seats=max(
                                len(learning), any(case.sham or case.applies for case in own)
                            ),
                            placed=self._placed if numa else None,
                            load_generator=load_generator,
                        )
                    )
            begun: set[ServingCase] = set()
            pushes = self.pushes(rows, schedule)

            def run(
                case: ServingCase,
                part: Slice,
                settings: TrainerSettings | None,
                asked: Asked | Schedule | None = None,
            ) -> Measured:
                told = NodeCase(
                    case.text,
                    settings,
                    cpus=self.cpus,
                    window_s=part.window_s,
                    begin_s=part.begin_s,
                    seat=seats.get(case, 0),
                    anew=case not in begun,
                    watch=self.traffic.spike_s(1.0) is not None,
                    slowdown=self.slowdown(case),
                    push=pushes.of(case, part),
                )
                begun.add(case)
                due = schedule.between(part.begin_s, part.end_s) if asked is None else asked
                return self.run(on[case.has("numa")], case, told, due)

            yield run

    def pushes(self, rows: Block, schedule: Schedule) -> Pushes:
        """Return what is applied in a round."""
        options = self.options
        return Pushes(
            rows,
            schedule,
            self.prepared.tables.layout,
            self.apply,
            batch=options.train_batch,
            delay_s=options.label_delay_s or 0.0,
            seed=options.seed,
        )

    def slowdown(self, case: ServingCase) -> ServiceTime | None:
        """Return what every answer of a case is held back for."""
        if not case.planted:
            return None
        assert self.service is not None, "a slowdown is planted in proportion to what is known"
        return self.service * case.planted

    def run(
        self, processes: NodeProcesses, case: ServingCase, told: NodeCase, due: Schedule | Asked
    ) -> Measured:
        """Take processes through a slice, with all that its condition takes applied."""

        def measure() -> Record:
            if isinstance(due, Asked):
                record, logs = processes.load_test(told, due.schedule, due.test)
                due.logs.update(logs)
                return record
            return processes.measure(told, due)

        # A cpuset that came and went can have widened it.
        pin_threads(os.getpid(), frozenset(self.machine.plan.trainer_cpus))
        if told.settings is None:
            return measure(), None
        with applied(case.condition, self.machine, processes.workers(told.settings)) as monitor:
            return measure(), monitor

    def config(self) -> Mapping[str, Any]:
        """Return what a document's ``config`` says of it."""
        source = self.source
        return {
            "traffic": self.traffic.describe(),
            "workload": {
                "kind": source.kind,
                "digest": source.digest,
                "spec": source.spec.model_dump(mode="json"),
            },
            "model": {
                "origin": self.prepared.origin,
                "pretrain_rows": self.prepared.pretrain_rows,
                **self.prepared.checkpoint,
            },
            "plan": self.machine.plan.as_document(),
        }
