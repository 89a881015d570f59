"""Top rows and Gram matrices against numpy, in every build."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench._kernels.dispatch import instruction_sets, use_instruction_set
from lorabench._kernels.lookup import random_read
from lorabench._kernels.train import add_gram, top_rows


@pytest.fixture(params=instruction_sets(), autouse=True, scope="module")
def build(request: pytest.FixtureRequest):
    use_instruction_set(request.param)
    yield request.param
    use_instruction_set(instruction_sets()[0])


def packed_lower(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.tril_indices(len(matrix))]


@given(
    st.sampled_from([1, 3, 4, 7, 16, 17, 33, 48, 64, 100, 128]),
    st.integers(0, 600),
    st.integers(1, 3),
    st.integers(0, 2**32),
)
def test_gram_adds_the_lower_triangle_of_x_transposed_times_x(
    dim: int, n: int, tables: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, tables, dim), dtype=np.float32)
    which = np.array([tables - 1, 0], np.int64)
    packed = rng.standard_normal((2, dim * (dim + 1) // 2), dtype=np.float32)
    added = np.stack([packed_lower(x[:, f].T.astype(np.float64) @ x[:, f]) for f in which])
    expected = packed + 2 * added
    for _ in range(2):
        add_gram(x, which, packed)
    np.testing.assert_allclose(packed, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("x", "tables", "packed", "error", "message"),
    [
        ((4, 2, 3), [2], (1, 6), IndexError, r"tables\[0\]: found 2, expected 0 to 1"),
        ((4, 2, 3), [-1], (1, 6), IndexError, r"tables\[0\]: found -1"),
        ((4, 2, 3), [0], (1, 5), ValueError, r"packed: found shape \(1, 5\), expected \[1, 6\]"),
        ((4, 3), [0], (1, 6), ValueError, r"x: found shape \(4, 3\), expected 3 axes"),
    ],
)
def test_a_gram_that_does_not_fit_is_refused_untouched(x, tables, packed, error, message) -> None:
    sums = np.full(packed, 5, np.float32)
    with pytest.raises(error, match=message):
        add_gram(np.ones(x, np.float32), np.array(tables, np.int64), sums)
    assert (sums == 5).all()


@given(
    st.integers(0, 200), st.sampled_from([1, 4, 7, 16, 40]), st.integers(0, 200), st.integers(0, 99)
)
def test_top_rows_are_the_largest_by_norm_then_by_number(
    n: int, width: int, k: int, seed: int
) -> None:
    k = min(n, k)
    rng = np.random.default_rng(seed)
    # Small integers: norms are exact, and many are equal.
    x = rng.integers(-2, 3, (n, width)).astype(np.float32)
    rows, norms = np.full(k, -1, np.int64), np.full(k, np.nan, np.float32)
    top_rows(x, rows, norms)
    squares = (x * x).sum(axis=1)
    expected = np.argsort(-squares, kind="stable")[:k]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(norms, np.sqrt(squares[expected]), rtol=1e-6)


def test_a_row_with_a_nan_comes_last() -> None:
    x = np.array([[1], [np.nan], [3], [2]], np.float32)
    rows, norms = np.zeros(4, np.int64), np.zeros(4, np.float32)
    top_rows(x, rows, norms)
    assert rows.tolist() == [2, 3, 0, 1]
    assert norms.tolist() == [3, 2, 1, -1]


@pytest.mark.parametrize(
    ("k", "norms", "message"),
    [(5, 5, "rows: found room for 5, expected at most the 4 of x"), (3, 2, "norms: found 2")],
)
def test_more_rows_than_there_are_cannot_be_asked_for(k: int, norms: int, message: str) -> None:
    rows = np.full(k, 9, np.int64)
    with pytest.raises(ValueError, match=message):
        top_rows(np.ones((4, 2), np.float32), rows, np.zeros(norms, np.float32))
    assert (rows == 9).all()


@pytest.mark.parametrize("dim", [1, 16, 32, 48, 64, 128])
@pytest.mark.parametrize("ahead", [1, 16, 256])
def test_a_random_read_reads_as_many_rows_as_it_says(dim: int, ahead: int) -> None:
    table = np.ones((1000, dim), np.float32)
    lanes = {"plain": 4, "avx2": 8, "avx512": 16}
    for name in instruction_sets():
        use_instruction_set(name)
        whole = dim - dim % lanes[name]
        assert random_read(table, 700, ahead=ahead, seed=5) == 700 * whole


@pytest.mark.parametrize("ahead", [0, 3, 512])
def test_a_distance_that_is_no_power_of_two_in_range_is_refused(ahead: int) -> None:
    with pytest.raises(ValueError, match=f"ahead: found {ahead}"):
        random_read(np.ones((4, 4), np.float32), 4, ahead=ahead, seed=1)
