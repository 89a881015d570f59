"""The cpuset that confines this process: which CPUs and memory nodes its control group allows.

Reads control groups v2 and v1 under any root (a recorded tree's too); changes nothing, writing one
is `lorabench.isolation.cgroups`' matter. The files and their meaning are those of the kernel's
``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1/cpusets.rst``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lorabench.host.sysfs import CpuSet, read_cpus, read_text

# In the order in which they are asked: what is in force, then what was configured (kernels before
# 3.16 have that alone), then the names of a cpuset file system mounted without the prefix.
_CPUS = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus", "cpus")
_MEMS = ("cpuset.mems.effective", "cpuset.effective_mems", "cpuset.mems", "mems")


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

    Its control group is the one in ``proc/self/cgroup`` (older recordings have
    ``proc/self/cpuset``), below the mount point that ``proc/mounts`` names. A group without cpuset
    files of its own has those of the nearest group above; so has one that this mount does not show,
    as in a container that sees its own group as the root.

    Raises
    ------
    InputError
        A file is there and does not parse.
    """
    for mount, group in _hierarchies(sysroot):
        parts = [part for part in group.split("/") if part not in ("", "..", ".")]
        base = sysroot / mount.lstrip("/")
        for depth in range(len(parts), -1, -1):
            folder = str(base.joinpath(*parts[:depth]))
            cpus, mems = read_cpus(folder, *_CPUS), read_cpus(folder, *_MEMS)
            if cpus or mems:
                # An empty set is one that was never configured; nothing can run in it.
                return Cpuset(cpus or None, mems or None)
    return Cpuset()


def _hierarchies(sysroot: Path) -> Iterator[tuple[str, str]]:
    """List mount points that may hold the cpuset, each with this process's group, the best first.

    A controller belongs to one hierarchy at a time: to v1 if ``proc/self/cgroup`` lists it there.
    """
    mounts = _mounts(sysroot)
    unified = [point for point, kind, _ in mounts if kind == "cgroup2"]
    split = [
        point
        for point, kind, options in mounts
        if kind == "cpuset" or (kind == "cgroup" and "cpuset" in options)
    ]
    v1, v2 = _groups(read_text(str(sysroot / "proc/self/cgroup")) or "")
    if v1 is not None:
        yield from ((point, v1) for point in split)
    elif v2 is not None:
        yield from ((point, v2) for point in unified)
    else:
        group = (read_text(str(sysroot / "proc/self/cpuset")) or "/").strip()
        yield from ((point, group) for point in unified + split)


def _groups(text: str) -> tuple[str | None, str | None]:
    """Find the v1 cpuset group and the v2 group in the lines of ``/proc/self/cgroup``."""
    v1 = v2 = None
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if "cpuset" in controllers.split(","):
            v1 = group
        elif number == "0" and not controllers:
            v2 = group
    return v1, v2


def _mounts(sysroot: Path) -> list[tuple[str, str, list[str]]]:
    """List mount point, file-system type and options of what is mounted."""
    found = []
    for line in (read_text(str(sysroot / "proc/mounts")) or "").splitlines():
        fields = line.split()
        if len(fields) >= 4:
            # Blanks and the like are written as octal numbers.
            point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[1])
            found.append((point, fields[2], fields[3].split(",")))
    return found
