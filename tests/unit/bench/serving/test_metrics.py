"""What a throttle's trace says over a window and about a spike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import NS, record

from lorabench.bench.serving.metrics import Known, duty_mean, measure, yield_s
from lorabench.targets.service import ServiceTime, stalls
from lorabench.targets.target import Record

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


def test_a_slice_in_which_a_quota_stopped_the_servers_is_counted_apart() -> None:
    served = {"late_ns": [0, 0], "window_ns": (0, NS)}
    parts = [
        record([0, NS // 2], [9, NS // 2 + 9], throttled=np.array([row]), **served)
        for row in ([5.0, 0.0, 0.0], [10.0, 4.0, 0.3])
    ]
    norm = ServiceTime(10.0, 0.0)

    def measured(record_: Record, *, limited: bool) -> dict[str, float | None]:
        held_up = stalls(record_, norm)
        labels = np.zeros(len(record_.done), np.int8)
        return measure(record_, labels, Known(norm, limited=limited), held_up)

    both = measured(Record.joined(parts), limited=True)
    assert (both["quota_periods"], both["throttled_periods"]) == (15.0, 4.0)
    assert (both["throttled_slices"], both["throttled_s"]) == (1.0, 0.3)
    # The slice without a stop is what stalls of the host are counted in.
    assert both["stalls_per_s"] == 0.0
    assert measured(parts[1], limited=True)["stalls_per_s"] is None
    assert measured(parts[0], limited=True)["throttled_slices"] == 0.0
    assert "quota_periods" not in measured(record([0], [9], late_ns=[0]), limited=False)
