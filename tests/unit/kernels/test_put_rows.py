"""Rows of a push written into tables, against fancy assignment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench._kernels.train import RowWriter


@given(
    st.sampled_from([1, 3, 8, 16, 20, 32, 64, 128]),
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 90)), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_rows_are_what_was_sent_and_no_other_row_is_touched(
    build: str, dim: int, sizes: list[tuple[int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    tables = [rng.normal(size=(rows, dim)).astype(np.float32) for rows, _ in sizes]
    twins = [table.copy() for table in tables]
    # Some rows stand there twice: the later value stays.
    sent = [rng.integers(0, rows, n).astype(np.int32) for rows, n in sizes]
    rows = np.concatenate([np.zeros(2, np.int32), *sent, np.zeros(1, np.int32)])
    values = rng.normal(size=(len(rows), dim)).astype(np.float32)
    # What comes before the first and after the last is left out.
    offsets = 2 + np.cumsum([0, *(n for _, n in sizes)])
    assert RowWriter(tables).write(rows, values, offsets) == offsets[-1] - 2
    for f, twin in enumerate(twins):
        for at in range(offsets[f], offsets[f + 1]):
            twin[rows[at]] = values[at]
        np.testing.assert_array_equal(tables[f], twin)


def test_what_cannot_be_written_is_refused_and_nothing_is() -> None:
    tables = [np.zeros((3, 4), np.float32), np.zeros((5, 4), np.float32)]
    writer = RowWriter(tables)
    rows, values = np.array([1, 4], np.int32), np.ones((2, 4), np.float32)
    with pytest.raises(IndexError, match="rows of table 1: found -1 at position 1, expected 0 to"):
        writer.write(np.array([1, -1], np.int32), values, np.array([0, 1, 2]))
    with pytest.raises(IndexError, match="rows of table 0: found 4 at position 1, expected 0 to 2"):
        writer.write(rows, values, np.array([0, 2, 2]))
    for offsets in ([0, 2, 1], [-1, 1, 2], [0, 1, 3]):
        with pytest.raises(ValueError, match=r"offsets\[\d\]: found -?\d, expected offsets from 0"):
            writer.write(rows, values, np.array(offsets))
    with pytest.raises(ValueError, match="offsets: found 2, expected 3"):
        writer.write(rows, values, np.array([0, 2]))
    with pytest.raises(ValueError, match=r"values: found shape \(2, 3\), expected \[2, 4\]"):
        writer.write(rows, np.ones((2, 3), np.float32), np.array([0, 1, 2]))
    tables[0].flags.writeable = False
    with pytest.raises(ValueError, match=r"arrays\[0\].*writ"):
        RowWriter(tables)
    assert not any(table.any() for table in tables)
