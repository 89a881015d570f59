"""Windows of a load over time, and what a recording leaves open about the busiest one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.results.windows import Track, peak, windows

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=60)


def track(values: list[float], step: float = 1.0, start: float = 0.0) -> Track:
    edges = start + step * np.arange(len(values) + 1)
    return Track(edges[:-1], edges[1:], np.array(values, np.float64))


def joined(*tracks: Track) -> Track:
    return Track(
        *(
            np.concatenate([getattr(t, name) for t in tracks])
            for name in ("begin_s", "end_s", "value")
        )
    )


@given(SHARES)
def test_windows_of_seconds_are_the_moving_mean(values: list[float]) -> None:
    found = windows(track(values), 10.0)
    expected = [np.mean(values[i : i + 10]) for i in range(len(values) - 9)]
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.mean, expected, atol=1e-12)
    np.testing.assert_allclose(found.span_s, 10.0)


@given(SHARES, SHARES, st.floats(2.0, 100.0))
def test_no_window_reaches_over_a_gap(one: list[float], two: list[float], gap: float) -> None:
    both = joined(track(one), track(two, start=len(one) + gap))
    found = windows(both, 10.0)
    apart = [windows(track(one), 10.0), windows(track(two), 10.0)]
    np.testing.assert_allclose(found.mean, np.concatenate([w.mean for w in apart]), atol=1e-12)


def test_too_short_a_time_has_no_window() -> None:
    assert windows(track([0.5] * 9), 10.0).peak is None
    assert peak(track([0.5] * 9), 10.0) is None
    assert peak(track([]), 10.0) is None


def test_p95_is_what_95_percent_of_the_windows_do_not_exceed() -> None:
    found = windows(track(list(np.arange(100) / 100.0), step=10.0), 10.0)
    assert found.p95 == pytest.approx(0.94)
    assert found.peak == pytest.approx(0.99)


def test_seconds_show_the_busiest_ten_of_them() -> None:
    found = peak(track([0.1] * 30 + [1.0] * 5 + [0.1] * 30), 10.0)
    assert found is not None
    assert found.exact
    assert found.low == found.high == pytest.approx(0.55)


@given(st.lists(st.floats(0, 1), min_size=60, max_size=200), st.integers(7, 60), st.integers(0, 30))
def test_coarse_spans_bound_the_window_that_they_hide(
    seconds: list[float], step: int, offset: int
) -> None:
    """Truth by the second, recorded as means over `step` seconds: the bounds hold it."""
    truth = seconds[offset:]
    whole = len(truth) // step * step
    if whole < max(10, step):
        return
    recorded = track([float(np.mean(truth[i : i + step])) for i in range(0, whole, step)], step)
    bound = peak(recorded, 10.0)
    if bound is None:
        return
    busiest = max(float(np.mean(truth[i : i + 10])) for i in range(whole - 9))
    if bound.exact:  # windows of 10 to 12.5 s
        return
    assert bound.low <= busiest + 1e-9
    assert bound.high >= busiest - 1e-9


def test_ten_minutes_above_the_limit_hold_a_window_above_it_and_below_it_say_little() -> None:
    above = peak(track([0.25, 0.1], step=600.0), 10.0)
    below = peak(track([0.01, 0.01], step=600.0), 10.0)
    assert above is not None
    assert below is not None
    assert above.low == pytest.approx(0.25)
    assert (below.low, below.high) == (pytest.approx(0.01), 1.0)


def test_a_minute_with_less_work_than_a_window_takes_is_known_to_be_idle() -> None:
    found = peak(track([0.01] * 20, step=60.0), 10.0)
    assert found is not None
    assert found.high == pytest.approx(0.12)
