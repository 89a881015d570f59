"""The machine's processors and memory, from sysfs under any root.

What the plan needs: which logical CPUs are online, which share a core, a cache, a die, a package or
a NUMA node, and which this process may use. A recorded tree of another machine reads as well as
this one (``sysroot``). Nothing is decided here. Linux documents the files in
``Documentation/ABI/stable/sysfs-devices-system-cpu`` and ``...-node``; where kernels leave one out,
the reader of that file says what is taken instead. What cannot be believed is dropped alone and
listed (`lorabench.host.dropped`): a level that contradicts itself or one that is trusted more, a
node that has another one's CPU, a file that does not parse. hwloc does likewise.
"""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from lorabench.errors import InputError
from lorabench.host.cgroups import Cpuset, read_cpuset
from lorabench.host.cpuinfo import read_cpuinfo
from lorabench.host.cpus import CoreType, read_core_types, read_online
from lorabench.host.dropped import Dropped, Salvage
from lorabench.host.files import read_text
from lorabench.host.formats import CpuSet, format_cpu_list, parse_cpu_list
from lorabench.host.levels import Levels, read_levels
from lorabench.host.nodes import LOCAL, REMOTE, Node, read_nodes

__all__ = [
    "CoreType",
    "CpuSet",
    "Dropped",
    "Node",
    "Topology",
    "format_cpu_list",
    "parse_cpu_list",
    "read_topology",
]


SYSFS = "sysfs"
"""What is dropped where there is none."""
# What is taken where a restriction cannot be read.
_ALL = "what else restricts it is taken"


@dataclass(frozen=True)
class Topology:
    """A machine.

    Attributes
    ----------
    online : frozenset of int
        Logical CPUs that run.
    allowed : frozenset of int
        Those that this process may use: by its affinity and its control group's cpuset.
    cores : tuple of frozenset of int
        CPUs of one core, in the order of their first CPU, as in all that follow.
    l3 : tuple of frozenset of int
        CPUs that share a last-level cache (of an AMD processor: a CCD or CCX); those for which
        sysfs names no L3 are taken to share one.
    packages : tuple of frozenset of int
        Sockets.
    nodes : tuple of Node
        By id.
    siblings : tuple of frozenset of int
        CPUs that share pipelines, so that one slows the other down: those of a core, but on AMD's
        compute units those of two cores with one floating-point unit. Left out, the cores.
    l2 : tuple of frozenset of int
        CPUs that share a second-level cache. Left out, none is known.
    dies, clusters : tuple of frozenset of int
        Parts of a package, and of a die (on x86, cores with one L2; on Arm, with one L3 tag or
        snoop filter). Left out, the packages and the cores.
    l3_ids, l2_ids : tuple of (int or None)
        The ids of those caches, by which resctrl calls its domains; None where there is none.
    core_types : tuple of CoreType
        Fastest first; empty where all cores are alike.
    offline : frozenset of int
        Logical CPUs that are there and do not run.
    allowed_nodes : frozenset of int
        Nodes whose memory this process may use. Left out, all.
    dropped : tuple of Dropped
        What its files say and cannot be believed, with what is taken in its place.
    """

    online: CpuSet
    allowed: CpuSet
    cores: tuple[CpuSet, ...]
    l3: tuple[CpuSet, ...]
    packages: tuple[CpuSet, ...]
    nodes: tuple[Node, ...]
    siblings: tuple[CpuSet, ...] = ()
    l2: tuple[CpuSet, ...] = ()
    dies: tuple[CpuSet, ...] = ()
    clusters: tuple[CpuSet, ...] = ()
    l3_ids: tuple[int | None, ...] = ()
    l2_ids: tuple[int | None, ...] = ()
    core_types: tuple[CoreType, ...] = ()
    offline: CpuSet = frozenset()
    allowed_nodes: frozenset[int] = frozenset()
    dropped: tuple[Dropped, ...] = ()

    def __post_init__(self) -> None:
        defaults: dict[str, object] = {
            "siblings": self.cores,
            "dies": self.packages,
            "clusters": self.cores,
            "l3_ids": (None,) * len(self.l3),
            "l2_ids": (None,) * len(self.l2),
            "allowed_nodes": frozenset(node.id for node in self.nodes),
        }
        for name, value in defaults.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)

    def distance(self, start: int, end: int) -> int:
        """Return the distance between two nodes, by id: 10 is local, as in the ACPI's SLIT.

        Where a node has none of its own, what the other has to it is taken, else the default.
        """
        for one, other in ((start, end), (end, start)):
            found = self._distance(one, other)
            if found is not None:
                return found
        return LOCAL if start == end else REMOTE

    def _distance(self, start: int, end: int) -> int | None:
        order = [node.id for node in self.nodes]
        found = self.nodes[order.index(start)].distances
        # One entry a node; a tree recorded without its offline nodes still has theirs.
        at = order.index(end) if len(found) == len(order) else end
        return found[at] if at < len(found) else None

    def as_document(self) -> dict[str, object]:
        """Return it as the result document's ``environment.topology``; CPUs online and allowed.

        Sets of CPUs that have none of those are left out, and their ids with them.
        """

        def usable(sets: Iterable[CpuSet]) -> list[list[int]]:
            return [sorted(s & self.allowed) for s in sets if s & self.allowed]

        def ids(sets: Iterable[CpuSet], of: Iterable[int | None]) -> list[int | None]:
            return [i for s, i in zip(sets, of, strict=True) if s & self.allowed]

        return {
            "nodes": [
                {
                    "id": node.id,
                    "cpus": sorted(node.cpus & self.allowed),
                    "memory_bytes": node.memory_bytes,
                    "distances": list(node.distances),
                }
                for node in self.nodes
            ],
            "cores": usable(self.cores),
            "siblings": usable(self.siblings),
            "l2": usable(self.l2),
            "l2_ids": ids(self.l2, self.l2_ids),
            "l3": usable(self.l3),
            "l3_ids": ids(self.l3, self.l3_ids),
            "clusters": usable(self.clusters),
            "dies": usable(self.dies),
            "packages": usable(self.packages),
            "core_types": [
                {
                    "name": kind.name,
                    "cpus": sorted(kind.cpus & self.allowed),
                    "capacity": kind.capacity,
                }
                for kind in self.core_types
            ],
            "offline": sorted(self.offline),
            "allowed_nodes": sorted(self.allowed_nodes),
            "dropped": [asdict(one) for one in self.dropped],
        }


