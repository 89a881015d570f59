"""Counters of CPU seconds, and what scrapes do to them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.experiments.headroom.recordings.counters import Counters

IDLE = st.lists(st.floats(0, 1), min_size=3, max_size=40)


def counters(idle: list[float], step: float = 10.0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Counters of a CPU that idles so in each step."""
    at = step * np.arange(len(idle) + 1)
    grown = np.concatenate([[0.0], np.cumsum(step * np.array(idle))])
    rest = at - grown
    return at, {"idle": 5000 + grown, "user": 900 + rest / 2, "system": 300 + rest / 2}


@given(IDLE, st.booleans(), st.data())
def test_missing_scrapes_leave_the_mean_over_them(idle: list[float], whole: bool, data) -> None:
    at, modes = counters(idle)
    keep = [0, *sorted(data.draw(st.sets(st.integers(1, len(idle) - 1)))), len(idle)]
    used = {m: v[keep] for m, v in modes.items() if whole or m == "idle"}
    found = Counters(at[keep], used, 1.0).busy()
    assert not found.odd
    assert (found.begin_s[0], found.end_s[-1]) == (at[0], at[-1])
    means = [1 - float(np.mean(idle[a:b])) for a, b in pairwise(keep)]
    np.testing.assert_allclose(found.value, means, atol=1e-6)


@given(IDLE, st.data())
def test_a_sample_that_is_old_is_left_out_and_nothing_is_lost(idle: list[float], data) -> None:
    at, modes = counters(idle)
    odd = data.draw(st.integers(1, len(idle) - 1))
    for values in modes.values():
        values[odd] = values[odd - 1]
    found = Counters(at, modes, 1.0).busy()
    assert found.odd == [odd]
    expected = 1 - (idle[odd - 1] + idle[odd]) / 2
    assert found.value[odd - 1] == pytest.approx(expected, abs=1e-6)


def test_an_idle_counter_that_falls_back_and_catches_up_is_read_over_it() -> None:
    at = np.arange(0.0, 90.0, 15.0)
    values = np.array([555.9, 568.4, 580.9, 580.0, 605.9, 618.4])
    found = Counters(at, {"idle": values}, 1.0).busy()
    assert found.odd == [3]
    assert found.restarts == 0
    assert found.end_s == [15.0, 30.0, 60.0, 75.0]
    np.testing.assert_allclose(found.value, 1 - 12.5 / 15, atol=1e-9)


@pytest.mark.parametrize("late", [5.0, -5.0])
def test_a_scrape_that_was_late_or_early_is_read_over(late: float) -> None:
    at = 10.0 * np.arange(12)
    values = 1000 + 0.95 * at
    values[5] += late
    found = Counters(at, {"idle": values}, 1.0).busy()
    assert len(found.odd) == 1
    np.testing.assert_allclose(found.value, 0.05, atol=1e-9)


def test_a_cpu_that_never_idles_for_a_while_is_busy() -> None:
    at = 10.0 * np.arange(9)
    values = np.array([100.0, 109.0, 118.0, 118.0, 118.0, 118.0, 127.0, 136.0, 145.0])
    found = Counters(at, {"idle": values}, 1.0).busy()
    assert not found.odd
    np.testing.assert_allclose(found.value, [0.1, 0.1, 1, 1, 1, 0.1, 0.1, 0.1])


def test_a_restart_leaves_its_span_open() -> None:
    at = 10.0 * np.arange(6)
    found = Counters(at, {"idle": np.array([900.0, 909, 918, 5, 14, 23])}, 1.0).busy()
    assert found.restarts == 1
    assert found.begin_s == [0, 10, 30, 40]
    np.testing.assert_allclose(found.value, 0.1)


def test_cpu_time_in_use_is_a_share_of_the_cpus() -> None:
    at = 10.0 * np.arange(5)
    found = Counters(at, {"busy": 77 + 3.1 * at}, 8.0).busy()
    np.testing.assert_allclose(found.value, 3.1 / 8)


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=12),
    st.lists(st.floats(0, 1e6), min_size=12, max_size=12),
    st.sampled_from([1.0, 4.0, None]),
)
def test_whatever_they_are_shares_come_out_in_order(idle, user, cpus) -> None:
    at = np.arange(float(len(idle)))
    modes = {"idle": np.array(idle), "user": np.array(user[: len(idle)])}
    modes["system"] = modes["user"] / 2
    for used in (modes, {"idle": modes["idle"]}):
        found = Counters(at, used, cpus if used is not modes else None).busy()
        assert all(0.0 <= value <= 1.0 for value in found.value)
        assert all(a < b for a, b in zip(found.begin_s, found.end_s, strict=True))
        assert all(a <= b for a, b in zip(found.end_s, found.begin_s[1:], strict=False))
