"""What a run has so far: enough for a document at any moment, so that none is lost."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench.bench.serving import carry_over, metrics
from lorabench.bench.serving.calibration import Calibration
from lorabench.bench.serving.cases import SOLO, ServingCase
from lorabench.bench.serving.comparisons import Found, comparisons
from lorabench.bench.serving.node import Measured, ServingNode
from lorabench.bench.serving.slices import Course
from lorabench.isolation.resctrl import CounterSeries
from lorabench.results import schema, statistics
from lorabench.results.learnable import LabelCount
from lorabench.results.metrics import MetricTable
from lorabench.results.statistics import Estimate
from lorabench.targets.service import Stalls, stalls
from lorabench.targets.target import Record
from lorabench.targets.trace import NS
from lorabench.targets.training import TrainReport

# What may be left of a stream at the ends of slices: a batch or two that has just come.
_LEFT = 0.1


@dataclass
class RunState:
    """What has been measured, block by block.

    Attributes
    ----------
    table : MetricTable
        Values.
    rounds : list of schema.Round
        What ran in which order, and what shows that it was fair: an entry a block.
    raw : dict of str to array
        Samples, for the file beside the document.
    pages : dict
        What the workers map the tables with.
    adapter_bytes : dict of str to int
        Parts of all LoRA state at its largest.
    calibration : Calibration or None
        What was measured before the first round.
    course : Course or None
        How long the run is to be.
    traces : dict of ServingCase to array
        What the throttle did in the last block, by the case's clock.
    counters : dict of ServingCase to tuple of CounterSeries
        What resctrl counted in its last slice.
    switches : dict of ServingCase to list of pairs of arrays
        Of every query: how long after the switch to its case it came, s, and its latency, s.
    rows, positives : int
        Rows of all rounds so far, and those of them whose label is 1.
    """

    table: MetricTable = field(default_factory=MetricTable)
    rounds: list[schema.Round] = field(default_factory=list)
    raw: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    pages: dict[str, Any] = field(default_factory=dict)
    adapter_bytes: dict[str, int] = field(default_factory=dict)
    calibration: Calibration | None = None
    course: Course | None = None
    traces: dict[ServingCase, NDArray[np.float64]] = field(default_factory=dict)
    counters: dict[ServingCase, tuple[CounterSeries, ...]] = field(default_factory=dict)
    switches: dict[ServingCase, list[NDArray[np.float64]]] = field(default_factory=dict)
    rows: int = 0
    positives: int = 0

    def labels(self, *, known: bool) -> LabelCount:
        """Return which labels the rows of all rounds had; `known`: they have labels."""
        return LabelCount(self.rows, self.positives, known)

    def summarise(self) -> None:
        """Write down what is known of all blocks together."""
        for case, parts in self.switches.items():
            felt_s = carry_over.settled_s(np.concatenate(parts, axis=1))
            if felt_s is not None:
                self.table.put("carry_over", case, Estimate(felt_s, None, len(parts)))
        of = {block.index: block.processes or 0 for block in self.rounds}
        for one, values in self.table.named("latency_p99_ratio").items():
            known = [
                (math.log(v), of[n]) for n, v in enumerate(values) if v is not None and n in of
            ]
            share = statistics.outer_share(*zip(*known, strict=True)) if known else None
            if share is not None:
                found = Estimate(share, None, len(known))
                self.table.put("process_variance_share", one, found)

    def series(self) -> Iterator[schema.Series]:
        """Draw latency after a switch, and stalls block by block."""
        for case, parts in self.switches.items():
            at_s, p99_s = carry_over.curve(np.concatenate(parts, axis=1))
            name = "latency_p99_since_switch"
            yield schema.Series.of(name, case, at_s, p99_s, units=("s", "s"))
        for name, unit in (("stalls_per_s", "1/s"), ("stalled_share", "1")):
            for of, values in self.table.named(name).items():
                known = [(n, v) for n, v in enumerate(values) if v is not None]
                if known:
                    x, y = zip(*known, strict=True)
                    yield schema.Series.of(name, of, x, y, units=("1", unit))


class RoundLog:
    """Writes blocks down.

    Parameters
    ----------
    node : ServingNode
        What was measured.
    state : RunState
        Where it goes.
    """

    def __init__(self, node: ServingNode, state: RunState) -> None:
        self.node = node
        self.state = state
        # What a trainer has done in its round before the block that comes next.
        self._before: dict[ServingCase, TrainReport] = {}
        self._labels = np.zeros(0, np.int8)

    def calibrated(self, found: Calibration) -> None:
        """Write down what was measured before the first round."""
        self.state.calibration = found
        table = self.state.table
        limit = self.node.machine.limit
        if limit is not None:
            table.add("cpu_quota", "machine", limit.cpus)
        if found.capacity_qps is not None:
            table.add("capacity_qps", SOLO, found.capacity_qps)
        table.add("offered_qps", SOLO, found.qps)
        if found.baseline_p99_s is not None:
            table.add("baseline_p99", SOLO, found.baseline_p99_s)
        if found.alone_samples_per_s is not None:
            table.add("train_samples_per_s", "alone", found.alone_samples_per_s)
        if found.neighbours is not None:
            for name, turns in found.neighbours.values.items():
                table.add("neighbour_batch_ratio", name, *turns)

    def opened(self, labels: NDArray[np.int8]) -> None:
        """Take in that a round begins anew, and the labels [N] of its rows."""
        self._labels = labels
        self.state.rows += len(labels)
        self.state.positives += int(labels.sum())
        self._before.clear()

    def warmed(self, case: ServingCase, record: Record) -> None:
        """Take in what a case has done before the next block of its round."""
        if record.train is not None:
            self._before[case] = record.train

    def record(
        self,
        block: int,
        round_: int,
        order: Sequence[ServingCase],
        measured: Mapping[ServingCase, Sequence[Measured]],
    ) -> None:
        """Write down a block: metrics of each case, ratios between them, samples, fairness.

        Parameters
        ----------
        block, round_ : int
            Their numbers in the run.
        order : sequence of ServingCase
            In which the cases had their slices.
        measured : mapping of ServingCase to sequence of Measured
            Their slices.
        """
        records, held_up, found = {}, {}, {}
        for case, slices in measured.items():
            joined = Record.joined([part for part, _ in slices])
            record = replace(joined, before=self._before.get(case))
            self.warmed(case, record)
            known = self._known(case, record)
            records[case] = record
            held_up[case] = stalls(record, known.service, held_back=known.held_back)
            first = record.schedule.skipped_rows
            truth = self._labels[first : first + record.schedule.total_rows]
            found[case] = metrics.measure(record, truth, known, held_up[case])
            self._add(block, case, record, found[case], held_up[case])
            if (monitor := slices[-1][1]) is not None:
                self.state.counters[case] = monitor.series()
        stuck = {case for case, record in records.items() if _stuck(record)}
        # What waited for a new period of a limit says nothing about who ran beside it.
        void = stuck | {case for case, record in records.items() if record.stopped.any()}
        for comparison in comparisons(list(records)):
            sides = comparison.values(found)
            if sides is not None:
                valid = not {comparison.head, *comparison.base} & void
                value = comparison.of(sides) if valid else None
                self.state.table.add(comparison.name, comparison.case or comparison.head, value)
        self.state.rounds.append(self._round(block, round_, order, records, stuck))

    def _known(self, case: ServingCase, record: Record) -> metrics.Known:
        calibration = self.state.calibration
        assert calibration is not None
        spike_s = self.node.traffic.spike_s(record.length_s)
        if spike_s is not None:
            begin_s = float(record.windows_ns[-1, 1]) / NS - record.length_s
            spike_s = begin_s + spike_s[0], begin_s + spike_s[1]
        return metrics.Known(
            calibration.service,
            calibration.baseline_p99_s,
            self.node.slowdown(case),
            spike_s,
            beside=case.condition is not None,
            limited=self.node.machine.limit is not None,
        )

    def _add(
        self, block: int, case: ServingCase, record: Record, found: Found, held_up: Stalls
    ) -> None:
        state = self.state
        for metric, value in found.items():
            state.table.add(metric, case, value)
        if record.train is not None:
            self._add_training(case, record.train, found["train_samples_per_s"])
        if len(record.throttle):
            trace = record.throttle.copy()
            trace[:, 0] /= NS
            state.traces[case] = trace
        for key, array in (record.raw() | {"touched": held_up.touched}).items():
            state.raw[f"block{block}/{case}/{key}"] = array
        since = carry_over.since_switch(record)
        if len(since.T):
            state.switches.setdefault(case, []).append(since)

    def _add_training(self, case: ServingCase, report: TrainReport, rate: float | None) -> None:
        """Write down what a trainer took and gave, its rate against alone."""
        state, node = self.state, self.node
        alone = state.calibration and state.calibration.alone_samples_per_s
        if alone and rate is not None:
            state.table.add("train_rate_ratio", case, rate / alone)
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
        block: int,
        round_: int,
        order: Sequence[ServingCase],
        records: Mapping[ServingCase, Record],
        stuck: set[ServingCase],
    ) -> schema.Round:
        named = {case.text: record for case, record in records.items()}
        return schema.Round(
            index=block,
            processes=round_,
            order=[case.text for case in order],
            schedule_sha256={name: record.schedule_digest for name, record in named.items()},
            queries={
                name: schema.Queries(offered=len(r.scheduled), served=int(r.served.sum()))
                for name, r in named.items()
            },
            saturated=[case.text for case in records if case in stuck],
            wraps=self.node.stream.wraps,
            steal_s={name: record.steal_s for name, record in named.items()},
            involuntary_switches={n: record.involuntary_switches for n, record in named.items()},
            notes=list(self._said(block, records)),
        )

    def _said(self, block: int, records: Mapping[ServingCase, Record]) -> Iterator[str]:
        if block == 0 and self.state.calibration is not None:
            yield from self.state.calibration.notes()
        for case, record in records.items():
            if record.train is not None or record.applied is not None:
                yield from _notes(case, record)
                yield from self._throttle_notes(case)

    def _throttle_notes(self, case: ServingCase) -> Iterator[str]:
        calibration = self.state.calibration
        if calibration is None or not case.has("throttle"):
            return
        if self.node.options.slo_s is None and calibration.baseline_p99_s is None:
            yield (
                f"{case}: too few queries lay beyond the p99 of solo to set the throttle a limit, "
                "so it watched queue and busy share alone; give one with --slo-ms"
            )


def _stuck(record: Record) -> bool:
    """Whether a queue only grew, of any server: one that is stuck must not hide."""
    if not record.served.all():
        return True
    for server in range(int(record.server.max(initial=0)) + 1):
        mine = record.server == server
        if statistics.saturated(record.scheduled[mine], record.started[mine], record.slices[mine]):
            return True
    return False


def _notes(case: ServingCase, record: Record) -> Iterator[str]:
    """Return what weakens the figures of a case beside which something was done."""
    applied = record.applied
    if applied is not None and applied.left > _LEFT * (applied.rows + applied.left):
        share = applied.left / (applied.rows + applied.left)
        yield (
            f"{case}: {share:.0%} of the rows that arrived were not written by the end of their "
            "slice: it could not keep up with the stream"
        )
    if record.train is not None:
        yield from _training_notes(case, record)


def _training_notes(case: ServingCase, record: Record) -> Iterator[str]:
    assert record.train is not None
    learner = record.learned
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
    reuse = record.train.reuse
    if reuse is not None and not reuse.features:
        yield (
            f"{case}: nothing was kept for reuse (0 bytes): no feature has more than 2 ids, and a "
            "base vector that is written and read again takes the bytes of 2 rows"
        )
