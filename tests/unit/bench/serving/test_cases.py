"""What a trainer is told of the plan's share of its time."""

from dataclasses import replace

import pytest

from lorabench.bench.serving.cases import case_of, trainer_settings
from lorabench.isolation.conditions import parse_condition
from lorabench.isolation.machine import Machine, inspect_machine
from lorabench.isolation.plan import Request


@pytest.fixture(scope="module")
def machine() -> Machine:
    """This one, as if a CPU quota left the trainer a fifth of its core."""
    found = inspect_machine(Request())
    return replace(found, plan=replace(found.plan, cpu_limit=1.2, trainer_share=0.2))


@pytest.mark.parametrize(
    ("condition", "duty", "told"),
    [
        ("pinned", None, 0.2),
        ("isolated", None, 0.2),
        ("delta-apply", None, 0.2),
        # On the servers' own cores it takes nothing that is not theirs; unconfined, what it gets.
        ("shared", None, 1.0),
        ("naive", None, 1.0),
        # A sweep asks what is too much.
        ("pinned", 0.75, 0.75),
    ],
)
def test_on_cores_of_its_own_a_trainer_works_for_what_a_quota_leaves(
    machine: Machine, condition: str, duty: float | None, told: float
) -> None:
    settings = trainer_settings(
        case_of(parse_condition(condition), duty), machine, batch=64, rule=None
    )
    assert settings is not None
    assert settings.duty == told
