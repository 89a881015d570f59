"""What is measured before the first round, and then frozen: capacity, neighbours, baselines.

The load is a share of the capacity; the neighbour probe says whether anything can contend; a
throttle needs to know what a late query is; and the trainer's rate is worth something only beside
the rate that it has with its cores to itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from lorabench.bench.serving.interference import Interference, probe
from lorabench.errors import InputError
from lorabench.host.quota import Throttled
from lorabench.model.tables import TableSet
from lorabench.results import statistics
from lorabench.targets.load import Schedule, Traffic
from lorabench.targets.node.processes import NodeProcesses, Saturated
from lorabench.targets.node.settings import NodeCase, TrainerSettings
from lorabench.targets.service import ServiceTime
from lorabench.targets.target import Record

if TYPE_CHECKING:
    from lorabench.bench.serving.node import ServingNode

CAPACITY_ROWS = 1 << 16
_CAPACITY_S = 2.0

# Solo at the run's load, from fewer samples beyond its p99 than a result's: that only sets limits.
# As many queries as that takes, within these bounds.
_BASELINE_QUERIES = 1500
_BASELINE_S = (2.0, 12.0)
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
    service : ServiceTime
        What a batch takes as a rule, of `solo` at that load.
    baseline_p99_s : float or None
        p99 of `solo` at that load; None where too few queries lay beyond it.
    alone_samples_per_s : float or None
        What the trainer learns on its cores with nothing beside it and no lack of samples, for as
        much of the time as the plan gives it.
    neighbours : Interference or None
        What the probe found.
    throttled : Throttled
        How often the kernel stopped the servers for a CPU quota while capacity was measured.
    """

    capacity_qps: float | None
    qps: float
    service: ServiceTime
    baseline_p99_s: float | None = None
    alone_samples_per_s: float | None = None
    neighbours: Interference | None = None
    throttled: Throttled = field(default_factory=Throttled)

    def notes(self) -> Iterator[str]:
        """Return what weakens it."""
        if self.throttled.stopped:
            yield (
                f"the kernel stopped the servers for a CPU quota in {self.throttled.stopped:,} of "
                f"{self.throttled.periods:,} periods while capacity was measured: the load is a "
                "share of what the quota allows, and not of what the cores can do"
            )


def saturating(traffic: Traffic, servers: int, most_batch: int, seed: Sequence[int]) -> Schedule:
    """Draw queries that are all due at once, of each server as many, to be gone through again.

    Parameters
    ----------
    traffic : Traffic
        Law of their sizes.
    servers : int
        How many servers there are.
    most_batch : int
        Most queries scored together.
    seed : sequence of int
        Equal seeds, equal schedules.
    """
    rng = np.random.default_rng(seed)
    mean_rows = float(traffic.sizes(10_000, rng).mean())
    # All rows that there are, so that no server finds its own in the cache; some batches at least.
    each = max(4 * most_batch, int(CAPACITY_ROWS / (mean_rows * servers)))
    return Schedule(
        np.zeros(each * servers, np.int64),
        np.tile(np.arange(servers, dtype=np.int32), each),
        traffic.sizes(each * servers, rng),
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
    max_batch : int
        Most queries scored together.
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
    max_batch: int
    cpus: frozenset[int]
    seed: int
    report: Report

    def capacity(self) -> Saturated:
        """Keep a full batch waiting all the time: the rate then is what a load is a share of."""
        self.report("measuring capacity", 0.0)
        found = self.processes.saturate(self._saturating(3), _CAPACITY_S)
        self.report("measuring capacity", 1.0)
        return found

    def neighbours(self, tables: TableSet, trainer_cpus: Sequence[int]) -> Interference:
        """Find out what contends (`lorabench.bench.serving.interference`)."""
        self.report("probing the neighbourhood", 0.0)
        found = probe(self.processes, self._saturating(5), tables, trainer_cpus, self.seed)
        self.report("probing the neighbourhood", 1.0)
        return found

    def solo(self, qps: float, head_s: float) -> Record:
        """Serve alone at the run's load, for long enough to know its p99 about.

        Raises
        ------
        InputError
            The load is so low that no query came.
        """
        self.report("measuring solo", 0.0)
        least, most = _BASELINE_S
        length_s = min(most, max(least, _BASELINE_QUERIES / qps))
        schedule = Schedule.draw(
            self.traffic, qps, head_s + length_s, servers=self.servers, seed=(self.seed, 4)
        )
        case = NodeCase("baseline", None, self.cpus, (head_s, head_s + length_s))
        record = self.processes.measure(case, schedule)
        self.report("measuring solo", 1.0)
        return record

    def alone_samples_per_s(self, place: TrainerSettings, label_delay_s: float) -> float | None:
        """Measure the trainer alone on its cores, learning from rings that were filled before."""
        self.report("measuring the trainer alone", 0.0)
        found = self.processes.train_alone(
            self._saturating(6), place, _FILL_S, label_delay_s + _ALONE_S
        )
        self.report("measuring the trainer alone", 1.0)
        return found

    def _saturating(self, number: int) -> Schedule:
        return saturating(self.traffic, self.servers, self.max_batch, (self.seed, number))


def calibrate(
    node: "ServingNode",
    processes: NodeProcesses,
    *,
    training: bool,
    report: Report,
    agreed_qps: float | None = None,
) -> Calibration:
    """Measure what has to be known before the first round.

    Parameters
    ----------
    node : ServingNode
        What is measured.
    processes : NodeProcesses
        Its servers, and a trainer where there is one to be measured.
    training : bool
        Whether there is.
    report : callable
        Told what is going on.
    agreed_qps : float, optional
        The load of a run that this one is compared with, and so its own, whatever its capacity.

    Raises
    ------
    InputError
        The load is so low that no query came.
    MachineError
        A server answered nothing.
    """
    options = node.options
    traffic, servers, most = node.traffic, len(node.servers), options.max_batch
    calibrator = Calibrator(processes, traffic, servers, most, node.cpus, options.seed, report)
    full = None if options.qps is not None else calibrator.capacity()
    capacity = None if full is None else full.qps
    qps = options.load * capacity if capacity is not None else options.qps
    qps = agreed_qps or qps
    assert qps is not None
    solo = calibrator.solo(qps, options.head_s)
    service = ServiceTime.fitted(solo)
    if service is None:
        raise InputError(
            f"{'--qps' if capacity is None else '--load'}: found {qps:.3g} queries/s, expected a "
            "load at which some query comes within seconds"
        )
    baseline_s = statistics.quantile(solo.latency_s, 0.99, _BASELINE_BEYOND)
    throttled = Throttled() if full is None else full.throttled
    found = Calibration(capacity, qps, service, baseline_s, throttled=throttled)
    if training:
        cpus = node.machine.plan.trainer_cpus
        share = node.machine.plan.trainer_share
        alone = TrainerSettings(frozenset(cpus), len(cpus), duty=share)
        found = replace(
            found,
            neighbours=calibrator.neighbours(node.prepared.tables, cpus),
            alone_samples_per_s=calibrator.alone_samples_per_s(alone, options.label_delay_s or 0.0),
        )
    return found
