"""Walking a source without end."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_rows import CountingSource, numbers

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.source import open_source
from lorabench.workload.stream import RowStream


@settings(deadline=None)
@given(
    rows=st.integers(1, 40),
    block_rows=st.integers(1, 12),
    start_fraction=st.floats(0, 0.99),
    takes=st.lists(st.integers(1, 90), min_size=1, max_size=6),
)
def test_a_stream_is_the_rows_from_start_on_over_and_over(
    rows: int, block_rows: int, start_fraction: float, takes: list[int]
) -> None:
    start = int(start_fraction * rows)
    source = CountingSource(rows, block_rows)
    stream = RowStream(source, start)
    taken = [stream.take(n) for n in takes]
    assert [len(block) for block in taken] == takes
    total = sum(takes)
    cycle = list(range(start, rows))
    expected = [cycle[i % len(cycle)] for i in range(total)]
    whole = Block.concat(taken)
    assert numbers(whole) == expected
    assert (np.diff(whole.time_ns) > 0).all()
    assert stream.wraps == (total - 1) // len(cycle)
    assert stream.position == expected[-1] + 1
    assert source.starts == [start] * (stream.wraps + 1)


def test_a_stream_of_raw_rows_wraps(criteo_rows: Path) -> None:
    source = open_source("tiny", criteo_rows, 0)
    every = Block.concat(list(source.blocks()))
    stream = RowStream(source, 999)
    first, second = stream.take(800), stream.take(2300)
    np.testing.assert_array_equal(first.sparse, every.sparse[999:1799])
    np.testing.assert_array_equal(second.sparse[:200], every.sparse[1799:])
    np.testing.assert_array_equal(second.sparse[200:1200], every.sparse[999:])
    assert stream.wraps == 3


def test_a_stream_without_rows_says_so() -> None:
    with pytest.raises(InputError, match="found no row 10"):
        RowStream(CountingSource(10, 4), 10).take(1)
