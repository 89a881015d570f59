"""What a run has so far: enough for a document at any moment, so that none is lost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench.bench.serving import metrics
from lorabench.bench.serving.calibration import Calibration
from lorabench.bench.serving.cases import SOLO, ServingCase
from lorabench.bench.serving.node import Measured, ServingNode
from lorabench.isolation.resctrl import CounterSeries
from lorabench.results import schema, statistics
from lorabench.results.metrics import MetricTable
from lorabench.targets.target import Record, TrainReport
from lorabench.targets.trace import NS

Found = Mapping[str, float | None]


@dataclass
class RunState:
    """What has been measured, round by round.

    Attributes
    ----------
    table : MetricTable
        Values.
    rounds : list of schema.Round
        What ran in which order, and what shows that it was fair.
    raw : dict of str to array
        Samples, for the file beside the document.
    pages : dict
        What the workers map the tables with.
    adapter_bytes : dict of str to int
        Parts of all LoRA state at its largest.
    calibration : Calibration or None
        What was measured before the first round.
    traces : dict of ServingCase to array
        What the throttle did in the last round.
    counters : dict of ServingCase to tuple of CounterSeries
        What resctrl counted in it.
    """

    table: MetricTable = field(default_factory=MetricTable)
    rounds: list[schema.Round] = field(default_factory=list)
    raw: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    pages: dict[str, Any] = field(default_factory=dict)
    adapter_bytes: dict[str, int] = field(default_factory=dict)
    calibration: Calibration | None = None
    traces: dict[ServingCase, NDArray[np.float64]] = field(default_factory=dict)
    counters: dict[ServingCase, tuple[CounterSeries, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundLog:
    """Writes rounds down.

    Parameters
    ----------
    node : ServingNode
        What was measured.
    state : RunState
        Where it goes.
    """

    node: ServingNode
    state: RunState

    def calibrated(self, found: Calibration) -> None:
        """Write down what was measured before the first round."""
        self.state.calibration = found
        table = self.state.table
        if found.capacity_qps is not None:
            table.add("capacity_qps", SOLO, found.capacity_qps)
        if found.alone_samples_per_s is not None:
            table.add("train_samples_per_s", "alone", found.alone_samples_per_s)
        if found.neighbours is not None:
            for name, turns in found.neighbours.values.items():
                table.add("neighbour_batch_ratio", name, *turns)

    def record(
        self,
        index: int,
        order: Sequence[ServingCase],
        measured: Sequence[Measured],
        labels: NDArray[np.int8],
    ) -> None:
        """Write down a round: metrics of each case, ratios between them, samples, fairness."""
        options = self.node.options
        spike_s = self.node.traffic.spike_s(options.total_s)
        records = {case: record for case, (record, _) in zip(order, measured, strict=True)}
        found = {
            case: metrics.measure(record, labels, options.window_s, spike_s)
            for case, record in records.items()
        }
        stuck = {case for case, record in records.items() if _stuck(record)}
        for case, (record, monitor) in zip(order, measured, strict=True):
            self._add(index, case, record, found[case])
            if monitor is not None:
                self.state.counters[case] = monitor.series()
        for name, head, base in comparisons(list(records)):
            values = found[head].get(_COMPARED[name]), found[base].get(_COMPARED[name])
            if _COMPARED[name] in found[head]:
                valid = not {head, base} & stuck
                self.state.table.add(name, head, _compared(name, *values) if valid else None)
        self.state.rounds.append(self._round(index, order, records, stuck))

    def _add(self, index: int, case: ServingCase, record: Record, found: Found) -> None:
        state = self.state
        for metric, value in found.items():
            state.table.add(metric, case, value)
        if record.train is not None:
            self._add_training(case, record, record.train, found["train_samples_per_s"])
        for key, array in record.raw().items():
            state.raw[f"round{index}/{case}/{key}"] = array

    def _add_training(
        self, case: ServingCase, record: Record, report: TrainReport, rate: float | None
    ) -> None:
        """Write down what a trainer took and gave, its throttle's trace, its rate against alone."""
        state, node = self.state, self.node
        alone = state.calibration and state.calibration.alone_samples_per_s
        if alone and rate is not None:
            state.table.add("train_rate_ratio", case, rate / alone)
        if len(report.throttle):
            trace = report.throttle.copy()
            trace[:, 0] = (trace[:, 0] - record.start_ns) / NS
            state.traces[case] = trace
        ring = node.options.replay_bytes * len(node.servers)
        parts = report.learner.peak_bytes
        used, tables = sum(parts.values()), node.setup.adapter.layout.table_bytes
        if used > sum(state.adapter_bytes.values()):
            state.adapter_bytes = parts
        state.table.add("lora_bytes", case, used)
        state.table.add("lora_fraction", case, used / tables)
        state.table.add("replay_bytes", case, ring)
        state.table.add("overhead_fraction", case, (used + ring) / tables)

    def _round(
        self,
        index: int,
        order: Sequence[ServingCase],
        records: Mapping[ServingCase, Record],
        stuck: set[ServingCase],
    ) -> schema.Round:
        named = {case.text: record for case, record in records.items()}
        return schema.Round(
            index=index,
            order=[case.text for case in order],
            schedule_sha256={name: record.schedule_digest for name, record in named.items()},
            queries={
                name: schema.Queries(offered=len(r.scheduled), served=int(r.served.sum()))
                for name, r in named.items()
            },
            saturated=[case.text for case in order if case in stuck],
            wraps=self.node.stream.wraps,
            steal_s={name: record.steal_s for name, record in named.items()},
            involuntary_switches={n: record.involuntary_switches for n, record in named.items()},
            notes=[
                note
                for case in order
                if (report := records[case].train) is not None
                for note in (*_training_notes(case, report), *self._throttle_notes(case))
            ],
        )

    def _throttle_notes(self, case: ServingCase) -> Iterator[str]:
        calibration = self.state.calibration
        if calibration is None or not case.has("throttle"):
            return
        if self.node.options.slo_s is None and calibration.baseline_p99_s is None:
            yield (
                f"{case}: too few queries lay beyond the p99 of solo to set the throttle a limit, "
                "so it watched queue and busy share alone; give one with --slo-ms"
            )


