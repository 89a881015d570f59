"""Mean and deviation of dense columns: what numpy makes of all rows at once, however they come."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.workload import moments as module
from lorabench.workload.block import dense_features
from lorabench.workload.features import plain_dense
from lorabench.workload.moments import Moments, standardised

TRANSFORMS = ("log1p", "standardise", "identity", "standardise")
VALUES = st.lists(
    st.tuples(*[st.none() | st.floats(-1e6, 1e6, width=32) for _ in TRANSFORMS]), max_size=40
)


def rows_of(values: list[tuple[float | None, ...]]) -> np.ndarray:
    return np.array(values, np.float32).reshape(len(values), len(TRANSFORMS)).T


@given(VALUES, st.integers(1, 10), st.integers(0, 40))
def test_parts_give_the_moments_of_the_whole(values, size: int, stop: int) -> None:
    dense = rows_of(values)
    found = Moments.of(TRANSFORMS)
    for begin in range(0, dense.shape[1], size):
        if begin // size == stop:  # a run that was killed goes on from its note
            found = Moments(**json.loads(json.dumps(vars(found))))
        found.add(dense[:, begin : begin + size])
    assert found.columns == [1, 3]
    for i, column in enumerate((1, 3)):
        there = dense[column][~np.isnan(dense[column])].astype(np.float64)
        assert found.counts[i] == len(there)
        if len(there):
            assert found.means[i] == pytest.approx(there.mean(), rel=1e-9, abs=1e-6)
            expected = there.std() if np.ptp(there) else 1.0
            assert found.deviation(i) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_large_column_that_varies_little_keeps_its_deviation() -> None:
    values = (1.4e9 + 128 * np.arange(6)).astype(np.float32)
    found = Moments.of(("standardise",))
    for value in values:
        found.add(np.array([[value]]))
    assert found.deviation(0) == pytest.approx(values.astype(np.float64).std())


def test_rows_behind_the_sample_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE_ROWS", 5)
    found = Moments.of(("standardise",))
    for value in range(4):
        found.add(np.array([[2 * value, 2 * value + 1]], np.float32))
    assert (found.rows, found.counts, found.means) == (5, [5], [2.0])


def test_standardised_features_have_mean_0_and_deviation_1() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(3, 0.2, (4, 5000)).astype(np.float32)
    dense[3, :100] = np.nan
    dense[1] = 7  # nothing varies
    found = Moments.of(TRANSFORMS)
    found.add(dense)
    spec = standardised(plain_dense(4), TRANSFORMS, found)
    assert spec.transform == TRANSFORMS
    features = dense_features(dense.T, spec)
    assert features[100:, 3].mean() == pytest.approx(0, abs=1e-6)
    assert features[100:, 3].std() == pytest.approx(1)
    assert (features[:100, 3] == 0).all()
    assert (features[:, 1] == 0).all()


def test_without_columns_to_standardise_the_spec_has_no_moments() -> None:
    transforms = ("log1p", "identity")
    spec = standardised(plain_dense(2), transforms, Moments.of(transforms))
    assert (spec.transform, spec.mean, spec.deviation) == (transforms, (), ())
