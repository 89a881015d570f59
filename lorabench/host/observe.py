"""What a host, a process or a control group is doing, read from the kernel's counters.

Reads and never touches: time of CPUs and tasks, time in the run queue (schedstat), pressure (PSI),
bytes to and from memory (resctrl's monitors). Each reader gives cumulative counters; what becomes
of them is decided elsewhere. proc(5), cgroups(7) and the kernel's ``accounting/psi.rst``,
``scheduler/sched-stats.rst`` and ``arch/x86/resctrl.rst`` describe the files. Not psutil: it
numbers CPUs by their place in a list, and knows neither schedstat nor pressure.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from lorabench.errors import InputError
from lorabench.host.missing import Missing
from lorabench.host.procfs import (
    CpuTimes,
    RunQueue,
    TaskStat,
    parse_flat,
    parse_pressure,
    parse_schedstat,
    parse_stat,
    parse_task_stat,
)
from lorabench.host.resctrl import groups, read_counters
from lorabench.host.run_queue import Threads, read_at, task_queues

_T = TypeVar("_T")

_NS = 1e-9
_US = 1e-6


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
            read_at(self._folder, "schedstat")
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
                self._threads.see(task_queues(self._folder))
                waiting = self._threads.total
        return Sample(at_s, cpu_s=stat.cpu_s, queue=waiting)

    @property
    def skipped_threads(self) -> bool:
        """Whether there were more threads than are asked."""
        return self._threads.skipped

    def _stat(self) -> TaskStat:
        try:
            stat = parse_task_stat(read_at(self._folder, "stat"))
        except (FileNotFoundError, ProcessLookupError):
            raise GoneError(f"process {self._pid} ended") from None
        except (OSError, ValueError) as error:
            raise InputError(f"/proc/{self._pid}/stat: cannot be read ({error})") from None
        if stat.state in "ZX":
            raise GoneError(f"process {self._pid} ended")
        return stat


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
                    yield from task_queues(folder)
                finally:
                    os.close(folder)


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
    """Return a group's folder, the file with its CPU time, and the unit of that."""
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
