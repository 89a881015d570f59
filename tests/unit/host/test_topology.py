import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import sysfs_trees
from hypothesis import given
from hypothesis import strategies as st
from sysfs_trees import Cpu, Machine, Tree

from lorabench.errors import InputError
from lorabench.host.cpuinfo import read_cpuinfo
from lorabench.host.formats import parse_cpu_mask
from lorabench.host.topology import (
    CoreType,
    Node,
    Topology,
    format_cpu_list,
    parse_cpu_list,
    read_topology,
)
from lorabench.isolation.plan import plan

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


def test_one_core_with_two_ids_makes_no_compute_units(tmp_path: Path):
    root = eight().write(tmp_path)
    spoil(root, {f"{SYSTEM}/cpu/cpu0/topology/core_id": "9"})
    topology = read_topology(root)
    assert topology.cores == WHOLE["cores"]
    assert topology.dropped[0].what == "core ids"


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


def eight(**changes: Any) -> Machine:
    """Lay out two packages of two cores with two threads, each a node, an L3 and a die."""
    return replace(
        Machine(sysfs_trees.grid(2, 1, 2, threads=2), memory={0: 1 << 30, 1: 1 << 30}), **changes
    )


WHOLE = {
    "cores": ({0, 4}, {1, 5}, {2, 6}, {3, 7}),
    "packages": ({0, 1, 4, 5}, {2, 3, 6, 7}),
    "l3": ({0, 1, 4, 5}, {2, 3, 6, 7}),
    "l2": ({0, 4}, {1, 5}, {2, 6}, {3, 7}),
    "nodes": ({0, 1, 4, 5}, {2, 3, 6, 7}),
}
ALL = frozenset(range(8))


def levels(topology: Topology) -> dict[str, tuple[frozenset[int], ...]]:
    nodes = tuple(node.cpus for node in topology.nodes)
    return {name: getattr(topology, name) for name in WHOLE if name != "nodes"} | {"nodes": nodes}


@pytest.mark.parametrize(
    ("files", "what", "expected", "changed"),
    [
        pytest.param(
            {f"cpu/cpu{cpu}/topology/{name}": text for name, text in names.items()},
            what,
            expected,
            changed,
            id=label,
        )
        for label, cpu, names, what, expected, changed in (
            (
                "a cache that has part of another one",
                2,
                {"../cache/index3/shared_cpu_map": "0000004c"},
                "L3 caches",
                r"cpu3/.*: found CPUs 2-3,6-7, of which CPU 2-3,6 is in the set of .*cpu2/",
                {"l3": (ALL,)},
            ),
            (
                "a cache whose second CPU tells another one",
                5,
                {"../cache/index2/shared_cpu_map": "000000ff"},
                "L2 caches",
                r"cpu5/cache/index2/shared_cpu_map: found CPUs 0-7, of which CPU 0,4 is in",
                {"l2": ()},
            ),
            (
                "cores that overlap",
                1,
                {"core_cpus_list": "0-1,4-5"},
                "cores",
                r"cpu1/topology/core_cpus_list: found CPUs 0-1,4-5, of which CPU 0,4 is in",
                {},
            ),
            (
                "packages that overlap",
                7,
                {"package_cpus_list": "0-7"},
                "packages",
                r"cpu7/topology/package_cpus_list: found CPUs 0-7, of which",
                {"packages": (ALL,)},
            ),
            (
                "a cache's id twice",
                2,
                {"../cache/index3/id": "0"},
                "ids of the L3 caches",
                r"found id 0 for 2 L3 caches",
                {},
            ),
            (
                "a set in two files of which one is garbage",
                3,
                {"core_cpus_list": "zero"},
                "some files of the cores",
                r"cpu3/topology/core_cpus_list: found 'zero', expected a CPU",
                {},
            ),
            (
                "a CPU of which nothing is told, but by others",
                3,
                {"core_cpus_list": None, "core_cpus": None},
                "some files of the cores",
                r"cpu3/topology/core_cpus_list: found no such file, which other",
                {},
            ),
            (
                "a level of which one CPU knows nothing",
                4,
                {"../cache/index0/level": "1", "../cache/index3": None, "../cache/index2": None},
                "some files of the L2 caches",
                r"cpu4/cache: found no such file, which other CPUs' files name",
                {},
            ),
        )
    ],
)
def test_a_level_that_cannot_be_believed_is_dropped_alone_and_named(
    tmp_path: Path, files: dict[str, str | None], what: str, expected: str, changed: dict[str, Any]
):
    root = eight().write(tmp_path)
    spoil(root, {f"{SYSTEM}/{path}": text for path, text in files.items()})
    topology = read_topology(root)
    assert what in [one.what for one in topology.dropped]
    (first,) = [one for one in topology.dropped if one.what == what]
    assert re.search(expected, first.why)
    assert str(tmp_path) not in first.why
    assert first.instead
    assert levels(topology) == WHOLE | changed
    assert topology.as_document()["dropped"] == [asdict(one) for one in topology.dropped]
    assert plan(topology).serving_cpus


