from pathlib import Path

import pytest

from lorabench.isolation.capabilities import Missing, numa_unavailable, rdt_unavailable
from lorabench.isolation.numa import placement_unavailable
from lorabench.isolation.topology import Node, Topology


def with_nodes(*nodes: Node) -> Topology:
    cpus = frozenset({0, 1})
    return Topology(cpus, cpus, (frozenset({0}), frozenset({1})), (cpus,), (cpus,), nodes)


def test_one_node_has_no_nearer_memory():
    found = numa_unavailable(with_nodes(Node(0, frozenset({0, 1}), 1 << 30, (10,))))
    assert found.what == "numa"
    assert "1 NUMA node:" in found.why
    assert "two or more nodes" in found.enable


def test_with_two_nodes_and_a_kernel_that_binds_memory_nothing_is_missing():
    nodes = Node(0, frozenset({0, 1}), 1 << 30, (10, 21)), Node(1, frozenset(), 1 << 30, (21, 10))
    found = numa_unavailable(with_nodes(*nodes))
    # A container may forbid the system calls; then that is the reason.
    if (why := placement_unavailable()) is None:
        assert found is None
    else:
        assert why in found.why


@pytest.fixture
def proc(tmp_path: Path):
    """Write a machine's /proc; return what is said of RDT there."""

    def examine(flags: str, filesystems: str = "nodev\tresctrl\n", mounts: str = "") -> Missing:
        folder = tmp_path / "proc"
        folder.mkdir()
        (folder / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: mba\n\n")
        (folder / "filesystems").write_text(f"nodev\tsysfs\n\text4\n{filesystems}")
        (folder / "mounts").write_text(f"sysfs /sys sysfs rw,relatime 0 0\n{mounts}")
        return rdt_unavailable(tmp_path)

    return examine


def test_a_processor_without_allocation_lacks_rdt(proc):
    # rdt_a alone, and monitoring, allocate nothing.
    found = proc("fpu rdt_a cqm_llc cqm_mbm_total")
    assert "none of the flags cat_l2, cat_l3, mba" in found.why
    assert "bare metal" in found.enable


def test_a_kernel_without_resctrl_lacks_rdt(proc):
    found = proc("fpu cat_l3 mba", filesystems="nodev\tresctrlish\n")
    assert found.why == (
        "the processor offers cat_l3, mba, but the kernel has no resctrl file system"
    )
    assert "CONFIG_X86_CPU_RESCTRL" in found.enable


def test_rdt_that_is_there_is_not_used_yet_and_the_reason_says_so(proc):
    found = proc("fpu cat_l3 mba")
    assert "resctrl (not mounted), but this version of lorabench does not" in found.why
    assert "a version whose" in found.enable


def test_where_resctrl_is_mounted_and_whether_it_may_be_written_is_said(proc, tmp_path: Path):
    point = tmp_path / "sys/fs/resctrl"
    point.mkdir(parents=True)
    (point / "schemata").write_text("MB:0=100\n")
    found = proc("mba", mounts="resctrl /sys/fs/resctrl resctrl rw 0 0\n")
    assert "(mounted on /sys/fs/resctrl, writable)" in found.why


def test_a_mount_without_schemata_to_write_is_not_writable(proc):
    found = proc("mba", mounts="resctrl /sys/fs/resctrl resctrl ro 0 0\n")
    assert "(mounted on /sys/fs/resctrl, not writable)" in found.why


def test_the_real_machine_gets_a_reason_and_a_way_out():
    found = rdt_unavailable()
    flags = Path("/proc/cpuinfo").read_text().split()
    assert ("none of the flags" in found.why) == (not {"cat_l3", "cat_l2", "mba"} & set(flags))
    assert found.enable
