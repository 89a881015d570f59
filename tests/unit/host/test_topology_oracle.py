"""Our reading of a tree against hwloc's, on machines that are written here."""

import tempfile
from pathlib import Path

import lstopo
import pytest
import sysfs_trees
from hypothesis import given, settings
from hypothesis import strategies as st
from sysfs_trees import Cpu, Machine

if not lstopo.installed():
    pytest.skip(lstopo.HINT, allow_module_level=True)


WRITTEN = {
    "a Xeon with sub-NUMA clusters": sysfs_trees.snc_xeon(),
    "an EPYC of many CCDs": sysfs_trees.epyc(),
    "a hybrid desktop": sysfs_trees.desktop(),
    "a hybrid laptop with cores outside the L3": sysfs_trees.laptop(),
    "a small virtual machine": sysfs_trees.small_vm(),
    "a node of memory alone": sysfs_trees.with_memory_only_node(sysfs_trees.snc_xeon()),
    "an empty node": sysfs_trees.with_empty_node(sysfs_trees.snc_xeon()),
    "a node without memory": sysfs_trees.with_node_without_memory(sysfs_trees.snc_xeon(), 1),
    "CPUs offline, one thread or both": sysfs_trees.with_offline(
        sysfs_trees.snc_xeon(), {3, 7, 39, 60}
    ),
    "CPU 0 and a whole node offline": sysfs_trees.with_offline(
        sysfs_trees.snc_xeon(), {*range(8), *range(32, 40)}
    ),
    "a cpuset of cgroup v2": sysfs_trees.confined_v2(sysfs_trees.snc_xeon(), "8-15,40", "1"),
    "sixteen nodes": Machine(
        sysfs_trees.grid(4, 4, 4, nodes_a_package=4), memory=dict.fromkeys(range(16), 1 << 30)
    ),
    "a node that repeats a CPU, which hwloc drops": Machine(
        sysfs_trees.grid(3, 1, 4),
        memory=dict.fromkeys(range(3), 1 << 30),
        files={
            "sys/devices/system/node/node1/cpulist": "0,4-7",
            "sys/devices/system/node/node1/cpumap": "000000f1",
        },
    ),
    "a cpuset of cgroup v1": sysfs_trees.confined_v1(sysfs_trees.snc_xeon(), "0-3,32-35", "0"),
}


@pytest.mark.parametrize("machine", [pytest.param(m, id=name) for name, m in WRITTEN.items()])
def test_machines_written_here_read_as_hwloc_reads_them(machine: Machine, tmp_path: Path):
    lstopo.check_agreement(machine.write(tmp_path))


def test_a_machine_of_1024_cpus_reads_as_hwloc_reads_it(tmp_path: Path):
    topology = lstopo.check_agreement(sysfs_trees.large().write(tmp_path))
    assert len(topology.online) == 1024
    assert (len(topology.cores), len(topology.l3)) == (512, 64)
    assert (len(topology.packages), len(topology.nodes)) == (8, 8)


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """Draw a machine whose parts nest, with numbers in any order and some CPUs offline."""
    cpus: list[Cpu] = []
    core = l3 = node = 0
    for package in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(1, 2))):
            for _ in range(draw(st.integers(1, 2))):
                for _ in range(draw(st.integers(1, 3))):
                    threads = draw(st.integers(1, 2))
                    cpus += [
                        Cpu(core, package, package, l2=core, l3=l3, node=node, cluster=core)
                    ] * threads
                    core += 1
                l3 += 1
            node += 1
    numbers = draw(
        st.lists(st.integers(0, 90), min_size=len(cpus), max_size=len(cpus), unique=True)
    )
    offline = draw(st.sets(st.sampled_from(numbers), max_size=len(numbers) - 1))
    return Machine(
        dict(zip(numbers, cpus, strict=True)),
        memory={n: draw(st.integers(1, 64)) * sysfs_trees.GIB for n in range(node)},
        offline=offline,
    )


@settings(max_examples=10)
@pytest.mark.slow
@given(machines())
def test_any_machine_reads_as_hwloc_reads_it(machine: Machine):
    with tempfile.TemporaryDirectory() as folder:
        lstopo.check_agreement(machine.write(Path(folder)))
