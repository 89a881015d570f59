"""The touch curve of a replay, against counting each window by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench.model.tables import TableLayout
from lorabench.updates.touch_counter import TouchCounter

LAYOUT = TableLayout((5, 7), 4, (1, 2))
COLUMNS = (0, 5, 5)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9))
def test_lengths_are_chained_by_means_of_the_stretch_that_both_divide(seed, rows, batch) -> None:
    rng = np.random.default_rng(seed)
    ticks = np.sort(rng.integers(0, 25, rows))
    sparse = np.stack([rng.integers(0, most, rows) for most in (5, 7, 7)], axis=1).astype(np.int32)
    counter = TouchCounter(LAYOUT, 0.5)
    time_ns = ticks * 500_000_000 + 3
    for begin in range(0, rows, batch):
        counter.add(time_ns[begin : begin + batch], sparse[begin : begin + batch])
    since, last = ticks - ticks[0], ticks[-1] - ticks[0] + 1
    found = dict(counter.points())
    assert 0.5 in found

    def mean(length: int, ticks: int) -> float:
        """Of whole windows, counted one by one."""
        touched = [
            len(np.unique(sparse[since // length == window] + COLUMNS))
            for window in range(ticks // length)
        ]
        return float(np.mean(touched)) / 12

    for seconds, share in found.items():
        length = round(seconds / 0.5)
        if last % length == 0:
            assert share == pytest.approx(mean(length, last))
        elif length == 3 or length % 2 == 0:
            shorter = 1 if length == 3 else length // 2
            both = last // length * length
            ratio = mean(length, both) / mean(shorter, both)
            assert share == pytest.approx(min(1.0, found[shorter * 0.5] * ratio))
    curve = counter.curve()
    assert all(curve.share(seconds) >= share - 1e-12 for seconds, share in found.items())


def test_a_longer_window_touches_no_less_of_a_stream_whose_rate_grows() -> None:
    counter = TouchCounter(TableLayout((1000,), 4), 1.0)
    # 31 ticks, of which the last 15 have most of the rows: the windows of 16 know only the first.
    for tick in range(31):
        rows = np.arange(200 if tick > 15 else 2, dtype=np.int32)
        counter.add(np.full(len(rows), tick * 1_000_000_000), rows[:, None])
    found = dict(counter.points())
    assert found[1.0] == pytest.approx((15 * 200 + 16 * 2) / 31 / 1000)
    for seconds, share in found.items():
        if 2 * seconds in found:
            assert share <= found[2 * seconds] <= 2 * share


def test_nothing_touched_has_no_curve() -> None:
    assert TouchCounter(LAYOUT, 1.0).curve() is None
