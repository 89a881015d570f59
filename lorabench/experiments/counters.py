"""What the machine did meanwhile: busy and stolen CPU time, involuntary context switches."""

from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Spent:
    """Between two snapshots."""

    cpu_busy: float
    steal_s: float
    involuntary_switches: int


@dataclass(frozen=True)
class Snapshot:
    """Counters of some CPUs and processes at one moment.

    Attributes
    ----------
    total_s, idle_s, steal_s : float
        CPU time since boot, summed over the CPUs.
    involuntary : int
        Involuntary context switches of the processes, all threads.
    """

    total_s: float
    idle_s: float
    steal_s: float
    involuntary: int

    @classmethod
    def take(cls, pids: list[int], cpus: frozenset[int]) -> "Snapshot":
        """Read the counters now."""
        total = idle = steal = 0.0
        for cpu, times in enumerate(psutil.cpu_times(percpu=True)):
            if cpu in cpus:
                # Guest time is counted in user time too.
                total += sum(times) - times.guest - times.guest_nice
                idle += times.idle + times.iowait
                steal += times.steal
        involuntary = sum(psutil.Process(pid).num_ctx_switches().involuntary for pid in pids)
        return cls(total, idle, steal, involuntary)

    def __sub__(self, before: "Snapshot") -> Spent:
        total = self.total_s - before.total_s
        busy = total - (self.idle_s - before.idle_s)
        return Spent(
            cpu_busy=min(1.0, max(0.0, busy / total)) if total > 0 else 0.0,
            steal_s=max(0.0, self.steal_s - before.steal_s),
            involuntary_switches=self.involuntary - before.involuntary,
        )
