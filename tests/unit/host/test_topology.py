import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sysfs_trees
from hypothesis import given
from hypothesis import strategies as st
from sysfs_trees import Cpu, Machine

from lorabench.errors import InputError
from lorabench.host.formats import parse_cpu_mask
from lorabench.host.topology import (
    CoreType,
    Node,
    Topology,
    format_cpu_list,
    parse_cpu_list,
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


def test_this_machine_is_divided_without_rest_and_overlap():
    topology = read_topology()
    assert topology.allowed == os.sched_getaffinity(0) & topology.online
    assert topology.allowed_nodes
    for sets in (topology.cores, topology.siblings, topology.l3, topology.packages, topology.dies):
        assert sorted(cpu for group in sets for cpu in group) == sorted(topology.online)
    for core in topology.cores:
        assert any(core <= domain for domain in topology.l3)
    assert sum(node.memory_bytes for node in topology.nodes) > 0


def four(**changes: Any) -> Machine:
    """Lay out four CPUs of a core each, on one L3."""
    return replace(Machine({cpu: Cpu(core=cpu, l2=cpu) for cpu in range(4)}), **changes)


SYSTEM = "sys/devices/system"


def test_cores_caches_and_nodes_are_read_with_their_numbers(tmp_path: Path):
    topology = read_topology(sysfs_trees.snc_xeon().write(tmp_path))
    assert topology.cores == tuple({cpu, cpu + 32} for cpu in range(32))
    assert (
        topology.packages
        == topology.l3
        == ({*range(16), *range(32, 48)}, {*range(16, 32), *range(48, 64)})
    )
    assert (topology.l3_ids, topology.l2_ids[:3]) == ((0, 1), (0, 1, 2))
    first, second, *_ = topology.nodes
    assert first.cpus == {*range(8), *range(32, 40)}
    assert first.memory_bytes == 64 * sysfs_trees.GIB
    assert first.distances == (10, 11, 21, 21)
    assert second.distances == (11, 10, 21, 21)
    assert topology.allowed_nodes == {0, 1, 2, 3}


def test_an_old_kernel_has_masks_under_other_names_and_numbers_no_cache(tmp_path: Path):
    new = read_topology(sysfs_trees.epyc().write(tmp_path))
    names = {"core_cpus": "thread_siblings", "package_cpus": "core_siblings"}
    for path in [*(tmp_path / SYSTEM).rglob("*")]:
        if path.name in names:
            path.rename(path.with_name(names[path.name]))
        elif path.name.endswith("_list") or path.name in ("cpulist", "id", "die_cpus"):
            path.unlink()
    old = read_topology(tmp_path)
    assert (old.cores, old.packages, old.l3) == (new.cores, new.packages, new.l3)
    assert old.nodes == new.nodes
    assert set(old.l3_ids) == {None}


def test_both_cores_of_a_compute_unit_are_siblings(tmp_path: Path):
    units = {cpu: Cpu(core=cpu // 2, l2=cpu // 2, core_id=cpu) for cpu in range(4)}
    topology = read_topology(Machine(units).write(tmp_path))
    assert topology.cores == ({0}, {1}, {2}, {3})
    assert topology.siblings == topology.l2 == ({0, 1}, {2, 3})


def test_an_offline_cpu_belongs_to_nothing(tmp_path: Path):
    smt = {cpu: Cpu(core=cpu // 2, l2=cpu // 2) for cpu in range(4)}
    root = four(cpus=smt, offline={1}).write(tmp_path)
    # Some kernels still count it in.
    (root / SYSTEM / "cpu/cpu0/topology/core_cpus_list").write_text("0-1\n")
    topology = read_topology(root)
    assert (topology.online, topology.offline) == ({0, 2, 3}, {1})
    assert topology.cores == ({0}, {2, 3})
    assert topology.packages == ({0, 2, 3},)


def test_without_a_list_of_those_online_each_cpu_is_asked(tmp_path: Path):
    root = four(offline={2}).write(tmp_path)
    (root / SYSTEM / "cpu/online").unlink()
    assert read_topology(root).online == {0, 1, 3}


def test_without_caches_all_cpus_are_taken_to_share_one(tmp_path: Path):
    root = four().write(tmp_path)
    for cpu in range(4):
        shutil.rmtree(root / SYSTEM / f"cpu/cpu{cpu}/cache")
    topology = read_topology(root)
    assert topology.l3 == ({0, 1, 2, 3},)
    assert topology.l3_ids == (None,)
    assert topology.l2 == ()


def test_cores_outside_the_l3_are_a_domain_of_their_own(tmp_path: Path):
    topology = read_topology(sysfs_trees.laptop().write(tmp_path))
    assert topology.l3 == (frozenset(range(20)), {20, 21})
    assert topology.l3_ids == (0, None)
    assert topology.dies == (frozenset(range(20)), {20, 21})


def test_an_instruction_cache_is_no_cache_of_data(tmp_path: Path):
    root = four().write(tmp_path)
    for cpu in range(4):
        index = root / SYSTEM / f"cpu/cpu{cpu}/cache/index1"
        index.mkdir()
        for name, text in (("level", "2"), ("type", "Instruction"), ("shared_cpu_list", "0-3")):
            (index / name).write_text(text + "\n")
    assert read_topology(root).l2 == ({0}, {1}, {2}, {3})


def test_a_kernel_without_topology_has_cpus_that_share_nothing_but_a_package(tmp_path: Path):
    root = four().write(tmp_path)
    for cpu in range(4):
        shutil.rmtree(root / SYSTEM / f"cpu/cpu{cpu}/topology")
    topology = read_topology(root)
    assert topology.cores == topology.siblings == topology.clusters == ({0}, {1}, {2}, {3})
    assert topology.packages == topology.dies == ({0, 1, 2, 3},)


def test_a_kernel_without_numa_is_one_node_of_all_memory(tmp_path: Path):
    (node,) = read_topology(four(memory={}).write(tmp_path)).nodes
    assert (node.id, node.cpus, node.distances) == (0, {0, 1, 2, 3}, (10,))
    assert node.memory_bytes == 16 << 30


def test_a_node_may_have_memory_and_no_cpus(tmp_path: Path):
    machine = four(memory={0: 1 << 20, 2: 2 << 20}, distance=lambda a, b: 10 if a == b else 17)
    topology = read_topology(machine.write(tmp_path))
    first, second = topology.nodes
    assert (first.id, first.cpus, first.memory_bytes) == (0, {0, 1, 2, 3}, 1 << 20)
    assert (second.id, second.cpus, second.memory_bytes) == (2, frozenset(), 2 << 20)
    assert second.distances == (17, 10)
    assert topology.distance(0, 2) == 17


def test_nodes_without_distances_have_those_that_the_kernel_takes_by_default(tmp_path: Path):
    root = four(memory={0: 1 << 20, 1: 1 << 20}).write(tmp_path)
    for node in range(2):
        (root / SYSTEM / f"node/node{node}/distance").unlink()
    topology = read_topology(root)
    assert [topology.distance(0, 0), topology.distance(0, 1)] == [10, 20]


def test_intel_s_types_of_cores_are_told_by_their_counters(tmp_path: Path):
    kinds = read_topology(sysfs_trees.laptop().write(tmp_path)).core_types
    assert [(kind.name, format_cpu_list(kind.cpus)) for kind in kinds] == [
        ("performance", "0-11"),
        ("efficiency", "12-19"),
        ("low-power", "20-21"),
    ]


def test_arm_s_types_of_cores_are_told_by_their_capacity(tmp_path: Path):
    kinds = read_topology(sysfs_trees.arm_phone().write(tmp_path)).core_types
    assert [(kind.name, format_cpu_list(kind.cpus), kind.capacity) for kind in kinds] == [
        ("performance", "0-3", 905),
        ("efficiency", "4-7", 325),
    ]


def test_cores_of_one_type_have_none(tmp_path: Path):
    alike = {cpu: Cpu(core=cpu, l2=cpu, capacity=1024, kind="performance") for cpu in range(4)}
    assert read_topology(four(cpus=alike).write(tmp_path)).core_types == ()


def test_clusters_are_cores_where_the_kernel_knows_none(tmp_path: Path):
    smt = {cpu: Cpu(core=cpu // 2, l2=cpu // 2, cluster=cpu) for cpu in range(4)}
    assert read_topology(four(cpus=smt).write(tmp_path)).clusters == ({0, 1}, {2, 3})


@pytest.mark.parametrize("confine", [sysfs_trees.confined_v1, sysfs_trees.confined_v2])
def test_a_control_group_rules_cpus_and_nodes_out(
    tmp_path: Path, confine: Callable[[Machine, str, str], Machine]
):
    machine = confine(sysfs_trees.snc_xeon(), "0-3,32-35,99", "1,3")
    topology = read_topology(machine.write(tmp_path))
    assert format_cpu_list(topology.allowed) == "0-3,32-35"
    assert topology.allowed_nodes == {1, 3}
    assert len(topology.online) == 64


def test_what_status_tells_counts_too(tmp_path: Path):
    confined = sysfs_trees.confined_v2(sysfs_trees.snc_xeon(), "0-7", "0-1")
    status = "Name:\tbench\nCpus_allowed_list:\t4-11\nMems_allowed_list:\t1-2"
    root = replace(confined, files={**confined.files, "proc/self/status": status}).write(tmp_path)
    topology = read_topology(root)
    assert topology.allowed == {4, 5, 6, 7}
    assert topology.allowed_nodes == {1}


def test_a_folder_without_sysfs_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"found no CPU, expected sysfs"):
        read_topology(tmp_path)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("sys/devices/system/cpu/online", "0-x"),
        ("sys/devices/system/cpu/cpu0/topology/core_cpus_list", "zero"),
        ("sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_map", "xyz"),
        ("sys/devices/system/cpu/cpu0/cache/index3/id", "first"),
        ("sys/devices/system/node/node0/distance", "10 far"),
        ("sys/devices/system/node/node0/meminfo", "nothing here"),
        ("sys/devices/cpu_core/cpus", "0-"),
        ("sys/devices/system/cpu/cpu0/cpu_capacity", "much"),
    ],
)
def test_what_does_not_parse_is_named_with_its_file(tmp_path: Path, path: str, text: str):
    root = four().write(tmp_path)
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_text(text + "\n")
    with pytest.raises(InputError, match=rf"{path}: found .* expected") as refusal:
        read_topology(root)
    assert "\n" not in str(refusal.value)


def test_a_status_that_does_not_parse_is_named_with_its_line(tmp_path: Path):
    root = four(files={"proc/self/status": "Cpus_allowed_list:\tall"}).write(tmp_path)
    with pytest.raises(InputError, match=r"status, Cpus_allowed_list: found 'all', expected"):
        read_topology(root)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("cpu/cpu2", r"found no folder of CPU 2, which .*online lists"),
        ("cpu/cpu2/topology", r"cpu2/topology/core_cpus_list: found no such file, .* cpu0 has it"),
        ("cpu/cpu2/topology/package_cpus_list", r"cpu2/topology/package_cpus_list: found no such"),
        ("cpu/cpu2/cache", r"cpu2/cache: found no cache, expected some as cpu0 has them"),
        ("cpu/cpu2/cpu_capacity", r"cpu2/cpu_capacity: found no such file, .* cpu0 has it"),
        ("node/node1/meminfo", r"node1/meminfo: found no such file"),
        ("node/node1", r"found no folder of node 1, which .*online lists"),
    ],
)
def test_what_is_half_there_is_refused(tmp_path: Path, gone: str, message: str):
    cpus = {
        cpu: Cpu(core=cpu, l2=cpu, package=cpu // 2, l3=cpu // 2, node=cpu // 2, capacity=1024)
        for cpu in range(4)
    }
    root = four(cpus=cpus, memory={0: 1 << 30, 1: 1 << 30}).write(tmp_path)
    path = root / SYSTEM / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match=message) as refusal:
        read_topology(root)
    assert "\n" not in str(refusal.value)


def test_a_cache_without_its_cpus_is_refused(tmp_path: Path):
    root = four().write(tmp_path)
    for name in ("shared_cpu_map", "shared_cpu_list"):
        (root / SYSTEM / "cpu/cpu0/cache/index3" / name).unlink()
    with pytest.raises(InputError, match=r"index3: found a cache without shared_cpu_map"):
        read_topology(root)


def test_a_cache_that_only_others_name_is_refused(tmp_path: Path):
    root = four().write(tmp_path)
    shutil.rmtree(root / SYSTEM / "cpu/cpu0/cache/index3")
    with pytest.raises(InputError, match=r"cpu0/cache: found nothing of what another CPU shares"):
        read_topology(root)


def test_sets_that_contradict_each_other_are_refused(tmp_path: Path):
    root = four().write(tmp_path)
    (root / SYSTEM / "cpu/cpu0/topology/core_cpus_list").write_text("0-1\n")
    (root / SYSTEM / "cpu/cpu2/topology/core_cpus_list").write_text("1-2\n")
    with pytest.raises(InputError, match=r"cpu2/topology/core_cpus_list: found CPUs 1, which are"):
        read_topology(root)


def test_a_cpu_of_two_nodes_is_refused(tmp_path: Path):
    root = four(memory={0: 1 << 30, 1: 1 << 30}).write(tmp_path)
    (root / SYSTEM / "node/node1/cpulist").write_text("3\n")
    with pytest.raises(InputError, match=r"node1: found CPU 3, which node0 has too"):
        read_topology(root)


def test_a_file_that_is_no_text_is_named(tmp_path: Path):
    root = four().write(tmp_path)
    (root / SYSTEM / "cpu/online").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"cpu/online: cannot be read"):
        read_topology(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all: make unit as an ordinary user")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path):
    root = four().write(tmp_path)
    (root / SYSTEM / "cpu/online").chmod(0)
    with pytest.raises(InputError, match=r"cpu/online: cannot be read \(Permission denied\)"):
        read_topology(root)


def test_the_document_lists_what_this_process_may_use():
    cpus = frozenset(range(4))
    topology = Topology(
        online=cpus,
        allowed=frozenset({0, 1, 2}),
        cores=(frozenset({0, 1}), frozenset({2}), frozenset({3})),
        l3=(frozenset({0, 1, 2}), frozenset({3})),
        packages=(cpus,),
        nodes=(Node(0, cpus, 1 << 30, (10,)),),
        l3_ids=(0, 4),
        core_types=(CoreType("performance", frozenset({0, 1})), CoreType("efficiency", cpus)),
        offline=frozenset({4}),
    )
    assert topology.as_document() == {
        "nodes": [{"id": 0, "cpus": [0, 1, 2], "memory_bytes": 1 << 30, "distances": [10]}],
        "cores": [[0, 1], [2]],
        "siblings": [[0, 1], [2]],
        "l2": [],
        "l2_ids": [],
        "l3": [[0, 1, 2]],
        "l3_ids": [0],
        "clusters": [[0, 1], [2]],
        "dies": [[0, 1, 2]],
        "packages": [[0, 1, 2]],
        "core_types": [
            {"name": "performance", "cpus": [0, 1], "capacity": None},
            {"name": "efficiency", "cpus": [0, 1, 2], "capacity": None},
        ],
        "offline": [4],
        "allowed_nodes": [0],
    }