def spoil(root: Path, files: dict[str, str | None]) -> None:
    """Write other texts into files of a tree; None takes one away, or a folder."""
    for path, text in files.items():
        target = root / os.path.normpath(path)
        if text is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(f"{text}\n")
        elif target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()


@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        ("sys/devices/system/cpu/online", "0-x", "CPUs online"),
        ("sys/devices/system/cpu/online", "0-9", "CPUs 8-9"),
        ("sys/devices/system/cpu/cpu0/cache/index3/id", "first", "an id of the L3 caches"),
        ("sys/devices/system/cpu/cpu0/cache/index3/level", "three", "some files of the L3 caches"),
        ("sys/devices/cpu_core/cpus", "0-", "types of cores"),
        ("sys/devices/cpu_core/cpus", "0-1", "types of cores"),
        ("sys/devices/system/cpu/cpu0/cpu_capacity", "much", "types of cores"),
        ("sys/devices/system/cpu/cpu0/cpu_capacity", "1024", "types of cores"),
        ("sys/devices/system/node/online", "all", "NUMA nodes online"),
        ("sys/devices/system/node/online", "0-2", "node 2"),
        ("sys/devices/system/node/node0/cpulist", "none", "a file of node 0"),
        ("sys/devices/system/node/node0/distance", "10 far", "distances of node 0"),
        ("sys/devices/system/node/node0/distance", "10", "distances of node 0"),
        ("proc/self/status", "Cpus_allowed_list:\tall", "this process's affinity"),
        ("proc/self/cpuset", "/", None),
    ],
)
def test_a_file_that_does_not_parse_takes_nothing_else_away(
    tmp_path: Path, path: str, text: str, what: str | None
):
    root = eight().write(tmp_path)
    spoil(root, {path: text})
    topology = read_topology(root)
    assert levels(topology) == WHOLE
    assert topology.allowed == ALL
    assert [one.what for one in topology.dropped] == [what] * (what is not None)
    assert all(re.search("found .* expected", one.why) for one in topology.dropped)


def test_memory_of_a_node_that_does_not_say_how_much_is_none(tmp_path: Path):
    root = eight().write(tmp_path)
    spoil(root, {f"{SYSTEM}/node/node1/meminfo": "nothing here"})
    topology = read_topology(root)
    assert [node.memory_bytes for node in topology.nodes] == [1 << 30, 0]
    assert topology.dropped[0].what == "memory of node 1"


def test_a_file_of_bytes_that_are_no_text_is_one_that_does_not_parse(tmp_path: Path):
    root = eight().write(tmp_path)
    (root / SYSTEM / "cpu/online").write_bytes(b"\xff\xfe")
    topology = read_topology(root)
    assert topology.online == ALL
    assert "cpu/online: cannot be read" in topology.dropped[0].why


