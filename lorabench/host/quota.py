"""What control groups allow of CPU time, and how often the kernel has stopped them for it.

A quota (``cpu.max`` of version 2, ``cpu.cfs_quota_us`` of version 1) binds all tasks of a group
together, those below it included: once they have used it up, the kernel keeps them off all CPUs
until the next period. That is told by ``cpu.stat`` of the group that has the quota, and by nothing
in the groups below. The files are those of
``Documentation/scheduler/sched-bwc.rst`` and ``admin-guide/cgroup-v2.rst``.

Reads and never touches. Of groups above what a container sees nothing can be read.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Self

from lorabench.host.cgroups import Group, groups_with
from lorabench.host.files import Files, UnreadableError
from lorabench.host.mounts import read_mounts
from lorabench.host.procfs import parse_flat

_US, _NS = 1e-6, 1e-9

# What cgroup_namespaces(7) calls the initial one bears this number in every kernel.
_INITIAL_NAMESPACE = "cgroup:[4026531835]"

_PERIOD_US = "100000"

MOUNTS = "/sys/fs/cgroup"
"""Where control groups are mounted, as systemd and others do."""

# Below it, what has a limit on CPU time.
_HIERARCHIES = ("", "unified", "cpu", "cpu,cpuacct", "cpuacct,cpu")


@dataclass(frozen=True)
class CpuLimit:
    """A group's limit on CPU time.

    Attributes
    ----------
    cpus : float
        CPU time a second.
    period_s : float
        How often it is granted anew.
    path : str
        The file that sets it.
    group : Group
        Whose it is.
    """

    cpus: float
    period_s: float
    path: str
    group: Group


def cpu_limits(files: Files, task: str = "self") -> tuple[CpuLimit, ...]:
    """List the limits on CPU time that bind a process, the tightest first.

    Parameters
    ----------
    files : Files
        Of the machine.
    task : str
        As of `lorabench.host.cgroups.locate`.

    Raises
    ------
    ProcessLookupError
        It has ended.
    UnreadableError
        A limit does not parse.
    """
    groups = groups_with(files, "cpu", task)
    return tightest_first(limit for group in groups if (limit := limit_of(files, group)))


def tightest_first(limits: Iterable[CpuLimit]) -> tuple[CpuLimit, ...]:
    """Sort limits; of equal ones the outermost goes last."""
    return tuple(sorted(limits, key=lambda limit: limit.cpus))


def limit_of(files: Files, group: Group) -> CpuLimit | None:
    """Read a group's own limit; None where it has none.

    Raises
    ------
    UnreadableError
        It does not parse.
    """
    if group.version == 2:
        path = f"{group.folder}/cpu.max"
        words = files.words(path) or ["max"]
        quota, period = words[0], words[1] if len(words) > 1 else _PERIOD_US
    else:
        path = f"{group.folder}/cpu.cfs_quota_us"
        quota = files.get(path) or "-1"
        period = files.get(f"{group.folder}/cpu.cfs_period_us") or _PERIOD_US
    if quota in ("max", "-1"):
        return None
    if not (quota.isdecimal() and period.isdecimal() and int(period) > 0):
        raise UnreadableError(
            path, f"found {quota:.20} of {period:.20}, expected a quota and a period"
        )
    return CpuLimit(int(quota) / int(period), int(period) * _US, path, group)


def cpu_quota(files: Files) -> CpuLimit | None:
    """Return the tightest limit on this process's CPU time; None without one.

    Raises
    ------
    UnreadableError
        A limit does not parse.
    """
    return next(iter(cpu_limits(files)), None)


@dataclass(frozen=True)
class Throttled:
    """How often the kernel stopped a group for its limit.

    Attributes
    ----------
    periods : int
        Periods of the limit in which the group had something to run.
    stopped : int
        Those in which it was stopped.
    stopped_s : float
        For how long, s, the CPUs on which it was stopped added up.
    """

    periods: int = 0
    stopped: int = 0
    stopped_s: float = 0.0

    def __add__(self, other: Self) -> "Throttled":
        return Throttled(
            self.periods + other.periods,
            self.stopped + other.stopped,
            self.stopped_s + other.stopped_s,
        )

    def __sub__(self, before: Self) -> "Throttled":
        # A group of that name may have been made anew meanwhile.
        return Throttled(
            max(0, self.periods - before.periods),
            max(0, self.stopped - before.stopped),
            max(0.0, self.stopped_s - before.stopped_s),
        )


def read_throttled(files: Files, group: Group) -> Throttled | None:
    """Read how often a group has been stopped since it was made; None where nothing says so."""
    text = files.get(f"{group.folder}/cpu.stat")
    if text is None:
        return None
    try:
        found = parse_flat(text)
    except ValueError:
        return None
    if "nr_throttled" not in found:
        return None
    spent_s = found.get("throttled_usec", 0) * _US + found.get("throttled_time", 0) * _NS
    return Throttled(found.get("nr_periods", 0), found["nr_throttled"], spent_s)


class ThrottleWatch:
    """Counts how often the groups of some processes are stopped, from `begin` on.

    Every group on the way up from each of them is asked, since any may have a limit.

    Parameters
    ----------
    files : Files
        Of the machine.
    tasks : iterable of str
        Processes, as of `lorabench.host.cgroups.locate`; one that has ended has no groups.
    """

    def __init__(self, files: Files, tasks: Iterable[str]) -> None:
        self._files = files
        self._groups = tuple(dict.fromkeys(_groups(files, tasks)))
        self._before = self._read()

    def begin(self) -> None:
        """Count from now on."""
        self._before = self._read()

    @property
    def found(self) -> Throttled:
        """What has been counted: of the group that was stopped for longest.

        Where a group and one above it are stopped at once, their times are the same.
        """
        spent = [now - self._before.get(group, now) for group, now in self._read().items()]
        return max(
            spent, key=lambda one: (one.stopped, one.stopped_s, one.periods), default=Throttled()
        )

    def _read(self) -> dict[Group, Throttled]:
        found = ((group, read_throttled(self._files, group)) for group in self._groups)
        return {group: one for group, one in found if one is not None}


def _groups(files: Files, tasks: Iterable[str]) -> Iterator[Group]:
    # Mostly all are in one group, and a machine may have a hundred servers.
    seen = set()
    for task in tasks:
        membership = files.get(f"/proc/{task}/cgroup")
        if membership not in seen:
            seen.add(membership)
            with suppress(ProcessLookupError):
                yield from groups_with(files, "cpu", task)


def hides_groups(files: Files) -> bool:
    """Whether this process sees its group as the root, so that limits above it stay unknown."""
    if not files.here:
        return False
    try:
        return os.readlink("/proc/self/ns/cgroup") != _INITIAL_NAMESPACE  # noqa: PTH115
    except OSError:  # no such namespaces in this kernel
        return False


@dataclass(frozen=True)
class QuotaUse:
    """What is used of a limit on CPU time, at one moment.

    Attributes
    ----------
    limit : CpuLimit
        As it is now.
    used_s : float or None
        CPU time of the group and those below it since it was made; None where nothing says so.
    throttled : Throttled
        How often it has been stopped since then.
    """

    limit: CpuLimit
    used_s: float | None
    throttled: Throttled


class QuotaReader:
    """Reads what is used of the limits of some groups.

    Parameters
    ----------
    files : Files
        Of the machine.
    groups : iterable of Group
        From `groups_with`, or `groups_of_path`.
    """

    def __init__(self, files: Files, groups: Iterable[Group]) -> None:
        self._files = files
        self._groups = tuple(dict.fromkeys(groups))
        mounts = [mount for mount in read_mounts(files) if mount.kind == "cgroup"]
        # Version 1 counts in a hierarchy of its own, which is often mounted with the other.
        self._points = {
            name: mount.point for mount in mounts for name in {"cpu", "cpuacct"} & mount.options
        }

    def sample(self) -> dict[Group, QuotaUse]:
        """Read the limits that there are now; one that does not parse is none."""
        found = {}
        for group in self._groups:
            with suppress(UnreadableError):
                limit = limit_of(self._files, group)
                if limit is not None:
                    throttled = read_throttled(self._files, group) or Throttled()
                    found[group] = QuotaUse(limit, self._used_s(group), throttled)
        return found

    def _used_s(self, group: Group) -> float | None:
        if group.version == 2:
            with suppress(ValueError, KeyError, UnreadableError):
                return parse_flat(self._files.read(f"{group.folder}/cpu.stat"))["usage_usec"] * _US
            return None
        point = self._points.get("cpu", group.folder)
        beside = self._points.get("cpuacct", point) + group.folder.removeprefix(point)
        text = self._files.get(f"{beside}/cpuacct.usage") or ""
        return int(text) * _NS if text.isdecimal() else None


def below_mounts(files: Files, path: str) -> str:
    """Return the path of a control group in its hierarchy, whichever of these it was named in.

    A path names a group of version 1 alike whether it begins with a hierarchy (``cpuacct/box``) or
    not.
    """
    below = path.removeprefix(MOUNTS).strip("/")
    first, _, rest = below.partition("/")
    points = {mount.point for mount in read_mounts(files) if mount.kind.startswith("cgroup")}
    return rest if f"{MOUNTS}/{first}" in points else below


def groups_of_path(files: Files, path: str) -> Iterator[Group]:
    """List a control group by its path below /sys/fs/cgroup, and those above it.

    It may have a folder in several hierarchies, as of version 1 it has.
    """
    below = below_mounts(files, path)
    for hierarchy in _HIERARCHIES:
        point = f"{MOUNTS}/{hierarchy}".rstrip("/")
        folder = f"{point}/{below}".rstrip("/")
        while files.is_folder(folder):
            version: Literal[1, 2] = 1 if files.get(f"{folder}/cpu.cfs_quota_us") else 2
            yield Group(version, folder)
            if folder == point:
                break
            folder = folder.rpartition("/")[0]
