"""How CPUs nest: cores in caches, clusters, dies and packages, and which of these to believe.

Each level is read by `lorabench.host.cpus`, which drops one that contradicts itself. Here levels
are held against each other: two sets have to be apart, or one within the other. Of two levels that
are not so, the one that is trusted less is dropped. That is what hwloc calls an intersection
without inclusion; processors of AMD's with an L3 across nodes are the best-known case.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lorabench.host.cpus import SharingReader
from lorabench.host.dropped import Salvage
from lorabench.host.formats import CpuSet, format_cpu_list
from lorabench.host.nodes import Node

_Sets = tuple[CpuSet, ...]

# What is taken where a level is dropped: the most that it might share, and what keeps to nothing.
_INSTEAD = {
    "packages": "all CPUs count as one package's",
    "dies": "each package counts as one die",
    "clusters": "each core counts as a cluster",
    "l3": "all CPUs count as sharing one L3",
    "l2": "no shared L2 is known",
}
_FOLDER = "/sys/devices/system/cpu"
_NAMES = {"l3": "L3 caches", "l2": "L2 caches"}


@dataclass(frozen=True)
class Levels:
    """The levels of a machine, as `lorabench.host.topology.Topology` has them.

    Parameters
    ----------
    online : frozenset of int
        Its CPUs.
    siblings : tuple of frozenset of int
        Those that share pipelines.
    """

    online: CpuSet
    siblings: _Sets
    packages: _Sets = ()
    dies: _Sets = ()
    clusters: _Sets = ()
    l3: _Sets = ()
    l2: _Sets = ()
    cores: _Sets = ()
    l3_ids: tuple[int | None, ...] = ()
    l2_ids: tuple[int | None, ...] = ()

    def checked(self, nodes: Sequence[Node], salvage: Salvage) -> "Levels":
        """Return those that go together, and what is taken for the others and where none is known.

        Parameters
        ----------
        nodes : sequence of Node
            The machine's; caches are held against them.
        salvage : Salvage
            Is told what is dropped.
        """
        trusted: dict[str, _Sets] = {"cores": self.siblings}
        kept: dict[str, _Sets] = {}
        for name in ("packages", "l3", "dies", "clusters", "l2"):
            found: _Sets = getattr(self, name)
            against = dict(trusted)
            if name == "l3":
                against["nodes"] = tuple(node.cpus for node in nodes)
            if why := next(_crossings(found, against), None):
                shown = _NAMES.get(name, name)
                salvage.drop(shown, why, _INSTEAD[name])
                found = ()
            trusted[name] = kept[name] = found
        l3, l3_ids = self._with_rest(kept["l3"])
        return replace(
            self,
            cores=self.cores or self.siblings,
            # No package information at all: one of everything.
            packages=kept["packages"] or (self.online,),
            dies=kept["dies"],
            clusters=_at_least(kept["clusters"], self.siblings),
            l3=l3,
            l3_ids=l3_ids,
            l2=kept["l2"],
            l2_ids=self.l2_ids if kept["l2"] else (),
        )

    def _with_rest(self, l3: _Sets) -> tuple[_Sets, tuple[int | None, ...]]:
        """Add what has no L3, or hides it: assume the worst, that all of those share one."""
        ids = self.l3_ids if l3 else ()
        rest = self.online - frozenset().union(*l3)
        if not rest:
            return l3, ids
        found = sorted([*zip(l3, ids, strict=True), (rest, None)], key=lambda pair: min(pair[0]))
        return tuple(cpus for cpus, _ in found), tuple(number for _, number in found)


def read_levels(folder: str, online: CpuSet, salvage: Salvage) -> Levels:
    """Read all levels of a machine from ``devices/system/cpu``."""
    reader = SharingReader(folder, online, salvage)
    siblings = reader.siblings()
    l2, l2_ids = reader.caches(2, _INSTEAD["l2"])
    l3, l3_ids = reader.caches(3, _INSTEAD["l3"])
    return Levels(
        online,
        siblings,
        reader.shared(
            "packages",
            _INSTEAD["packages"],
            *("package_cpus_list", "core_siblings_list", "package_cpus", "core_siblings"),
        ),
        reader.shared("dies", _INSTEAD["dies"], "die_cpus_list", "die_cpus"),
        reader.shared("clusters", _INSTEAD["clusters"], "cluster_cpus_list", "cluster_cpus"),
        l3,
        l2,
        reader.cores(siblings),
        l3_ids,
        l2_ids,
    )


def _crossings(sets: _Sets, trusted: dict[str, _Sets]) -> Iterator[str]:
    """List where a set has part of another one and of what is outside of that."""
    for name, others in trusted.items():
        of = {cpu: other for other in others for cpu in other}
        for group in sets:
            for cpu in group:
                other = of.get(cpu)
                if other is not None and not (group <= other or other <= group):
                    yield (
                        f"{_FOLDER}/cpu{cpu}: found CPUs {format_cpu_list(group)}, which have part "
                        f"of {format_cpu_list(other)} of the {name}; expected all or none of it"
                    )


def _at_least(sets: _Sets, within: Sequence[CpuSet]) -> _Sets:
    """Widen sets to whole cores: a kernel that knows no clusters gives each CPU one of its own."""
    of = {cpu: core for core in within for cpu in core}
    found = {frozenset().union(*(of[cpu] for cpu in group)) for group in sets}
    return tuple(sorted(found, key=min))
