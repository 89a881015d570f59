"""What a plan makes of a CPU quota: the servers keep theirs, the trainer gets what is left."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.host.topology import Node, Topology
from lorabench.isolation.cpu_limit import trainer_share
from lorabench.isolation.plan import Plan, Request, limited, plan, read_plan


def machine(cores: int) -> Topology:
    """Cores of one thread each that share one cache."""
    cpus = frozenset(range(cores))
    each = tuple(frozenset({cpu}) for cpu in range(cores))
    return Topology(cpus, cpus, each, (cpus,), (cpus,), (Node(0, cpus, 1 << 30, (10,)),))


def test_beside_one_server_the_trainer_gets_what_the_quota_leaves() -> None:
    made = plan(machine(2), cpu_limit=1.2)
    assert (made.serving_cpus, made.trainer_cpus) == ((0,), (1,))
    assert made.trainer_share == pytest.approx(0.2)
    assert made.reasons[-3:] == (
        "a CPU quota of the control groups allows 1.2 CPUs, less than the 2 physical cores",
        "the trainer works for 20% of its time: what the quota leaves beside a CPU for the server",
        "a cpuset of 2 whole CPUs in place of the quota would have nobody stopped, and let the "
        "trainer work all the time",
    )


def test_of_many_cores_only_those_are_used_that_the_quota_carries() -> None:
    made = plan(machine(16), cpu_limit=4.5)
    assert (len(made.serving_cpus), len(made.trainer_cpus)) == (3, 1)
    assert made.trainer_share == 1.0
    said = " ".join(made.reasons)
    assert "so 4 of these are used, and the others stay idle" in said
    assert "a cpuset of 5 whole CPUs in place of the quota would have nobody stopped" in said


def test_what_leaves_nothing_is_said_and_the_trainer_works_a_little() -> None:
    made = plan(machine(4), Request(servers=3), cpu_limit=2.0)
    assert (len(made.serving_cpus), made.trainer_share) == (3, 0.05)
    assert any("leaves the trainer nothing beside a whole CPU for each" in r for r in made.reasons)


@pytest.mark.parametrize("cpus", [None, 2.0, 64.0])
def test_a_quota_of_all_cores_or_none_changes_nothing(cpus: float | None) -> None:
    assert plan(machine(2), cpu_limit=cpus) == plan(machine(2))
    assert "trainer_share" not in plan(machine(2), cpu_limit=cpus).as_document()


@given(st.floats(0.01, 40), st.integers(2, 24))
def test_servers_and_trainer_keep_to_the_quota_wherever_it_leaves_something(
    cpus: float, cores: int
) -> None:
    made = plan(machine(cores), cpu_limit=cpus)
    servers, trainer = len(made.serving_cpus), len(made.trainer_cpus)
    assert 0.05 <= made.trainer_share <= 1.0
    if cpus >= cores:
        assert made == plan(machine(cores))
        return
    assert servers + trainer <= max(2, math.floor(cpus))
    if made.trainer_share > 0.05:
        assert servers + trainer * made.trainer_share <= cpus + 1e-9


@given(st.floats(0.01, 16), st.integers(1, 8), st.integers(1, 8))
def test_a_larger_quota_never_leaves_the_trainer_less(cpus: float, servers: int, own: int) -> None:
    share, reasons = trainer_share(cpus, 32, servers, own)
    assert share <= trainer_share(cpus * 1.5, 32, servers, own)[0]
    assert "cpuset" in reasons[-1]


def test_cpus_that_were_chosen_by_hand_are_used_whatever_the_quota() -> None:
    by_hand = Request(serving_cpus=frozenset({0, 1}), trainer_cpus=frozenset({2, 3}))
    made = plan(machine(8), by_hand, cpu_limit=3.0)
    assert (made.serving_cpus, made.trainer_cpus) == ((0, 1), (2, 3))
    assert made.trainer_share == 0.5


def test_a_limited_plan_reads_back_and_one_by_hand_can_set_the_share(tmp_path: Path) -> None:
    made = plan(machine(2), cpu_limit=1.2)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(made.as_document()))
    assert read_plan(path, machine(2)) == made
    path.write_text(json.dumps(made.as_document() | {"trainer_share": 0.9}))
    assert read_plan(path, machine(2)).trainer_share == 0.9
    path.write_text(json.dumps(made.as_document() | {"trainer_share": 1.5}))
    with pytest.raises(InputError, match=r"trainer_share: found 1.5, expected otherwise"):
        read_plan(path, machine(2))


def test_limiting_a_plan_keeps_its_cores() -> None:
    found = limited(Plan((0,), (1,), ("by hand",)), machine(2), 1.5)
    assert (found.serving_cpus, found.trainer_share) == ((0,), 0.5)
    assert found.reasons[0] == "by hand"
