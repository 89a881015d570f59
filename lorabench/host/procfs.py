"""The counters that the kernel keeps of CPUs, tasks and pressure, parsed.

Text in, values out, in seconds; who reads which file when is for `lorabench.host.counters` and
`lorabench.host.observe` to decide. proc(5), cgroups(7) and the kernel's ``accounting/psi.rst`` and
``scheduler/sched-stats.rst`` describe the formats.
"""

import os
import re
from dataclasses import dataclass

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_NS = 1e-9
_US = 1e-6


@dataclass(frozen=True)
class CpuTimes:
    """CPU time since boot, s: all of it, idle (waiting for a disk included) and stolen."""

    total_s: float
    idle_s: float
    steal_s: float


@dataclass(frozen=True)
class RunQueue:
    """Time spent waiting for a CPU that another task had, s, and turns on a CPU, since the start.

    A wait that is not over yet is in neither.
    """

    delay_s: float
    turns: int

    def __add__(self, other: "RunQueue") -> "RunQueue":
        return RunQueue(self.delay_s + other.delay_s, self.turns + other.turns)


@dataclass(frozen=True)
class TaskStat:
    """What ``/proc/PID/stat`` says: state, CPU time of all threads there were, and the start."""

    state: str
    cpu_s: float
    start_ticks: int


def parse_stat(text: str) -> dict[int, CpuTimes]:
    """Read the CPUs of ``/proc/stat`` by their number; those offline have no line.

    Raises
    ------
    ValueError
        A line of a CPU is not what proc(5) says.
    """
    found = {}
    for line in text.splitlines():
        name, *fields = line.split() or [""]
        if not name.startswith("cpu") or name == "cpu":
            continue
        # user nice system idle iowait irq softirq steal; the guest times that follow are in user
        # and nice already.
        ticks = [int(word) for word in fields[:8] if word.isdecimal()]
        if len(ticks) < 8 or not name[3:].isdecimal():
            raise ValueError(f"found {line!r:.80}, expected a CPU and eight counters")
        found[int(name[3:])] = CpuTimes(
            sum(ticks) / _TICKS_PER_S, (ticks[3] + ticks[4]) / _TICKS_PER_S, ticks[7] / _TICKS_PER_S
        )
    return found


def parse_task_stat(text: str) -> TaskStat:
    """Read ``/proc/PID/stat``; the command's name in it may hold spaces and parentheses.

    Raises
    ------
    ValueError
        It is not what proc(5) says.
    """
    _, closing, rest = text.rpartition(")")
    fields = rest.split()
    # Field 3 is the state; 14 and 15 the times in user and kernel mode, 22 the start.
    if not closing or len(fields) < 20 or not all(fields[i].isdecimal() for i in (11, 12, 19)):
        raise ValueError(f"found {text!r:.80}, expected the fields of proc(5)")
    return TaskStat(fields[0], (int(fields[11]) + int(fields[12])) / _TICKS_PER_S, int(fields[19]))


def parse_task_schedstat(text: str) -> RunQueue:
    """Read a task's ``schedstat``: ns on a CPU, ns in the run queue, turns.

    Raises
    ------
    ValueError
        It is not three counters.
    """
    words = text.split()
    if len(words) != 3 or not all(word.isdecimal() for word in words):
        raise ValueError(f"found {text!r:.80}, expected three counters")
    return RunQueue(int(words[1]) * _NS, int(words[2]))


def parse_schedstat(text: str) -> RunQueue:
    """Read ``/proc/schedstat`` (version 15 or later) and sum the run queues of all CPUs.

    Raises
    ------
    ValueError
        It is of another version, or a line of a CPU has too few counters.
    """
    found = re.match(r"version (\d+)\n", text)
    if found is None or int(found[1]) < 15:
        raise ValueError(f"found {text!r:.20}, expected version 15 or later")
    queue = RunQueue(0.0, 0)
    for line in text.splitlines():
        name, *words = line.split() or [""]
        if re.fullmatch(r"cpu\d+", name):
            # The last three of nine: ns run, ns waited, turns.
            if len(words) < 9 or not (words[7].isdecimal() and words[8].isdecimal()):
                raise ValueError(f"found {line!r:.80}, expected a CPU and nine counters")
            queue += RunQueue(int(words[7]) * _NS, int(words[8]))
    return queue


def parse_pressure(text: str) -> dict[str, float]:
    """Read a pressure file: stalled time since boot, s, by ``some`` and ``full``.

    Raises
    ------
    ValueError
        A line has no total.
    """
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"(some|full) avg10=\S+ avg60=\S+ avg300=\S+ total=(\d+)", line)
        if match is None:
            raise ValueError(f"found {line!r:.80}, expected some or full, averages and a total")
        found[match[1]] = int(match[2]) * _US
    return found


def parse_flat(text: str) -> dict[str, int]:
    """Read a flat keyed file of a control group (``cpu.stat``): a name and a counter a line.

    Raises
    ------
    ValueError
        A line is not that.
    """
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) != 2 or not words[1].isdecimal():
            raise ValueError(f"found {line!r:.80}, expected a name and a counter")
        found[words[0]] = int(words[1])
    return found
