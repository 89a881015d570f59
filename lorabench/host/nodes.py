"""NUMA nodes, from sysfs under any root: their CPUs, memory and distances.

The half of `lorabench.host.topology` that reads ``devices/system/node``. A node that cannot be
believed is dropped, as hwloc drops it, and the others are kept (`lorabench.host.dropped`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lorabench.errors import InputError
from lorabench.host.dropped import Salvage
from lorabench.host.files import SetReader, numbered, read_cpus, read_text
from lorabench.host.formats import CpuSet, format_cpu_list

# The kernel's own defaults (LOCAL_DISTANCE, REMOTE_DISTANCE).
LOCAL, REMOTE = 10, 20
_UNUSED = "its memory is not used, and its CPUs belong to no node"


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
        As the kernel prints them: to all nodes in the order of their ids; empty where there are
        none, or none to be believed.
    """

    id: int
    cpus: CpuSet
    memory_bytes: int
    distances: tuple[int, ...]


def read_nodes(sysroot: Path, online: CpuSet, salvage: Salvage) -> tuple[Node, ...]:
    """Read the nodes, by id; of a kernel without NUMA, one of everything."""
    base = f"{sysroot / 'sys/devices/system/node'}"
    present = (
        salvage.attempt(lambda: numbered(base, "node"), "NUMA nodes", "all memory is one node's")
        or set()
    )
    listed = salvage.attempt(
        lambda: read_cpus(base, "online"), "NUMA nodes online", "all that have a folder are"
    )
    if missing := (listed or frozenset()) - present:
        salvage.drop(
            f"node{'' if len(missing) == 1 else 's'} {format_cpu_list(missing)}",
            f"{base}: found no folder of node {format_cpu_list(missing)}, which {base}/online "
            "lists; expected one a node",
            _UNUSED,
        )
    home: dict[int, int] = {}
    nodes = []
    for number in sorted(present):
        try:
            node = _node(f"{base}/node{number}", len(present), online, home, salvage)
        except InputError as error:
            salvage.drop(f"node {number}", str(error), _UNUSED)
            continue
        nodes.append(node)
        home |= dict.fromkeys(node.cpus, number)
    if not nodes:
        # A kernel without NUMA has no such folder: one node of everything.
        total = salvage.attempt(
            lambda: read_text(f"{sysroot / 'proc/meminfo'}"), "memory", "it is not known"
        )
        return (Node(0, online, _memory_total(total) or 0, (LOCAL,)),)
    return tuple(_to_those(nodes, sorted(present)))


def _to_those(nodes: list[Node], present: list[int]) -> Iterator[Node]:
    """Leave the distances to nodes out that were dropped."""
    kept = {node.id for node in nodes}
    for node in nodes:
        distances = node.distances
        if len(distances) == len(present):
            distances = tuple(
                distance
                for number, distance in zip(present, distances, strict=True)
                if number in kept
            )
        yield replace(node, distances=distances)


def _node(folder: str, nodes: int, online: CpuSet, home: dict[int, int], salvage: Salvage) -> Node:
    """Read a node, one of so many.

    Raises
    ------
    InputError
        It does not say which CPUs it has, or has one that another node has already.
    """
    number = int(folder.rpartition("node")[2])
    said = SetReader()(folder, "cpulist", "cpumap")
    if said is None:
        raise InputError(f"{folder}: found neither cpulist nor cpumap, expected one of them")
    for bad in said.bad:
        salvage.drop(f"a file of node {number}", bad, f"{said.path} says the same")
    cpus = said.cpus & online
    if twice := cpus & home.keys():
        owners = {home[cpu] for cpu in twice}
        raise InputError(
            f"{said.path}: found CPU {format_cpu_list(twice)}, which node "
            f"{format_cpu_list(owners)} has too; expected each CPU in one node at most"
        )
    memory = salvage.attempt(
        lambda: _memory(f"{folder}/meminfo"),
        f"memory of node {number}",
        "it counts as a node without memory",
    )
    distances = salvage.attempt(
        lambda: _distances(folder, nodes),
        f"distances of node {number}",
        "those that the other nodes have to it are taken, else the kernel's default",
    )
    return Node(number, cpus, memory or 0, distances or ())


def _memory(path: str) -> int:
    text = read_text(path)
    if text is None:
        raise InputError(f"{path}: found no such file, expected the node's MemTotal")
    total = _memory_total(text)
    if total is None:
        raise InputError(f"{path}: found no line MemTotal, expected one such as MemTotal: 8 kB")
    return total


def _memory_total(meminfo: str | None) -> int | None:
    found = re.search(r"MemTotal: +([0-9]+) kB", meminfo or "")
    return int(found[1]) * 1024 if found else None


def _distances(folder: str, nodes: int) -> tuple[int, ...]:
    """Read a node's distances; where there are none, those that the kernel takes by default."""
    path = f"{folder}/distance"
    words = (read_text(path) or "").split()
    if not all(re.fullmatch("[0-9]{1,9}", word) for word in words):
        raise InputError(f"{path}: found {' '.join(words)!r:.60}, expected numbers such as 10 21")
    # A tree recorded without its offline nodes still has their distances.
    if 0 < len(words) < nodes:
        raise InputError(
            f"{path}: found {len(words)} distances, expected one to each of {nodes} nodes"
        )
    return tuple(map(int, words))
