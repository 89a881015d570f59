"""The machine's processors and memory, from sysfs under any root.

What the plan needs: which logical CPUs are online, which share a core, a cache, a die, a package or
a NUMA node, and which this process may use. A recorded tree of another machine reads as well as
this one (``sysroot``). Nothing is decided here. Linux documents the files in
``Documentation/ABI/stable/sysfs-devices-system-cpu`` and ``...-node``; where kernels leave one out,
the reader of that file below says what is taken instead. A tree that lacks some of what its kernel
must have had is refused: a plan for half a machine would be a wrong one.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorabench.errors import InputError
from lorabench.host.cpuset import read_cpuset
from lorabench.host.sysfs import (
    CpuSet,
    format_cpu_list,
    parse_cpu_list,
    parse_cpu_mask,
    read_cpus,
    read_number,
    read_text,
)

__all__ = [
    "CoreType",
    "CpuSet",
    "Node",
    "Topology",
    "format_cpu_list",
    "parse_cpu_list",
    "parse_cpu_mask",
    "read_topology",
]

# The kernel's own defaults (LOCAL_DISTANCE, REMOTE_DISTANCE).
_LOCAL, _REMOTE = 10, 20

# The PMUs that Intel's hybrid processors have, one a type of core, fastest first.
_HYBRID = (("performance", "cpu_core"), ("efficiency", "cpu_atom"), ("low-power", "cpu_lowpower"))


@dataclass(frozen=True)
class Node:
    """A NUMA node: its CPUs, memory and distances.

    Attributes
    ----------
    id : int
        Its number.
    cpus : frozenset of int
        Those online.
    memory_bytes : int
        0 in a node without memory.
    distances : tuple of int
        As the kernel prints them: to all nodes in the order of their ids.
    """

    id: int
    cpus: CpuSet
    memory_bytes: int
    distances: tuple[int, ...]

    @property
    def memory_only(self) -> bool:
        """Whether it has memory and no CPU that runs: CXL, HBM, or its CPUs are offline."""
        return not self.cpus and self.memory_bytes > 0


@dataclass(frozen=True)
class CoreType:
    """CPUs of one kind in a machine that has several.

    Attributes
    ----------
    name : str
        ``performance``, ``efficiency`` or ``low-power``.
    cpus : frozenset of int
        Those online.
    capacity : int or None
        The least of their capacities, 1024 being the fastest CPU's; None where the kernel names the
        kinds and rates none.
    """

    name: str
    cpus: CpuSet
    capacity: int | None = None


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
        """Give the distance between two nodes, by id: 10 is local, as in the ACPI's SLIT."""
        order = [node.id for node in self.nodes]
        found = self.nodes[order.index(start)].distances
        # One entry a node; a tree recorded without its offline nodes still has theirs.
        at = order.index(end) if len(found) == len(order) else end
        if at < len(found):
            return found[at]
        return _LOCAL if start == end else _REMOTE

    def as_document(self) -> dict[str, object]:
        """Form it as the result document's ``environment.topology``; CPUs online and allowed.

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
        There is no CPU information under `sysroot`, it does not parse, or it is but half there.
    """
    base = f"{sysroot / 'sys/devices'}"
    system = f"{base}/system"
    online, offline = _online(f"{system}/cpu")
    reader = _Reader(f"{system}/cpu", online)
    siblings = reader.siblings()
    cores = reader.cores(siblings)
    packages = reader.shared("package_cpus_list", "core_siblings_list", "core_siblings")
    # No package information at all: one of everything.
    packages = packages or (online,)
    l2, l2_ids = reader.caches(2)
    l3, l3_ids = reader.caches(3)
    # No L3, or a virtual machine that hides it: assume the worst, that all share one.
    rest = online - frozenset().union(*l3)
    if rest:
        found = sorted([*zip(l3, l3_ids, strict=True), (rest, None)], key=lambda pair: min(pair[0]))
        l3, l3_ids = tuple(cpus for cpus, _ in found), tuple(number for _, number in found)
    nodes = _nodes(sysroot, online)
    allowed, allowed_nodes = _allowed(sysroot)
    return Topology(
        online=online,
        allowed=online if allowed is None else allowed & online,
        cores=cores,
        l3=l3,
        packages=packages,
        nodes=nodes,
        siblings=siblings,
        l2=l2,
        dies=reader.shared("die_cpus_list"),
        clusters=_at_least(reader.shared("cluster_cpus_list"), siblings),
        l3_ids=l3_ids,
        l2_ids=l2_ids,
        core_types=_core_types(base, online),
        offline=offline,
        allowed_nodes=frozenset(
            node.id for node in nodes if allowed_nodes is None or node.id in allowed_nodes
        ),
    )


