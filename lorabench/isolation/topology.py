"""The machine's processors and memory, from sysfs under any root.

What the plan needs: which logical CPUs are online, which share a core, an L3 cache, a package or a
NUMA node, and which this process may use. A recorded tree of another machine reads as well as this
one (``sysroot``). Nothing is decided here. Linux documents the files in
``Documentation/ABI/stable/sysfs-devices-system-cpu`` and ``...-node``.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lorabench.errors import InputError

CpuSet = frozenset[int]

# Files that hold a mask instead of a list.
_MASKS = {"thread_siblings", "core_siblings", "shared_cpu_map", "cpumap"}


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
    for part in text.strip().split(",") if text.strip() else ():
        found = re.fullmatch("([0-9]{1,6})(?:-([0-9]{1,6}))?", part)
        if found is None:
            raise ValueError(f"found {part!r}, expected a CPU number or a range such as 0-3")
        low, high = int(found[1]), int(found[2] or found[1])
        if high < low:
            raise ValueError(f"found {part!r}, expected a range that rises")
        cpus.update(range(low, high + 1))
    return frozenset(cpus)


def parse_cpu_mask(text: str) -> CpuSet:
    """Read the kernel's mask format: 32-bit hexadecimal words, the highest CPUs first.

    Raises
    ------
    ValueError
        It is no such mask.

    Examples
    --------
    >>> sorted(parse_cpu_mask("00000001,80000001"))
    [0, 31, 32]
    """
    mask = 0
    for word in text.strip().split(","):
        if not re.fullmatch("[0-9a-fA-F]{1,8}", word):
            raise ValueError(f"found {word!r}, expected a mask such as 00000000,0000000f")
        mask = mask << 32 | int(word, 16)
    return frozenset(cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1)


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
    present = _numbered(base / "cpu", "cpu")
    if not present:
        raise InputError(f"{base / 'cpu'}: found no CPU, expected sysfs with folders cpu0, cpu1, …")
    online = _cpus(base / "cpu", "online")
    if online is None:
        online = frozenset(present)
    # An offline CPU keeps its folder but has no topology.
    online &= frozenset(present)

    def shared(*names: str) -> tuple[CpuSet, ...]:
        groups = set()
        for cpu in online:
            found = _cpus(present[cpu] / "topology", *names) or frozenset()
            groups.add((found | {cpu}) & online)
        return tuple(sorted(groups, key=min))

    real = sysroot == Path("/")
    return Topology(
        online=online,
        allowed=frozenset(os.sched_getaffinity(0)) & online if real else online,
        # Kernels before 5.3 have the second names alone, very old ones only masks.
        cores=shared("core_cpus_list", "thread_siblings_list", "thread_siblings"),
        l3=_last_level_caches(present, online),
        packages=shared("package_cpus_list", "core_siblings_list", "core_siblings"),
        nodes=_nodes(base / "node", online),
    )


def _last_level_caches(present: dict[int, Path], online: CpuSet) -> tuple[CpuSet, ...]:
    groups = set()
    for cpu in online:
        for index in _numbered(present[cpu] / "cache", "index").values():
            if (_read(index / "level") or "").strip() == "3":
                sharing = _cpus(index, "shared_cpu_list", "shared_cpu_map") or frozenset()
                groups.add((sharing | {cpu}) & online)
    # No L3, or a virtual machine that hides it: assume the worst, that all share one.
    rest = online - frozenset().union(*groups)
    if rest:
        groups.add(rest)
    return tuple(sorted(groups, key=min))


def _nodes(base: Path, online: CpuSet) -> tuple[Node, ...]:
    nodes = tuple(
        Node(
            id=number,
            cpus=(_cpus(folder, "cpulist", "cpumap") or frozenset()) & online,
            memory_bytes=_memory(folder / "meminfo"),
            distances=_distances(folder / "distance"),
        )
        for number, folder in sorted(_numbered(base, "node").items())
    )
    # A kernel without NUMA has no such folder: one node of everything.
    return nodes or (Node(0, online, 0, (10,)),)


def _memory(path: Path) -> int:
    text = _read(path)
    if text is None:
        return 0
    found = re.search(r"MemTotal: +([0-9]+) kB", text)
    if found is None:
        raise InputError(f"{path}: found no line MemTotal, expected one such as MemTotal: 8 kB")
    return int(found[1]) * 1024


def _distances(path: Path) -> tuple[int, ...]:
    words = (_read(path) or "").split()
    if not all(word.isdecimal() for word in words):
        raise InputError(f"{path}: found {' '.join(words)!r}, expected numbers such as 10 21")
    return tuple(map(int, words))


def _numbered(folder: Path, stem: str) -> dict[int, Path]:
    """List entries such as cpu0, cpu1 (and not cpufreq, cpuidle) by their number."""
    return {
        int(entry.name[len(stem) :]): entry
        for entry in folder.glob(f"{stem}[0-9]*")
        if entry.name[len(stem) :].isdecimal()
    }


def _read(path: Path) -> str | None:
    """Read a file; None where there is none, since kernels and recordings leave many out."""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


def _cpus(folder: Path, *names: str) -> CpuSet | None:
    """Read CPUs from the first of these files that exists; None where there is none of them."""
    for name in names:
        text = _read(folder / name)
        if text is not None:
            try:
                return parse_cpu_mask(text) if name in _MASKS else parse_cpu_list(text)
            except ValueError as error:
                raise InputError(f"{folder / name}: {error}") from None
    return None
