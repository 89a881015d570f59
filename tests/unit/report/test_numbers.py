"""Numbers are written with as many digits as they can be read with."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.report.numbers import scale_of
from lorabench.results.units import number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (1.2345, "1.23"),
        (0.012345, "0.0123"),
        (123.456, "123"),
        (47712.3, "47,712"),
        (1e-9, "1.00e-09"),
        (1e300, "1.00e+300"),
        (-2.5, "-2.50"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_three_digits_say_enough(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(-1e300, 1e300))
def test_what_is_written_is_short_and_near(value: float) -> None:
    text = number(value)
    assert len(text) <= 26
    assert float(text.replace(",", "")) == pytest.approx(value, rel=6e-3, abs=1e-307)


@pytest.mark.parametrize(
    ("unit", "values", "shown"),
    [
        ("s", (0.0013, 0.004), "ms"),
        ("s", (2e-9,), "ns"),
        ("s", (), "s"),
        ("B", (10_245_320,), "MiB"),
        ("1", (5.0,), ""),
        ("1/s", (5.0,), "1/s"),
    ],
)
def test_units_make_numbers_neither_tiny_nor_huge(
    unit: str, values: tuple[float, ...], shown: str
) -> None:
    assert scale_of(unit, values).unit == shown
