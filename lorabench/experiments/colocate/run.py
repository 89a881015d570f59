"""The main experiment: p99 of a serving node with and without a LoRA trainer beside its servers.

How cases are measured is in `lorabench.bench.serving`, how a verdict is reached in
`lorabench.results.claims`; here is what is run and what it comes to.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from lorabench.bench.experiment import Findings, Observer, Preview
from lorabench.bench.serving.cases import (
    SOLO,
    SOLO_ALL,
    SOLO_REPEAT,
    ServingCase,
    case_of,
    strongest,
)
from lorabench.bench.serving.experiment import ServingExperiment
from lorabench.bench.serving.log import RoundLog
from lorabench.bench.serving.node import ServingNode
from lorabench.experiments.colocate.options import ColocateOptions
from lorabench.experiments.colocate.plan import plan_lines
from lorabench.isolation.conditions import Condition
from lorabench.isolation.machine import Machine, inspect_machine
from lorabench.results import claims, schema


class Colocate(ServingExperiment):
    """One run: the conditions that were asked for, and at last all cores serving.

    As `ServingExperiment`.
    """

    options: ColocateOptions
    afterwards = (SOLO_ALL,)

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
        """Return the plan, and what is unavailable, where only that is asked for."""
        if not self.options.dry_run:
            return None
        machine = self.machine()
        lines = list(plan_lines(machine.plan))
        lines += [
            f"{missing.what} is unavailable: {missing.why}; to have it, {missing.enable}"
            for missing in machine.unavailable(self.options.asked)
        ]
        return Preview(lines, machine.plan.as_document())

    def cases_of(self, conditions: Sequence[Condition]) -> list[ServingCase]:
        """Return a case for each condition."""
        return [case_of(condition) for condition in conditions]

    def finish(self, node: ServingNode, log: RoundLog, qps: float, observer: Observer) -> None:
        """Every core serves the same load, once: what the donated cores would have been worth."""
        index = self.options.rounds
        total = index * (2 + len(self.cases)) + 1
        observer.case(total, total, SOLO_ALL.text)
        servers = [*node.servers, *(frozenset({cpu}) for cpu in node.machine.plan.trainer_cpus)]
        schedule = node.schedule(qps, len(servers), index)
        rows = node.stream.take(max(1, schedule.total_rows))
        with node.processes(
            rows, setup=node.setup_for(len(servers)), servers=servers, with_trainer=False
        ) as processes:
            measured = node.run(processes, SOLO_ALL, schedule, None)
        log.record(index, [SOLO_ALL], [measured], rows.label)

    def experiment_config(self) -> dict[str, Any]:
        """Return what the document says was asked for."""
        names = [condition.name for condition in self.options.asked]
        found = super().experiment_config() | {"conditions": names}
        return {k: v for k, v in found.items() if k not in ("require", "plan", "dry_run")}

    def findings(self) -> Findings | None:
        """Return what the finished rounds say, with verdicts and the last round's traces."""
        found = super().findings()
        if found is not None:
            found.claims = self._claims()
            found.series = list(self._series())
        return found

    def _series(self) -> Iterator[schema.Series]:
        """Draw what each throttle did, and what each group used, in the last round."""
        for case, counters in self.state.counters.items():
            for one in counters:
                where = case.also(
                    f"{one.group}, domain {one.domain}", group=one.group, domain=one.domain
                )
                yield schema.Series(
                    name=one.name,
                    condition=where.text,
                    labels=dict(where.labels),
                    x=list(one.times_s),
                    y=list(one.values),
                    x_unit="s",
                    y_unit=one.unit,
                )
        for case, trace in self.state.traces.items():
            for place, metric in enumerate(("throttle_duty", "server_busy", "queries_due"), 1):
                yield schema.Series(
                    name=metric,
                    condition=case.text,
                    labels=dict(case.labels),
                    x=trace[:, 0].tolist(),
                    y=trace[:, place].tolist(),
                    x_unit="s",
                    y_unit="1",
                )

    def _claims(self) -> list[schema.Claim]:
        node, table = self.node, self.state.table
        assert node is not None
        basis = node.source.basis
        fractions = [v for values in table.named("lora_fraction").values() for v in values if v]
        found = [claims.memory_budget(max(node.setup.adapter.fraction, *fractions, 0.0), basis)]
        case = strongest(self.cases)
        if case is None:
            return [*found, *claims.latency_not_run(basis)]
        stuck = {name for round_ in self.state.rounds for name in round_.saturated}
        evidence = claims.Evidence(
            condition=case.text,
            control=table.estimate("latency_p99_ratio", SOLO_REPEAT),
            saturated=bool({case.text, SOLO.text} & stuck),
            basis=basis,
            machine=self._about_machine(case),
        )
        return [
            *found,
            claims.latency_impact(evidence, table.estimate("latency_impact", case)),
            claims.latency_isolated(evidence, table.estimate("latency_p99_ratio", case)),
        ]

    def _about_machine(self, case: ServingCase) -> str | None:
        """Return what puts a figure into its place: what its trainer shares with the servers."""
        if case.condition is not None and case.condition.place == "shared":
            return "the trainer ran on the servers' own cores"
        calibration = self.state.calibration
        neighbours = None if calibration is None else calibration.neighbours
        return None if neighbours is None else neighbours.sentence()
