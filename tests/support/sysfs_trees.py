"""Machines that nobody here has, as trees of sysfs and procfs: described as data, then written.

The files are those that Linux 6.1 writes and that `lorabench.host.topology` or hwloc read,
masks and lists alike, so that both can read one tree and be compared.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

GIB = 1 << 30


@dataclass(frozen=True)
class Cpu:
    """Where a logical CPU is: numbers that are unique in the whole machine."""

    core: int
    package: int = 0
    die: int = 0
    l2: int = 0
    l3: int | None = 0
    node: int | None = 0
    cluster: int | None = None
    kind: str | None = None
    capacity: int | None = None
    core_id: int | None = None


@dataclass(frozen=True)
class Machine:
    """A machine to write.

    Parameters
    ----------
    cpus : mapping of int to Cpu
        All that are there.
    memory : mapping of int to int
        Bytes of each node; empty for a kernel without NUMA.
    offline : collection of int
        CPUs that do not run: they keep their folders and have nothing in them.
    distance : callable
        Of two nodes.
    vendor : str
        As in ``/proc/cpuinfo``.
    files : mapping of str to str
        More files, by their paths under the root.
    """

    cpus: Mapping[int, Cpu]
    memory: Mapping[int, int] = field(default_factory=lambda: {0: 16 * GIB})
    offline: Collection[int] = ()
    distance: Callable[[int, int], int] = lambda a, b: 10 if a == b else 20
    vendor: str = "GenuineIntel"
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def online(self) -> list[int]:
        return sorted(set(self.cpus) - set(self.offline))

    def write(self, root: Path) -> Path:
        """Write it under `root`, which is returned."""
        tree = Tree(root)
        tree.write("sys/devices/system/cpu/online", as_list(self.online))
        tree.write("sys/devices/system/cpu/present", as_list(self.cpus))
        tree.write("sys/devices/system/cpu/possible", as_list(self.cpus))
        tree.write("sys/devices/system/cpu/offline", as_list(self.offline))
        # Neighbours of the cpuN folders that are none of them.
        for name in ("cpufreq", "cpuidle", "power"):
            (root / "sys/devices/system/cpu" / name).mkdir()
        for cpu in self.cpus:
            # A CPU that cannot be put offline has no such file; usually it is CPU 0.
            if cpu:
                tree.write(
                    f"sys/devices/system/cpu/cpu{cpu}/online", "0" if cpu in self.offline else "1"
                )
        self._write_topology(tree)
        self._write_caches(tree)
        self._write_nodes(tree)
        self._write_kinds(tree)
        blocks = [
            f"processor\t: {cpu}\nvendor_id\t: {self.vendor}\ncpu family\t: 6\nmodel\t\t: 143\n"
            for cpu in self.online
        ]
        tree.write("proc/cpuinfo", "\n".join(blocks))
        total = sum(self.memory.values()) or 16 * GIB
        tree.write("proc/meminfo", f"MemTotal:       {total // 1024} kB")
        for path, text in self.files.items():
            tree.write(path, text)
        return root

    def _groups(self, of: Callable[[Cpu], int | None]) -> dict[int, list[int]]:
        groups: dict[int, list[int]] = {}
        for cpu in self.online:
            number = of(self.cpus[cpu])
            if number is not None:
                groups.setdefault(number, []).append(cpu)
        return groups

    def _write_topology(self, tree: "Tree") -> None:
        sets = {
            "core_cpus": self._groups(lambda cpu: cpu.core),
            "package_cpus": self._groups(lambda cpu: cpu.package),
            "die_cpus": self._groups(lambda cpu: cpu.die),
            "cluster_cpus": self._groups(lambda cpu: cpu.cluster),
        }
        for name, groups in sets.items():
            for members in groups.values():
                folders = [f"sys/devices/system/cpu/cpu{cpu}/topology" for cpu in members]
                tree.write_set(folders, name, f"{name}_list", members)
        for number in self.online:
            cpu = self.cpus[number]
            folder = f"sys/devices/system/cpu/cpu{number}/topology"
            tree.write(f"{folder}/core_id", str(cpu.core if cpu.core_id is None else cpu.core_id))
            tree.write(f"{folder}/physical_package_id", str(cpu.package))
            tree.write(f"{folder}/die_id", str(cpu.die))

    def _write_caches(self, tree: "Tree") -> None:
        for level, groups in (
            (2, self._groups(lambda cpu: cpu.l2)),
            (3, self._groups(lambda cpu: cpu.l3)),
        ):
            for number, members in groups.items():
                folders = [f"sys/devices/system/cpu/cpu{cpu}/cache/index{level}" for cpu in members]
                tree.write_set(folders, "shared_cpu_map", "shared_cpu_list", members)
                for folder in folders:
                    tree.write(f"{folder}/level", str(level))
                    tree.write(f"{folder}/type", "Unified")
                    tree.write(f"{folder}/id", str(number))

    def _write_nodes(self, tree: "Tree") -> None:
        if not self.memory:
            return
        nodes = sorted(self.memory)
        tree.write("sys/devices/system/node/online", as_list(nodes))
        of = self._groups(lambda cpu: cpu.node)
        for node in nodes:
            folder = f"sys/devices/system/node/node{node}"
            tree.write_set([folder], "cpumap", "cpulist", of.get(node, []))
            tree.write(f"{folder}/distance", " ".join(str(self.distance(node, n)) for n in nodes))
            tree.write(
                f"{folder}/meminfo",
                f"Node {node} MemTotal:       {self.memory[node] // 1024} kB\n"
                f"Node {node} MemFree:        {self.memory[node] // 2048} kB",
            )

    def _write_kinds(self, tree: "Tree") -> None:
        pmus = {"performance": "cpu_core", "efficiency": "cpu_atom", "low-power": "cpu_lowpower"}
        for kind, pmu in pmus.items():
            members = [cpu for cpu in self.online if self.cpus[cpu].kind == kind]
            if members:
                tree.write(f"sys/devices/{pmu}/cpus", as_list(members))
        for cpu in self.online:
            if (capacity := self.cpus[cpu].capacity) is not None:
                tree.write(f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity", str(capacity))


class Tree:
    """Writes files under a root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made: set[Path] = set()

    def write(self, path: str, text: str) -> None:
        """Write a line (or several) to a file; its folders are made."""
        file = self.root / path
        if file.parent not in self._made:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(file.parent)
        file.write_text(text + "\n")

    def write_set(
        self, folders: Iterable[str], mask: str, listed: str, members: Collection[int]
    ) -> None:
        """Write a set of CPUs as the kernel does, as a mask and as a list."""
        as_a_mask, as_a_list = as_mask(members), as_list(members)
        for folder in folders:
            self.write(f"{folder}/{mask}", as_a_mask)
            self.write(f"{folder}/{listed}", as_a_list)


