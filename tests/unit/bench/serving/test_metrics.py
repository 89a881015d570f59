"""What a throttle's trace says over a window and about a spike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.bench.serving.metrics import duty_mean, yield_s

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


def used(rates: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """CPU time every 10 ms of a trainer that takes such shares of a CPU, each for 0.1 s."""
    shares = np.repeat(rates, 10)
    return 0.01 * np.arange(1, len(shares) + 1), np.cumsum(shares) * 0.01


@pytest.mark.parametrize(
    ("rates", "cpus", "found"),
    [
        ([1.0, 1.0, 0.0, 0.0], 1, 0.15),
        ([1.0, 0.05, 0.05, 0.05], 1, 0.01),
        ([1.0, 1.0, 0.5, 0.0], 1, 0.25),
        ([2.0, 2.0, 0.15, 0.0], 2, 0.15),
        ([1.0, 1.0, 0.5, 0.5], 1, 0.3),
        ([0.0, 1.0, 1.0, 1.0], 1, 0.3),
    ],
)
def test_the_trainer_has_yielded_when_it_takes_next_to_no_cpu_within_the_spike(
    rates: list[float], cpus: int, found: float
) -> None:
    spike_s = (0.15 if rates[1] < 0.1 else 0.1, 0.4)
    assert yield_s(*used(rates), spike_s, cpus) == pytest.approx(found, abs=0.011)


def test_a_stop_after_the_spike_is_no_yield_and_without_samples_nothing_is_known() -> None:
    assert yield_s(*used([1.0, 1.0, 1.0, 0.0]), (0.1, 0.3), 1) == pytest.approx(0.2)
    assert yield_s(np.zeros(0), np.zeros(0), (0.1, 0.3), 1) is None
