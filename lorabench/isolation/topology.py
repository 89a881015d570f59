"""The machine's processors and memory, from sysfs under any root.

What the plan needs: which logical CPUs are online, which share a core, an L3 cache, a package or a
NUMA node, and which this process may use. A recorded tree of another machine reads as well as this
one (``sysroot``). Nothing is decided here. Linux documents the files in
``Documentation/ABI/stable/sysfs-devices-system-cpu`` and ``...-node``.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lorabench.errors import InputError

CpuSet = frozenset[int]


@dataclass(frozen=True)
class Node:
    """A NUMA node: its CPUs (none in a memory-only node), memory and distances to all nodes."""

    id: int
    cpus: CpuSet
    memory_bytes: int
    distances: tuple[int, ...]


@dataclass(frozen=True)
class Topology:
    """A machine.

    Attributes
    ----------
    online : frozenset of int
        Logical CPUs that run.
    allowed : frozenset of int
        Those that this process may use.
    cores : tuple of frozenset of int
        SMT siblings, a set a physical core, in the order of their first CPU.
    l3 : tuple of frozenset of int
        CPUs that share a last-level cache; one set of all where sysfs names no cache.
    packages : tuple of frozenset of int
        Sockets.
    nodes : tuple of Node
        By id.
    """

    online: CpuSet
    allowed: CpuSet
    cores: tuple[CpuSet, ...]
    l3: tuple[CpuSet, ...]
    packages: tuple[CpuSet, ...]
    nodes: tuple[Node, ...]

    def as_document(self) -> dict[str, object]:
        """Form it as the result document's ``environment.topology``; CPUs online and allowed."""

        def usable(sets: Iterable[CpuSet]) -> list[list[int]]:
            return [sorted(s & self.allowed) for s in sets if s & self.allowed]

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
            "l3": usable(self.l3),
            "packages": usable(self.packages),
        }


def parse_cpu_list(text: str) -> CpuSet:
    """Read the kernel's list format, for example ``0-3,8,10-11``; empty means no CPU.

    Raises
    ------
    ValueError
        It is no such list.
    """
    cpus: set[int] = set()
    for part in text.strip().split(","):
        if not part:
            continue
        low, dash, high = part.partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise ValueError(f"found {part!r}, expected a CPU number or a range such as 0-3")
        if dash and int(high) < int(low):
            raise ValueError(f"found {part!r}, expected a range that rises")
        cpus.update(range(int(low), int(high or low) + 1))
    return frozenset(cpus)


def format_cpu_list(cpus: Iterable[int]) -> str:
    """Write CPUs in the kernel's list format."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and parts[-1][-1] == cpu - 1:
            parts[-1][1:] = [cpu]
        else:
            parts.append([cpu])
    return ",".join("-".join(map(str, part)) for part in parts)


def read_topology(sysroot: Path = Path("/")) -> Topology:
    """Read a machine's topology.

    Parameters
    ----------
    sysroot : Path
        Where ``sys`` lies; the root of a recorded tree, or of this machine.

    Raises
    ------
    InputError
        There is no CPU information under `sysroot`, or it does not parse.
    """
    base = sysroot / "sys/devices/system"
    present = {
        int(entry.name[3:]): entry
        for entry in (base / "cpu").glob("cpu[0-9]*")
        if entry.name[3:].isdecimal()
    }
    if not present:
        raise InputError(f"{base / 'cpu'}: found no CPU, expected sysfs with folders cpu0, cpu1, …")
    online = _cpu_list(base / "cpu/online")
    if online is None:
        online = frozenset(present)
    # An offline CPU keeps its folder but has no topology.
    online = frozenset(c for c in online if c in present)

    def shared(*names: str) -> tuple[CpuSet, ...]:
        groups = set()
        for cpu in online:
            found = next(
                (s for n in names if (s := _cpu_list(present[cpu] / "topology" / n))), None
            )
            groups.add((found or frozenset({cpu})) & online)
        return tuple(sorted(groups, key=min))

    real = sysroot == Path("/")
    return Topology(
        online=online,
        allowed=frozenset(os.sched_getaffinity(0)) & online if real else online,
        # Older kernels use the second names.
        cores=shared("core_cpus_list", "thread_siblings_list"),
        l3=_last_level_caches(present, online),
        packages=shared("package_cpus_list", "core_siblings_list"),
        nodes=_nodes(base / "node", online),
    )


def _last_level_caches(present: dict[int, Path], online: CpuSet) -> tuple[CpuSet, ...]:
    groups = set()
    for cpu in online:
        for index in (present[cpu] / "cache").glob("index[0-9]*"):
            level = index / "level"
            if level.exists() and level.read_text().strip() == "3":
                shared = _cpu_list(index / "shared_cpu_list")
                if shared and shared & online:
                    groups.add(shared & online)
    # No L3, or a virtual machine that hides it: assume the worst, that all share one.
    rest = online - frozenset().union(*groups)
    if rest:
        groups.add(rest)
    return tuple(sorted(groups, key=min))


def _nodes(base: Path, online: CpuSet) -> tuple[Node, ...]:
    nodes = []
    for entry in base.glob("node[0-9]*"):
        distances = _read(entry / "distance")
        nodes.append(
            Node(
                id=int(entry.name[4:]),
                cpus=(_cpu_list(entry / "cpulist") or frozenset()) & online,
                memory_bytes=_memory(entry / "meminfo"),
                distances=tuple(int(d) for d in distances.split()) if distances else (),
            )
        )
    # A kernel without NUMA has no such folder: one node of everything.
    return tuple(sorted(nodes, key=lambda n: n.id)) or (Node(0, online, 0, (10,)),)


def _memory(path: Path) -> int:
    for line in (_read(path) or "").splitlines():
        if "MemTotal:" in line:
            return int(line.split()[-2]) * 1024
    return 0


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _cpu_list(path: Path) -> CpuSet | None:
    text = _read(path)
    if text is None:
        return None
    try:
        return parse_cpu_list(text)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
