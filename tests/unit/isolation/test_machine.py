"""What a machine is divided into and what it cannot give, before anything is started."""

import os
from pathlib import Path

import pytest

from lorabench.errors import InputError, MachineError
from lorabench.host.topology import read_topology
from lorabench.isolation.conditions import parse_condition
from lorabench.isolation.machine import inspect_machine
from lorabench.isolation.plan import Request


def test_a_required_condition_that_is_missing_ends_it_before_it_starts() -> None:
    with pytest.raises(MachineError, match="numa is required: ") as caught:
        inspect_machine(Request(), require=("pinned", "numa"))
    assert caught.value.exit_code == 3


def small_machine(root: Path, cpus: int) -> Path:
    base = root / "sys/devices/system"
    (base / "cpu").mkdir(parents=True)
    (base / "cpu/online").write_text(f"0-{cpus - 1}\n" if cpus > 1 else "0\n")
    for cpu in range(cpus):
        topology = base / f"cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "core_cpus_list").write_text(f"{cpu}\n")
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text("processor : 0\nflags : fpu sse2\n")
    return root


def test_the_plan_is_for_the_machine_that_was_examined(tmp_path: Path) -> None:
    machine = inspect_machine(Request(), sysroot=small_machine(tmp_path, 8))
    assert len(machine.plan.serving_cpus) == 6
    assert len(machine.plan.trainer_cpus) == 2
    assert list(machine.missing)[:2] == ["numa", "rdt"]
    machine = inspect_machine(Request(servers=2), sysroot=tmp_path)
    assert len(machine.plan.serving_cpus) == 2


def test_one_core_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="expected at least 2"):
        inspect_machine(Request(), sysroot=small_machine(tmp_path, 1))


def test_what_is_required_must_be_a_condition() -> None:
    with pytest.raises(InputError, match="--require: found 'magic', expected naive"):
        inspect_machine(Request(), require=("magic",))


def test_a_condition_that_cannot_be_run_is_listed_with_the_reason(tmp_path: Path) -> None:
    machine = inspect_machine(Request(), sysroot=small_machine(tmp_path, 4))
    asked = [parse_condition(name) for name in ("pinned", "pinned+rdt", "rdt", "isolated")]
    runnable, lacking = machine.fit(asked)
    assert [condition.name for condition in runnable] == ["pinned", "isolated"]
    assert [reason.what for reason in lacking] == ["pinned+rdt", "rdt"]
    assert all(reason.why == machine.missing["rdt"].why for reason in lacking)
    named = [reason.what for reason in machine.unavailable(asked)]
    assert named.count("rdt") == 1
    assert "pinned+rdt" in named


def test_a_quota_that_binds_is_planned_for_and_one_that_cannot_be_read_is_said(
    tmp_path: Path,
) -> None:
    root = small_machine(tmp_path, 2)
    (root / "proc/mounts").write_text("c /cg cgroup2 rw 0 0\n")
    (root / "proc/self").mkdir()
    (root / "proc/self/cgroup").write_text("0::/pod/box\n")
    (root / "cg/pod/box").mkdir(parents=True)
    (root / "cg/pod/cpu.max").write_text("150000 100000\n")
    machine = inspect_machine(Request(), sysroot=root)
    assert machine.limit is not None
    assert machine.limit.path == "/cg/pod/cpu.max"
    assert machine.plan.trainer_share == 0.5
    # The kernel tells of a stop at the end of its period.
    assert machine.carry_over_s > 0.1
    (root / "cg/pod/cpu.max").write_text("some\n")
    machine = inspect_machine(Request(), sysroot=root)
    assert machine.limit is None
    assert machine.carry_over_s == 0.0
    assert machine.plan.trainer_share == 1.0
    assert machine.plan.reasons[-1] == (
        "a CPU quota is not kept to, since it cannot be read: /cg/pod/cpu.max: found some of "
        "100000, expected a quota and a period"
    )
    by_hand = tmp_path / "plan.json"
    by_hand.write_text('{"schema": "lorabench.plan/1", "serving_cpus": [1], "trainer_cpus": [0]}')
    (root / "cg/pod/cpu.max").write_text("150000 100000\n")
    assert inspect_machine(Request(), sysroot=root, plan_file=by_hand).plan.trainer_share == 0.5


def test_one_allowed_cpu_is_too_few_and_the_way_out_is_told() -> None:
    before = os.sched_getaffinity(0)
    # Not the first: a cpuset need not begin at 0.
    os.sched_setaffinity(0, {max(before)})
    try:
        topology = read_topology()
        assert topology.allowed == {max(before)}
        with pytest.raises(
            MachineError, match=r"found 1 usable .* expected at least 2.*; give this"
        ):
            inspect_machine(Request())
    finally:
        os.sched_setaffinity(0, before)
