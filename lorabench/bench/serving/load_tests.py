"""Tests of MLCommons LoadGen on the servers of a run, so that one who knows it can judge ours.

After the rounds, on fresh processes: LoadGen's Server scenario in place of our own arrivals, at the
same rate, of serving alone and of each case with a trainer, in turns. Of the same queries there are
then two latencies: LoadGen's, from its logs, and ours, from what the servers wrote down. And in
each turn serving alone is also measured as in the rounds, with LoadGen's arrivals as a schedule.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lorabench.bench.serving.cases import SOLO, ServingCase
from lorabench.bench.serving.log import RoundLog
from lorabench.bench.serving.node import Asked, Measured, ServingNode
from lorabench.bench.serving.slices import Slice, Slicing
from lorabench.isolation.undoing import signals_held
from lorabench.results import statistics
from lorabench.targets.load import Schedule, split_arrivals
from lorabench.targets.loadgen import DETAIL, LoadTest, LoadTestResult, read_result
from lorabench.targets.node.settings import TrainerSettings
from lorabench.targets.trace import NS

GENERATOR = "mlperf"

TARGET_LATENCY_S = 0.060
"""What MLPerf Inference holds DLRM's p99 against in the Server scenario (its ``mlperf.conf``)."""

SCHEDULED = replace(SOLO, text="solo@own", labels={"condition": SOLO.text, "load_generator": "own"})
"""Serving alone, of the same arrivals, which the servers know beforehand."""

_SEEDS = 1 << 31


@dataclass(frozen=True)
class LoadTests:
    """What is tested.

    Parameters
    ----------
    qps : float
        Rate of all tests.
    slicing : Slicing
        Of the rounds before: a test is as long as a block, and what learns is warmed up as there.
    count : int
        Tests of each case.
    target_latency_s : float
        What LoadGen's verdict is about.
    seed : int
        Of the run.
    """

    qps: float
    slicing: Slicing
    count: int
    target_latency_s: float
    seed: int

    def test(self, number: int) -> LoadTest:
        """Return a test, the same for all cases."""
        drawn = np.random.default_rng((self.seed, 9, number))
        return LoadTest(
            qps=self.qps,
            duration_ms=max(1, round(1000 * self.slicing.measured_s)),
            seed=int(drawn.integers(_SEEDS)),
            target_latency_ns=int(self.target_latency_s * NS),
        )

    def slice(self, number: int) -> Slice:
        """Return when a test is by a case's clock."""
        length_s = self.test(number).duration_ms / 1000
        begin_s = self.slicing.warmup_s + number * length_s
        return Slice(begin_s, begin_s + length_s, (begin_s, begin_s + length_s))

    def schedules(self, node: ServingNode) -> list[Schedule]:
        """Draw the arrivals of the warm-up, and then of each test with the rows after those."""
        servers = len(node.servers)
        parts = [
            Schedule.draw(
                node.traffic,
                self.qps,
                self.slicing.warmup_s,
                servers=servers,
                seed=(self.seed, 10),
            )
        ]
        for number in range(self.count):
            arrivals, _ = self.test(number).draw()
            rng = np.random.default_rng((self.seed, 11, number))
            last = parts[-1]
            parts.append(
                Schedule(
                    arrivals,
                    split_arrivals(len(arrivals), servers, rng),
                    node.traffic.sizes(len(arrivals), rng),
                    last.skipped_rows + last.total_rows,
                )
            )
        return parts


@dataclass
class LoadTestLog:
    """What LoadGen said, test by test.

    Attributes
    ----------
    version : str
        Of LoadGen.
    tests : list of dict
        As a document has them.
    files : dict of str to bytes
        LoadGen's logs, by the name that they are to have.
    """

    version: str = ""
    tests: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def as_document(self) -> dict[str, Any] | None:
        """Return what a result document says of the tests; None where there were none."""
        if not self.tests:
            return None
        return {"name": GENERATOR, "version": self.version, "tests": self.tests}


def under_loadgen(case: ServingCase) -> ServingCase:
    """Return a case as LoadGen drives it."""
    labels = {**case.labels, "load_generator": GENERATOR}
    return replace(case, text=f"{case.text}@{GENERATOR}", labels=labels)


