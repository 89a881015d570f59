"""What is decided before a run: its configuration, its machine, its schedules."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lorabench.errors import InputError, MachineError
from lorabench.experiments.colocate import ColocateConfig, examine
from lorabench.experiments.trial import Schedule
from lorabench.workload.traffic import Traffic

POISSON = Traffic("poisson", 32)


def test_the_defaults_can_be_run() -> None:
    ColocateConfig().check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "--rounds: found 0, expected at least 1"),
        ({"duration_s": 0.0}, "--duration: found 0.0, expected above 0"),
        ({"duration_s": float("nan")}, "--duration: found nan"),
        ({"duration_s": float("inf")}, "--duration: found inf"),
        ({"load": -0.5}, "--load: found -0.5"),
        ({"qps": 0.0}, "--qps: found 0.0"),
        ({"query_rows": "0"}, "--query-rows: found '0'"),
        ({"max_batch": 0}, "--max-batch: found 0"),
        ({"label_delay_s": -1.0}, "--label-delay: found -1.0"),
        ({"memory_budget": 1.5}, "--memory-budget: found 1.5"),
        ({"replay_bytes": 10}, "--replay-bytes: found 10, expected at least 4096"),
        ({"seed": -1}, "--seed: found -1"),
        ({"conditions": ("pinned", "magic")}, "--conditions: found 'magic', expected some of"),
    ],
)
def test_what_cannot_be_run_is_refused_by_option(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        replace(ColocateConfig(), **change).check()  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_required_condition_that_is_missing_ends_it_before_it_starts() -> None:
    with pytest.raises(MachineError, match="numa is required: ") as caught:
        examine(ColocateConfig(), require=("pinned", "numa"))
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
    machine = examine(ColocateConfig(), sysroot=small_machine(tmp_path, 8))
    assert len(machine.plan.serving_cpus) == 6
    assert len(machine.plan.trainer_cpus) == 2
    assert [missing.what for missing in machine.unavailable] == ["numa", "rdt"]
    machine = examine(replace(ColocateConfig(), servers=2), sysroot=tmp_path)
    assert len(machine.plan.serving_cpus) == 2


def test_one_core_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="expected at least 2"):
        examine(ColocateConfig(), sysroot=small_machine(tmp_path, 1))


def test_a_schedule_follows_its_seed_and_offers_the_rate_asked_for() -> None:
    first, again = (
        Schedule.draw(POISSON, 1000.0, 20.0, servers=3, seed=(1, 2, 3)) for _ in range(2)
    )
    other = Schedule.draw(POISSON, 1000.0, 20.0, servers=3, seed=(1, 2, 4))
    assert first.digest == again.digest != other.digest
    np.testing.assert_array_equal(first.arrivals, again.arrivals)
    assert abs(len(first.arrivals) - 20_000) < 6 * 20_000**0.5
    assert first.arrivals[-1] < 20_000_000_000
    assert (np.bincount(first.server, minlength=3) > 6000).all()
