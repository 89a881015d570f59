"""A topology as far as a process may use it, core by core: what cores are chosen from."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from lorabench.host.topology import CpuSet, Topology


@dataclass(frozen=True)
class Core:
    """A usable physical core; its first usable thread stands for it."""

    cpu: int
    cpus: CpuSet
    l3: int
    l2: int | None
    node: int | None
    fast: bool


class UsableCores:
    """The usable physical cores of a machine.

    Attributes
    ----------
    cores : tuple of Core
        By L3 domain, fast ones first, node by node; what shares an L2 cache side by side.
    hybrid : bool
        Whether some are slower than others.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        l3 = _index(topology.l3)
        l2 = _index(topology.l2)
        home = {cpu: node.id for node in topology.nodes for cpu in node.cpus}
        cores = []
        fast = topology.core_types[0].cpus if topology.core_types else topology.online
        for group in topology.siblings:
            if usable := group & topology.allowed:
                cpu = min(usable)
                cores.append(
                    Core(cpu, group, l3[cpu], l2.get(cpu), home.get(cpu), fast=cpu in fast)
                )
        # Within a domain fast cores first, node by node; what shares an L2 cache side by side.
        cores.sort(
            key=lambda c: (
                c.l3,
                not c.fast,
                -1 if c.node is None else c.node,
                -1 if c.l2 is None else c.l2,
                c.cpu,
            )
        )
        self.cores = tuple(cores)
        self.hybrid = len({core.fast for core in cores}) == 2

    def domains(self, cores: Iterable[Core]) -> dict[int, list[Core]]:
        """Sort cores by their L3 domain."""
        found: dict[int, list[Core]] = {}
        for core in cores:
            found.setdefault(core.l3, []).append(core)
        return found

    def of(self, cpus: Collection[int]) -> list[Core]:
        """List the cores that have one of these CPUs."""
        return [core for core in self.cores if not core.cpus.isdisjoint(cpus)]

    def distance(self, cores: Iterable[Core], others: Iterable[Core]) -> int:
        """Return the least distance between the nodes of some cores and those of others."""
        starts = {core.node for core in cores}
        ends = {core.node for core in others}
        return min(
            (
                self.topology.distance(start, end)
                for start in starts
                for end in ends
                if start is not None and end is not None
            ),
            default=0,
        )


def _index(sets: Iterable[CpuSet]) -> dict[int, int]:
    return {cpu: number for number, group in enumerate(sets) for cpu in group}
