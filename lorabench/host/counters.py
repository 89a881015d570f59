"""What the machine did meanwhile: busy and stolen CPU time of CPUs and processes, switches.

Read from /proc directly: psutil numbers CPUs by their place in the list, which is another one where
a CPU is offline, and a process's context switches there are those of its first thread alone.
"""

import contextlib
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lorabench.host.procfs import parse_stat

_INVOLUNTARY = re.compile(r"^nonvoluntary_ctxt_switches:\s*(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Spent:
    """Between two snapshots.

    Attributes
    ----------
    cpu_busy : float
        Share of the time that the CPUs were not idle, 0 to 1. Stolen time counts as busy: there
        was work to do.
    steal_s : float
        Time that the hypervisor gave to others while the CPUs had work, summed over them.
    idle_s : float
        Time that the CPUs had nothing to do, summed over them.
    involuntary_switches : int
        How often a thread was taken off its CPU; a thread that has ended in between is left out.
    cpu_s : mapping of int to float
        CPU time of each process, by process id.
    told : bool
        The kernel has counted time at all; gVisor's gives none, and `cpu_busy` is 0 then.
    """

    cpu_busy: float
    steal_s: float
    idle_s: float
    involuntary_switches: int
    cpu_s: Mapping[int, float]
    told: bool = True


@dataclass(frozen=True)
class Snapshot:
    """Counters of some CPUs and processes at one moment.

    Attributes
    ----------
    total_s, idle_s, steal_s : float
        CPU time since boot, summed over the CPUs.
    involuntary : mapping of int to int
        Involuntary context switches of each thread of the processes, by thread id.
    cpu_s : mapping of int to float
        CPU time of each process's present threads, by process id.
    """

    total_s: float
    idle_s: float
    steal_s: float
    involuntary: Mapping[int, int]
    cpu_s: Mapping[int, float]

    @classmethod
    def take(cls, pids: Iterable[int], cpus: frozenset[int]) -> Self:
        """Read the counters now; a process that has ended has none."""
        total, idle, steal = cpu_times(Path("/proc/stat").read_text(), cpus)
        pids = list(pids)
        return cls(
            total,
            idle,
            steal,
            {k: v for pid in pids for k, v in _switches(pid).items()},
            {pid: threads_cpu_s(pid) for pid in pids},
        )

    def __sub__(self, before: "Snapshot") -> Spent:
        total = self.total_s - before.total_s
        busy = total - (self.idle_s - before.idle_s)
        return Spent(
            # The kernel's counters of idle and stolen time now and then go back by a tick.
            cpu_busy=min(1.0, max(0.0, busy / total)) if total > 0 else 0.0,
            steal_s=max(0.0, self.steal_s - before.steal_s),
            idle_s=max(0.0, self.idle_s - before.idle_s),
            involuntary_switches=sum(
                count - before.involuntary.get(thread, 0)
                for thread, count in self.involuntary.items()
            ),
            cpu_s={
                pid: max(0.0, spent - before.cpu_s.get(pid, 0.0))
                for pid, spent in self.cpu_s.items()
            },
            told=total > 0,
        )


def cpu_times(stat: str, cpus: frozenset[int]) -> tuple[float, float, float]:
    """Sum CPU time since boot over some CPUs.

    Parameters
    ----------
    stat : str
        Text of ``/proc/stat``; proc(5) explains it.
    cpus : frozenset of int
        Which CPUs; those offline have no line and count for nothing.

    Returns
    -------
    tuple of float
        Seconds in total, idle (waiting for a disk included) and stolen.
    """
    found = [times for cpu, times in parse_stat(stat).items() if cpu in cpus]
    return (
        sum(times.total_s for times in found),
        sum(times.idle_s for times in found),
        sum(times.steal_s for times in found),
    )


def _switches(pid: int) -> dict[int, int]:
    found = {}
    # A thread, or the whole process, may end while it is read.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                count = _INVOLUNTARY.search((thread / "status").read_text())
                found[int(thread.name)] = int(count[1]) if count else 0
    return found


class CpuUse:
    """Samples the CPU time of a process while something else goes on, on a thread of its own.

    From ``schedstat`` of its threads, which counts in ns where ``stat`` counts in ticks.

    Parameters
    ----------
    pid : int
        The process.
    interval_s : float
        Between two samples.
    """

    def __init__(self, pid: int, interval_s: float = 0.01) -> None:
        self._pid = pid
        self._interval_s = interval_s
        self._samples: list[tuple[int, float]] = []

    @contextlib.contextmanager
    def sampling(self) -> Iterator[Self]:
        """Sample while the context lasts."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(self._interval_s):
                self._samples.append((time.monotonic_ns(), threads_cpu_s(self._pid)))

        thread = threading.Thread(target=run, name="cpu-use", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()

    @property
    def samples(self) -> NDArray[np.float64]:
        """float64 [n, 2]: when, ns of the monotonic clock, and CPU time until then, s."""
        return np.array(self._samples, np.float64).reshape(-1, 2)


def threads_cpu_s(pid: int) -> float:
    """Sum the CPU time, s, of the threads that a process has now; 0 where it has ended."""
    total_ns = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                # ns on a CPU, ns in the run queue, turns (proc(5) knows it not; sched-stats.rst).
                total_ns += int((thread / "schedstat").read_text().split()[0])
    return total_ns / 1e9
