"""One numbering of all tables' rows, and the best of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.model.tables import TableLayout
from lorabench.updates.rows import RowNumbers, top_rows

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple)


@given(SIZES, st.data())
def test_splitting_undoes_joining(sizes: tuple[int, ...], data: st.DataObject) -> None:
    numbers = RowNumbers(TableLayout(sizes, 4))
    chosen = data.draw(st.sets(st.integers(0, sum(sizes) - 1)))
    flat = np.array(sorted(chosen), np.int64)
    rows = numbers.split(flat)
    every = [(f, row) for f, size in enumerate(sizes) for row in range(size)]
    assert [(f, row) for f, one in enumerate(rows) for row in one] == [every[i] for i in flat]
    assert all(one.dtype == np.int32 for one in rows)
    np.testing.assert_array_equal(numbers.join(rows), flat)


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, np.inf, np.nan])), st.integers(0, 12))
def test_the_best_rows_are_those_that_a_sort_puts_first(scores: list[float], k: int) -> None:
    # A stable sort leaves equal scores in the order of their numbers.
    order = sorted((i for i, score in enumerate(scores) if score > 0), key=lambda i: -scores[i])
    found = top_rows(np.array(scores, np.float32), k)
    assert found.tolist() == sorted(order[:k])
    assert found.dtype == np.int64


def test_a_share_is_of_all_rows() -> None:
    numbers = RowNumbers(TableLayout((60, 40), 4))
    assert [numbers.share(share) for share in (1e-9, 0.07, 0.071, 1)] == [1, 7, 8, 100]
    with pytest.raises(ValueError, match=r"^found a share of 0, expected one above 0 and at most"):
        numbers.share(0)
