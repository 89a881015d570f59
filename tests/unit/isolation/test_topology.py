import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.isolation.topology import (
    Topology,
    format_cpu_list,
    parse_cpu_list,
    parse_cpu_mask,
    read_topology,
)

CPU_SETS = st.frozensets(st.integers(0, 2047), max_size=80)


@given(CPU_SETS)
def test_a_cpu_list_reads_back_as_it_was_written(cpus: frozenset[int]):
    assert parse_cpu_list(format_cpu_list(cpus)) == cpus


@given(CPU_SETS)
def test_a_cpu_mask_reads_back_as_the_kernel_writes_it(cpus: frozenset[int]):
    mask = sum(1 << cpu for cpu in cpus)
    words = [f"{mask >> shift & 0xFFFFFFFF:08x}" for shift in range(0, 2048, 32)]
    assert parse_cpu_mask(",".join(reversed(words)) + "\n") == cpus


@given(st.text(alphabet="0123456789,- x\n", max_size=12))
def test_a_cpu_list_is_read_or_refused(text: str):
    try:
        cpus = parse_cpu_list(text)
    except ValueError:
        return  # and nothing else; the reason is the next test's
    assert parse_cpu_list(format_cpu_list(cpus)) == cpus


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1,,2", "1 2", "٣", "0-99999999999"])
def test_what_is_no_cpu_list_is_refused(text: str):
    with pytest.raises(ValueError, match=r"found .* expected"):
        parse_cpu_list(text)


@pytest.mark.parametrize("text", ["", "xyz", "f,,f", "123456789", "0x1"])
def test_what_is_no_cpu_mask_is_refused(text: str):
    with pytest.raises(ValueError, match=r"found .* expected"):
        parse_cpu_mask(text)


@pytest.fixture(scope="session")
def recorded(data_dir: Path, tmp_path_factory: pytest.TempPathFactory):
    """Read a machine that was recorded by hwloc's authors, by the name of its archive."""

    def read(name: str) -> Topology:
        folder = tmp_path_factory.mktemp(name)
        with tarfile.open(data_dir / "topologies" / f"{name}.tar.bz2") as archive:
            archive.extractall(folder)
        (root,) = folder.iterdir()
        return read_topology(root)

    return read


@dataclass(frozen=True)
class Recorded:
    archive: str
    online: str
    cores: list[str]
    l3: list[str]
    packages: list[str]
    nodes: dict[int, str]


