"""Spots of what is recovered against what it costs."""

from itertools import pairwise

from lorabench.report.plots.spots import Spot, spots


def drawn(*listed: Spot) -> dict:
    return spots(listed, "bytes", "share")


def texts(chart: dict) -> list[dict]:
    return [one for rows in chart["datasets"].values() for one in rows if "text" in one]


def test_a_cost_of_0_is_drawn_left_of_all_others_on_a_logarithmic_axis() -> None:
    chart = drawn(
        Spot("none", 0.0, 0.0, True), Spot("a", 10.0, 0.5, True), Spot("b", 1e4, 0.4, False)
    )
    xs = [one["x"] for one in chart["datasets"]["values"]]
    assert 0 < xs[0] < xs[1] < xs[2]
    axis = chart["layer"][0]["encoding"]["x"]["axis"]
    assert axis["values"][0] == xs[0]
    assert f"{xs[0]!r}" in axis["labelExpr"]
    assert axis["labelExpr"].endswith("? '0' : datum.label")


def test_costs_within_a_decade_are_on_a_linear_axis_from_0() -> None:
    chart = drawn(Spot("a", 2.0, 0.5, True), Spot("b", 3.0, 0.6, True))
    scale = chart["layer"][0]["encoding"]["x"]["scale"]
    assert scale["type"] == "linear"
    assert scale["domain"][0] == 0.0


def test_names_of_spots_at_one_place_do_not_cover_each_other() -> None:
    chart = drawn(*(Spot(f"strategy-{n}", 1.0, 0.5, True) for n in range(6)))
    found = texts(chart)
    assert {one["text"] for one in found} == {f"strategy-{n}" for n in range(6)}
    # Of those that begin, end or are centred at the same x, a line of text apart.
    for side in {one["px"] for one in found}:
        ys = sorted(one["py"] for one in found if one["px"] == side)
        assert all(b - a >= 13 - 1e-9 for a, b in pairwise(ys))
