"""Machines that hwloc's authors recorded, read as hwloc reads them; what doctor says of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lstopo
import pytest
import recorded as data

from lorabench.bench.progress import ProgressObserver
from lorabench.bench.runner import document
from lorabench.experiments.doctor.options import DoctorOptions
from lorabench.experiments.doctor.run import Doctor
from lorabench.host.checks import run_checks
from lorabench.host.topology import Topology, format_cpu_list, read_topology
from lorabench.isolation.checks import conditions, look

if data.missing():
    pytest.skip(data.missing(), allow_module_level=True)


@pytest.fixture(scope="session")
def recorded(recorded_tree: Callable[[str], Path]) -> Callable[[str], Topology]:
    return lambda name: read_topology(recorded_tree(name))


@dataclass(frozen=True)
class Recorded:
    archive: str
    online: str
    allowed: str
    cores: list[str]
    l3: list[str]
    packages: list[str]
    nodes: dict[int, str]


# As `lstopo-no-graphics` of hwloc 2.9 prints them; test_topology_oracle.py compares with it where
# that is installed.
@pytest.mark.parametrize(
    "expected",
    [
        pytest.param(
            Recorded(
                "32amd64-4s2n4c-cgroup2",
                "0-31",
                "0-5",
                [str(cpu) for cpu in range(32)],
                [f"{first}-{first + 3}" for first in range(0, 32, 4)],
                [f"{first}-{first + 7}" for first in range(0, 32, 8)],
                {node: f"{4 * node}-{4 * node + 3}" for node in range(8)},
            ),
            id="four sockets of two nodes, a control group of six CPUs",
        ),
        pytest.param(
            Recorded(
                "64amd64-4s2n4ca2co",
                "0-63",
                "0-63",
                [str(cpu) for cpu in range(64)],
                [f"{first}-{first + 7}" for first in range(0, 64, 8)],
                [f"{first}-{first + 15}" for first in range(0, 64, 16)],
                {node: f"{8 * node}-{8 * node + 7}" for node in range(8)},
            ),
            id="AMD's compute units of two cores",
        ),
        pytest.param(
            Recorded(
                "96em64t-4no4pa3ca2co",
                "0-95",
                "0-95",
                [str(cpu) for cpu in range(96)],
                sockets := [
                    ",".join(str(24 * node + socket + 4 * core) for core in range(6))
                    for node in range(4)
                    for socket in range(4)
                ],
                sockets,
                {node: f"{24 * node}-{24 * node + 23}" for node in range(4)},
            ),
            id="an old kernel, which has masks and no lists",
        ),
        pytest.param(
            Recorded(
                "memorysidecaches",
                "0-79",
                "0-79",
                [f"{cpu},{cpu + 40}" for cpu in range(40)],
                halves := [format_cpu_list(range(half, 80, 2)) for half in range(2)],
                halves,
                {node: format_cpu_list(range(node, 80, 4)) for node in range(4)},
            ),
            id="SMT siblings far apart, nodes with memory-side caches",
        ),
        pytest.param(
            Recorded(
                "offline-cpu0-node0",
                "4-20",
                "4-20",
                [str(cpu) for cpu in range(4, 21)],
                ["4,6,8,10,12,14,16,18,20", "5,7,9,11,13,15,17,19"],
                ["4,6,8,10,12,14,16,18,20", "5,7,9,11,13,15,17,19"],
                {1: "5,7,9,11,13,15,17,19"},
            ),
            id="CPU 0 and its node offline",
        ),
    ],
)
def test_recorded_machines_read_as_hwloc_reads_them(recorded, expected: Recorded):
    topology = recorded(expected.archive)
    assert format_cpu_list(topology.online) == expected.online
    assert format_cpu_list(topology.allowed) == expected.allowed
    assert [format_cpu_list(core) for core in topology.cores] == expected.cores
    assert [format_cpu_list(domain) for domain in topology.l3] == expected.l3
    assert [format_cpu_list(package) for package in topology.packages] == expected.packages
    assert {node.id: format_cpu_list(node.cpus) for node in topology.nodes} == expected.nodes


def test_memory_and_distances_of_recorded_nodes_are_read(recorded):
    first, second, third, fourth = recorded("memorysidecaches").nodes
    assert first.memory_bytes == 388_492_316 * 1024
    assert first.distances == (10, 21, 11, 21)
    assert second.distances == (21, 10, 21, 11)
    assert third.memory_bytes > 0
    assert fourth.memory_bytes > 0


def test_both_cores_of_a_compute_unit_are_siblings(recorded):
    topology = recorded("64amd64-4s2n4ca2co")
    pairs = [f"{first}-{first + 1}" for first in range(0, 64, 2)]
    assert [format_cpu_list(group) for group in topology.siblings] == pairs
    assert [format_cpu_list(cache) for cache in topology.l2] == pairs


def test_the_recorder_s_control_group_confines_its_memory(recorded):
    assert recorded("32amd64-4s2n4c-cgroup2").allowed_nodes == set(range(6))
    assert recorded("memorysidecaches").allowed_nodes == {0, 1, 2, 3}


def test_caches_have_the_ids_by_which_resctrl_calls_them(recorded):
    topology = recorded("memorysidecaches")
    assert topology.l3_ids == (0, 1)
    assert topology.l2_ids[:3] == (0, 32, 4)
    # Kernels before 4.10 number none.
    assert set(recorded("64amd64-4s2n4ca2co").l3_ids) == {None}


def test_cpus_that_do_not_run_are_listed(recorded):
    topology = recorded("offline-cpu0-node0")
    assert format_cpu_list(topology.offline) == "0-3,21-23"
    # One node is left, and its distances still count the other.
    assert topology.nodes[0].distances == (21, 10)
    assert topology.distance(1, 1) == 10


RECORDED = {
    "32amd64-4s2n4c-cgroup2",
    "64amd64-4s2n4ca2co",
    "96em64t-4no4pa3ca2co",
    "memorysidecaches",
    "offline-cpu0-node0",
}


@pytest.mark.skipif(not lstopo.installed(), reason=lstopo.HINT)
def test_every_recorded_machine_reads_as_hwloc_reads_it(
    data_dir: Path, recorded_tree: Callable[[str], Path]
):
    names = {path.name.removesuffix(".tar.bz2") for path in (data_dir / "topologies").iterdir()}
    assert names >= RECORDED
    for name in names:
        lstopo.check_agreement(recorded_tree(name))


@pytest.mark.parametrize(
    ("name", "cores", "nodes"),
    [
        ("32amd64-4s2n4c-cgroup2", "physical cores usable, 32 online", "8 nodes"),
        ("64amd64-4s2n4ca2co", "64 physical cores usable", "8 nodes"),
        ("96em64t-4no4pa3ca2co", "96 physical cores usable", "4 nodes"),
        ("memorysidecaches", "40 physical cores usable", "4 nodes"),
        ("offline-cpu0-node0", "17 physical cores usable", "1 node:"),
    ],
)
def test_recorded_machines_get_a_table(recorded_tree, name, cores, nodes):
    host = look(recorded_tree(name))
    table = run_checks(host)
    rows = {row.name: row for row in table}
    assert cores in rows["cores"].detail
    assert nodes in rows["numa"].detail
    found = {row.name: row for row in conditions(host, table)}
    assert found["pinned"].state == "available"
    # Nobody's tree shows whether SCHED_IDLE may be left.
    assert found["isolated"].state == "restricted"


def test_doctor_reads_a_recorded_machine_whole(recorded_tree: Callable[[str], Path]) -> None:
    doctor = Doctor(DoctorOptions(sysroot=recorded_tree("memorysidecaches")))
    doctor.measure(ProgressObserver(None, None))
    found = doctor.findings()
    assert found is not None
    result = document("doctor", found)
    assert "Gold 6230" in result.environment["cpu"]["brand_raw"]
    rows = {row["name"]: row for row in result.environment["capabilities"]}
    assert rows["cpu"]["evidence"] == "/proc/cpuinfo"
    assert rows["cores"]["detail"] == "40 physical cores usable"
    assert rows["cat l3"]["state"] == "restricted"
    assert rows["numa"]["state"] == "available"
    assert rows["collapse"]["detail"] == "MADV_COLLAPSE came with Linux 6.1"
    metric = result.metric("numa_nodes", "machine")
    assert metric is not None
    assert metric.estimate == 4
