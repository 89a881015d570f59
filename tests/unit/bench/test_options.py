"""An option is said once: its range, its flag and how its text is read follow from the field."""

import math
from dataclasses import MISSING, dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.bench.options import (
    Option,
    Workload,
    check,
    flags,
    milliseconds,
    names,
    numbers,
    option,
    options_of,
    rank,
    resolved,
    shares,
)
from lorabench.errors import InputError

BOUND = st.none() | st.integers(-5, 5)


@dataclass(frozen=True)
class Some(Workload):
    wait_s: float = option(1.0, "How long.", unit="s", above=0, most=60)
    size_bytes: int = option(1, "How large.", unit="B", least=1)
    parts: tuple[int, ...] = option((1, 2), "Which.", "--part", parse=numbers, least=1, most=9)
    kind: str = option("a", "Of what kind.", choices=("a", "b"))
    kinds: tuple[str, ...] = option((), "Of which.", parse=names, choices=("a", "b"))
    twice: bool = option(False, "Do it twice.")
    private: int = 3


def test_a_flag_is_made_from_the_name_without_its_unit() -> None:
    given = {one.name: flags(one, known) for one, known in options_of(Some)}
    assert given == {
        "preset": ("--preset",),
        "data": ("--data",),
        "columns": ("--columns",),
        "wrap_ids": ("--wrap-ids",),
        "wait_s": ("--wait",),
        "size_bytes": ("--size",),
        "parts": ("--part",),
        "kind": ("--kind",),
        "kinds": ("--kinds",),
        "twice": ("--twice",),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Some(wait_s=0.0), "--wait: found 0.0, expected above 0 and at most 60"),
        (Some(wait_s=math.nan), "--wait: found nan, expected above 0 and at most 60"),
        (Some(size_bytes=0), "--size: found 0, expected at least 1"),
        (Some(parts=(1, 10)), "--part: found 10, expected 1 to 9"),
        (Some(kind="c"), "--kind: found 'c', expected one of a, b"),
        (Some(kinds=("a", "c")), "--kinds: found 'c', expected some of a, b"),
    ],
)
def test_what_is_out_of_range_is_named_with_what_was_found_and_expected(options, message) -> None:
    with pytest.raises(InputError) as caught:
        check(options)
    assert str(caught.value) == message


def test_what_is_in_range_passes_and_the_dataclass_is_asked_last() -> None:
    @dataclass(frozen=True)
    class Picky(Some):
        def check(self) -> None:
            raise InputError("asked")

    check(Some())
    with pytest.raises(InputError, match="asked"):
        check(Picky())
    with pytest.raises(InputError, match="--size"):
        check(Picky(size_bytes=0))


@given(BOUND, BOUND, BOUND, BOUND, st.floats(-9, 9))
def test_a_value_is_allowed_where_every_bound_that_is_given_allows_it(
    least, above, most, below, value
) -> None:
    known = Option("", least=least, above=above, most=most, below=below)
    low, high = -math.inf, math.inf
    assert known.allows(value) == (
        (low if least is None else least) <= value <= (high if most is None else most)
        and (low if above is None else above) < value < (high if below is None else below)
    )
    bounds = (least, above, most, below)
    assert bool(known.expected()) == any(bound is not None for bound in bounds)


@given(st.lists(st.integers(0, 99)))
def test_numbers_are_read_as_they_are_written_each_once(values: list[int]) -> None:
    assert numbers(",".join(map(str, values))) == tuple(dict.fromkeys(values))


@given(st.lists(st.floats(allow_nan=False)))
def test_shares_are_read_as_they_are_written(values: list[float]) -> None:
    assert shares(",".join(map(repr, values))) == tuple(values)


@given(st.lists(st.text("abc+-0", min_size=1)))
def test_names_are_read_as_they_are_written(values: list[str]) -> None:
    assert names(" , ".join(values)) == tuple(values)


@given(st.integers())
def test_a_rank_is_read_as_it_is_written(value: int) -> None:
    assert rank(str(value)) == value
    assert rank("auto") is None


@given(st.floats(0, 1e9))
def test_milliseconds_become_seconds(value: float) -> None:
    assert milliseconds(repr(value)) == value / 1e3


@given(st.text())
@pytest.mark.parametrize("parse", [numbers, shares, rank, milliseconds])
def test_any_text_is_read_or_told_what_was_expected(parse, text: str) -> None:
    told = "a number"
    try:
        parse(text)
    except ValueError as error:
        told = str(error)
    assert "number" in told or "integer" in told


def test_what_is_input_is_no_part_of_what_a_run_is() -> None:
    found = resolved(Some(preset="tiny", data=Path("rows")), "kind")
    assert found == {
        "wait_s": 1.0,
        "size_bytes": 1,
        "parts": [1, 2],
        "kinds": [],
        "twice": False,
        "private": 3,
    }


def test_a_required_option_has_no_default() -> None:
    @dataclass(frozen=True)
    class Needs:
        name: str = option(MISSING, "Whose.")

    with pytest.raises(TypeError):
        Needs()  # type: ignore[call-arg]
    check(Needs("a"))
