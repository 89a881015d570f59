"""An experiment that puts a serving node under load: calibration, then rounds of its cases.

What `colocate` and the duty sweep of `headroom` have in common. Rounds on fresh processes, in them
blocks in which cases take turns, open-loop arrivals that are the same in every case of a block,
statistics over blocks: ``docs/methodology.md`` says why each is so.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.bench.options import resolved
from lorabench.bench.rounds import Turn, run_blocks
from lorabench.bench.serving.calibration import CAPACITY_ROWS, Calibration, calibrate
from lorabench.bench.serving.cases import CONTROLS, ServingCase, shams, trainer_settings
from lorabench.bench.serving.log import RoundLog, RunState
from lorabench.bench.serving.node import Measured, ServingNode
from lorabench.bench.serving.options import ApplyTerms, ServingOptions
from lorabench.bench.serving.pace import Pace
from lorabench.bench.serving.slices import Course, Slice, Slicing, agreed, rounds_of
from lorabench.bench.serving.slices import slicing as cut
from lorabench.bench.turns import Planned
from lorabench.host import environment
from lorabench.host.missing import Missing
from lorabench.isolation.affinity import process_on
from lorabench.isolation.conditions import Condition
from lorabench.isolation.machine import Machine
from lorabench.targets.node.settings import TrainerSettings
from lorabench.targets.node.throttle import ThrottleRule

# Without --slo-ms a query beside a trainer is late above this many times the p99 of solo.
SLO_RATIO = 1.10

# A throttled trainer stops when so many full batches are due at one server.
_DUE_BATCHES = 4

# What a query takes among the raw samples, as they are compressed (lorabench.results.raw).
_LEAST_QUERY_BYTES, _MOST_QUERY_BYTES = 8, 16


class ServingExperiment(Experiment):
    """Rounds in which serving alone, twice, and cases with a trainer take turns.

    What is run, and where, is a subclass's to say: `machine`, `cases_of`.

    Parameters
    ----------
    options : ServingOptions
        What is asked for.
    """

    alone = True
    options: ServingOptions
    # What a throttle's limit is of the p99 of solo, where none was given.
    slo_ratio: float | None = SLO_RATIO
    # How long the run may take, where that is bounded, and what of it comes after the last block.
    most_s: float | None = None
    later_s: float = 0.0

    # How a push is applied, in the cases that do that.
    apply = ApplyTerms()

    def __init__(self, options: ServingOptions) -> None:
        super().__init__(options)
        self.state = RunState()
        self.conditions: list[Condition] = []
        self.cases: list[ServingCase] = []
        self.unavailable: list[Missing] = []
        self.node: ServingNode | None = None
        self._begun_s = time.monotonic()

    def machine(self) -> Machine:
        """Look at the machine and plan for it."""
        raise NotImplementedError

    def cases_of(self, conditions: Sequence[Condition]) -> list[ServingCase]:
        """Return the cases in which conditions that can be had are measured, controls included."""
        raise NotImplementedError

    def course(self, slicing: Slicing, start_s: float) -> Course:  # noqa: ARG002
        """Return how long the run is; starting a round's processes takes about `start_s`."""
        assert self.options.rounds is not None
        return rounds_of(slicing, self.options.rounds)

    def decided(self, blocks: int) -> bool:  # noqa: ARG002
        """Whether so many blocks are enough."""
        return False

    def afterwards(self) -> int:
        """Return how many steps come once, after the rounds."""
        return 0

    def finish(self, node: ServingNode, log: RoundLog, qps: float, observer: Observer) -> None:
        """Run what comes once, after the rounds."""

    @property
    def passed_s(self) -> float:
        """How long the run has taken so far."""
        return time.monotonic() - self._begun_s

    def measure(self, observer: Observer) -> None:
        """Calibrate, then run the rounds; `findings` grows with every block that is finished."""
        self._begun_s = time.monotonic()
        machine = self.machine()
        node = self.node = ServingNode.open(self.options, machine, observer)
        node.apply = self.apply
        self.conditions, _ = machine.fit(self.options.asked)
        if not node.prepared.tables.kernels.reusable_features:
            self.conditions = [condition.without_reuse for condition in self.conditions]
        self.unavailable = machine.unavailable(self.options.asked)
        self.cases = self.cases_of(self.conditions)
        node.ready_for(self.cases)
        log = RoundLog(node, self.state)
        with process_on(frozenset(machine.plan.trainer_cpus)):
            calibration, start_s = self._calibrate(node, observer)
            node.service = calibration.service
            log.calibrated(calibration)
            options = node.options
            rate_qps = calibration.qps * node.traffic.mean_share
            slicing = cut(
                rate_qps=rate_qps,
                arrivals=node.traffic.arrivals,
                duration_s=options.duration_s,
                slice_s=options.slice_s,
                head_s=max(options.head_s, machine.carry_over_s),
                warmup_s=options.discarded_s,
                label_delay_s=options.label_delay_s or 0.0,
            )
            course = self.state.course = self._agree(calibration, slicing, start_s)
            first, most = course.queries(rate_qps, len(CONTROLS) + len(self.cases))
            self.room(first * _LEAST_QUERY_BYTES, most * _MOST_QUERY_BYTES)
            self._run(node, log, calibration, course, observer)
            self.finish(node, log, calibration.qps, observer)

    def _calibrate(self, node: ServingNode, observer: Observer) -> tuple[Calibration, float]:
        """Measure what has to be known before the first round, and how long starting one takes."""
        training = any(case.learns for case in self.cases)
        rows = node.stream.take(max(CAPACITY_ROWS, 2 * node.traffic.most_rows))
        begun_s = time.monotonic()
        with node.processes(rows, seats=int(training)) as processes:
            start_s = time.monotonic() - begun_s
            self.state.pages = environment.pages(
                node.prepared.tables.region.method, processes.table_pages
            )
            found = calibrate(
                node,
                processes,
                training=training,
                report=observer.stage,
                agreed_qps=None if self.turns.kept is None else self.turns.kept["qps"],
            )
        return found, start_s

    def _agree(self, calibration: Calibration, slicing: Slicing, start_s: float) -> Course:
        """Return the course: that of the run that this one is compared with, where there is one.

        Both have the load of the first: were it a share of each one's own capacity, a version that
        has become slower would get less to do and look as good as before. Nor may each have its own
        limit of what is late.
        """
        kept = self.turns.kept
        if kept is not None:
            baseline_s: float | None = kept["baseline_p99_s"]
            self.state.calibration = replace(calibration, baseline_p99_s=baseline_s)
            return agreed(kept["course"], slicing.label_delay_s)
        course = self.course(slicing, start_s)
        cut, cases = course.slicing, len(CONTROLS) + len(self.cases)
        told = {
            "qps": calibration.qps,
            "baseline_p99_s": calibration.baseline_p99_s,
            "course": course.as_agreed(),
        }
        self.turns.plan(
            Planned(
                told,
                step_s=cases * (cut.block_s / cut.turns + cut.warmup_s) + start_s,
                steps=cut.turns,
                looks=() if course.looks is None else course.looks.blocks,
                level=None if course.looks is None else course.looks.level,
                most_s=self.most_s,
                later_s=self.later_s,
            )
        )
        return course

    def _run(
        self,
        node: ServingNode,
        log: RoundLog,
        calibration: Calibration,
        course: Course,
        observer: Observer,
    ) -> None:
        cases, pace = (*CONTROLS, *self.cases), Pace()

        @contextmanager
        def open_round(number: int) -> Iterator[Callable[[ServingCase, Turn], Measured]]:
            done = sum(course.shape.blocks[:number])
            blocks = range(done, done + course.shape.blocks[number])
            schedule = node.schedule(
                calibration.qps, len(node.servers), course.slicing, number, blocks
            )
            rows = node.rows(schedule, cases)
            log.opened(rows.label)

            def measure(case: ServingCase, part: Slice) -> Measured:
                found = run(case, part, self._settings(case, pace))
                pace.take(case, found[0])
                return found

            with node.round(rows, schedule, cases) as run:
                if course.slicing.warmup_s > 0:
                    for case in cases:
                        if case.learns:
                            log.warmed(case, measure(case, course.slicing.warmup)[0])
                yield lambda case, turn: measure(case, course.slicing.slice(turn))

        run_blocks(
            cases,
            course.shape,
            seed=self.options.seed,
            open_round=open_round,
            record=log.record,
            decided=self.decided,
            observer=observer,
            afterwards=self.afterwards(),
            first=shams(cases),
            turns=self.turns,
        )

    def _settings(self, case: ServingCase, pace: Pace) -> TrainerSettings | None:
        assert self.node is not None
        rule = self._rule(case) if case.has("throttle") else None
        return trainer_settings(
            case,
            self.node.machine,
            batch=self.options.train_batch,
            rule=rule,
            sham=pace.sham(case) if case.sham else None,
            bytes_per_s=self.apply.bytes_per_s,
        )

    def _rule(self, case: ServingCase) -> ThrottleRule:
        calibration, limit_s = self.state.calibration, self.options.slo_s
        if limit_s is None:
            # Where too few queries gave no p99, the queue and the busy share are all there is.
            baseline_s = None if calibration is None else calibration.baseline_p99_s
            limit_s = 3600.0 if baseline_s is None else (self.slo_ratio or SLO_RATIO) * baseline_s
        shared = case.condition is not None and case.condition.place == "shared"
        return ThrottleRule(limit_s, _DUE_BATCHES * self.options.max_batch, shared=shared)

    def experiment_config(self) -> dict[str, Any]:
        """Return what the document says was asked for."""
        assert self.node is not None
        options, traffic = self.node.options, self.node.traffic
        # Not as typed: the same trace elsewhere is the same run.
        return resolved(options, "checkpoint", "spread_ties", "keep_ties") | {
            "arrivals": traffic.arrivals,
            "query_rows": str(traffic.query_rows),
            # Only where they were asked for: who plays no trace keeps the hash of before.
            **{name: True for name in ("spread_ties", "keep_ties") if getattr(options, name)},
        }

    def _nothing_to_learn(self) -> Iterator[str]:
        assert self.node is not None
        found = self.state.labels(known=self.node.source.labelled).obstacle
        if found is not None:
            yield f"{found}; what was served is measured, and what training costs is not judged"

    def findings(self) -> Findings | None:
        """Return what the finished rounds say; None before the first."""
        node, state = self.node, self.state
        if node is None or not state.rounds:
            return None
        config = {
            "experiment": self.experiment_config(),
            **node.config(),
            "conditions": {
                condition.name: {
                    "place": condition.place,
                    "mechanisms": list(condition.mechanisms),
                }
                for condition in self.conditions
            },
        }
        adapter = node.setup.adapter
        state.summarise()
        return Findings(
            config,
            hashed={**config, "model": node.prepared.pretrain_rows},
            table=state.table,
            rounds=state.rounds,
            series=list(state.series()),
            unavailable=self.unavailable,
            notes=[
                *node.source.notes,
                *node.prepared.notes,
                *node.traffic.notes,
                *self._nothing_to_learn(),
            ],
            environment={
                "pages": state.pages,
                "course": None if state.course is None else state.course.as_document(),
                "adapter": {
                    "bytes": state.adapter_bytes or adapter.breakdown,
                    "pages": adapter.pages,
                    "slots": adapter.slots,
                    "tables_with_plain_deltas": adapter.plain,
                    "tables_not_adapted": adapter.not_adapted,
                },
            },
            raw=state.raw,
        )