def test_cores_that_contradict_each_other_are_told_by_their_numbers_if_there_are_any(
    tmp_path: Path,
):
    root = eight().write(tmp_path)
    spoil(root, {f"{SYSTEM}/cpu/cpu1/topology/core_cpus_list": "0-7"})
    topology = read_topology(root)
    assert topology.cores == WHOLE["cores"]
    assert (
        topology.dropped[0].instead == "CPUs of one core_id and physical_package_id count as a core"
    )
    spoil(root, {f"{SYSTEM}/cpu/cpu{cpu}/topology/core_id": None for cpu in range(8)})
    topology = read_topology(root)
    assert topology.cores == tuple({cpu} for cpu in range(8))
    assert "each CPU counts as a core of its own" in topology.dropped[0].instead


@pytest.mark.parametrize(
    ("name", "mask", "what", "level"),
    [
        ("cache/index3/shared_cpu_map", {0: "0000003f", 3: "000000c0"}, "L3 caches", "l3"),
        ("topology/package_cpus_list", {0: "0-2", 3: "3-7"}, "packages", "packages"),
    ],
)
def test_a_level_that_cuts_cores_or_nodes_apart_is_dropped(
    tmp_path: Path, name: str, mask: dict[int, str], what: str, level: str
):
    root = eight().write(tmp_path)
    first, second = mask.values()
    held = {0, 1, 2, 4, 5} if level == "l3" else {0, 1, 2}
    if level == "l3":
        first, second = "00000037", "000000c8"
    spoil(
        root,
        {f"{SYSTEM}/cpu/cpu{cpu}/{name}": first if cpu in held else second for cpu in range(8)},
    )
    topology = read_topology(root)
    assert [one.what for one in topology.dropped] == [what]
    assert "which have part of" in topology.dropped[0].why
    assert levels(topology) == WHOLE | {level: (ALL,)}


