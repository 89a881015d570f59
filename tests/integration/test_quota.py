"""The installed command in a container's place: in a control group with a CPU quota, for real.

Of version 1; what version 2 does is tried in the guest.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import COMMAND
from quota_groups import joined, quota_group

from lorabench.results.files import read_result
from lorabench.results.schema import Result

CPUS = 0.8


@pytest.fixture(scope="module")
def group():
    """Path of a group below one that has the quota."""
    with quota_group(CPUS, below="box") as path:
        yield path


def run_in(
    path: str, environment: dict[str, str], *arguments: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        joined(path, [COMMAND, *arguments]),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=environment,
    )


def total(result: Result, name: str, case: str) -> float:
    found = result.metric(name, case)
    assert found is not None, (name, case)
    return sum(value or 0.0 for value in found.values)


@pytest.mark.slow
def test_who_was_stopped_for_a_quota_gets_no_verdict_on_interference(
    group: str, environment: dict[str, str], tmp_path: Path
) -> None:
    planned = run_in(group, environment, "colocate", "--preset", "tiny", "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    assert (plan["cpu_limit"], plan["trainer_share"]) == (CPUS, 0.05)
    assert any("a cpuset of 2 whole CPUs" in reason for reason in plan["reasons"])
    # A trainer that takes what it gets, as if the plan knew of no quota.
    by_hand = tmp_path / "plan.json"
    by_hand.write_text(json.dumps(plan | {"trainer_share": 1.0}))
    path = tmp_path / "out.json"
    ran = run_in(
        *(group, environment, "colocate", "--preset", "tiny", "--conditions", "pinned"),
        *("--plan", by_hand, "--rounds", 1, "--duration", 1, "--warmup", 0.3),
        *("--label-delay", 0.1, "--load", 0.9, "-q", "-o", path),
    )
    assert ran.returncode == 0, ran.stderr
    result = read_result(path)
    assert total(result, "cpu_quota", "machine") == CPUS
    for case in ("solo", "pinned"):
        assert total(result, "quota_periods", case) >= total(result, "throttled_periods", case)
    assert total(result, "throttled_periods", "pinned") > 0
    assert total(result, "throttled_s", "pinned") > 0
    slices = result.metric("throttled_slices", "pinned")
    ratios = result.metric("latency_p99_ratio", "pinned")
    assert slices is not None
    assert ratios is not None
    assert all(not n or r is None for n, r in zip(slices.values, ratios.values, strict=True))
    raw = np.load(path.with_suffix(".npz"))
    stopped = raw["block0/pinned/throttled"][:, 1]
    assert (stopped > 0).sum() == slices.values[0]
    for claim in result.claims:
        if claim.id.startswith("latency."):
            assert claim.verdict == "inconclusive"
            assert claim.why[0].startswith("the kernel stopped the bench in ")
            assert f"for its CPU quota of {CPUS} CPUs" in claim.why[0]
            assert "alone slow the servers" not in " ".join(claim.why)
    said = " ".join(ran.stdout.split())
    assert "the load is a share of what the quota allows" in said
    assert f"The kernel stopped the servers for their CPU quota of {CPUS} CPUs" in said


def test_a_group_that_is_stopped_for_its_quota_is_not_idle(
    group: str, environment: dict[str, str], tmp_path: Path
) -> None:
    busy = subprocess.Popen(joined(group, [sys.executable, "-c", "while True: pass"]))
    try:
        path = tmp_path / "out.json"
        ran = subprocess.run(
            [COMMAND, "headroom", "--cgroup", f"cpu/{group}", "--duration", "3", "-o", path],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=environment,
        )
    finally:
        busy.kill()
        busy.wait()
    assert ran.returncode == 0, ran.stderr
    result = read_result(path)
    share, cores = (result.metric(name, "cgroup") for name in ("cpu_busy", "cpu_cores"))
    assert share is not None
    assert cores is not None
    assert share.estimate == pytest.approx(min(1.0, (cores.estimate or 0.0) / CPUS), rel=0.2)
    assert total(result, "cpu_quota", "cgroup") == CPUS
    assert total(result, "throttled_periods", "cgroup") > 0
    assert f"A CPU quota allows the group {CPUS} CPUs" in ran.stdout
