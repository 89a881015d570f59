"""Machines that plans and tables have to get right without one at hand: whole trees, resctrl too.

What their sysfs shows is described by `sysfs_trees`, what their resctrl shows by `resctrl_double`,
whose rules are those of Documentation/filesystems/resctrl.rst.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import resctrl_double as double
import resctrl_trees
import sysfs_trees
from sysfs_trees import GIB, Cpu, Machine

MOUNTS = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"


@dataclass(frozen=True)
class Odd:
    """A machine to write.

    Parameters
    ----------
    machine : Machine
        What its sysfs shows.
    resctrl : double.Machine or None
        What its resctrl shows, which is mounted then.
    flags : str
        Of its processor.
    files : mapping of str to (str or None)
        What is written in the end; None takes a file away.
    """

    machine: Machine
    resctrl: double.Machine | None = None
    flags: str = "fpu avx2 fma"
    files: Mapping[str, str | None] = field(default_factory=dict)

    def write(self, root: Path) -> Path:
        self.machine.write(root)
        mounts = MOUNTS
        if self.resctrl is not None:
            resctrl_trees.write_tree(self.resctrl, root / "sys/fs/resctrl")
            mounts += "resctrl /sys/fs/resctrl resctrl rw,relatime 0 0\n"
        files: dict[str, str | None] = {
            "proc/filesystems": "nodev\tresctrl\n",
            "proc/mounts": mounts,
            "proc/self/cgroup": "0::/\n",
            "proc/cpuinfo": "".join(
                f"processor\t: {cpu}\nvendor_id\t: {self.machine.vendor}\nflags\t\t: {self.flags}\n"
                for cpu in self.machine.online
            ),
            "sys/fs/cgroup/cgroup.controllers": "cpuset cpu memory\n",
            "sys/fs/cgroup/cgroup.subtree_control": "\n",
            **self.files,
        }
        for path, text in files.items():
            target = root / path
            if text is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
        return root


def _node_without_memory() -> Odd:
    """All CPUs on a node without memory; of the memory, node 3's is the nearest."""
    cpus = {cpu: Cpu(core=cpu, l2=cpu, node=2) for cpu in range(8)}
    distance = {0: 25, 1: 17, 2: 10, 3: 12}
    return Odd(
        Machine(
            cpus,
            memory={0: 16 * GIB, 1: 16 * GIB, 2: 0, 3: 16 * GIB},
            distance=lambda a, b: (
                10 if a == b else distance[b if a == 2 else a] if 2 in (a, b) else 20
            ),
        )
    )


def _sixteen_nodes() -> Odd:
    """Four sockets of four nodes, one without memory, and a node whose CPUs are offline."""
    machine = Machine(
        sysfs_trees.grid(4, 4, 4, nodes_a_package=4),
        memory={node: 0 if node == 5 else 32 * GIB for node in range(16)},
        distance=lambda a, b: 10 if a == b else 12 if a // 4 == b // 4 else 32,
        vendor="AuthenticAMD",
    )
    return Odd(sysfs_trees.with_offline(machine, {3, 60, 61, 62, 63}))


def _clustered() -> Odd:
    """A Xeon with sub-NUMA clusters, whose resctrl counts each node, too."""
    return Odd(
        sysfs_trees.snc_xeon(),
        double.Machine(
            caches=(double.Cache(ways=15, shareable_bits=0x6000),),
            monitoring=double.Monitoring(nodes=((0, 1), (2, 3))),
        ),
        "fpu avx512f cat_l3 cdp_l3 mba cqm_occup_llc cqm_mbm_total cqm_mbm_local",
    )


def _assigned_counters(counters: int) -> Odd:
    """An EPYC whose counters of traffic are assigned one by one."""
    domains = tuple(range(8))
    return Odd(
        sysfs_trees.epyc(),
        double.Machine(
            caches=(double.Cache(domains=domains, ways=16, min_cbm_bits=1),),
            bandwidth=double.Bandwidth(
                domains=domains,
                num_closids=16,
                bandwidth_gran=1,
                min_bandwidth=1,
                maximum=2048,
                delay_linear=False,
            ),
            monitoring=double.Monitoring(domains=domains, counters=counters),
        ),
        "fpu avx2 fma cat_l3 mba cqm_occup_llc cqm_mbm_total cqm_mbm_local",
    )


def _mpam() -> Odd:
    """An Arm server with MPAM: bandwidth in percent, occupancy alone counted, ids of its own."""
    ids = (4, 36)
    cpus = {
        cpu: Cpu(
            core=cpu, package=cpu // 32, die=cpu // 32, l2=cpu, l3=ids[cpu // 32], node=cpu // 32
        )
        for cpu in range(64)
    }
    return Odd(
        Machine(cpus, memory={0: 256 * GIB, 1: 256 * GIB}, vendor="ARM"),
        double.Machine(
            caches=(double.Cache(domains=ids, ways=16, num_closids=32),),
            bandwidth=double.Bandwidth(
                domains=ids, num_closids=32, bandwidth_gran=2, min_bandwidth=2
            ),
            monitoring=double.Monitoring(domains=ids, num_rmids=64, features=("llc_occupancy",)),
            padded=False,
        ),
        files={
            "proc/cpuinfo": "".join(
                f"processor\t: {cpu}\nFeatures\t: fp asimd sve\n" for cpu in range(64)
            ),
            # Of Intel's alone.
            "sys/fs/resctrl/info/MB/thread_throttle_mode": None,
        },
    )


def _overlapping_cache() -> Odd:
    """Two sockets of which one CPU's last-level cache has half of the other socket's."""
    return Odd(
        Machine(sysfs_trees.grid(2, 1, 4), memory={0: 16 * GIB, 1: 16 * GIB}),
        files={"sys/devices/system/cpu/cpu6/cache/index3/shared_cpu_map": "000000fc\n"},
    )


def _repeated_cpu() -> Odd:
    """Three nodes, of which one names a CPU of another's."""
    return Odd(
        Machine(sysfs_trees.grid(3, 1, 4), memory=dict.fromkeys(range(3), 16 * GIB)),
        files={"sys/devices/system/node/node1/cpulist": "0,4-7\n"},
    )


def _container() -> Odd:
    """What docker shows of a Xeon: control groups and resctrl mounted read-only."""
    clustered = _clustered()
    return replace(
        clustered,
        files={
            "proc/mounts": "sysfs /sys sysfs ro,nosuid 0 0\n"
            "cgroup /sys/fs/cgroup cgroup2 ro,nosuid 0 0\n"
            "resctrl /sys/fs/resctrl resctrl ro,relatime 0 0\n",
        },
    )


MACHINES: Mapping[str, Callable[[], Odd]] = {
    "node-without-memory": _node_without_memory,
    "sixteen-nodes": _sixteen_nodes,
    "clustered": _clustered,
    "assigned-counters": lambda: _assigned_counters(32),
    "too-few-counters": lambda: _assigned_counters(4),
    "mpam": _mpam,
    "overlapping-cache": _overlapping_cache,
    "repeated-cpu": _repeated_cpu,
    "container": _container,
    "memory-only-node": lambda: Odd(sysfs_trees.with_memory_only_node(sysfs_trees.snc_xeon())),
}
"""By name."""
