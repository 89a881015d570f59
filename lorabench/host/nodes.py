"""NUMA nodes, from sysfs under any root: their CPUs, memory and distances.

The half of `lorabench.host.topology` that reads ``devices/system/node``.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from lorabench.errors import InputError
from lorabench.host.files import numbered, read_cpus, read_text
from lorabench.host.formats import CpuSet, format_cpu_list

# The kernel's own defaults (LOCAL_DISTANCE, REMOTE_DISTANCE).
LOCAL, REMOTE = 10, 20


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


def read_nodes(sysroot: Path, online: CpuSet) -> tuple[Node, ...]:
    """Read the nodes, by id; of a kernel without NUMA, one of everything.

    Raises
    ------
    InputError
        Something is missing or does not parse.
    """
    base = f"{sysroot / 'sys/devices/system/node'}"
    present = numbered(base, "node")
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
        return (Node(0, online, _memory_total(total) or 0, (LOCAL,)),)
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
