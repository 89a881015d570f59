"""Dividing a stream into rows to pre-train on and rows to serve."""

from pathlib import Path

import pytest
from numbered_rows import CountingSource, numbers

from lorabench.errors import InputError
from lorabench.workload.source import open_source
from lorabench.workload.split import split_pretrain


@pytest.mark.parametrize(
    ("rows", "pretrain_rows", "expected"),
    [(1000, 100, 100), (150, 100, 75), (64, 100, 32), (1000, 0, 0), (65, 7, 7)],
)
@pytest.mark.parametrize("block_rows", [1, 13, 5000])
def test_pretraining_takes_its_rows_or_half_of_all(
    rows: int, pretrain_rows: int, expected: int, block_rows: int
) -> None:
    source = CountingSource(rows, block_rows, pretrain_rows)
    block, serving_start = split_pretrain(source)
    assert serving_start == expected
    assert numbers(block) == list(range(expected))
    assert source.rows_read < max(2 * pretrain_rows, 64) + block_rows


def test_the_raw_rows_are_divided_in_half(criteo_rows: Path) -> None:
    block, serving_start = split_pretrain(open_source(None, criteo_rows, 0))
    assert (len(block), serving_start) == (999, 999)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(InputError, match="found 63 rows, expected at least 64"):
        split_pretrain(CountingSource(63, 10))
