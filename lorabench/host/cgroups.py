"""Where a process is in the control groups, and what their limits come to; changes nothing.

The one reader of ``/proc/PID/cgroup``, for versions 1 and 2, mounted anywhere, hybrid set-ups
included, and for recorded trees as well as for this machine. Groups are made in
`lorabench.isolation.cgroups`. The files and their meaning are those of cgroups(7) and of
``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1`` in the kernel's sources.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from lorabench.host.files import Files, UnreadableError, read_cpus
from lorabench.host.formats import CpuSet
from lorabench.host.mounts import Mount, read_mounts
from lorabench.host.procfs import parse_flat

# What version 1 says where there is no limit: the largest number of whole pages.
_NO_LIMIT = 1 << 60

# In the order in which they are asked: what is in force, then what was configured (kernels before
# 3.16 have that alone), then the names of a cpuset file system mounted without the prefix.
_CPUS = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus", "cpus")
_MEMS = ("cpuset.mems.effective", "cpuset.effective_mems", "cpuset.mems", "mems")

# By version, the ends of the files that hold a limit and what is used of it.
_LIMIT_AND_USE = {1: ("limit_in_bytes", "usage_in_bytes"), 2: ("max", "current")}


def parse_membership(text: str) -> dict[frozenset[str], str]:
    r"""Read ``/proc/PID/cgroup``: controllers -> group, of v2 no controllers.

    Lines that are none are left out.

    Examples
    --------
    >>> parse_membership("4:cpu,cpuacct:/a\n0::/b")[frozenset()]
    '/b'
    """
    found = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if number.isdecimal() and colon and path.startswith("/"):
            found[frozenset(filter(None, controllers.split(",")))] = path
    return found


@dataclass(frozen=True)
class Location:
    """Where a process is in one hierarchy.

    Attributes
    ----------
    version : int
        1 or 2.
    point : str
        Where the hierarchy is mounted, as the machine names it.
    folder : str
        The group's folder; the mount point where the group lies outside of what is mounted.
    visible : bool
        Whether `folder` is the group itself.
    controllers : frozenset of str
        Those of the hierarchy (v1), or that the group is offered (v2).
    """

    version: Literal[1, 2]
    point: str
    folder: str
    visible: bool
    controllers: frozenset[str]


def locate(files: Files, task: str = "self") -> tuple[Location, ...]:
    """Return the groups of a process (``PID``) or thread (``PID/task/TID``), version 2 first.

    Raises
    ------
    ProcessLookupError
        It has ended.
    """
    text = files.get(f"/proc/{task}/cgroup")
    if text is None and task != "self":
        raise ProcessLookupError(f"there is no process {task}")
    membership = parse_membership(text or "")
    found = []
    for mount in read_mounts(files):
        if mount.kind == "cgroup2":
            folder, visible = _folder(files, mount, membership.get(frozenset()))
            # Recordings leave files of the group out.
            offered = files.get(f"{folder}/cgroup.controllers")
            if offered is None:
                offered = files.get(f"{mount.point}/cgroup.controllers") or ""
            found.append(Location(2, mount.point, folder, visible, frozenset(offered.split())))
        elif mount.kind == "cgroup":
            groups = {c: path for c, path in membership.items() if c and c <= mount.options}
            for controllers in groups or [mount.options]:
                folder, visible = _folder(files, mount, groups.get(controllers))
                found.append(Location(1, mount.point, folder, visible, controllers))
    return tuple(sorted(found, key=lambda at: -at.version))


def _folder(files: Files, mount: Mount, path: str | None) -> tuple[str, bool]:
    """Return a group's folder and whether it can be seen; else the mount point."""
    folder = mount.folder(path) if path else None
    if folder is not None and files.is_folder(folder):
        return folder, True
    # A container sees its group's name from outside but has only the inside mounted.
    return mount.point, False


def _upwards(folder: str, point: str) -> Iterator[str]:
    """List a group's folder and those above it, up to the mount point."""
    yield folder
    while folder != point:
        folder = str(PurePosixPath(folder).parent)
        yield folder


def _with(files: Files, controller: str) -> Iterator[tuple[int, str]]:
    """List version and folder of the groups in which a controller may bound this process.

    Of version 2 all on the way up: one that is not offered the controller has no files of it, and
    is bounded all the same by those above that are.
    """
    for at in locate(files):
        if at.version == 2 or controller in at.controllers:
            yield from ((at.version, folder) for folder in _upwards(at.folder, at.point))


def cpu_quota(files: Files) -> tuple[float, str] | None:
    """Return the tightest limit on CPU time: CPUs and the file that sets it; None without one.

    Raises
    ------
    UnreadableError
        A limit does not parse.
    """
    found = []
    for version, folder in _with(files, "cpu"):
        if version == 2:
            path = f"{folder}/cpu.max"
            words = files.words(path) or ["max"]
            quota, period = words[0], words[1] if len(words) > 1 else "100000"
        else:
            path = f"{folder}/cpu.cfs_quota_us"
            quota = files.get(path) or "-1"
            period = files.get(f"{folder}/cpu.cfs_period_us") or "100000"
        if quota in ("max", "-1"):
            continue
        if not (quota.isdecimal() and period.isdecimal() and int(period) > 0):
            raise UnreadableError(
                path, f"found {quota:.20} of {period:.20}, expected a quota and a period"
            )
        found.append((int(quota) / int(period), path))
    return min(found, default=None)