def _online(folder: str) -> tuple[CpuSet, CpuSet]:
    """Find the CPUs that run and those that are there and do not."""
    present = _numbered(folder, "cpu")
    if not present:
        raise InputError(f"{folder}: found no CPU, expected sysfs with folders cpu0, cpu1, …")
    online = read_cpus(folder, "online")
    if online is None:
        # Kernels before 2.6.26. There a CPU that does not run says so, or has no topology; if none
        # has any, the kernel tells nothing of it.
        online = frozenset(cpu for cpu in present if read_number(f"{folder}/cpu{cpu}/online") != 0)
        online = (
            frozenset(cpu for cpu in online if Path(f"{folder}/cpu{cpu}/topology").is_dir())
            or online
        )
    if missing := online - present:
        raise InputError(
            f"{folder}: found no folder of CPU {format_cpu_list(missing)}, which {folder}/online "
            "lists; expected one a CPU: the copy is not complete"
        )
    if not online:
        raise InputError(f"{folder}/online: found no CPU, expected at least one")
    return online, frozenset(present - online)


class _Reader:
    """Reads which online CPUs share what. Each set is read once, at the first CPU that is in it."""

    def __init__(self, folder: str, online: CpuSet) -> None:
        self._folder = folder
        self._online = online
        self._order = sorted(online)

    def shared(self, *names: str) -> tuple[CpuSet, ...]:
        """Read sets from ``topology``, under the first of these names that the kernel has.

        Kernels before 5.3 have other names, and very old ones only masks. None has the file: no
        sets. Some CPUs have it and some do not: that is no machine.
        """
        return self._sets(
            lambda cpu: read_cpus(f"{self._folder}/cpu{cpu}/topology", *names),
            f"topology/{names[0]}",
        )

    def siblings(self) -> tuple[CpuSet, ...]:
        """Read what shares pipelines; where the kernel tells nothing of it, each CPU is alone."""
        found = self.shared("core_cpus_list", "thread_siblings_list", "thread_siblings")
        return found or tuple(frozenset({cpu}) for cpu in self._order)

    def cores(self, siblings: tuple[CpuSet, ...]) -> tuple[CpuSet, ...]:
        """Divide siblings into cores.

        On AMD's compute units they have core ids of their own: those are two cores. One pair tells,
        since a machine has such units throughout or not at all.
        """
        pair = next((group for group in siblings if len(group) > 1), frozenset())
        if len({self._core_id(cpu) for cpu in pair}) < 2:
            return siblings
        cores: list[CpuSet] = []
        for group in siblings:
            by_id: dict[int | None, set[int]] = {}
            for cpu in group:
                by_id.setdefault(self._core_id(cpu), set()).add(cpu)
            cores += map(frozenset, by_id.values())
        return tuple(sorted(cores, key=min))

    def caches(self, level: int) -> tuple[tuple[CpuSet, ...], tuple[int | None, ...]]:
        """Read the caches of a level that hold data, and their ids.

        CPUs of one machine may differ in what they have: Intel's low-power cores have no L3.
        """
        ids: dict[int, int | None] = {}
        without: list[int] = []
        last = -1

        def cache(cpu: int) -> CpuSet | None:
            nonlocal last
            folder = f"{self._folder}/cpu{cpu}/cache"
            # The index that the last CPU had it under, before all that there are.
            if read_number(f"{folder}/index{last}/level") != level:
                indexes = sorted(_numbered(folder, "index"))
                if not indexes:
                    without.append(cpu)
                for last in indexes:
                    if self._holds_data(f"{folder}/index{last}", level):
                        break
                else:
                    return None
            index = f"{folder}/index{last}"
            # Not the list first: kernels of 2012 print another one for AMD's compute units.
            sharing = read_cpus(index, "shared_cpu_map", "shared_cpu_list")
            if sharing is None:
                raise InputError(
                    f"{index}: found a cache without shared_cpu_map and shared_cpu_list, expected "
                    "one of them: the copy is not complete"
                )
            ids[cpu] = read_number(f"{index}/id")
            return sharing

        sets = self._sets(cache, None)
        if sets and without:
            raise InputError(
                f"{self._folder}/cpu{without[0]}/cache: found no cache, expected some as "
                f"cpu{min(sets[0])} has them: the copy is not complete"
            )
        # Each was read at its first CPU.
        return sets, tuple(ids[min(group)] for group in sets)

    def _core_id(self, cpu: int) -> int | None:
        return read_number(f"{self._folder}/cpu{cpu}/topology/core_id")

    @staticmethod
    def _holds_data(index: str, level: int) -> bool:
        if read_number(f"{index}/level") != level:
            return False
        return (read_text(f"{index}/type") or "").strip() != "Instruction"

    def _sets(
        self, read: Callable[[int], CpuSet | None], must_have: str | None
    ) -> tuple[CpuSet, ...]:
        groups: list[CpuSet] = []
        covered: set[int] = set()
        without: list[int] = []
        for cpu in self._order:
            if cpu in covered:
                continue
            found = read(cpu)
            if found is None:
                without.append(cpu)
                continue
            # An offline CPU keeps its place in some kernels' sets.
            group = (found | {cpu}) & self._online
            if group & covered:
                raise InputError(
                    f"{self._folder}/cpu{cpu}/{must_have or 'cache'}: found CPUs "
                    f"{format_cpu_list(group & covered)}, which are in another CPU's set too; "
                    "expected sets that do not overlap"
                )
            covered |= group
            groups.append(group)
        if must_have and groups and without:
            raise InputError(
                f"{self._folder}/cpu{without[0]}/{must_have}: found no such file, expected one as "
                f"cpu{min(groups[0])} has it: the copy is not complete"
            )
        if partly := covered.intersection(without):
            raise InputError(
                f"{self._folder}/cpu{min(partly)}/{must_have or 'cache'}: found nothing of what "
                "another CPU shares with it, expected the same there: the copy is not complete"
            )
        return tuple(groups)


