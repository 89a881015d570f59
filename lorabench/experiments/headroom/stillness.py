"""Counters of CPUs that say nothing: they stand still, or have values that no machine can have.

gVisor's ``/proc/stat`` has zeros alone, and that of a container, which lxcfs writes, may stop or
run over (lxc/lxcfs 125). What a CPU did meanwhile is unknown, and neither idle nor busy; how much
of that there was decides whether anything can be said of the whole host.
"""

from collections import Counter
from dataclasses import dataclass, field

from lorabench.host.formats import format_cpu_list
from lorabench.host.missing import Missing
from lorabench.host.procfs import CpuTimes

# A share of all samples of all CPUs that may say nothing, and what is known is still the host's.
_FEW = 0.05
# CPU time since boot, s, that no machine has: three thousand years.
_MOST_S = 1e11


@dataclass
class Stillness:
    """How often counters said nothing.

    Attributes
    ----------
    asked : int
        Times that a CPU was asked.
    still : Counter of int
        By CPU, how often in vain.
    empty : bool
        No CPU had any time at all, at any moment.
    """

    asked: int = 0
    still: Counter[int] = field(default_factory=Counter)
    empty: bool = True

    def tells(self, cpu: int, before: CpuTimes, now: CpuTimes) -> bool:
        """Whether the counters of a CPU say what it did between two moments."""
        self.asked += 1
        self.empty = self.empty and now.total_s == 0
        tells = before.total_s < now.total_s < _MOST_S
        if not tells:
            self.still[cpu] += 1
        return tells

    @property
    def share(self) -> float:
        """Share of what was asked in vain."""
        return self.still.total() / self.asked if self.asked else 0.0

    @property
    def lacking(self) -> Missing | None:
        """What keeps the load of the whole host from being known; None where it is."""
        if self.share <= _FEW:
            return None
        if self.empty:
            why = "this kernel gives no CPU times: all in /proc/stat are 0, as gVisor has them"
        else:
            why = (
                f"the counters of {self._cpus()} in /proc/stat stood still or cannot be in "
                f"{self.share * 100:.0f} % of the samples, as some containers have them"
            )
        return Missing(
            "cpu_busy",
            why,
            "observe a process or a control group (--pid, --cgroup), or the host from outside of "
            "the container",
        )

    @property
    def note(self) -> str | None:
        """What was left out of a load that is known; None where nothing was."""
        if not self.still or self.lacking is not None:
            return None
        return (
            f"the counters of {self._cpus()} stood still in {self.still.total()} of {self.asked} "
            "samples, which are left out"
        )

    def _cpus(self) -> str:
        return f"CPU{'s' if len(self.still) > 1 else ''} {format_cpu_list(self.still)}"