@dataclass(frozen=True)
class _Limit:
    """A group's limit on bytes of something."""

    limit: int
    path: str
    used: int
    version: int
    folder: str


def _limits(files: Files, controller: str, *stems: str) -> Iterator[_Limit]:
    """List the limits on bytes that bound this process; `stems` begin the names of their files.

    Raises
    ------
    UnreadableError
        One does not parse.
    """
    for version, folder in _with(files, controller):
        limit_in, used_in = _LIMIT_AND_USE[version]
        for stem in stems:
            path = f"{folder}/{stem}.{limit_in}"
            limit = _bytes(files, path)
            if limit is not None and limit < _NO_LIMIT:
                used = _bytes(files, f"{folder}/{stem}.{used_in}") or 0
                yield _Limit(limit, path, used, version, folder)


def _bytes(files: Files, path: str) -> int | None:
    """Read a number of bytes; None where there is no file, or no limit in it."""
    text = files.get(path) or "max"
    if text == "max":
        return None
    if not text.isdecimal():
        raise UnreadableError(path, f"found {text:.20}, expected bytes or max")
    return int(text)


def memory_limit(files: Files) -> tuple[int, str] | None:
    """Return the tightest limit on memory: bytes and the file that sets it; None without one.

    Raises
    ------
    UnreadableError
        A limit does not parse.
    """
    return min(((one.limit, one.path) for one in _limits(files, "memory", "memory")), default=None)


def memory_left(files: Files) -> tuple[int, str] | None:
    """Return what limits on memory leave: bytes and the file that sets the tightest; None without.

    A group's limit less what is charged to it and those below; the cache of files among that is
    given up when something asks for memory. Reserved huge pages are not charged here.

    Raises
    ------
    UnreadableError
        A limit, or what is used of it, does not parse.
    """
    left = (
        (max(0, one.limit - max(0, one.used - _file_cache(files, one))), one.path)
        for one in _limits(files, "memory", "memory")
    )
    return min(left, default=None)


def _file_cache(files: Files, group: _Limit) -> int:
    """Return the bytes of files that a group and those below keep; shared memory is none."""
    path = f"{group.folder}/memory.stat"
    try:
        stat = parse_flat(files.get(path) or "")
    except ValueError as error:
        raise UnreadableError(path, str(error)) from None
    # Version 1 has the sums over those below beside the group's own.
    total = "total_" if group.version == 1 and "total_active_file" in stat else ""
    return sum(stat.get(f"{total}{name}", 0) for name in ("active_file", "inactive_file"))


def huge_pages_left(files: Files) -> tuple[int, str] | None:
    """Return what limits on 2 MiB pages leave, those on their reservation included.

    Bytes and the file that sets the tightest; None without one.

    Raises
    ------
    UnreadableError
        A limit, or what is used of it, does not parse.
    """
    found = _limits(files, "hugetlb", "hugetlb.2MB", "hugetlb.2MB.rsvd")
    return min(((max(0, one.limit - one.used), one.path) for one in found), default=None)


@dataclass(frozen=True)
class Cpuset:
    """What a process may use; None where nothing says so, and all is allowed.

    Attributes
    ----------
    cpus : frozenset of int or None
        Logical CPUs.
    mems : frozenset of int or None
        Memory nodes.
    """

    cpus: CpuSet | None = None
    mems: CpuSet | None = None


def read_cpuset(sysroot: Path = Path("/")) -> Cpuset:
    """Read the cpuset of the process that reads, or that recorded the tree.

    A group without cpuset files of its own has those of the nearest group above; so has one that
    its mount does not show, as in a container that sees its own group as the root.

    Raises
    ------
    InputError
        A file is there and does not parse.
    """
    files = Files(sysroot)
    for mount, group in _cpuset_mounts(files):
        for folder in _upwards(mount.folder(group) or mount.point, mount.point):
            cpus = read_cpus(files.under(folder), *_CPUS)
            mems = read_cpus(files.under(folder), *_MEMS)
            if cpus or mems:
                # An empty set is one that was never configured; nothing can run in it.
                return Cpuset(cpus or None, mems or None)
    return Cpuset()


def _cpuset_mounts(files: Files) -> Iterator[tuple[Mount, str]]:
    """List mounts that may hold the cpuset, each with this process's group, the best first.

    A controller belongs to one hierarchy at a time: to v1 if ``proc/self/cgroup`` lists it there.
    """
    mounts = read_mounts(files)
    unified = [mount for mount in mounts if mount.kind == "cgroup2"]
    split = [
        mount
        for mount in mounts
        if mount.kind == "cpuset" or (mount.kind == "cgroup" and "cpuset" in mount.options)
    ]
    membership = parse_membership(files.get("/proc/self/cgroup") or "")
    v1 = next((path for names, path in membership.items() if "cpuset" in names), None)
    v2 = membership.get(frozenset())
    if v1 is not None:
        yield from ((mount, v1) for mount in split)
    elif v2 is not None:
        yield from ((mount, v2) for mount in unified)
    else:
        # Recordings of old kernels.
        group = files.get("/proc/self/cpuset") or "/"
        yield from ((mount, group) for mount in unified + split)