def _at_least(sets: tuple[CpuSet, ...], within: Sequence[CpuSet]) -> tuple[CpuSet, ...]:
    """Widen sets to whole cores: a kernel that knows no clusters gives each CPU one of its own."""
    of = {cpu: core for core in within for cpu in core}
    found = {frozenset().union(*(of[cpu] for cpu in group)) for group in sets}
    return tuple(sorted(found, key=min))


def _core_types(base: str, online: CpuSet) -> tuple[CoreType, ...]:
    """Tell the types of cores of a hybrid processor; none where all are alike."""
    found = [
        CoreType(name, cpus & online)
        for name, pmu in _HYBRID
        if (cpus := read_cpus(f"{base}/{pmu}", "cpus")) is not None and cpus & online
    ]
    if found:
        rest = online - frozenset().union(*(kind.cpus for kind in found))
        if rest:
            raise InputError(
                f"{base}: found CPUs {format_cpu_list(rest)} in none of "
                f"{', '.join(f'{pmu}/cpus' for _, pmu in _HYBRID)}, expected each in one: the copy "
                "is not complete"
            )
        return tuple(found) if len(found) > 1 else ()
    first = min(online)
    if read_number(f"{base}/system/cpu/cpu{first}/cpu_capacity") is None:
        return ()
    capacity: dict[int, int] = {}
    for cpu in online:
        path = f"{base}/system/cpu/cpu{cpu}/cpu_capacity"
        number = read_number(path)
        if number is None:
            raise InputError(
                f"{path}: found no such file, expected one as cpu{first} has it: the copy is not "
                "complete"
            )
        capacity[cpu] = number
    # Arm's have up to three types; those of more than half the fastest one's capacity count as one.
    limit = max(capacity.values()) / 2
    fast = frozenset(cpu for cpu in online if capacity[cpu] > limit)
    if fast == online:
        return ()
    return tuple(
        CoreType(name, cpus, min(capacity[cpu] for cpu in cpus))
        for name, cpus in (("performance", fast), ("efficiency", online - fast))
    )


