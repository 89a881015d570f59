"""Usable headroom: the most training beside the servers that keeps their p99 inside the SLO.

The conditions are measured at several training duties, as `colocate` measures its own; what is made
of that is in `lorabench.results.headroom`. How idle a host is that somebody else loads is asked by
`lorabench.experiments.headroom.observe`.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lorabench.bench.experiment import Findings
from lorabench.bench.serving.cases import SOLO, SOLO_REPEAT, ServingCase, case_of
from lorabench.bench.serving.experiment import ServingExperiment
from lorabench.experiments.headroom.options import DutySweepOptions
from lorabench.isolation.conditions import Condition
from lorabench.isolation.machine import Machine, inspect_machine
from lorabench.results import claims, idle, schema
from lorabench.results.case import Case
from lorabench.results.evidence import ISOLATED
from lorabench.results.headroom import DutySweepData, Headroom, headroom
from lorabench.results.metrics import MetricTable
from lorabench.results.statistics import Estimate


class DutySweep(ServingExperiment):
    """One run: each condition at every duty.

    As `ServingExperiment`.
    """

    options: DutySweepOptions

    def __init__(self, options: DutySweepOptions) -> None:
        super().__init__(options)
        # A throttle keeps what is asked for.
        self.slo_ratio = options.slo.ratio

    def machine(self) -> Machine:
        """Look at the machine and plan for it."""
        return inspect_machine(self.options.request())

    def cases_of(self, conditions: Sequence[Condition]) -> list[ServingCase]:
        """Return a case for each condition and duty."""
        return [case_of(one, duty) for one in conditions for duty in self.options.worked]

    def experiment_config(self) -> dict[str, Any]:
        """Return what the document says was asked for."""
        options = self.options
        return super().experiment_config() | {
            "conditions": [condition.name for condition in options.asked],
            "mode": "active",
            "duties": [0.0, *options.worked],
            "slo_ratio": options.slo.ratio,
        }

    def findings(self) -> Findings | None:
        """Return what the finished rounds say, with the headroom of each condition."""
        found = super().findings()
        if found is None:
            return None
        options = self.options
        table = found.table.copy()
        series = list(found.series)
        for condition in self.conditions:
            swept = sweep_data(found.table, condition, options.worked)
            one = headroom(swept, options.slo, seed=options.seed)
            if one is not None:
                _add(table, condition, one)
                series += _series(condition.name, one)
        evidence = idle.Idle(
            "this host", whole=True, peak=None, observed_s=0.0, bench=("this run's own servers",)
        )
        found.table, found.series, found.claims = table, series, [idle.headroom_idle(evidence)]
        *rest, last = found.rounds
        notes = list(self._notes(table))
        found.rounds = [*rest, last.model_copy(update={"notes": [*last.notes, *notes]})]
        return found

    def _notes(self, table: MetricTable) -> Iterator[str]:
        """Return what weakens the estimate."""
        count = len(self.state.rounds)
        if count < claims.MIN_ROUNDS:
            yield (
                f"from {count} round{'' if count == 1 else 's'}; an interval to rely on takes "
                f"at least {claims.MIN_ROUNDS} (--rounds)"
            )
        control = table.estimate("latency_p99_ratio", SOLO_REPEAT)
        if control is not None and control.interval is not None:
            low, high = control.interval
            if low < 1 / ISOLATED.limit or high > ISOLATED.limit:
                yield (
                    f"the machine was noisy: serving alone, run twice, gave p99 "
                    f"{control.value:.2f} times its own (95 % interval {low:.2f} to {high:.2f})"
                )
        if any(sum(v or 0.0 for v in of) for of in table.named("throttled_periods").values()):
            yield (
                "the kernel stopped the servers for a CPU quota (throttled_periods): the usable "
                "headroom is what that leaves, and not what the machine would"
            )
        measured = table.named("headroom_samples_per_s")
        for condition in self.conditions:
            if Case(condition.name) not in measured:
                yield (
                    f"{condition.name}: no round had a p99 at every duty; measure for longer "
                    "(--duration)"
                )


def sweep_data(table: MetricTable, condition: Condition, duties: Sequence[float]) -> DutySweepData:
    """Collect what was measured of a condition at each duty; duty 0 is serving alone.

    It was measured twice a round: the mean of the two logarithms is what counts.
    """

    def column(metric: str, case: Case) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([math.nan if v is None else v for v in table.values(metric, case)])

    alone = np.exp(
        (np.log(column("latency_p99", SOLO)) + np.log(column("latency_p99", SOLO_REPEAT))) / 2
    )
    cases = [case_of(condition, duty) for duty in duties]
    nothing = np.zeros_like(alone)
    return DutySweepData(
        np.array([0.0, *duties]),
        np.stack([alone, *(column("latency_p99", case) for case in cases)], axis=1),
        np.stack([nothing, *(column("train_samples_per_s", case) for case in cases)], axis=1),
        np.stack([nothing, *(column("trainer_cores", case) for case in cases)], axis=1),
    )


def _add(table: MetricTable, condition: Condition, found: Headroom) -> None:
    """Write down estimates that are of all rounds together and have no value a round."""
    usable, case = found.usable, Case(condition.name)
    for name, value, interval in (
        ("headroom_samples_per_s", usable.samples_per_s, found.samples_interval),
        ("headroom_cores", usable.cores, found.cores_interval),
        ("headroom_slo", found.limit_s, None),
        ("headroom_slo_reached", 0.0 if usable.at_least else 1.0, None),
        ("headroom_open", found.open_share, None),
    ):
        table.put(name, case, Estimate(value, interval, 0))
    for duty, value in zip(found.fit.duty, found.fit.fitted, strict=True):
        if duty > 0:
            fitted = Estimate(math.exp(value), None, 0)
            table.put("latency_p99_fit", case_of(condition, float(duty)), fitted)


def _series(condition: str, found: Headroom) -> Iterator[schema.Series]:
    """Draw p99 over what was trained: as measured, as fitted, and the SLO."""
    samples = found.fit.samples_per_s
    drawn = {
        "latency_p99": (samples, np.exp(found.fit.log_p99)),
        "latency_p99_fit": (samples, np.exp(found.fit.fitted)),
        "latency_p99_slo": (samples[[0, -1]], np.full(2, found.limit_s)),
    }
    for name, (x, y) in drawn.items():
        yield schema.Series.of(name, Case(condition), x, y, units=("1/s", "s"))
