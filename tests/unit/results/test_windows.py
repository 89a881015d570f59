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


def known(values: list[float], gone: set[int], step: float) -> Track:
    """A recording of these means, those of `gone` missing."""
    whole = track(values, step)
    keep = np.array([i not in gone for i in range(len(values))], np.bool_)
    extent = (0.0, step * len(values))
    return Track(whole.begin_s[keep], whole.end_s[keep], whole.value[keep], extent_s=extent)


@given(
    st.lists(st.floats(0, 1), min_size=40, max_size=120),
    st.sampled_from([1, 5, 10, 15, 60]),
    st.sets(st.integers(0, 119)),
)
def test_bounds_hold_over_spans_without_a_value(
    seconds: list[float], step: int, gone: set[int]
) -> None:
    """Whatever happened in the gaps, the busiest window lies within the bounds."""
    whole = len(seconds) // step * step
    means = [float(np.mean(seconds[i : i + step])) for i in range(0, whole, step)]
    # One span at an end is within what hosts that are read at different moments may lack.
    recorded = known(means, gone - {0, len(means) - 1}, step)
    bound = peak(recorded, 10.0)
    if bound is None:
        return
    # Aligned with the spans, as windows of a recording are.
    at = range(0, whole - 9, 1 if step > 12 else step)
    windows_of_10_s = [float(np.mean(seconds[i : i + 10])) for i in at]
    busiest = max(windows_of_10_s, default=0.0)
    assert bound.low <= busiest + 1e-9
    assert bound.high >= busiest - 1e-9
    assert 0.0 <= bound.low <= bound.high <= 1.0


def test_a_gap_of_a_window_leaves_all_open_and_a_shorter_one_a_part() -> None:
    gone = peak(known([0.1] * 60, set(range(20, 30)), 1.0), 10.0)
    second = peak(known([0.1] * 60, {20}, 1.0), 10.0)
    assert gone is not None
    assert second is not None
    assert (gone.low, gone.high, gone.exact) == (pytest.approx(0.1), 1.0, False)
    assert (second.low, second.high) == (pytest.approx(0.1), pytest.approx(0.19))


def test_a_recording_that_ends_or_begins_late_is_unknown_there() -> None:
    ends = known([0.1] * 60, {57, 58, 59}, 10.0)
    assert ends.unknown_s == 30.0
    assert peak(ends, 10.0).high == 1.0  # type: ignore[union-attr]
    # Up to a step and a half is the hosts' being read at different moments.
    assert known([0.1] * 60, {59}, 10.0).unknown_s == 0.0


def test_bounds_of_single_spans_bound_the_peak() -> None:
    edges = 10.0 * np.arange(4)
    value = np.array([0.1, 0.2, 0.1])
    half = Track(edges[:-1], edges[1:], value, np.array([0.1, 0.1, 0.1]), np.array([0.1, 0.6, 0.1]))
    found = peak(half, 10.0)
    assert found is not None
    assert (found.low, found.high, found.exact) == (pytest.approx(0.1), pytest.approx(0.6), False)


def moving(seconds: list[float], range_s: int, step: int) -> Track:
    """What rate(...[range]) gives at every step."""
    at = np.arange(range_s, len(seconds) + 1, step)
    value = np.array([float(np.mean(seconds[t - range_s : t])) for t in at])
    end = at.astype(float)
    return Track(end - step, end, value, range_s=float(range_s), extent_s=(end[0] - step, end[-1]))


@given(
    st.lists(st.floats(0, 1), min_size=80, max_size=160),
    st.sampled_from(
        [(5, 1), (7, 5), (10, 5), (15, 10), (6, 4), (20, 5), (30, 10), (60, 10), (60, 15)]
    ),
)
def test_a_moving_average_bounds_the_windows_that_it_hides(
    seconds: list[float], how: tuple[int, int]
) -> None:
    range_s, step = how
    recorded = moving(seconds, range_s, step)
    bound = peak(recorded, 10.0)
    assert bound is not None
    seen = int(recorded.end_s[-1])
    busiest = [float(np.mean(seconds[i : i + 10])) for i in range(0, seen - 9, step)]
    assert bound.low <= max(float(np.mean(seconds[i : i + 10])) for i in range(seen - 9)) + 1e-9
    assert bound.high >= max(busiest) - 1e-9
    assert len(windows(recorded, 10.0)) > 0


def test_five_minutes_averaged_hide_twenty_seconds() -> None:
    seconds = [1.0 if t % 200 < 20 else 0.05 for t in range(2000)]
    found = peak(moving(seconds, 300, 10), 10.0)
    assert found is not None
    assert found.low < 0.20 < found.high
    assert not found.exact


def test_an_average_that_reads_next_to_nothing_is_known_to_be_idle() -> None:
    found = peak(moving([0.02] * 400, 60, 10), 10.0)
    assert found is not None
    assert found.high == pytest.approx(0.12)
