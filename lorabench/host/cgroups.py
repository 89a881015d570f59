"""Where a process is in the control groups, and what their limits come to; changes nothing.

The one reader of ``/proc/PID/cgroup``, for versions 1 and 2, mounted anywhere, hybrid set-ups
included, and for recorded trees as well as for this machine. Groups are made in
`lorabench.isolation.cgroups`. The files and their meaning are those of cgroups(7) and of
``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1`` in the kernel's sources.
"""

import glob
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from lorabench.host.files import Files, UnreadableError, read_cpus
from lorabench.host.formats import CpuSet
from lorabench.host.mounts import Mount, read_mounts
from lorabench.host.procfs import parse_flat

# What version 1 says where there is no limit: the largest number of whole pages.
_NO_LIMIT = 1 << 60

# A machine has thousands of groups at most; of more, not all are looked into.
_MOST_GROUPS = 20_000

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
            folder, visible = _folder(files, mount, membership.get(frozenset()), task)
            # Recordings leave files of the group out.
            offered = files.get(f"{folder}/cgroup.controllers")
            if offered is None:
                offered = files.get(f"{mount.point}/cgroup.controllers") or ""
            found.append(Location(2, mount.point, folder, visible, frozenset(offered.split())))
        elif mount.kind == "cgroup":
            groups = {c: path for c, path in membership.items() if c and c <= mount.options}
            for controllers in groups or [mount.options]:
                folder, visible = _folder(files, mount, groups.get(controllers), task)
                found.append(Location(1, mount.point, folder, visible, controllers))
    return tuple(sorted(found, key=lambda at: -at.version))


def _folder(files: Files, mount: Mount, path: str | None, task: str) -> tuple[str, bool]:
    """Return a group's folder and whether it can be seen; else the mount point."""
    folder = mount.folder(path) if path else None
    if folder is None and path and mount.above and files.here:
        folder = _unnamed(files, mount, path, task)
    if folder is not None and files.is_folder(folder):
        return folder, True
    # A container sees its group's name from outside but has only the inside mounted.
    return mount.point, False


def _unnamed(files: Files, mount: Mount, path: str, task: str) -> str | None:
    """Find the group of a task where a namespace hides the names of the folders above it.

    The whole hierarchy is mounted then, and the group is the one that lists the task.
    """
    pid = str(os.getpid()) if task == "self" else task.split("/", maxsplit=1)[0]
    parts = PurePosixPath(path).parts[1:]
    up = sum(part == ".." for part in parts)
    pattern = "/".join(["*"] * max(0, mount.above - up) + [glob.escape(p) for p in parts[up:]])
    for number, found in enumerate(files.under(mount.point).glob(pattern) if pattern else ()):
        if number >= _MOST_GROUPS:
            break
        with suppress(OSError):
            if pid in (found / "cgroup.procs").read_text().split():
                return str(found)
    return None


def _upwards(folder: str, point: str) -> Iterator[str]:
    """List a group's folder and those above it, up to the mount point."""
    yield folder
    while folder != point:
        folder = str(PurePosixPath(folder).parent)
        yield folder


@dataclass(frozen=True)
class Group:
    """A control group.

    Attributes
    ----------
    version : int
        1 or 2.
    folder : str
        Where it lies, as the machine names it.
    """

    version: Literal[1, 2]
    folder: str


def groups_with(files: Files, controller: str, task: str = "self") -> Iterator[Group]:
    """List the groups in which a controller may bound a process, its own first.

    Of version 2 all on the way up: one that is not offered the controller has no files of it, and
    is bounded all the same by those above that are.

    Raises
    ------
    ProcessLookupError
        It has ended.
    """
    for at in locate(files, task):
        if at.version == 2 or controller in at.controllers:
            yield from (Group(at.version, folder) for folder in _upwards(at.folder, at.point))


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
    for group in groups_with(files, controller):
        limit_in, used_in = _LIMIT_AND_USE[group.version]
        for stem in stems:
            path = f"{group.folder}/{stem}.{limit_in}"
            limit = _bytes(files, path)
            if limit is not None and limit < _NO_LIMIT:
                used = _bytes(files, f"{group.folder}/{stem}.{used_in}") or 0
                yield _Limit(limit, path, used, group.version, group.folder)


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