def run_load_tests(
    node: ServingNode,
    log: RoundLog,
    asked: LoadTests,
    cases: Sequence[ServingCase],
    *,
    said: LoadTestLog,
    settings: Callable[[ServingCase], TrainerSettings | None],
    begins: Callable[[int], None],
) -> None:
    """Test all cases in turns, in an order that is drawn anew for each.

    Parameters
    ----------
    node : ServingNode
        What is tested.
    log : RoundLog
        Where what was measured is written down, a block for each turn.
    asked : LoadTests
        What is tested.
    cases : sequence of ServingCase
        Those that learn; serving alone is tested as well.
    said : LoadTestLog
        Where it is written down what LoadGen says.
    settings : callable
        What a case's trainer is told.
    begins : callable
        Told the number of each turn that begins.
    """
    tested = [SCHEDULED, *(under_loadgen(case) for case in (SOLO, *cases))]
    warmup, *schedules = asked.schedules(node)
    rows = node.rows(Schedule.joined([warmup, *schedules]), tested)
    blocks = [round_.processes for round_ in log.state.rounds]
    processes = max((number for number in blocks if number is not None), default=-1) + 1
    log.opened(rows.label)
    with node.round(rows, warmup, tested, load_generator=True) as run:
        for case in tested:
            if case.learns and asked.slicing.warmup_s > 0:
                log.warmed(case, run(case, asked.slicing.warmup, settings(case))[0])
        for number, schedule in enumerate(schedules):
            begins(number)
            order = list(tested)
            np.random.default_rng((asked.seed, 12, number)).shuffle(order)
            test, part = asked.test(number), asked.slice(number)
            tested_now: dict[ServingCase, _Tested] = {}
            for case in order:
                if case == SCHEDULED:
                    found = run(case, part, None, schedule.later(part.begin_s))
                    tested_now[case] = _Tested(found, test)
                    continue
                due = Asked(schedule, test)
                found = run(case, part, settings(case), due)
                said_now = read_result(due.logs[DETAIL].decode(), test)
                tested_now[case] = _Tested(found, test, said_now, due.logs)
            with signals_held():
                _write(log, said, processes, tested_now)


@dataclass(frozen=True)
class _Tested:
    """What came of a test of a case: ours, LoadGen's where it had a part in it, its logs."""

    measured: Measured
    test: LoadTest
    said: LoadTestResult | None = None
    logs: dict[str, bytes] = field(default_factory=dict)

    @property
    def p99_s(self) -> float | None:
        """Of ours, however few queries: LoadGen's is of the same ones, or as many."""
        return statistics.quantile(self.measured[0].latency_s, 0.99, 0)


def _write(
    log: RoundLog, said: LoadTestLog, processes: int, tested: Mapping[ServingCase, _Tested]
) -> None:
    """Write a turn down."""
    block = len(log.state.rounds)
    log.record(block, processes, list(tested), {k: [v.measured] for k, v in tested.items()})
    for case, one in tested.items():
        if one.said is None:
            continue
        _compare(log, case, one, one.said)
        if case == under_loadgen(SOLO):
            own_s = tested[SCHEDULED].p99_s
            ratio = None if own_s is None else one.said.latency_p99_s / own_s
            log.state.table.add("loadgen_own_p99_ratio", case, ratio)
        said.version = one.said.version
        said.tests.append(
            {
                "block": block,
                "condition": case.text,
                "seed": one.test.seed,
                "target_latency_s": one.test.target_latency_ns / NS,
                **one.said.as_document(),
            }
        )
        said.files |= {f"block{block}/{case}/{name}": data for name, data in one.logs.items()}


def _compare(log: RoundLog, case: ServingCase, one: _Tested, said: LoadTestResult) -> None:
    """Write down LoadGen's latency beside ours of the same queries."""
    table = log.state.table
    table.add("loadgen_latency_p50", case, said.latency_p50_s)
    table.add("loadgen_latency_p99", case, said.latency_p99_s)
    table.add("loadgen_valid", case, float(said.valid))
    ours_s, record = one.p99_s, one.measured[0]
    table.add("loadgen_p99_ratio", case, None if ours_s is None else ours_s / said.latency_p99_s)
    assert record.issued is not None
    late_s = (record.issued - record.scheduled) / NS
    table.add("loadgen_issue_late_p99", case, statistics.quantile(late_s, 0.99))
