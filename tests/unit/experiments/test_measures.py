"""What a throttle's trace says over a window and about a spike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.experiments.measures import duty_mean, yield_s

AT_S = np.array([0.5, 1.0, 1.5, 3.0])


def test_each_duty_counts_until_the_next_and_only_within_the_window() -> None:
    duty = np.array([1.0, 0.0, 0.5, 1.0])
    assert duty_mean(AT_S, duty, (1.0, 2.0)) == pytest.approx(0.25)
    assert duty_mean(AT_S, duty, (0.0, 1.0)) == 1.0
    assert duty_mean(AT_S, duty, (2.0, 4.0)) == pytest.approx(0.75)
    assert duty_mean(AT_S, duty, (0.0, 0.5)) is None


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=20),
    st.floats(0, 9),
    st.floats(0.1, 5),
)
def test_a_mean_duty_lies_between_the_least_and_the_most(
    trace: list[tuple[float, float]], begin: float, length: float
) -> None:
    at_s, duty = np.array(sorted(trace)).T
    mean = duty_mean(at_s, duty, (begin, begin + length))
    assert mean is None or duty.min() - 1e-9 <= mean <= duty.max() + 1e-9


@pytest.mark.parametrize(
    ("duty", "found"),
    [
        ([1.0, 1.0, 0.0, 1.0], 0.3),
        ([1.0, 0.0, 1.0, 1.0], 0.0),
        ([0.0, 1.0, 0.5, 0.0], 1.8),
        ([1.0, 1.0, 0.5, 1.0], None),
    ],
)
def test_the_trainer_yields_when_it_first_stops_within_the_spike(
    duty: list[float], found: float | None
) -> None:
    assert yield_s(AT_S, np.array(duty), (1.2, 4.0)) == pytest.approx(found)


def test_a_stop_after_the_spike_is_no_yield() -> None:
    assert yield_s(AT_S, np.array([1.0, 1.0, 1.0, 0.0]), (1.2, 2.0)) is None
