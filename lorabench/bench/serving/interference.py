"""The neighbour probe: does anything contend that servers and trainer will share, and how much.

A verdict that isolation holds says little on a machine where nothing contends. So, before the first
round, the servers work through a full queue while something runs on each of the trainer's CPUs that
asks for one resource as hard as it can: memory latency (random reads of table rows), memory
bandwidth (copies larger than any cache), or the core itself (arithmetic in registers, which slows a
server only where two CPUs are one core, seen or hidden by a hypervisor). The
time that a full batch takes beside each is held against that of the same batch beside an idle CPU,
turn and turn about.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import sched_setaffinity

import numpy as np

from lorabench._kernels.lookup import random_read
from lorabench._kernels.serve import calculate
from lorabench.errors import MachineError
from lorabench.host.quota import Throttled
from lorabench.model.tables import TableSet
from lorabench.results import statistics
from lorabench.results.statistics import Estimate
from lorabench.targets.load import Schedule
from lorabench.targets.node.processes import NodeProcesses
from lorabench.targets.target import Answers
from lorabench.targets.trace import NS

NEIGHBOURS = ("random reads", "streaming", "arithmetic")

# Turns of each neighbour, and what each turn is served for.
_TURNS = 8
_TURN_S = 0.15

# A batch that takes longer than this, with its whole interval, meets contention; only one whose
# whole interval stays below the other meets none.
_CONTENDED = 1.02
_CLEAR = 1.10

_COPY_BYTES = 64 << 20
_PIECE_NS = 1_000_000
_READS = 1 << 16


@dataclass(frozen=True)
class Interference:
    """What the probe found.

    Attributes
    ----------
    ratios : dict of str to Estimate
        Of each neighbour: time of a full batch beside it over that beside an idle CPU.
    values : dict of str to list of float
        The same, turn by turn; None for all where the kernel stopped the servers in one.
    throttled : Throttled
        How often it did, for a limit on CPU time.
    """

    ratios: dict[str, Estimate]
    values: dict[str, list[float | None]]
    throttled: Throttled = field(default_factory=Throttled)

    @property
    def contended(self) -> dict[str, Estimate]:
        """Neighbours that slow the servers by more than 2 % with 95 % confidence."""
        return {
            name: ratio
            for name, ratio in self.ratios.items()
            if ratio.interval is not None and ratio.interval[0] > _CONTENDED
        }

    @property
    def unclear(self) -> bool:
        """Whether the turns differ too much to exclude contention."""
        return any(r.interval is None or r.interval[1] > _CLEAR for r in self.ratios.values())

    def sentence(self) -> str:
        """Return what it means, for a verdict's reason."""
        if self.throttled.stopped:
            return (
                "the neighbour probe says nothing: the kernel stopped it in "
                f"{self.throttled.stopped:,} of {self.throttled.periods:,} periods of the CPU "
                "quota"
            )
        if not self.ratios:
            return "the neighbour probe gave no figures"
        if self.contended:
            found = f"{', '.join(self.contended)} on the trainer's cores alone slow the servers"
        elif self.unclear:
            found = "whether a shared resource contends here is not clear"
        else:
            found = "no shared resource contends here"
        shown = ", ".join(map(_show, self.ratios, self.ratios.values()))
        return f"{found} (time of a batch beside {shown} of that beside an idle CPU)"


def _show(name: str, ratio: Estimate) -> str:
    between = "" if ratio.interval is None else " [{:.2f}..{:.2f}]".format(*ratio.interval)
    return f"{name} {ratio.value:.2f}{between}"


def probe(
    processes: NodeProcesses, schedule: Schedule, tables: TableSet, cpus: Sequence[int], seed: int
) -> Interference:
    """Run the probe.

    Parameters
    ----------
    processes : NodeProcesses
        The servers.
    schedule : Schedule
        Queries that are all due at once.
    tables : TableSet
        What random reads read.
    cpus : sequence of int
        Where the neighbours run, one each: the trainer's CPUs.
    seed : int
        Of the order of turns.

    Raises
    ------
    MachineError
        A server answered nothing in a turn, or the CPUs are not to be had.
    """
    work = _work(tables)
    rng = np.random.default_rng((seed, 5))
    throttled = Throttled()
    values: dict[str, list[float | None]] = {name: [] for name in NEIGHBOURS}
    for _ in range(_TURNS):
        order = ["", *NEIGHBOURS]
        rng.shuffle(order)
        found = {}
        for name in order:
            with _busy(work[name], cpus) if name else _idle():
                served = processes.saturate(schedule, _TURN_S)
            throttled += served.throttled
            found[name] = _batch_s(served.answers)
        for name in NEIGHBOURS:
            values[name].append(found[name] / found[""])
    if throttled.stopped:
        # A few turns without a stop would be those in which least was asked for.
        values = {name: [None] * _TURNS for name in NEIGHBOURS}
    ratios = {
        name: ratio
        for name, turns in values.items()
        if (ratio := statistics.geometric_mean(turns)) is not None
    }
    return Interference(ratios, values, throttled)


def _batch_s(answers: Answers) -> float:
    """Median time of a full batch, s."""
    full = (answers.done > 0) & (answers.batch == answers.batch.max(initial=0))
    return float(np.median(answers.done[full] - answers.started[full])) / NS


def _work(tables: TableSet) -> dict[str, Callable[[int], object]]:
    """List what each neighbour does in a piece of some milliseconds; all release the GIL."""
    largest = max(tables.arrays, key=len)
    source = np.zeros(_COPY_BYTES // 8, np.float64)
    target = np.ones_like(source)
    return {
        "random reads": lambda piece: random_read(largest, _READS, ahead=16, seed=piece),
        "streaming": lambda _: np.copyto(target, source),
        "arithmetic": lambda _: calculate(_PIECE_NS),
    }


@contextmanager
def _busy(work: Callable[[int], object], cpus: Sequence[int]) -> Iterator[None]:
    """Keep a thread on each of these CPUs at work."""
    stop = threading.Event()
    refused: list[str] = []

    def loop(cpu: int) -> None:
        try:
            sched_setaffinity(threading.get_native_id(), {cpu})
        except OSError as error:
            refused.append(f"CPU {cpu}: {error.strerror}")
            return
        piece = 1
        while not stop.is_set():
            work(piece)
            piece += 1

    threads = [threading.Thread(target=loop, args=(cpu,), daemon=True) for cpu in cpus]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if refused:
        raise MachineError(
            f"the neighbour probe cannot run on {', '.join(refused)}; expected the plan's CPUs to "
            "be online and allowed"
        )


@contextmanager
def _idle() -> Iterator[None]:
    yield
