"""The main experiment: p99 of a serving node with and without a LoRA trainer beside its servers.

How cases are measured is in `lorabench.bench.serving`, how a verdict is reached in
`lorabench.results.latency`; here is what is run and what it comes to.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from lorabench.bench.experiment import Findings, Observer, Preview
from lorabench.bench.pair import MAX_MINUTES_OF_TWO
from lorabench.bench.serving.cases import (
    CONTROLS,
    PLANTED,
    SOLO_ALL,
    ServingCase,
    case_of,
    sham_of,
    strongest,
)
from lorabench.bench.serving.experiment import ServingExperiment
from lorabench.bench.serving.inputs import look_at_checkpoint
from lorabench.bench.serving.load_tests import (
    TARGET_LATENCY_S,
    LoadTestLog,
    LoadTests,
    run_load_tests,
)
from lorabench.bench.serving.log import RoundLog
from lorabench.bench.serving.node import ServingNode
from lorabench.bench.serving.pace import Pace
from lorabench.bench.serving.slices import Course, Slicing, deciding, needed_queries, rounds_of
from lorabench.bench.turns import Ended
from lorabench.experiments.colocate.options import MAX_MINUTES, ColocateOptions
from lorabench.experiments.colocate.plan import plan_lines
from lorabench.isolation.conditions import Condition
from lorabench.isolation.machine import Machine, inspect_machine
from lorabench.results import claims, evidence, latency, schema, sequential, statistics
from lorabench.targets.node.settings import NodeCase

# What switches, heads of slices and fresh processes add to what is measured, about.
_OVERHEAD = 1.3

# Arrivals are drawn: of their mean number hardly ever this much more come.
_LIKELY = 0.97

# From the last answer to the written document, about.
_CLOSING_S = 3.0

# What a test of LoadGen's takes beside its length, about.
_TEST_S = 0.3

_LONGER = "let it run longer (--max-minutes), or on a machine with fewer stalls"


class Colocate(ServingExperiment):
    """One run: the conditions that were asked for, and at last all cores serving.

    As `ServingExperiment`.
    """

    options: ColocateOptions

    def __init__(self, options: ColocateOptions) -> None:
        super().__init__(options)
        self.judged: ServingCase | None = None
        self.apply = options.apply
        self._ended: Ended = "interrupted"
        self._calibrated_s = 0.0
        self._said = LoadTestLog()

    def keeps_logs(self) -> bool:
        """Whether LoadGen is asked for, which writes some."""
        return self._load_tests > 0

    @property
    def _load_tests(self) -> int:
        """How often LoadGen tests each case: as often as there are rounds, or a verdict takes."""
        if self.options.load_generator != "mlperf":
            return 0
        return self.options.rounds or claims.MIN_ROUNDS

    def afterwards(self) -> int:
        """Return how many steps come once: all cores serving, and LoadGen's turns."""
        return 1 + self._load_tests

    def machine(self) -> Machine:
        """Look at the machine and plan for it.

        Raises
        ------
        InputError
            A condition that is required is none, or the plan is none for this machine.
        MachineError
            It has too few cores, or lacks what is required.
        """
        options = self.options
        return inspect_machine(options.request(), options.require, plan_file=options.plan)

    def preview(self) -> Preview | None:
        """Return the plan, and what is unavailable, where only that is asked for.

        Raises
        ------
        InputError
            As of `machine`, or the checkpoint cannot be served.
        """
        if not self.options.dry_run:
            return None
        checkpoint = look_at_checkpoint(self.options)
        machine = self.machine()
        lines = [*checkpoint, *plan_lines(machine.plan)]
        lines += [
            f"{missing.what} is unavailable: {missing.why}; to have it, {missing.enable}"
            for missing in machine.unavailable(self.options.asked)
        ]
        return Preview(lines, machine.plan.as_document())

    def cases_of(self, conditions: Sequence[Condition]) -> list[ServingCase]:
        """Return a case for each condition, and the controls of the one that is judged."""
        cases = [case_of(condition) for condition in conditions]
        self.judged = strongest(cases)
        if self.judged is None:
            return cases
        return [*cases, sham_of(self.judged), PLANTED]

    def course(self, slicing: Slicing, start_s: float) -> Course:
        """Return so many rounds, or as many blocks as the time allows."""
        options, self._calibrated_s = self.options, self.passed_s
        if options.rounds is not None:
            return rounds_of(slicing, options.rounds)
        # What comes once, afterwards, has processes of its own.
        self.later_s = start_s + slicing.measured_s + slicing.head_s + _CLOSING_S
        if self._load_tests:
            learning = [case for case in self.cases if case.learns]
            tests_s = self._load_tests * (2 + len(learning)) * (slicing.measured_s + _TEST_S)
            self.later_s += start_s + len(learning) * slicing.warmup_s + tests_s
        self.most_s = self._most_s
        return deciding(
            slicing,
            cases=len(CONTROLS) + len(self.cases),
            learning=sum(case.learns for case in self.cases),
            # Another run that takes turns with this one has as much to do before its first block.
            left_s=self._most_s / self.turns.sides - self.passed_s - self.later_s,
            start_s=start_s,
            fixed=options.duration_s is not None or options.arrivals == "spike",
            unbroken_s=self._unbroken_s(),
        )

    def _unbroken_s(self) -> float:
        """Return how long the rows last at the load, where they are counted."""
        node, calibration = self.node, self.state.calibration
        assert node is not None
        assert calibration is not None
        if not node.source.counted:
            return math.inf  # counting would read a file that may be large once more
        rows = node.source.rows - node.prepared.serving_start
        rate = calibration.qps * node.traffic.mean_share * node.traffic.mean_rows
        return rows / rate * _LIKELY

    @property
    def _most_s(self) -> float:
        otherwise = MAX_MINUTES if self.turns.sides == 1 else MAX_MINUTES_OF_TWO
        return 60 * (self.options.max_minutes or otherwise)

    def decided(self, blocks: int) -> bool:
        """Whether a look that is due finds all verdicts known, or the time is up."""
        course = self.state.course
        assert course is not None
        if course.looks is None or self.turns.sides > 1:
            # Of two runs none knows what both say, and what time both have left.
            return False
        if blocks in course.looks.blocks and self._settled():
            self._ended = "known"
        elif blocks == course.shape.total:
            self._ended = "blocks"
        elif self.passed_s + self._block_s(blocks) + self.later_s > self._most_s:
            self._ended = "time"
        return self._ended != "interrupted"

    def _block_s(self, blocks: int) -> float:
        """Return what a block has taken so far, on average, with the starts of rounds."""
        return (self.passed_s - self._calibrated_s) / blocks

    def _settled(self) -> bool:
        run = self._verdict_run()
        return latency.settled(latency.latency_claims(run), run)

    def finish(self, node: ServingNode, log: RoundLog, qps: float, observer: Observer) -> None:
        """Run what comes once: all cores serving, and LoadGen's tests."""
        course = self.state.course
        assert course is not None
        total = course.shape.total + self.afterwards()
        observer.case(course.shape.total + 1, total, SOLO_ALL.text)
        self._all_cores(node, log, qps)
        if self._load_tests:
            target_s = self.options.slo_s or TARGET_LATENCY_S
            asked = LoadTests(qps, course.slicing, self._load_tests, target_s, self.options.seed)

            def begins(number: int) -> None:
                at = course.shape.total + 2 + number
                observer.case(at, total, f"LoadGen's test {number + 1} of {asked.count}")

            run_load_tests(
                node,
                log,
                asked,
                [case for case in self.cases if case.learns],
                said=self._said,
                settings=lambda case: self._settings(case, Pace()),
                begins=begins,
            )

    def _all_cores(self, node: ServingNode, log: RoundLog, qps: float) -> None:
        """Let every core serve the same load: what the donated cores would have been worth."""
        state = self.state
        assert state.course is not None
        block, cut = len(state.rounds), state.course.slicing
        servers = [*node.servers, *(frozenset({cpu}) for cpu in node.machine.plan.trainer_cpus)]
        length_s = cut.head_s + cut.measured_s
        once = Slicing(0.0, cut.head_s, cut.measured_s, 1)
        schedule = node.schedule(
            qps, len(servers), once, len(state.course.shape.blocks), range(block, block + 1)
        )
        rows = node.rows(schedule, [SOLO_ALL])
        told = NodeCase(SOLO_ALL.text, None, node.cpus, (cut.head_s, length_s))
        with node.processes(
            rows, setup=node.setup_for(len(servers)), servers=servers, seats=0
        ) as processes:
            measured = node.run(processes, SOLO_ALL, told, schedule)
        round_ = state.rounds[-1].processes or 0
        log.opened(rows.label)
        log.record(block, round_ + 1, [SOLO_ALL], {SOLO_ALL: [measured]})

    def experiment_config(self) -> dict[str, Any]:
        """Return what the document says was asked for."""
        names = [condition.name for condition in self.options.asked]
        found = super().experiment_config() | {"conditions": names}
        left_out = {"require", "plan", "dry_run"}
        if not self._load_tests:
            # The same run as before there was a choice, and so of the same hash.
            left_out.add("load_generator")
        if not any(condition.applies for condition in self.options.asked):
            left_out |= {"apply_share", "apply_mb_s"}
        return {k: v for k, v in found.items() if k not in left_out}

    def findings(self) -> Findings | None:
        """Return what the finished blocks say, with verdicts and the last block's traces."""
        found = super().findings()
        if found is not None:
            found.claims = self._claims()
            found.series = [*found.series, *self._series()]
            found.sequential = self._sequential()
            found.environment["load_generator"] = self._said.as_document()
            found.logs = self._said.files
        return found

    def _sequential(self) -> schema.Sequential | None:
        course = self.state.course
        if course is None or course.looks is None:
            return None
        return schema.Sequential(
            boundary="pocock",
            alpha=sequential.ALPHA,
            looks=list(course.looks.blocks),
            level=course.looks.level,
            ended=self._how_ended(course),
        )

    def _how_ended(self, course: Course) -> Ended:
        if self.turns.ended is not None:
            return self.turns.ended
        whole = self.turns.sides > 1 and len(self.state.rounds) >= course.shape.total
        return "blocks" if whole else self._ended

    def _series(self) -> Iterator[schema.Series]:
        """Draw what each throttle did, and what each group used, in the last block."""
        for case, counters in self.state.counters.items():
            for one in counters:
                text, labels = f"{one.group}, domain {one.domain}", {"domain": one.domain}
                if one.node is not None:
                    text, labels = f"{text}, node {one.node}", labels | {"node": one.node}
                where = case.also(text, group=one.group, **labels)
                units = "s", one.unit
                yield schema.Series.of(one.name, where, one.times_s, one.values, units=units)
        for case, trace in self.state.traces.items():
            for place, metric in enumerate(("throttle_duty", "server_busy", "queries_due"), 1):
                at_s, value = trace[:, 0], trace[:, place]
                yield schema.Series.of(metric, case, at_s, value, units=("s", "1"))

    def _claims(self) -> list[schema.Claim]:
        node, table = self.node, self.state.table
        assert node is not None
        basis = node.source.basis
        fractions = [v for values in table.named("lora_fraction").values() for v in values if v]
        budget = claims.memory_budget(max(node.setup.adapter.fraction, *fractions, 0.0), basis)
        return [budget, *latency.latency_claims(self._verdict_run())]

    def _verdict_run(self) -> evidence.Run:
        """Return what the verdicts rest on."""
        node, state = self.node, self.state
        assert node is not None
        looks = None if state.course is None else state.course.looks
        return evidence.Run(
            state.table,
            self.judged,
            node.source.basis,
            level=statistics.LEVEL if looks is None else looks.level,
            saturated=evidence.saturated_shares(state.rounds),
            machine=None if self.judged is None else self._about_machine(self.judged),
            lacking=self._lacking(),
            more="run more rounds (--rounds)" if looks is None else _LONGER,
            labels=state.labels(known=node.source.labelled),
        )

    def _lacking(self) -> str | None:
        """Return what the run lacks for a verdict, at its rate, and how long it would take."""
        node, state = self.node, self.state
        if node is None or state.course is None or state.calibration is None:
            return None
        rate = state.calibration.qps * node.traffic.mean_share
        needed, length_s = needed_queries(node.traffic.arrivals), state.course.slicing.measured_s
        cases = len(CONTROLS) + len(self.cases)
        minutes = claims.MIN_ROUNDS * cases * max(needed / rate, length_s) * _OVERHEAD / 60
        if rate * length_s < needed:
            return (
                f"a p99 takes {needed:,} queries a block, which at {rate:,.0f} queries/s takes "
                f"{needed / rate:.1f} s (--duration), and a block had {length_s:.1f} s; all blocks "
                f"together then take {minutes:.0f} minutes (--max-minutes)"
            )
        if state.course.shape.total < claims.MIN_ROUNDS:
            return (
                f"at {rate:,.0f} queries/s a block takes {length_s:.1f} s a case, and "
                f"{claims.MIN_ROUNDS} blocks of {cases} cases some {minutes:.0f} minutes "
                "(--max-minutes)"
            )
        return None

    def _about_machine(self, case: ServingCase) -> str | None:
        """Return what puts a figure into its place: what its trainer shares with the servers."""
        if case.condition is not None and case.condition.place == "shared":
            return "the trainer ran on the servers' own cores"
        calibration = self.state.calibration
        neighbours = None if calibration is None else calibration.neighbours
        said = [] if neighbours is None else [neighbours.sentence()]
        plan = None if self.node is None else self.node.machine.plan
        if plan is not None and plan.trainer_share < 1.0:
            said.append(
                f"the plan has the trainer work for {plan.trainer_share:.0%} of its time, so that "
                f"the servers keep theirs of the CPU quota of {plan.cpu_limit:.4g} CPUs"
            )
        return "; ".join(said) or None
