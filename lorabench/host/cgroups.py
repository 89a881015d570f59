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

# What version 1 says where there is no limit: the largest number of whole pages.
_NO_LIMIT = 1 << 60

# In the order in which they are asked: what is in force, then what was configured (kernels before
# 3.16 have that alone), then the names of a cpuset file system mounted without the prefix.
_CPUS = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus", "cpus")
_MEMS = ("cpuset.mems.effective", "cpuset.effective_mems", "cpuset.mems", "mems")


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
    """List version and folder of this process's groups with a controller, and of those above."""
    for at in locate(files):
        if controller in at.controllers:
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


def memory_limit(files: Files) -> tuple[int, str] | None:
    """Return the tightest limit on memory: bytes and the file that sets it; None without one.

    Raises
    ------
    UnreadableError
        A limit does not parse.
    """
    found = []
    for version, folder in _with(files, "memory"):
        path = f"{folder}/{'memory.max' if version == 2 else 'memory.limit_in_bytes'}"
        text = files.get(path) or "max"
        if text == "max":
            continue
        if not text.isdecimal():
            raise UnreadableError(path, f"found {text:.20}, expected bytes or max")
        if int(text) < _NO_LIMIT:
            found.append((int(text), path))
    return min(found, default=None)


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
