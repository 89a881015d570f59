"""What a host, a process or a control group is doing, read from the kernel's counters.

Reads and never touches: time of CPUs and tasks, time in the run queue (schedstat), pressure (PSI),
bytes to and from memory (resctrl's monitors). Each reader gives cumulative counters; what becomes
of them is decided elsewhere. proc(5), cgroups(7) and the kernel's ``accounting/psi.rst``,
``scheduler/sched-stats.rst`` and ``arch/x86/resctrl.rst`` describe the files. Not psutil: it
numbers CPUs by their place in a list, and knows neither schedstat nor pressure.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from lorabench.errors import InputError
from lorabench.host.missing import Missing
from lorabench.host.resctrl import groups, read_counters

_T = TypeVar("_T")

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_NS = 1e-9
_US = 1e-6

# More threads than this are not asked one by one: it would take more of a core than they do.
MOST_THREADS = 2048

# Names under which load generators run; a host that runs one is not in production.
_GENERATORS = frozenset(
    [
        *("fio", "hey", "iperf", "iperf3", "k6", "memtier_benchmark", "stress", "stress-ng"),
        *("sysbench", "vegeta", "wrk", "wrk2"),
    ]
)


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


@dataclass(frozen=True)
class Sample:
    """Counters at one moment; all but `at_s` only where the reader can have them.

    Attributes
    ----------
    at_s : float
        On the monotonic clock.
    cpus : mapping of int to CpuTimes
        Of each CPU that is online.
    cpu_s : float or None
        CPU time of the process or group.
    pressure_s : mapping of str to float
        Stalled time by ``psi_KIND_RESOURCE``.
    queue : RunQueue or None
        Waiting for a CPU.
    memory_bytes : float or None
        To and from memory.
    """

    at_s: float
    cpus: Mapping[int, CpuTimes] = field(default_factory=dict)
    cpu_s: float | None = None
    pressure_s: Mapping[str, float] = field(default_factory=dict)
    queue: RunQueue | None = None
    memory_bytes: float | None = None


class GoneError(Exception):
    """What was observed is no more; the message says how that was noticed."""


class Reader(Protocol):
    """A thing to observe.

    Attributes
    ----------
    name : str
        ``host``, ``pid 42`` or ``cgroup PATH``.
    missing : tuple of Missing
        What it cannot tell here, and why.
    """

    name: str
    missing: tuple[Missing, ...]

    def sample(self, *, queue: bool = True) -> Sample:
        """Read the counters now; `queue` is whether to ask every thread, which takes longest.

        Raises
        ------
        GoneError
            It has ended.
        """


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


class HostReader:
    """The whole host.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` lie.

    Raises
    ------
    InputError
        There is no ``/proc/stat``.
    """

    name = "host"

    def __init__(self, root: Path = Path("/")) -> None:
        self._stat = root / "proc/stat"
        self._schedstat: Path | None = root / "proc/schedstat"
        self._pressure = root / "proc/pressure"
        self._monitored = _monitored_groups(root / "sys/fs/resctrl")
        if not self._stat.exists():
            raise InputError(f"{self._stat}: found nothing, expected the CPUs' counters")
        missing = []
        if not self._schedstat.exists():
            self._schedstat = None
            missing.append(
                Missing(
                    "runqueue_delay",
                    "the kernel has no /proc/schedstat",
                    "use a kernel built with CONFIG_SCHEDSTATS; with --pid or --cgroup the tasks' "
                    "own schedstat is read",
                )
            )
        if not self._pressure.exists():
            missing.append(_NO_PRESSURE)
        if not self._monitored:
            missing.append(
                Missing(
                    "memory_bandwidth",
                    "there is no resctrl with memory-bandwidth monitors (mbm_total_bytes)",
                    "run on bare metal with Intel RDT or AMD QoS, and mount resctrl",
                )
            )
        self.missing = tuple(missing)

    def sample(self, *, queue: bool = True) -> Sample:
        """Read the counters now."""
        at_s = time.monotonic()
        cpus = _parsed(self._stat, parse_stat)
        if not cpus:
            raise InputError(f"{self._stat}: found no CPU, expected a line cpu0 and more")
        waiting = None
        if queue and self._schedstat is not None:
            waiting = _parsed(self._schedstat, parse_schedstat)
        return Sample(
            at_s,
            cpus=cpus,
            pressure_s=_pressure(self._pressure, ""),
            queue=waiting,
            memory_bytes=_moved_bytes(self._monitored),
        )


class ProcessReader:
    """One process with all its threads; reads ``stat`` and ``schedstat`` and nothing else.

    The folder in /proc is held open: should the number be given to another process, reading through
    it fails, and the start time is compared as well.

    Parameters
    ----------
    pid : int
        Its number.
    proc : Path
        Where proc is mounted.

    Raises
    ------
    InputError
        There is no such process, or this user must not see it.
    """

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        self.name = f"pid {pid}"
        self._pid = pid
        try:
            self._folder = os.open(proc / str(pid), os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"--pid: found no process {pid}, expected the number of one that runs and that "
                "this user may see"
            ) from None
        except OSError as error:
            raise InputError(f"--pid: process {pid} cannot be read ({error.strerror})") from None
        try:
            first = self._stat()
            self._start = first.start_ticks
        except GoneError as error:
            raise InputError(f"--pid: {error}; expected one that runs") from None
        self._threads = Threads()
        self.missing: tuple[Missing, ...] = ()
        try:
            _at(self._folder, "schedstat")
        except OSError as error:
            self.missing = (
                Missing(
                    "runqueue_delay",
                    f"/proc/{pid}/schedstat cannot be read ({error.strerror})",
                    "use a kernel built with CONFIG_SCHED_INFO, as the process's own user",
                ),
            )

    def sample(self, *, queue: bool = True) -> Sample:
        """Read the counters now."""
        at_s = time.monotonic()
        stat = self._stat()
        if stat.start_ticks != self._start:
            raise GoneError(f"process {self._pid} ended, and its number went to another")
        waiting = None
        if queue and not self.missing:
            with suppress(OSError):
                self._threads.see(_task_queues(self._folder))
                waiting = self._threads.total
        return Sample(at_s, cpu_s=stat.cpu_s, queue=waiting)

    @property
    def skipped_threads(self) -> bool:
        """Whether there were more threads than are asked."""
        return self._threads.skipped

    def _stat(self) -> TaskStat:
        try:
            stat = parse_task_stat(_at(self._folder, "stat"))
        except (FileNotFoundError, ProcessLookupError):
            raise GoneError(f"process {self._pid} ended") from None
        except (OSError, ValueError) as error:
            raise InputError(f"/proc/{self._pid}/stat: cannot be read ({error})") from None
        if stat.state in "ZX":
            raise GoneError(f"process {self._pid} ended")
        return stat


class Threads:
    """Sum of the run queues of threads that come and go.

    A thread that appears counts from its start, which was after the last look; of one that ends,
    what it did since the last look is lost. A counter that went back belongs to another thread with
    the same number.
    """

    def __init__(self) -> None:
        self._last: dict[int, RunQueue] = {}
        self._first = True
        self.total = RunQueue(0.0, 0)
        self.skipped = False

    def see(self, threads: Iterator[tuple[int, RunQueue]]) -> None:
        """Take what the threads say now."""
        found: dict[int, RunQueue] = {}
        for thread, now in threads:
            if len(found) == MOST_THREADS:
                self.skipped = True
                break
            before = self._last.get(thread)
            if before is None or now.turns < before.turns or now.delay_s < before.delay_s:
                before = now if self._first else RunQueue(0.0, 0)
            self.total += RunQueue(now.delay_s - before.delay_s, now.turns - before.turns)
            found[thread] = now
        self._last = found
        self._first = False


class CgroupReader:
    """One control group, v2 or v1 (``cpuacct``), with those below it.

    Parameters
    ----------
    path : str
        Below /sys/fs/cgroup (``system.slice/x.service``), or the folder itself.
    root : Path
        Where ``proc`` and ``sys`` lie.

    Raises
    ------
    InputError
        There is no such group, or it counts no CPU time.
    """

    def __init__(self, path: str, root: Path = Path("/")) -> None:
        mounts = root / "sys/fs/cgroup"
        below = path.removeprefix(str(mounts)).strip("/")
        self._proc = root / "proc"
        try:
            self._folder, self._usage, self._scale = _cgroup(mounts, below)
        except PermissionError as error:
            raise InputError(f"--cgroup: {error.filename} cannot be read: not permitted") from None
        self.name = f"cgroup /{below}"
        self._threads = Threads()
        missing = []
        if not (self._folder / "cpu.pressure").exists():
            missing.append(_NO_CGROUP_PRESSURE)
        try:
            self._walk()
        except OSError as error:
            raise InputError(f"--cgroup: {self._folder} cannot be read ({error})") from None
        self._schedstat = (self._proc / "self/schedstat").exists()
        if not self._schedstat:
            missing.append(
                Missing(
                    "runqueue_delay",
                    "the kernel has no schedstat of tasks",
                    "use a kernel built with CONFIG_SCHED_INFO",
                )
            )
        self.missing = tuple(missing)

    def sample(self, *, queue: bool = True) -> Sample:
        """Read the counters now."""
        at_s = time.monotonic()
        try:
            text = self._usage.read_text()
            used = parse_flat(text)["usage_usec"] if self._scale == _US else int(text)
        except (FileNotFoundError, OSError) as error:
            if self._folder.exists():
                raise InputError(f"{self._usage}: cannot be read ({error})") from None
            raise GoneError(f"{self.name} was removed") from None
        except (ValueError, KeyError) as error:
            raise InputError(f"{self._usage}: {error}; expected CPU time in use") from None
        waiting = None
        if queue and self._schedstat:
            with suppress(OSError):
                self._threads.see(self._tasks())
                waiting = self._threads.total
        return Sample(
            at_s,
            cpu_s=used * self._scale,
            pressure_s=_pressure(self._folder, ".pressure"),
            queue=waiting,
        )

    @property
    def skipped_threads(self) -> bool:
        """Whether there were more threads than are asked."""
        return self._threads.skipped

    def _walk(self) -> list[int]:
        pids = []
        for folder, _, files in os.walk(self._folder):
            if "cgroup.procs" in files:
                with suppress(FileNotFoundError, OSError):
                    text = Path(folder, "cgroup.procs").read_text()
                    pids += [int(word) for word in text.split() if word.isdecimal()]
        return pids

    def _tasks(self) -> Iterator[tuple[int, RunQueue]]:
        for pid in self._walk():
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                folder = os.open(self._proc / str(pid), os.O_RDONLY | os.O_DIRECTORY)
                try:
                    yield from _task_queues(folder)
                finally:
                    os.close(folder)


def bench_load(proc: Path = Path("/proc")) -> tuple[str, ...]:
    """Name what runs here that makes a load for a bench: runs of this program, load generators.

    What this user must not see, or what runs on another machine, is not found.

    Returns
    -------
    tuple of str
        A name and a process number each.
    """
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdecimal() or entry.name == str(os.getpid()):
            continue
        with suppress(OSError):
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if what := _makes_load(arguments):
                found.append(f"{what} (process {entry.name})")
    return tuple(sorted(found))


def _makes_load(arguments: list[str]) -> str | None:
    """Say what a command line is, if it makes load; None if it does not."""
    names = [Path(word).name for word in arguments[:3]]
    if names and names[0] in _GENERATORS:
        return names[0]
    if any("lorabench.targets.node.worker" in word for word in arguments[:3]):
        return "a server or trainer of lorabench"
    for place, name in enumerate(names):
        # Watching is no load.
        if name == "lorabench" and not {"headroom", "doctor"} & set(arguments[place + 1 :]):
            return "lorabench"
    return None


_NO_PRESSURE = Missing(
    "psi",
    "the kernel has no /proc/pressure",
    "use a kernel built with CONFIG_PSI, booted with psi=1",
)
_NO_CGROUP_PRESSURE = Missing(
    "psi",
    "the group has no cpu.pressure: it is one of cgroup v1, or the kernel has no PSI",
    "use cgroup v2 and a kernel built with CONFIG_PSI, booted with psi=1",
)


def _at(folder: int, name: str) -> str:
    """Read a small file of an open folder."""
    file = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(file, 4096).decode(errors="replace")
    finally:
        os.close(file)


def _task_queues(folder: int) -> Iterator[tuple[int, RunQueue]]:
    """Read the run queue of every thread of the process whose folder is open."""
    tasks = os.open("task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    try:
        for name in os.listdir(tasks):  # noqa: PTH208 - of a descriptor
            # A thread may end while its brothers are read.
            with suppress(FileNotFoundError, ProcessLookupError, ValueError):
                yield int(name), parse_task_schedstat(_at(tasks, f"{name}/schedstat"))
    finally:
        os.close(tasks)


def _parsed(path: Path, parse: Callable[[str], _T]) -> _T:
    try:
        return parse(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


def _pressure(folder: Path, suffix: str) -> dict[str, float]:
    """Read the pressure files that there are."""
    found = {}
    for resource in ("cpu", "memory", "io"):
        with suppress(OSError, ValueError):
            text = (folder / f"{resource}{suffix}").read_text()
            for kind, total_s in parse_pressure(text).items():
                # Of the whole system the kernel defines no time in which all wait for a CPU.
                if suffix or (kind, resource) != ("full", "cpu"):
                    found[f"psi_{kind}_{resource}"] = total_s
    return found


def _monitored_groups(resctrl: Path) -> list[Path]:
    """List the control groups, which count their own monitoring groups too; none without MBM."""
    try:
        folders = [resctrl, *(resctrl / name for name in groups(resctrl))]
        return folders if _moved_bytes(folders) is not None else []
    except (OSError, InputError):  # not mounted, or not for this user to read
        return []


def _moved_bytes(folders: list[Path]) -> float | None:
    """Sum the groups' bytes to and from memory; None without such counters or a value of one."""
    found = [
        value
        for folder in folders
        for (_, counter), value in read_counters(folder).items()
        if counter == "mbm_total_bytes"
    ]
    if not found or None in found:
        return None
    return float(sum(value for value in found if value is not None))


def _cgroup(mounts: Path, below: str) -> tuple[Path, Path, float]:
    """Find a group's folder, the file with its CPU time, and the unit of that."""
    for hierarchy in ("", "unified"):
        folder = mounts / hierarchy / below
        # The root group of v2 has cpu.stat as well.
        if (folder / "cgroup.procs").exists() and (folder / "cpu.stat").exists():
            with suppress(OSError, ValueError):
                if "usage_usec" in parse_flat((folder / "cpu.stat").read_text()):
                    return folder, folder / "cpu.stat", _US
    for hierarchy in ("cpuacct", "cpu,cpuacct", ""):
        folder = mounts / hierarchy / below
        if (folder / "cpuacct.usage").exists():
            return folder, folder / "cpuacct.usage", _NS
    raise InputError(
        f"--cgroup: found no group {below or '/'!r} that counts CPU time, expected a folder below "
        f"{mounts} with cpu.stat (v2) or cpuacct.usage (v1)"
    )
