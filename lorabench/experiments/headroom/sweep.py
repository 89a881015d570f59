"""Usable headroom: the most training beside the servers that keeps their p99 inside the SLO.

The ladder of training duties is run as conditions of interleaved rounds, as `colocate` runs its
own; what is made of it is in `lorabench.results.headroom`. How idle a host is that somebody else
loads is asked by `lorabench.experiments.headroom.observe`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lorabench.errors import InputError
from lorabench.experiments.colocate.metrics import Better, MetricTable
from lorabench.experiments.colocate.run import BASELINE, CONTROL, ColocateConfig, Interleaved
from lorabench.isolation.conditions import Condition
from lorabench.results import claims as verdict
from lorabench.results import schema, statistics
from lorabench.results.headroom import DutySweepData, Headroom, Slo, headroom
from lorabench.targets.node.settings import TrainerSettings

LEAST_DUTIES = 6

UNITS: dict[str, tuple[str, Better]] = {
    "headroom_samples_per_s": ("1/s", "higher"),
    "headroom_cores": ("1", "higher"),
    "headroom_slo": ("s", "lower"),
    "headroom_slo_reached": ("1", "lower"),
    "headroom_open": ("1", "higher"),
    "latency_p99_fit": ("s", "lower"),
}


@dataclass(frozen=True)
class DutySweepConfig(ColocateConfig):
    """What a run is asked for, beyond what `ColocateConfig` says.

    Parameters
    ----------
    conditions : tuple of str
        Where the trainer runs, each at every duty.
    duties : tuple of float
        Shares of the time in which it may work; six or more, 0 among them.
    slo_s : float or None
        p99 to keep.
    slo_ratio : float or None
        p99 to keep, over that without training; 1.10 where neither is given.
    """

    conditions: tuple[str, ...] = ("pinned", "shared")
    duties: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
    slo_ratio: float | None = None

    def check(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        InputError
            Naming the option, what was found and what was expected.
        """
        super().check()
        found = ",".join(f"{duty:g}" for duty in self.duties)
        if any(not 0 <= duty <= 1 for duty in self.duties):
            raise InputError(f"--duties: found {found}, expected shares of the time, 0 to 1")
        if len(set(self.duties)) < LEAST_DUTIES or 0 not in self.duties:
            raise InputError(
                f"--duties: found {found}, expected {LEAST_DUTIES} or more different ones, 0 among "
                "them"
            )
        if self.slo_s is not None and self.slo_ratio is not None:
            raise InputError("--slo-ms: found --slo-ratio beside it, expected one or the other")
        if self.slo_ratio is not None and not 1 < self.slo_ratio <= 1000:
            raise InputError(
                f"--slo-ratio: found {self.slo_ratio}, expected above 1 and at most 1000"
            )

    def resolved(self) -> dict[str, Any]:
        """Form it as the result document's ``config``."""
        return super().resolved() | {
            "mode": "active",
            "duties": [0.0, *self.rungs],
            "slo_ratio": self.slo.ratio,
        }

    @property
    def slo(self) -> Slo:
        """What p99 must keep."""
        if self.slo_s is not None:
            return Slo(limit_s=self.slo_s)
        return Slo(ratio=self.slo_ratio or verdict.TOLERANCE)

    @property
    def rungs(self) -> tuple[float, ...]:
        """Duties at which the trainer works at all, rising."""
        return tuple(sorted({duty for duty in self.duties if duty > 0}))


def duty_label(condition: str, duty: float) -> str:
    """Name a condition at a duty, as it stands in results."""
    return f"{condition}@{duty:g}"


