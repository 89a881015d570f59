"""What values leave no doubt about, and what is asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.experiments.headroom.recordings.units import (
    UnclearError,
    unit_of_modes,
    unit_of_share,
)

AT = 10.0 * np.arange(40)
STEPS = st.lists(st.floats(0.02, 0.98), min_size=40, max_size=40)


@given(STEPS, st.sampled_from([("share", 1.0), ("percent", 100.0), ("cores", 8.0)]))
def test_modes_that_add_up_say_their_unit(busy: list[float], how: tuple[str, float]) -> None:
    unit, total = how
    used = np.array(busy)
    modes = {"idle": total * (1 - used), "user": total * used * 0.7, "system": total * used * 0.3}
    assert unit_of_modes(AT, modes, one_cpu=False)[0] == unit


@given(STEPS, st.sampled_from([1, 4, 64]), st.booleans())
def test_counters_are_told_by_rising(busy: list[float], cpus: int, whole: bool) -> None:
    used = 10.0 * cpus * np.array(busy)
    idle = 50_000.0 + np.cumsum(10.0 * cpus - used)
    modes = {"idle": idle}
    if whole:
        modes |= {"user": 900.0 + np.cumsum(used * 0.7), "system": 100.0 + np.cumsum(used * 0.3)}
    assert unit_of_modes(AT, modes, one_cpu=cpus == 1)[0] == "seconds"


def test_a_rate_in_per_cent_is_no_counter() -> None:
    idle = 40.0 + 5 * np.sin(AT)
    assert unit_of_modes(AT, {"idle": idle}, one_cpu=True)[0] == "percent"
    with pytest.raises(UnclearError, match="values of mode idle from 35"):
        unit_of_modes(AT, {"idle": idle}, one_cpu=False)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([3.1, 3.2, 3.3], False),
        ([3.1, 3.2, 3.3, 0.4, 0.1, 0.1, 0.1], True),
        ([15.0, 15.5], False),
        ([0.2, 12.0], False),
        ([0.2, 0.3, 250.0], True),
        ([1.2, 1.4], False),
    ],
)
def test_what_may_be_something_else_is_unclear(values, named) -> None:
    with pytest.raises(UnclearError, match="and no unit"):
        unit_of_share(np.array(values), named=named)


@pytest.mark.parametrize(
    ("values", "named", "unit"),
    [
        ([0.1, 0.9, 0.0], False, "share"),
        ([0.12, 0.15, -0.07, 0.2, 1.31, 0.14], True, "share"),
        ([0.1] * 9 + [1.31], False, "share"),
        ([35.0, 42.0, 12.0], True, "percent"),
    ],
)
def test_what_cannot_be_anything_else_is_known(values, named, unit) -> None:
    assert unit_of_share(np.array(values), named=named)[0] == unit


def test_modes_that_add_up_to_nothing_known_are_unclear() -> None:
    modes = {"idle": AT * 0 + 0.3, "user": AT * 0 + 0.1, "system": AT * 0 + 0.1}
    with pytest.raises(UnclearError, match=r"add up to 0\.5"):
        unit_of_modes(AT, modes, one_cpu=False)


def test_counters_that_stand_still_are_told() -> None:
    with pytest.raises(UnclearError, match=r"never change \(1000\), as of a counter that st"):
        unit_of_modes(AT, {"idle": AT * 0 + 1000.0}, one_cpu=False)