def test_an_l3_across_nodes_is_dropped_as_hwloc_drops_it(tmp_path: Path):
    cpus = {cpu: Cpu(core=cpu, l2=cpu, l3=cpu // 3, node=cpu // 2) for cpu in range(6)}
    topology = read_topology(Machine(cpus, memory=dict.fromkeys(range(3), 1 << 30)).write(tmp_path))
    assert [one.what for one in topology.dropped] == ["L3 caches"]
    assert "part of 2-3 of the nodes" in topology.dropped[0].why
    assert topology.l3 == (frozenset(range(6)),)
    assert topology.l3_ids == (None,)


def test_a_node_that_has_another_one_s_cpu_is_dropped_and_the_others_keep_their_distances(
    tmp_path: Path,
):
    far = {(0, 1): 15, (0, 2): 30, (1, 2): 25}
    machine = eight(
        memory=dict.fromkeys(range(3), 1 << 30),
        distance=lambda a, b: 10 if a == b else far[min(a, b), max(a, b)],
    )
    root = machine.write(tmp_path)
    spoil(root, {f"{SYSTEM}/node/node1/cpulist": "0,2-3,6-7"})
    topology = read_topology(root)
    assert [node.id for node in topology.nodes] == [0, 2]
    assert topology.distance(0, 2) == topology.distance(2, 0) == 30
    (dropped,) = topology.dropped
    assert dropped.what == "node 1"
    assert "node1/cpulist: found CPU 0, which node 0 has too" in dropped.why
    assert topology.online == ALL
    assert topology.cores == WHOLE["cores"]


def test_distances_that_a_node_does_not_tell_are_those_that_the_others_have_to_it(tmp_path: Path):
    machine = eight(distance=lambda a, b: 10 if a == b else 17)
    root = machine.write(tmp_path)
    spoil(root, {f"{SYSTEM}/node/node1/distance": "ten"})
    topology = read_topology(root)
    assert (topology.distance(1, 0), topology.distance(0, 1)) == (17, 17)
    assert topology.distance(1, 1) == 10


GARBAGE = st.one_of(
    st.binary(max_size=40).map(lambda raw: raw + b"\xff"),
    st.sampled_from([b"", b"\n", b"-1\n", b"x", b"0-", b"9999999999999999999999"]),
    CPU_SETS.map(lambda cpus: format_cpu_list(cpus).encode()),
    st.integers(0, 1 << 64).map(lambda mask: f"{mask >> 32:08x},{mask & 0xFFFFFFFF:08x}".encode()),
    st.none(),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    root = eight().write(tmp_path_factory.mktemp("whole"))
    files = [path for path in sorted((root / "sys").rglob("*")) if path.is_file()]
    # Which CPUs run is the one thing that nothing else tells.
    return root, [path for path in files if path.name != "online"]


@given(data=st.data())
def test_no_one_file_takes_everything_away(whole: tuple[Path, list[Path]], data: st.DataObject):
    root, files = whole
    path = data.draw(st.sampled_from(files))
    text = data.draw(GARBAGE)
    before = path.read_bytes()
    try:
        path.unlink() if text is None else path.write_bytes(text)
        topology = read_topology(root)
    finally:
        path.write_bytes(before)
    found = levels(topology)
    # A file that gives sets gives those of one level, or one node's.
    assert sum(found[name] != WHOLE[name] for name in WHOLE) <= 1
    assert len(topology.cores) >= 4
    for name in ("cores", "packages", "l3"):
        assert sorted(cpu for group in found[name] for cpu in group) == sorted(ALL)
    if found != WHOLE and not (path.name == "cpulist" and found["nodes"] != WHOLE["nodes"]):
        assert topology.dropped
    assert plan(topology).serving_cpus


def test_without_sysfs_processors_are_those_of_cpuinfo(tmp_path: Path):
    Tree(tmp_path).write(
        "proc/cpuinfo",
        "\n\n".join(
            f"processor\t: {cpu}\nphysical id\t: {cpu % 4 // 2}\ncore id\t\t: {cpu % 2}"
            for cpu in range(8)
        ),
    )
    Tree(tmp_path).write("proc/meminfo", "MemTotal:       1024 kB")
    topology = read_topology(tmp_path)
    assert topology.cores == ({0, 4}, {1, 5}, {2, 6}, {3, 7})
    assert topology.packages == WHOLE["packages"]
    assert topology.l3 == (ALL,)
    assert [(node.id, node.memory_bytes) for node in topology.nodes] == [(0, 1 << 20)]
    assert topology.dropped[0].what == "sysfs"
    assert plan(topology).trainer_cpus


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        pytest.param("processor\t: 0\nBogoMIPS\t: 50\n\nprocessor\t: 1\n", 2, id="Arm"),
        pytest.param("processor 0: version = FF\nprocessor 1: version = FF\n", 2, id="s390"),
    ],
)
def test_a_processor_without_numbers_is_a_core(tmp_path: Path, text: str, cores: int):
    Tree(tmp_path).write("proc/cpuinfo", text)
    assert len(read_topology(tmp_path).cores) == cores


@given(st.text(alphabet="processor :physicalcoreid0123456789\t\n", max_size=200))
def test_any_cpuinfo_is_read_or_lists_no_processor(text: str):
    with tempfile.TemporaryDirectory() as folder:
        Tree(Path(folder)).write("proc/cpuinfo", text)
        found = read_cpuinfo(Path(folder))
    if found is not None:
        listed = [cpu for core in found.cores for cpu in core]
        assert sorted(listed) == sorted(set(listed))
        assert sorted(cpu for group in found.packages for cpu in group) == sorted(listed)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all: make unit as an ordinary user")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path):
    root = four().write(tmp_path)
    (root / SYSTEM / "cpu/online").chmod(0)
    (dropped,) = read_topology(root).dropped
    assert "cpu/online: cannot be read (Permission denied)" in dropped.why


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
        "dropped": [],
    }