def _allowed(sysroot: Path) -> tuple[CpuSet | None, CpuSet | None]:
    """Find the CPUs and memory nodes that this process may use; None where all.

    Of a recorded tree: that the process which recorded it might use, as far as the tree tells.
    """
    cpus = mems = None
    for line in (read_text(f"{sysroot / 'proc/self/status'}") or "").splitlines():
        name, _, value = line.partition(":")
        try:
            if name == "Cpus_allowed_list":
                cpus = parse_cpu_list(value)
            elif name == "Mems_allowed_list":
                mems = parse_cpu_list(value)
        except ValueError as error:
            raise InputError(f"{sysroot / 'proc/self/status'}, {name}: {error}") from None
    if sysroot.resolve() == Path("/"):
        # The calling thread's, where status has the first thread's.
        cpus = frozenset(os.sched_getaffinity(0))
    group = read_cpuset(sysroot)
    return _both(cpus, group.cpus), _both(mems, group.mems)


def _both(first: CpuSet | None, second: CpuSet | None) -> CpuSet | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _nodes(sysroot: Path, online: CpuSet) -> tuple[Node, ...]:
    base = f"{sysroot / 'sys/devices/system/node'}"
    present = _numbered(base, "node")
    if missing := (read_cpus(base, "online") or frozenset()) - present:
        raise InputError(
            f"{base}: found no folder of node {format_cpu_list(missing)}, which {base}/online "
            "lists; expected one a node: the copy is not complete"
        )
    nodes = []
    for number in sorted(present):
        folder = f"{base}/node{number}"
        cpus = read_cpus(folder, "cpulist", "cpumap")
        if cpus is None:
            raise InputError(
                f"{folder}: found neither cpulist nor cpumap, expected one of them: the copy is "
                "not complete"
            )
        nodes.append(Node(number, cpus & online, _memory(f"{folder}/meminfo"), _distances(folder)))
    if not nodes:
        # A kernel without NUMA has no such folder: one node of everything.
        total = read_text(f"{sysroot / 'proc/meminfo'}")
        return (Node(0, online, _memory_total(total) or 0, (_LOCAL,)),)
    home: dict[int, int] = {}
    for node in nodes:
        # Short of both counts, it would not say which nodes it leaves out.
        if 0 < len(node.distances) < min(len(nodes), nodes[-1].id + 1):
            raise InputError(
                f"{base}/node{node.id}/distance: found {len(node.distances)} distances, expected "
                f"one to each of {len(nodes)} nodes"
            )
        for cpu in sorted(node.cpus):
            if cpu in home:
                raise InputError(
                    f"{base}/node{node.id}: found CPU {cpu}, which node{home[cpu]} has too; "
                    "expected each CPU in one node at most"
                )
            home[cpu] = node.id
    return tuple(nodes)


def _memory(path: str) -> int:
    text = read_text(path)
    if text is None:
        raise InputError(
            f"{path}: found no such file, expected the node's MemTotal: the copy is not complete"
        )
    total = _memory_total(text)
    if total is None:
        raise InputError(f"{path}: found no line MemTotal, expected one such as MemTotal: 8 kB")
    return total


def _memory_total(meminfo: str | None) -> int | None:
    found = re.search(r"MemTotal: +([0-9]+) kB", meminfo or "")
    return int(found[1]) * 1024 if found else None


def _distances(folder: str) -> tuple[int, ...]:
    """Read a node's distances; where there are none, those that the kernel takes by default."""
    path = f"{folder}/distance"
    words = (read_text(path) or "").split()
    if not all(word.isdecimal() for word in words):
        raise InputError(f"{path}: found {' '.join(words)!r}, expected numbers such as 10 21")
    return tuple(map(int, words))


def _numbered(folder: str, stem: str) -> set[int]:
    """List entries such as cpu0, cpu1 (and not cpufreq, cpuidle) by their number."""
    try:
        names = [entry.name for entry in Path(folder).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None
    cut = len(stem)
    return {int(name[cut:]) for name in names if name.startswith(stem) and name[cut:].isdecimal()}