# Packages, nodes and L3 domains as `lstopo-no-graphics` of hwloc 2.9 prints them for the same trees
# (HWLOC_FSROOT). Cores too, but for the second: hwloc counts both halves of a Bulldozer module as a
# core; the kernel calls them siblings, and they share an L2 cache and a floating-point unit.
@pytest.mark.parametrize(
    "expected",
    [
        pytest.param(
            Recorded(
                "32amd64-4s2n4c-cgroup2",
                "0-31",
                [str(cpu) for cpu in range(32)],
                [f"{first}-{first + 3}" for first in range(0, 32, 4)],
                [f"{first}-{first + 7}" for first in range(0, 32, 8)],
                {node: f"{4 * node}-{4 * node + 3}" for node in range(8)},
            ),
            id="four sockets of two nodes",
        ),
        pytest.param(
            Recorded(
                "64amd64-4s2n4ca2co",
                "0-63",
                [f"{first}-{first + 1}" for first in range(0, 64, 2)],
                [f"{first}-{first + 7}" for first in range(0, 64, 8)],
                [f"{first}-{first + 15}" for first in range(0, 64, 16)],
                {node: f"{8 * node}-{8 * node + 7}" for node in range(8)},
            ),
            id="modules of two",
        ),
        pytest.param(
            Recorded(
                "96em64t-4no4pa3ca2co",
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
    assert topology.allowed == topology.online
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


def test_this_machine_is_divided_without_rest_and_overlap():
    topology = read_topology()
    assert topology.allowed == os.sched_getaffinity(0) & topology.online
    for sets in (topology.cores, topology.l3, topology.packages):
        assert sorted(cpu for group in sets for cpu in group) == sorted(topology.online)
    for core in topology.cores:
        assert any(core <= domain for domain in topology.l3)
    assert sum(node.memory_bytes for node in topology.nodes) > 0


class Tree:
    """Writes a sysfs of its own; each CPU is a core unless `siblings` says otherwise."""

    def __init__(self, root: Path, online: str, present: int):
        self.root = root
        self.base = root / "sys/devices/system"
        for cpu in range(present):
            self.write(f"cpu/cpu{cpu}/topology/core_cpus_list", str(cpu))
            self.write(f"cpu/cpu{cpu}/topology/package_cpus_list", f"0-{present - 1}")
        self.write("cpu/online", online)
        # Neighbours of the cpuN folders that are none of them.
        (self.base / "cpu/cpufreq").mkdir()
        (self.base / "cpu/cpuidle").mkdir()

    def write(self, path: str, text: str) -> None:
        file = self.base / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")


def test_an_offline_cpu_belongs_to_nothing(tmp_path: Path):
    tree = Tree(tmp_path, "0,2-3", present=4)
    tree.write("cpu/cpu0/topology/core_cpus_list", "0-1")
    topology = read_topology(tmp_path)
    assert topology.online == {0, 2, 3}
    assert topology.cores == ({0}, {2}, {3})
    assert topology.packages == ({0, 2, 3},)


def test_without_caches_all_cpus_are_taken_to_share_one(tmp_path: Path):
    Tree(tmp_path, "0-3", present=4)
    assert read_topology(tmp_path).l3 == ({0, 1, 2, 3},)


def test_only_third_level_caches_count(tmp_path: Path):
    tree = Tree(tmp_path, "0-3", present=4)
    for cpu in range(4):
        tree.write(f"cpu/cpu{cpu}/cache/index2/level", "2")
        tree.write(f"cpu/cpu{cpu}/cache/index2/shared_cpu_list", str(cpu))
        tree.write(f"cpu/cpu{cpu}/cache/index3/level", "3")
        tree.write(f"cpu/cpu{cpu}/cache/index3/shared_cpu_list", "0-1" if cpu < 2 else "2-3")
    assert read_topology(tmp_path).l3 == ({0, 1}, {2, 3})


def test_a_kernel_without_numa_is_one_node(tmp_path: Path):
    Tree(tmp_path, "0-1", present=2)
    (node,) = read_topology(tmp_path).nodes
    assert (node.id, node.cpus, node.distances) == (0, {0, 1}, (10,))


def test_a_node_may_have_memory_and_no_cpus(tmp_path: Path):
    tree = Tree(tmp_path, "0-1", present=2)
    tree.write("node/node0/cpulist", "0-1")
    tree.write("node/node0/meminfo", "Node 0 MemTotal:       1024 kB\nNode 0 MemFree: 1 kB")
    tree.write("node/node0/distance", "10 17")
    tree.write("node/node2/cpulist", "")
    tree.write("node/node2/meminfo", "Node 2 MemTotal:       2048 kB")
    tree.write("node/node2/distance", "17 10")
    first, second = read_topology(tmp_path).nodes
    assert (first.id, first.cpus, first.memory_bytes) == (0, {0, 1}, 1 << 20)
    assert (second.id, second.cpus, second.memory_bytes) == (2, frozenset(), 2 << 20)
    assert second.distances == (17, 10)


def test_a_folder_without_sysfs_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"found no CPU, expected sysfs"):
        read_topology(tmp_path)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("cpu/online", "0-x"),
        ("cpu/cpu0/topology/core_cpus_list", "zero"),
        ("node/node0/distance", "10 far"),
        ("node/node0/meminfo", "nothing here"),
    ],
)
def test_what_does_not_parse_is_named_with_its_file(tmp_path: Path, path: str, text: str):
    tree = Tree(tmp_path, "0-1", present=2)
    tree.write("node/node0/cpulist", "0-1")
    tree.write(path, text)
    with pytest.raises(InputError, match=rf"{path}: found .* expected") as refusal:
        read_topology(tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path):
    tree = Tree(tmp_path, "0-1", present=2)
    (tree.base / "cpu/online").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"cpu/online: cannot be read"):
        read_topology(tmp_path)


def test_the_document_lists_what_this_process_may_use():
    cpus = frozenset(range(4))
    topology = Topology(
        online=cpus,
        allowed=frozenset({0, 1, 2}),
        cores=(frozenset({0, 1}), frozenset({2}), frozenset({3})),
        l3=(frozenset({0, 1}), frozenset({2, 3})),
        packages=(cpus,),
        nodes=(),
    )
    assert topology.as_document() == {
        "nodes": [],
        "cores": [[0, 1], [2]],
        "l3": [[0, 1], [2]],
        "packages": [[0, 1, 2]],
    }
