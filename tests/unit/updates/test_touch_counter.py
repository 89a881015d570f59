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
def test_every_length_has_the_mean_of_its_whole_windows(seed, rows, batch) -> None:
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
    for seconds, share in found.items():
        length = round(seconds / 0.5)
        touched = [
            len(np.unique(sparse[since // length == window] + COLUMNS))
            for window in range(last // length)
        ]
        assert share == pytest.approx(np.mean(touched) / 12)
    curve = counter.curve()
    assert all(curve.share(seconds) >= share - 1e-12 for seconds, share in found.items())


def test_nothing_touched_has_no_curve() -> None:
    assert TouchCounter(LAYOUT, 1.0).curve() is None
