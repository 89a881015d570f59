"""An experiment that puts a serving node under load: calibration, then rounds of its cases.

What `colocate` and the duty sweep of `headroom` have in common. Rounds of interleaved cases on
fresh processes, open-loop arrivals that are the same in every case of a round, statistics over
rounds: ``docs/methodology.md`` says why each is so.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.bench.options import resolved
from lorabench.bench.rounds import run_rounds
from lorabench.bench.serving.calibration import CAPACITY_ROWS, Calibration, calibrate
from lorabench.bench.serving.cases import SOLO, SOLO_REPEAT, ServingCase, trainer_settings
from lorabench.bench.serving.log import RoundLog, RunState
from lorabench.bench.serving.node import Measured, ServingNode
from lorabench.bench.serving.options import ServingOptions
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


class ServingExperiment(Experiment):
    """Rounds in which serving alone, twice, and cases with a trainer run in shuffled order.

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
    # Cases that run once, after the rounds.
    afterwards: tuple[ServingCase, ...] = ()

    def __init__(self, options: ServingOptions) -> None:
        super().__init__(options)
        self.state = RunState()
        self.conditions: list[Condition] = []
        self.cases: list[ServingCase] = []
        self.unavailable: list[Missing] = []
        self.node: ServingNode | None = None

    def machine(self) -> Machine:
        """Look at the machine and plan for it."""
        raise NotImplementedError

    def cases_of(self, conditions: Sequence[Condition]) -> list[ServingCase]:
        """Return the cases in which conditions that can be had are measured."""
        raise NotImplementedError

    def finish(self, node: ServingNode, log: RoundLog, qps: float, observer: Observer) -> None:
        """Run what comes once, after the rounds."""

    def measure(self, observer: Observer) -> None:
        """Calibrate, then run the rounds; `findings` grows with every one that is finished."""
        machine = self.machine()
        node = self.node = ServingNode.open(self.options, machine, observer)
        self.conditions, _ = machine.fit(self.options.asked)
        if not node.prepared.tables.kernels.reusable_features:
            self.conditions = [condition.without_reuse for condition in self.conditions]
        self.unavailable = machine.unavailable(self.options.asked)
        self.cases = self.cases_of(self.conditions)
        node.ready_for(self.cases)
        log = RoundLog(node, self.state)
        with process_on(frozenset(machine.plan.trainer_cpus)):
            calibration = self._calibrate(node, observer)
            log.calibrated(calibration)
            self._run(node, log, calibration, observer)
            self.finish(node, log, calibration.qps, observer)

    def _calibrate(self, node: ServingNode, observer: Observer) -> Calibration:
        """Measure what has to be known before the first round."""
        rows = node.stream.take(max(CAPACITY_ROWS, 2 * node.traffic.most_rows))
        with node.processes(rows, with_trainer=bool(self.cases)) as processes:
            self.state.pages = environment.pages(
                node.prepared.tables.region.method, processes.table_pages
            )
            return calibrate(node, processes, self.cases, observer.stage)

    def _run(
        self, node: ServingNode, log: RoundLog, calibration: Calibration, observer: Observer
    ) -> None:
        labels = {}

        @contextmanager
        def open_round(index: int) -> Iterator[Callable[[ServingCase], Measured]]:
            schedule = node.schedule(calibration.qps, len(node.servers), index)
            rows = node.stream.take(max(1, schedule.total_rows))
            labels[index] = rows.label
            with node.round(rows, schedule, self._settings) as measure:
                yield measure

        run_rounds(
            (SOLO, SOLO_REPEAT, *self.cases),
            self.options.rounds,
            seed=self.options.seed,
            open_round=open_round,
            record=lambda index, order, found: log.record(index, order, found, labels.pop(index)),
            observer=observer,
            afterwards=len(self.afterwards),
        )

    def _settings(self, case: ServingCase) -> TrainerSettings | None:
        assert self.node is not None
        rule = self._rule(case) if case.has("throttle") else None
        return trainer_settings(case, self.node.machine, batch=self.options.train_batch, rule=rule)

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
        return resolved(options, "checkpoint") | {
            "arrivals": traffic.arrivals,
            "query_rows": str(traffic.query_rows),
        }

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
        return Findings(
            config,
            hashed={**config, "model": node.prepared.pretrain_rows},
            table=state.table,
            rounds=state.rounds,
            unavailable=self.unavailable,
            environment={
                "pages": state.pages,
                "adapter": {
                    "bytes": state.adapter_bytes or adapter.breakdown,
                    "slots": adapter.slots,
                    "tables_not_adapted": adapter.not_adapted,
                },
            },
            raw=state.raw,
        )
