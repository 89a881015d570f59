"""Row-wise 8 bits: what torch and FBGEMM read, within half a step of what went in."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lorabench.updates.quantise import quantise

# Within these a row's range is finite, too.
FINITE = st.floats(-(2.0**126), 2.0**126, width=32)
ROWS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=FINITE)


def twin(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What FBGEMM's reference does, row by row: [n, D + 8]."""
    low = rows.min(axis=1, keepdims=True)
    width = rows.max(axis=1, keepdims=True) - low
    inverse = np.float32(255) / (width + np.float32(1e-8))
    codes = np.rint((rows - low) * inverse).astype(np.uint8)
    tail = np.concatenate([width / np.float32(255), low], axis=1).astype(np.float32)
    return np.concatenate([codes, tail.view(np.uint8)], axis=1)


def fused(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    found = quantise(rows)
    tail = np.stack([found.scale, found.offset], axis=1)
    assert found.size_bytes == len(rows) * (rows.shape[1] + 8)
    return np.concatenate([found.codes, tail.view(np.uint8)], axis=1)


@given(ROWS)
def test_codes_are_those_of_the_reference(rows: NDArray[np.float32]) -> None:
    rows = rows + np.float32(0)  # which of two zeros is the lower one is nowhere said
    np.testing.assert_array_equal(fused(rows), twin(rows))


def test_codes_are_those_of_fbgemm() -> None:
    pytest.importorskip("fbgemm_gpu", reason="the optional extra fbgemm is not installed")
    rows = np.random.default_rng(0).standard_normal((500, 24)).astype(np.float32)
    theirs = torch.ops.fbgemm.FloatToFused8BitRowwiseQuantized(torch.from_numpy(rows))
    np.testing.assert_array_equal(fused(rows), theirs.numpy())
    back = torch.ops.fbgemm.Fused8BitRowwiseQuantizedToFloat(theirs)
    np.testing.assert_array_equal(quantise(rows).rows(), back.numpy())


@given(ROWS)
def test_a_value_comes_back_within_half_a_step(rows: NDArray[np.float32]) -> None:
    found = quantise(rows)
    error = np.abs(found.rows().astype(np.float64) - rows).max(axis=1)
    rounding = 8 * np.finfo(np.float32).eps * np.abs(rows).max(axis=1).astype(np.float64)
    # 255 denormal steps do not make up a range that is denormal itself.
    tiny = 255 * np.finfo(np.float32).smallest_subnormal
    assert (error <= 0.5 * found.scale.astype(np.float64) + 1e-8 + rounding + tiny).all()


@given(FINITE, st.integers(1, 5))
def test_a_constant_row_comes_back_as_it_was(value: float, dim: int) -> None:
    rows = np.full((2, dim), value, np.float32)
    found = quantise(rows)
    assert not found.scale.any()
    np.testing.assert_array_equal(found.rows(), rows)


def test_no_rows_are_no_rows() -> None:
    found = quantise(np.empty((0, 4), np.float32))
    assert found.rows().shape == (0, 4)
    assert found.size_bytes == 0


@pytest.mark.parametrize("bad", [[np.nan, 1], [1, np.inf], [-np.inf, 1], [3e38, -3e38]])
def test_what_would_come_back_as_nan_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match=r"^row 1: found values of .*, expected finite"):
        quantise(np.array([[1, 2], bad], np.float32))
