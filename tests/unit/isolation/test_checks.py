"""Which conditions a machine runs, as doctor says it: this one, written ones, recorded ones."""

from pathlib import Path

import machine_tree
import pytest
from machine_tree import CPU

from lorabench.errors import InputError
from lorabench.host.checks import Capability, run_checks
from lorabench.host.checks.probes import Probes
from lorabench.host.missing import Missing
from lorabench.isolation.checks import conditions, look, missing


def run(
    root: Path, probes: Probes | None = machine_tree.WORKED, **tried: Missing
) -> dict[str, Capability]:
    host = machine_tree.host(root, probes, tried=tried)
    return {row.name: row for row in conditions(host, run_checks(host))}


CONDITIONS = ["naive", "pinned", "shared", "numa", "rdt", "isolated"]


def test_a_machine_that_has_everything_runs_every_condition(tmp_path: Path):
    found = run(machine_tree.write(tmp_path, {}))
    assert list(found) == CONDITIONS
    assert {row.state for row in found.values()} == {"available"}
    assert "in an L3 domain of its own" in found["pinned"].detail
    assert missing(found.values()) == ()


def test_one_core_runs_no_condition_and_each_says_why(tmp_path: Path):
    found = run(machine_tree.write(tmp_path, {f"{CPU}/online": "0\n"}))
    assert list(found) == CONDITIONS
    for row in found.values():
        assert row.state == "unavailable"
        assert "one to serve and one to train" in row.detail
        assert "two physical cores" in row.enable
    lacks = missing(found.values())
    assert [lack.what for lack in lacks] == CONDITIONS
    assert "(cores)" in lacks[0].why


def test_isolated_runs_with_what_there_is_and_names_what_is_missing(tmp_path: Path):
    files = {"proc/cpuinfo": machine_tree.cpuinfo("avx2"), "proc/mounts": None}
    found = run(machine_tree.write(tmp_path, files))
    assert found["rdt"].state == "unavailable"
    assert "no cache or memory-bandwidth allocation" in found["rdt"].detail
    assert found["isolated"].state == "restricted"
    assert found["isolated"].detail == "pinned and throttled, without rdt, cgroup"


@pytest.mark.parametrize(
    ("files", "lost", "numa"),
    [
        ({f"{CPU}/cpu3/cache/index3/shared_cpu_list": "1-3\n"}, "L3 caches", "available"),
        ({f"{machine_tree.NODE}/node1/cpulist": "1-3\n"}, "node 1", "unavailable"),
        (
            {f"{CPU}/cpu2/topology/package_cpus_list": "x\n"},
            "some files of the packages",
            "available",
        ),
    ],
)
def test_a_file_that_contradicts_takes_no_other_condition_away(
    tmp_path: Path, files: dict[str, str], lost: str, numa: str
):
    root = machine_tree.write(tmp_path, files)
    found = run(root)
    assert found["pinned"].state == "available"
    assert found["isolated"].state != "unavailable"
    assert found["numa"].state == numa
    if numa == "unavailable":
        assert "node 1 left out" in found["numa"].detail
    (dropped,) = machine_tree.host(root).machine().dropped
    assert dropped.what == lost


def test_rdt_that_is_not_mounted_is_unavailable_and_says_how_to_mount_it(tmp_path: Path):
    found = run(machine_tree.write(tmp_path, {"proc/mounts": ""}))
    assert found["rdt"].state == "unavailable"
    assert "offers cat_l2, cat_l3, mba, but resctrl is not mounted" in found["rdt"].detail
    assert found["rdt"].enable == "as root: mount -t resctrl resctrl /sys/fs/resctrl"


def test_groups_that_are_all_taken_leave_no_rdt(tmp_path: Path):
    files = {f"{machine_tree.RESCTRL}/{name}/tasks": "" for name in "abc"}
    found = run(machine_tree.write(tmp_path, files))
    assert found["rdt"].state == "unavailable"
    assert "all 4 CLOSIDs of the resctrl on /sys/fs/resctrl are taken" in found["rdt"].detail


def test_bandwidth_alone_is_enough_for_rdt(tmp_path: Path):
    files = dict.fromkeys(
        f"{machine_tree.RESCTRL}/info/{name}/{file}"
        for name in ("L2", "L3CODE", "L3DATA")
        for file in ("num_closids", "cbm_mask", "min_cbm_bits")
    )
    found = run(machine_tree.write(tmp_path, files))
    assert (found["rdt"].state, found["rdt"].evidence) == ("available", "mba")


def test_a_filter_on_mbind_leaves_no_numa(tmp_path: Path):
    refused = Missing("placement of memory", "operation not permitted", "allow it in seccomp")
    found = run(machine_tree.write(tmp_path, {}), placement=refused)
    assert found["numa"].state == "unavailable"
    assert "2 NUMA nodes, but operation not permitted" in found["numa"].detail
    assert "seccomp" in found["numa"].enable


def test_a_trainer_that_cannot_leave_sched_idle_restricts_shared(tmp_path: Path):
    refused = Missing("leaving SCHED_IDLE", "not permitted", "ulimit")
    found = run(machine_tree.write(tmp_path, {}), idle=refused)
    assert found["shared"].state == "restricted"
    assert found["shared"].detail.endswith("but not as shared+idle: not permitted")
    assert found["shared"].enable == "ulimit"
    # Its trainer is SCHED_BATCH, which may always be left.
    assert "idle" not in found["isolated"].detail


@pytest.mark.parametrize("name", ["absent", "file", "hollow"])
def test_where_no_machine_lies_the_error_says_what_was_expected(tmp_path: Path, name: str):
    (tmp_path / "file").write_text("")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(InputError, match=rf"{name}: .*; expected .*proc and sys|, expected"):
        look(tmp_path / name)


def test_a_tree_without_a_topology_still_gives_a_table(tmp_path: Path):
    (tmp_path / "proc").mkdir()
    host = look(tmp_path)
    assert (host.topology, host.probes, host.tried) == (None, None, None)
    assert {row.state for row in run_checks(host)} == {"unavailable"}


def test_this_machine_gets_a_table_and_a_reason_for_every_condition():
    host = look()
    assert host.probes is not None
    rows = run_checks(host)
    assert len({row.name for row in rows}) == len(rows)
    assert [row.name for row in conditions(host, rows)] == CONDITIONS
    for row in (*rows, *conditions(host, rows)):
        assert row.detail
        assert row.evidence
        assert bool(row.enable) == (row.state != "available")
