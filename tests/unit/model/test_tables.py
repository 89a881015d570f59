"""Tables in shared memory."""

import pytest

from lorabench.errors import InputError
from lorabench.model.tables import TableLayout, TableSet


def test_tables_larger_than_memory_are_refused_with_both_numbers() -> None:
    with pytest.raises(
        InputError,
        match=r"^memory for tables \(40 TiB\) and 1 GiB to run: found [\d.]+ [KMGT]iB available "
        r"\(/.*\).*, expected at least 40 TiB.*; use smaller cardinalities$",
    ):
        TableSet.create(TableLayout((2**31 - 2,) * 40, 128))
