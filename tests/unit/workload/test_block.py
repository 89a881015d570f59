"""Blocks: cutting and joining lose nothing; dense values reach the model as DLRM wants them."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lorabench.workload.block import MISSING_DENSE, Block, dense_features
from lorabench.workload.criteo import parse_lines
from lorabench.workload.features import DenseSpec, plain_dense


def numbered(n: int) -> Block:
    at = np.arange(n)
    return Block(
        (at % 2).astype(np.int8),
        at.astype(np.int64) * 10,
        np.stack([at, -at], axis=1).astype(np.float32),
        np.stack([at, at + 1, at + 2], axis=1).astype(np.int32),
    )


@given(st.integers(1, 50), st.data())
def test_slices_concatenate_to_the_whole(n: int, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=5)))
    edges = [0, *cuts, n]
    whole = numbered(n)
    joined = Block.concat([whole.slice(a, b) for a, b in itertools.pairwise(edges)])
    assert len(joined) == n
    for name in ("label", "time_ns", "dense", "sparse"):
        original, again = getattr(whole, name), getattr(joined, name)
        assert again.dtype == original.dtype
        np.testing.assert_array_equal(again, original)


def test_concatenating_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no blocks"):
        Block.concat([])


def by_integers(dense: np.ndarray) -> np.ndarray:
    """Features of integers, as they were made before dense values were real numbers."""
    features = np.maximum(dense, 0).astype(np.float32)
    return np.log1p(features, out=features)


@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1))
@example([2**24 - 1, 2**24, 2**24 + 1, 2**24 + 2, 2**24 + 3, 2**25 + 2, 2**25 + 6, 2**31 - 1])
@example([sign * (2**bit + more) for bit in range(31) for more in (-1, 0, 1) for sign in (-1, 1)])
def test_features_of_integers_are_bit_by_bit_what_they_were(values: list[int]) -> None:
    dense = np.array([values], np.int32)
    features = dense_features(dense.astype(np.float32), plain_dense(len(values)))
    assert features.dtype == np.float32
    assert features.tobytes() == by_integers(dense).tobytes()


def test_features_of_raw_criteo_lines_are_bit_by_bit_what_they_were() -> None:
    rng = np.random.default_rng(0)
    dense = (2.0 ** rng.uniform(0, 31, (5000, 13)) * rng.choice([1, 1, -1], (5000, 13))).astype(
        np.int32
    )
    missing = rng.random(dense.shape) < 0.2
    fields = np.where(missing, "", dense.astype(str))
    lines = "".join("\t".join(["0", *row, *["a"] * 26]) + "\n" for row in fields)
    found = parse_lines(lines.encode(), Path("lines"), 0).dense.T
    np.testing.assert_array_equal(np.isnan(found), missing)
    expected = by_integers(np.where(missing, -(2**31), dense).astype(np.int32))
    np.testing.assert_array_equal(dense_features(found, plain_dense(13)), expected)


def spec_of(*transforms: str, mean: float = 0.0, deviation: float = 1.0) -> DenseSpec:
    content = plain_dense(len(transforms)).model_dump()
    content.update(transform=transforms, mean=mean, deviation=deviation)
    return DenseSpec.model_validate(content)


def test_each_column_has_a_transform_of_its_own_and_a_missing_value_is_zero_in_each() -> None:
    dense = np.array([[1, 0.12, 3, -5], [np.nan] * 4, [-2, -0.5, 5, 2.5]], np.float32)
    spec = spec_of("log1p", "identity", "standardise", "log1p", mean=4.0, deviation=2.0)
    expected = [[np.log(2), 0.12, -0.5, 0], [0, 0, 0, 0], [0, -0.5, 0.5, np.log(3.5)]]
    for order in (dense, np.asfortranarray(dense)):
        features = dense_features(order, spec)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, expected, rtol=1e-6)
    assert np.isnan(dense[1]).all()  # what was given stays as it is


def test_standardising_large_values_that_vary_little_leaves_their_differences() -> None:
    hours = np.array([[1.4e7], [1.4e7 + 3]], np.float32)
    features = dense_features(hours, spec_of("standardise", mean=1.4e7 + 1.5, deviation=1.5))
    np.testing.assert_allclose(features[:, 0], [-1, 1])


@given(st.lists(st.floats(width=32, allow_infinity=False), min_size=1), st.floats(1e-30, 1e30))
def test_no_value_becomes_an_input_that_is_not_finite(values: list[float], size: float) -> None:
    dense = np.array([values] * 3, np.float32).T
    spec = spec_of("log1p", "identity", "standardise", mean=size, deviation=size)
    assert np.isfinite(dense_features(dense, spec)).all()


def test_the_mark_of_a_missing_value_is_not_a_number() -> None:
    assert np.isnan(MISSING_DENSE)
    assert np.float32(MISSING_DENSE).dtype == np.float32