# What a comparison within a round is of.
_COMPARED = {
    "latency_p99_ratio": "latency_p99",
    "latency_impact": "latency_p99",
    "spike_p99_ratio": "spike_p99",
    "rank_change_p99_ratio": "latency_p99",
}


def comparisons(cases: Sequence[ServingCase]) -> Iterator[tuple[str, ServingCase, ServingCase]]:
    """Return what is compared within a round: metric, head and base.

    All with `solo`; a changing rank with the same condition without it, where that ran.
    """
    for case in cases:
        if SOLO in cases and case != SOLO:
            yield "latency_p99_ratio", case, SOLO
            yield "latency_impact", case, SOLO
            yield "spike_p99_ratio", case, SOLO
        still = case.without_rank_change
        for base in cases:
            if still is not None and base.condition is not None:
                same = (base.condition.place, base.condition.mechanisms)
                if same == (still.place, still.mechanisms) and base.duty == case.duty:
                    yield "rank_change_p99_ratio", case, base


def _compared(name: str, head: float | None, base: float | None) -> float | None:
    if head is None or base is None:
        return None
    return head - base if name == "latency_impact" else head / base


def _stuck(record: Record) -> bool:
    """Whether a queue only grew, of any server: one that is stuck must not hide."""
    if not record.served.all():
        return True
    for server in range(int(record.server.max(initial=0)) + 1):
        mine = record.server == server
        if statistics.saturated(record.scheduled[mine], record.started[mine]):
            return True
    return False


def _training_notes(case: ServingCase, report: TrainReport) -> Iterator[str]:
    learner = report.learner
    if learner.guard_trips:
        yield (
            f"{case}: the quality guard switched the adapter off {learner.guard_trips} times: it "
            "predicted worse than the base tables"
        )
    if learner.diverged:
        yield (
            f"{case}: training diverged (a value that is not finite) and stopped publishing; the "
            "servers went on with the last good epoch"
        )
    if report.reuse is not None and not report.reuse.features:
        yield (
            f"{case}: nothing was kept for reuse (0 bytes): no feature has more than 2 ids, and a "
            "base vector that is written and read again takes the bytes of 2 rows"
        )
