"""Sizes with their units, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.bench.sizes import parse_size, write_size

DECIMAL, BINARY = "kMGTPE", "KMGTPE"


@given(st.floats(min_value=0, max_value=1e300, allow_subnormal=False))
def test_what_is_written_is_read_as_exactly_as_many(size) -> None:
    assert parse_size(write_size(size)) == size


@given(st.integers(0, 999), st.integers(0, 5))
def test_decimal_and_binary_units_are_told_apart(number, power) -> None:
    assert parse_size(f"{number}{DECIMAL[power]}B") == number * 10.0 ** (3 * power + 3)
    assert parse_size(f"{number} {BINARY[power]}iB") == number * 2.0 ** (10 * power + 10)


@given(st.text(max_size=12))
def test_whatever_is_given_is_a_size_or_refused_in_one_line(text) -> None:
    try:
        size = parse_size(text)
    except ValueError as error:
        told = str(error)
    else:
        told = f"a size with its unit, {size}" if 0 <= size < float("inf") else text
    assert told.startswith("a size with its unit")


@pytest.mark.parametrize(
    "text", ["200", "200T", "200tb", "200Tb", "TB", "-1TB", "1e999TB", "nanTB"]
)
def test_no_unit_an_unknown_one_and_no_number_are_refused(text) -> None:
    with pytest.raises(ValueError, match=r"such as 200TB, 1\.5PB or 10TiB"):
        parse_size(text)
