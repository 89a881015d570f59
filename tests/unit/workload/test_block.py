"""Blocks: cutting and joining lose nothing; dense values reach the model as DLRM wants them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.workload.block import MISSING_DENSE, Block, dense_features


def numbered(n: int) -> Block:
    at = np.arange(n)
    return Block(
        (at % 2).astype(np.int8),
        at.astype(np.int64) * 10,
        np.stack([at, -at], axis=1).astype(np.int32),
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


def test_dense_features_are_the_logarithm_and_zero_where_missing_or_negative() -> None:
    dense = np.array([[0, 1, 2**31 - 1], [-2, MISSING_DENSE, 99]], np.int32)
    features = dense_features(dense)
    assert features.dtype == np.float32
    expected = [[0, np.log(2), np.log(2**31)], [0, 0, np.log(100)]]
    np.testing.assert_allclose(features, expected, rtol=1e-6)