def as_list(members: Iterable[int]) -> str:
    """Write a set plainly, without ranges: a twin of the writer under test would prove nothing."""
    return ",".join(map(str, sorted(members)))


def as_mask(members: Iterable[int]) -> str:
    """Write a set as the kernel's mask, at least two words."""
    mask = sum(1 << cpu for cpu in members)
    words = max(2, -(-mask.bit_length() // 32))
    return ",".join(f"{mask >> 32 * word & 0xFFFFFFFF:08x}" for word in reversed(range(words)))


def grid(
    packages: int,
    l3_a_package: int,
    cores_an_l3: int,
    *,
    threads: int = 1,
    nodes_a_package: int = 1,
) -> dict[int, Cpu]:
    """Lay out equal packages as firmware does: first threads first, package by package."""
    a_package = l3_a_package * cores_an_l3
    cores = packages * a_package
    found = {}
    for core in range(cores):
        package, inside = divmod(core, a_package)
        cpu = Cpu(
            core=core,
            package=package,
            die=package,
            l2=core,
            l3=core // cores_an_l3,
            node=package * nodes_a_package + inside * nodes_a_package // a_package,
            cluster=core,
        )
        for thread in range(threads):
            found[thread * cores + core] = cpu
    return found


def snc_xeon() -> Machine:
    """Two sockets of 16 cores with SMT; sub-NUMA clustering makes two nodes of each."""
    return Machine(
        grid(2, 1, 16, threads=2, nodes_a_package=2),
        memory=dict.fromkeys(range(4), 64 * GIB),
        distance=lambda a, b: 10 if a == b else 11 if a // 2 == b // 2 else 21,
    )


def epyc() -> Machine:
    """Two sockets of four CCDs of four cores with SMT; a node a socket (NPS1)."""
    return Machine(
        grid(2, 4, 4, threads=2),
        memory=dict.fromkeys(range(2), 256 * GIB),
        distance=lambda a, b: 10 if a == b else 32,
        vendor="AuthenticAMD",
    )


def desktop() -> Machine:
    """Eight performance cores with SMT, 16 efficiency cores with an L2 to four, and one L3."""
    performance = {
        cpu: Cpu(core=cpu // 2, l2=cpu // 2, cluster=cpu // 2, kind="performance")
        for cpu in range(16)
    }
    efficiency = {
        cpu: Cpu(
            core=cpu - 8, l2=8 + (cpu - 16) // 4, cluster=8 + (cpu - 16) // 4, kind="efficiency"
        )
        for cpu in range(16, 32)
    }
    return Machine(performance | efficiency, memory={0: 32 * GIB})


def laptop() -> Machine:
    """As the desktop, smaller, and two low-power cores outside the L3."""
    cpus = {
        cpu: Cpu(core=cpu // 2, l2=cpu // 2, cluster=cpu // 2, kind="performance")
        for cpu in range(12)
    }
    cpus |= {
        cpu: Cpu(
            core=cpu - 6, l2=6 + (cpu - 12) // 4, cluster=6 + (cpu - 12) // 4, kind="efficiency"
        )
        for cpu in range(12, 20)
    }
    cpus |= {
        cpu: Cpu(core=cpu - 6, die=1, l2=8, l3=None, cluster=8, kind="low-power")
        for cpu in (20, 21)
    }
    return Machine(cpus, memory={0: 32 * GIB})


def arm_phone() -> Machine:
    """One core of Arm's fastest kind, three fast and four slow ones, told apart by capacity."""
    capacity = [1024, 905, 905, 905, 325, 325, 325, 325]
    return Machine(
        {
            cpu: Cpu(core=cpu, l2=cpu, cluster=cpu, capacity=found)
            for cpu, found in enumerate(capacity)
        },
        memory={},
        vendor="ARM",
    )


def small_vm() -> Machine:
    """Two cores, as a cloud sells them."""
    return Machine({cpu: Cpu(core=cpu, l2=cpu) for cpu in range(2)}, memory={0: 8 * GIB})


def large() -> Machine:
    """1,024 CPUs: eight sockets of 64 cores with SMT, eight cores an L3."""
    return Machine(
        grid(8, 8, 8, threads=2),
        memory=dict.fromkeys(range(8), 512 * GIB),
        distance=lambda a, b: 10 if a == b else 16 if a // 4 == b // 4 else 32,
    )


def with_memory_only_node(machine: Machine, size: int = 128 * GIB) -> Machine:
    """Add a node of memory and no CPUs, as a CXL expander is."""
    return replace(machine, memory={**machine.memory, max(machine.memory) + 1: size})


def with_empty_node(machine: Machine) -> Machine:
    """Add a node with neither CPUs nor memory, as GPUs and empty sockets have."""
    return with_memory_only_node(machine, 0)


def with_node_without_memory(machine: Machine, node: int) -> Machine:
    """Take the memory modules out of a node that has CPUs."""
    return replace(machine, memory={**machine.memory, node: 0})


def with_offline(machine: Machine, cpus: Collection[int]) -> Machine:
    """Put CPUs offline."""
    return replace(machine, offline=cpus)


def confined_v2(machine: Machine, cpus: str, mems: str) -> Machine:
    """Put the recording process in a group of cgroup v2 with a cpuset of its own."""
    return replace(
        machine,
        files={
            "proc/mounts": "sysfs /sys sysfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0",
            "proc/self/cgroup": "0::/serving.slice/bench.scope",
            "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory",
            "sys/fs/cgroup/cpuset.cpus.effective": as_list(machine.online),
            "sys/fs/cgroup/cpuset.mems.effective": as_list(machine.memory),
            "sys/fs/cgroup/serving.slice/bench.scope/cpuset.cpus.effective": cpus,
            "sys/fs/cgroup/serving.slice/bench.scope/cpuset.mems.effective": mems,
        },
    )


def confined_v1(machine: Machine, cpus: str, mems: str) -> Machine:
    """Put the recording process in a cpuset of cgroup v1, beside an idle v2 hierarchy."""
    return replace(
        machine,
        files={
            "proc/mounts": "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
            "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n"
            "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0",
            "proc/self/cgroup": "4:cpu,cpuacct:/bench\n3:cpuset:/bench\n0::/",
            "sys/fs/cgroup/cpuset/cpuset.cpus": as_list(machine.cpus),
            "sys/fs/cgroup/cpuset/cpuset.mems": as_list(machine.memory),
            "sys/fs/cgroup/cpuset/bench/cpuset.cpus": cpus,
            "sys/fs/cgroup/cpuset/bench/cpuset.mems": mems,
        },
    )
