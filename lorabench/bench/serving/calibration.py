"""What is measured before the first round, and then frozen: capacity, neighbours, baselines.

The load is a share of the capacity; the neighbour probe says whether anything can contend; a
throttle needs to know what a late query is; and the trainer's rate is worth something only beside
the rate that it has with its cores to itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lorabench.bench.serving.cases import ServingCase
from lorabench.bench.serving.interference import Interference, probe
from lorabench.model.tables import TableSet
from lorabench.results import statistics
from lorabench.targets.load import Schedule, Traffic
from lorabench.targets.node.processes import NodeProcesses
from lorabench.targets.node.settings import NodeCase, TrainerSettings
from lorabench.targets.trace import NS

if TYPE_CHECKING:
    from lorabench.bench.serving.node import ServingNode

CAPACITY_ROWS = 1 << 16
_CAPACITY_S = 2.0

# p99 of solo, from fewer samples beyond it than a result's: it only sets a throttle's limit.
_BASELINE_S = 4.0
_BASELINE_BEYOND = 5

_FILL_S = 2.0
_ALONE_S = 2.0

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Calibration:
    """What was found before the first round.

    Attributes
    ----------
    capacity_qps : float or None
        Queries/s when a full batch always waits; None where the load was given as a rate.
    qps : float
        Offered load.
    baseline_p99_s : float or None
        p99 of `solo` at that load; None where nothing needs it or too few queries lay beyond it.
    alone_samples_per_s : float or None
        What the trainer learns on its cores with nothing beside it and no lack of samples.
    neighbours : Interference or None
        What the probe found.
    """

    capacity_qps: float | None
    qps: float
    baseline_p99_s: float | None = None
    alone_samples_per_s: float | None = None
    neighbours: Interference | None = None


def saturating(traffic: Traffic, servers: int, seconds: float, seed: Sequence[int]) -> Schedule:
    """Draw more queries, all due at once, than the servers can answer in that time."""
    rng = np.random.default_rng(seed)
    mean_rows = float(traffic.sizes(10_000, rng).mean())
    # A million rows a second is more than any core scores.
    most = max(1, int(seconds * 1_000_000 / mean_rows))
    return Schedule(
        np.zeros(most * servers, np.int64),
        np.tile(np.arange(servers, dtype=np.int32), most),
        traffic.sizes(most * servers, rng),
    )


@dataclass(frozen=True)
class Calibrator:
    """Takes a round's processes through what is measured beforehand.

    Parameters
    ----------
    processes : NodeProcesses
        Servers, and the trainer where `alone_samples_per_s` is wanted.
    traffic : Traffic
        Law of arrivals and sizes.
    servers : int
        How many there are.
    cpus : frozenset of int
        All that take part.
    seed : int
        Of all schedules.
    report : callable
        Told what is going on.
    """

    processes: NodeProcesses
    traffic: Traffic
    servers: int
    cpus: frozenset[int]
    seed: int
    report: Report

    def capacity_qps(self) -> float:
        """Queries/s when there is always a full batch waiting: what a load is a share of."""
        self.report("measuring capacity", 0.0)
        schedule = saturating(self.traffic, self.servers, _CAPACITY_S, (self.seed, 3))
        case = NodeCase("capacity", None, self.cpus, (0.0, _CAPACITY_S), give_up_s=_CAPACITY_S)
        record = self.processes.measure(case, schedule)
        self.report("measuring capacity", 1.0)
        served = record.done[record.served]
        return len(served) / (float(served.max()) / NS)

    def neighbours(self, tables: TableSet, trainer_cpus: Sequence[int]) -> Interference:
        """Find out what contends (`lorabench.bench.serving.interference`)."""
        self.report("probing the neighbourhood", 0.0)
        schedule = saturating(self.traffic, self.servers, 1.0, (self.seed, 5))
        found = probe(self.processes, schedule, tables, trainer_cpus, self.seed)
        self.report("probing the neighbourhood", 1.0)
        return found

    def baseline_p99_s(self, qps: float, discarded_s: float) -> float | None:
        """Measure p99 of `solo` at the run's load, after as long a warm-up as a condition's."""
        self.report("measuring solo for the throttle", 0.0)
        window_s = (discarded_s, discarded_s + _BASELINE_S)
        schedule = Schedule.draw(
            self.traffic, qps, window_s[1], servers=self.servers, seed=(self.seed, 4)
        )
        case = NodeCase("baseline", None, self.cpus, window_s)
        record = self.processes.measure(case, schedule)
        self.report("measuring solo for the throttle", 1.0)
        return statistics.quantile(record.latencies(window_s), 0.99, _BASELINE_BEYOND)

    def alone_samples_per_s(self, place: TrainerSettings, label_delay_s: float) -> float | None:
        """Measure the trainer alone on its cores, learning from rings that were filled before."""
        self.report("measuring the trainer alone", 0.0)
        schedule = saturating(self.traffic, self.servers, _FILL_S, (self.seed, 6))
        found = self.processes.train_alone(schedule, place, _FILL_S, label_delay_s + _ALONE_S)
        self.report("measuring the trainer alone", 1.0)
        return found


def calibrate(
    node: "ServingNode", processes: NodeProcesses, cases: Sequence[ServingCase], report: Report
) -> Calibration:
    """Measure what `cases` need to be known before the first round.

    Parameters
    ----------
    node : ServingNode
        What is measured.
    processes : NodeProcesses
        Its servers, and a trainer where there are cases.
    cases : sequence of ServingCase
        Those beside serving alone.
    report : callable
        Told what is going on.
    """
    options = node.options
    calibrator = Calibrator(
        processes, node.traffic, len(node.servers), node.cpus, options.seed, report
    )
    capacity = None if options.qps is not None else calibrator.capacity_qps()
    qps = options.load * capacity if capacity is not None else options.qps
    assert qps is not None
    found = Calibration(capacity, qps)
    if cases:
        cpus = node.machine.plan.trainer_cpus
        alone = TrainerSettings(frozenset(cpus), len(cpus))
        found = replace(
            found,
            neighbours=calibrator.neighbours(node.prepared.tables, cpus),
            alone_samples_per_s=calibrator.alone_samples_per_s(alone, options.label_delay_s or 0.0),
        )
    if any(case.has("throttle") for case in cases) and options.slo_s is None:
        p99_s = calibrator.baseline_p99_s(qps, options.discarded_s)
        found = replace(found, baseline_p99_s=p99_s)
    return found
