"""Lines keep their shape when they are thinned, and their names when there are many."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.report.plots.axes import axis_of, extent
from lorabench.report.plots.common import Rule, colours, rules_at
from lorabench.report.plots.lines import Axes, Line, lines, thin


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3000), st.integers(4, 200))
def test_thinning_keeps_ends_extremes_and_order(y: list[float], most: int) -> None:
    line = Line("a", range(len(y)), y)
    thinned = thin(line, most)
    assert len(thinned.x) <= max(most, 4)
    assert list(thinned.x) == sorted(set(thinned.x))
    assert (thinned.x[0], thinned.x[-1]) == (0, len(y) - 1)
    assert (min(thinned.y), max(thinned.y)) == (min(y), max(y))
    assert all(y[x] == value for x, value in zip(thinned.x, thinned.y, strict=True))


def texts(chart: dict[str, object]) -> set[str]:
    sets = chart["datasets"].values()  # type: ignore[attr-defined]
    return {one["text"] for rows in sets for one in rows if "text" in one}


def test_each_line_bears_its_name_where_they_can_be_told_apart() -> None:
    listed = [Line(f"line {n}", [1, 2], [n, n + 1]) for n in range(3)]
    assert texts(lines(listed, Axes("x", "y"))) == {"line 0", "line 1", "line 2"}


def test_a_name_that_had_to_give_way_is_led_to_where_its_line_ends() -> None:
    chart = lines([Line(name, [1, 2], [1, 1]) for name in "abc"], Axes("x", "y"))
    sets = chart["datasets"].values()
    places = [one for rows in sets for one in rows if "top" in one]
    assert len({one["end"] for one in places}) == 1
    assert len({one["top"] for one in places}) == 3


@pytest.mark.parametrize(("most", "form"), [(0.0007, ",~r"), (7e-8, "~e"), (7e7, "~s")])
def test_a_share_has_no_prefix_of_small_units(most: float, form: str) -> None:
    axis = axis_of(extent([0.0, most], log=False, from_zero=True))
    assert axis.to_dict()["format"] == form


def test_of_two_limits_the_lesser_is_named_at_its_left() -> None:
    chart = rules_at([Rule(1.0, "equal"), Rule(1.1, "limit")], "x").to_dict(validate=False)
    assert [one["mark"].get("align") for one in chart["layer"]] == [None, "right", "left"]


def test_of_many_lines_the_highest_the_middle_and_the_lowest_bear_theirs() -> None:
    listed = [Line(f"line {n}", [1, 2], [n, n]) for n in range(25)]
    assert texts(lines(listed, Axes("x", "y"))) == {"line 0", "line 12", "line 24"}


def test_values_that_a_logarithmic_axis_has_no_place_for_are_left_out() -> None:
    chart = lines([Line("a", [1, 2, 3], [0.0, 1.0, 100.0])], Axes("x", "y", log_y=True))
    assert [one["y"] for one in chart["datasets"]["values"]] == [1.0, 100.0]


def test_no_two_of_a_dozen_names_look_the_same() -> None:
    names = ["solo", "isolated", "naive", *(f"other {n}" for n in range(9))]
    looks = {json.dumps(look) for look in colours(names).values()}
    assert len(looks) == len(names)