def sweep_data(
    sheet: MetricTable, condition: str, duties: tuple[float, ...], duration_s: float
) -> DutySweepData:
    """Collect what was measured of a condition at each duty; duty 0 is serving alone.

    It was measured twice a round: the mean of the two logarithms is what counts.
    """

    def column(metric: str, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([math.nan if v is None else v for v in sheet.values(metric, name)])

    alone = np.exp(
        (np.log(column("latency_p99", BASELINE)) + np.log(column("latency_p99", CONTROL))) / 2
    )
    names = [duty_label(condition, duty) for duty in duties]
    nothing = np.zeros_like(alone)
    return DutySweepData(
        np.array([0.0, *duties]),
        np.stack([alone, *(column("latency_p99", name) for name in names)], axis=1),
        np.stack([nothing, *(column("train_samples_per_s", name) for name in names)], axis=1),
        np.stack(
            [nothing, *(column("trainer_cpu_s", name) / duration_s for name in names)], axis=1
        ),
    )


class DutySweep(Interleaved):
    """One run of the experiment: each condition at every duty.

    As `Interleaved`.
    """

    config: DutySweepConfig

    @property
    def _slo_ratio(self) -> float:  # type: ignore[override]
        """A throttle keeps what is asked for."""
        return self.config.slo.ratio or super()._slo_ratio

    def _names(self) -> tuple[str, ...]:
        return tuple(self._rungs)

    def _condition(self, name: str) -> Condition | None:
        return self._rungs[name][0] if name in self._rungs else None

    def _placement(self, name: str) -> TrainerSettings | None:
        if name not in self._rungs:
            return None
        condition, duty = self._rungs[name]
        return replace(self._placed(condition), duty=duty)

    @property
    def _rungs(self) -> dict[str, tuple[Condition, float]]:
        """Condition and duty of each name."""
        return {
            duty_label(condition.name, duty): (condition, duty)
            for condition in self.conditions.values()
            for duty in self.config.rungs
        }

    def document(self, *, partial: bool) -> schema.Result:
        """Assemble the result document from what has been measured so far."""
        config, sheet = self.config, self.outcome.sheet
        metrics = sheet.metrics()
        metrics += [
            _cores(metric, config.duration_s)
            for metric in metrics
            if metric.name == "trainer_cpu_s"
        ]
        series: list[schema.Series] = []
        for name in self.conditions:
            measured = sweep_data(sheet, name, config.rungs, config.duration_s)
            found = headroom(measured, config.slo, seed=config.seed)
            metrics += _metrics(name, found)
            if found is not None:
                series += _series(name, found)
        idle = verdict.Idle(
            "this host", whole=True, peak=None, observed_s=0.0, bench=("this run's own servers",)
        )
        document = self._document(
            "headroom",
            metrics=metrics,
            claims=[verdict.headroom_idle(idle)],
            series=series,
            partial=partial,
        )
        return self._with_notes(document)

    def _with_notes(self, document: schema.Result) -> schema.Result:
        """Say in the last round's notes what weakens the estimate."""
        sheet, notes = self.outcome.sheet, []
        count = len(document.rounds)
        if count < verdict.MIN_ROUNDS:
            notes.append(
                f"from {count} round{'' if count == 1 else 's'}; an interval to rely on takes "
                f"at least {verdict.MIN_ROUNDS} (--rounds)"
            )
        control = statistics.geometric_mean(sheet.values("latency_p99_ratio", CONTROL))
        if control is not None and control.interval is not None:
            low, high = control.interval
            if low < 1 / verdict.TOLERANCE or high > verdict.TOLERANCE:
                notes.append(
                    f"the machine was noisy: serving alone, run twice, gave p99 "
                    f"{control.value:.2f} times its own (95 % interval {low:.2f} to {high:.2f})"
                )
        notes += [
            f"{name}: no round had a p99 at every duty; measure for longer (--duration)"
            for name in self.conditions
            if document.metric("headroom_samples_per_s", name) is None
        ]
        if not notes or not document.rounds:
            return document
        *rest, last = document.rounds
        noted = last.model_copy(update={"notes": [*last.notes, *notes]})
        return document.model_copy(update={"rounds": [*rest, noted]})


def _cores(cpu: schema.Metric, duration_s: float) -> schema.Metric:
    """Turn the trainer's CPU time into cores in use."""
    low, high = cpu.ci95 or (0.0, 0.0)
    return schema.Metric(
        name="trainer_cores",
        condition=cpu.condition,
        unit="1",
        better="lower",
        values=[None if value is None else value / duration_s for value in cpu.values],
        estimate=None if cpu.estimate is None else cpu.estimate / duration_s,
        ci95=None if cpu.ci95 is None else (low / duration_s, high / duration_s),
    )


def _metrics(condition: str, found: Headroom | None) -> list[schema.Metric]:
    """Form the estimates as metrics: they are of all rounds together and have no value a round."""

    def of(
        name: str, value: float, where: str = condition, ci95: tuple[float, float] | None = None
    ) -> schema.Metric:
        unit, better = UNITS[name]
        return schema.Metric(
            name=name,
            condition=where,
            unit=unit,
            better=better,
            values=[],
            estimate=value,
            ci95=ci95,
        )

    if found is None:
        return []
    usable = found.usable
    fitted = [
        of("latency_p99_fit", math.exp(value), duty_label(condition, duty))
        for duty, value in zip(found.fit.duty, found.fit.fitted, strict=True)
        if duty > 0
    ]
    return [
        of("headroom_samples_per_s", usable.samples_per_s, ci95=found.samples_interval),
        of("headroom_cores", usable.cores, ci95=found.cores_interval),
        of("headroom_slo", found.limit_s),
        of("headroom_slo_reached", 0.0 if usable.at_least else 1.0),
        of("headroom_open", found.open_share),
        *fitted,
    ]


def _series(condition: str, found: Headroom) -> Iterator[schema.Series]:
    """Draw p99 over what was trained: as measured, as fitted, and the SLO."""
    samples = found.fit.samples_per_s
    drawn = {
        "latency_p99": (samples, np.exp(found.fit.log_p99)),
        "latency_p99_fit": (samples, np.exp(found.fit.fitted)),
        "latency_p99_slo": (samples[[0, -1]], np.full(2, found.limit_s)),
    }
    for name, (x, y) in drawn.items():
        yield schema.Series(
            name=name,
            condition=condition,
            x=x.tolist(),
            y=y.tolist(),
            x_unit="1/s",
            y_unit="s",
        )
