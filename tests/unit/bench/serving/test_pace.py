"""A sham is as busy as the trainer that it is the control of."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from records import NS, record

from lorabench.bench.serving.cases import case_of, sham_of
from lorabench.bench.serving.pace import Pace
from lorabench.isolation.conditions import parse_condition

PINNED, NAIVE = (case_of(parse_condition(name)) for name in ("pinned", "naive"))


def worked(steps: int, cpu_s: float, passed_s: float) -> Any:
    """A slice whose trainer took so much of what is measured, and as much in steps."""
    train = SimpleNamespace(steps=steps, cpu_s=cpu_s)
    made = record([0], [1], window_ns=(0, round(passed_s * NS)))
    return replace(made, train=train, trainer_cpu_s=cpu_s)  # type: ignore[arg-type]


def test_it_takes_the_mean_of_the_last_slices_of_its_own_case() -> None:
    pace = Pace()
    pace.take(NAIVE, worked(1, 5.0, 1.0))
    for share in (0.9, *[0.4] * 7, 0.8):
        pace.take(PINNED, worked(100, share, 1.0))
    found = pace.sham(sham_of(PINNED))
    assert found.share == pytest.approx((7 * 0.4 + 0.8) / 8)
    assert found.burst_s == pytest.approx(found.share / 100)


def test_beside_a_trainer_that_has_done_nothing_it_does_nothing() -> None:
    pace = Pace()
    assert pace.sham(sham_of(PINNED)).share == 0.0
    pace.take(PINNED, worked(0, 0.0, 0.5))
    assert pace.sham(sham_of(PINNED)).share == 0.0