def read_topology(sysroot: Path = Path("/")) -> Topology:
    """Read a machine's topology.

    Parameters
    ----------
    sysroot : Path
        Where ``sys`` and ``proc`` lie; the root of a recorded tree, or of this machine.

    Raises
    ------
    InputError
        There is no CPU information under `sysroot` at all.
    """
    salvage = Salvage()
    base = f"{sysroot / 'sys/devices'}"
    try:
        online, offline = read_online(f"{base}/system/cpu", salvage)
    except InputError as error:
        # A sandbox without /sys, or a copy of /proc alone.
        found = read_cpuinfo(sysroot)
        if found is None:
            raise
        salvage.drop(
            SYSFS,
            str(error),
            "processors, cores and packages are those of /proc/cpuinfo, and no caches, nodes and "
            "types of cores are known: all count as sharing one L3",
        )
        online, offline = frozenset().union(*found.cores), frozenset[int]()
        levels = Levels(online, found.cores, found.packages)
    else:
        levels = read_levels(f"{base}/system/cpu", online, salvage)
    nodes = read_nodes(sysroot, online, salvage)
    levels = levels.checked(nodes, salvage)
    allowed, allowed_nodes = _allowed(sysroot, salvage)
    return Topology(
        online=online,
        allowed=online if allowed is None else allowed & online,
        cores=levels.cores,
        l3=levels.l3,
        packages=levels.packages,
        nodes=nodes,
        siblings=levels.siblings,
        l2=levels.l2,
        dies=levels.dies,
        clusters=levels.clusters,
        l3_ids=levels.l3_ids,
        l2_ids=levels.l2_ids,
        core_types=read_core_types(base, online, salvage),
        offline=offline,
        allowed_nodes=frozenset(
            node.id for node in nodes if allowed_nodes is None or node.id in allowed_nodes
        ),
        dropped=salvage.named(sysroot),
    )


def _allowed(sysroot: Path, salvage: Salvage) -> tuple[CpuSet | None, CpuSet | None]:
    """Return the CPUs and memory nodes that this process may use; None where all.

    Of a recorded tree: that the process which recorded it might use, as far as the tree tells.
    """
    cpus = mems = None
    path = sysroot / "proc/self/status"
    status = salvage.attempt(lambda: read_text(path), "this process's affinity", _ALL)
    for line in (status or "").splitlines():
        name, _, value = line.partition(":")
        try:
            if name == "Cpus_allowed_list":
                cpus = parse_cpu_list(value)
            elif name == "Mems_allowed_list":
                mems = parse_cpu_list(value)
        except ValueError as error:
            salvage.drop("this process's affinity", f"{path}, {name}: {error}", _ALL)
    if sysroot.resolve() == Path("/"):
        # The calling thread's, where status has the first thread's.
        cpus = frozenset(os.sched_getaffinity(0))
    group = salvage.attempt(lambda: read_cpuset(sysroot), "this process's cpuset", _ALL) or Cpuset()
    return _both(cpus, group.cpus), _both(mems, group.mems)


def _both(first: CpuSet | None, second: CpuSet | None) -> CpuSet | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second
