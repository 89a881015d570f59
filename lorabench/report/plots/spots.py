"""Spots: what each of several costs and what it is worth, with those on the front joined."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from lorabench.report.plots.axes import axis_of, extent
from lorabench.report.plots.common import (
    COLOURS,
    DATA,
    QUIET,
    RULE,
    WIDTH,
    finished,
    short,
    unchecked,
)

_WIDE, _HIGH = WIDTH - 60, 260
_LETTER, _LINE = 6.2, 13
_GAP = 8
# Where a name may stand beside its spot, the best place first: shifts and the side of the text.
_PLACES = [
    *((_GAP, 0, "left"), (-_GAP, 0, "right"), (0, -_LINE, "center"), (0, _LINE, "center")),
    *((_GAP, shift * _LINE, "left") for shift in (-1, 1, -2, 2, -3, 3)),
    *((-_GAP, shift * _LINE, "right") for shift in (-1, 1, -2, 2, -3, 3)),
]


@dataclass(frozen=True)
class Spot:
    """What something costs, at least 0, what it is worth, and whether it is on the front."""

    name: str
    cost: float
    worth: float
    on_front: bool


@unchecked
def spots(listed: Sequence[Spot], x_title: str, y_title: str) -> dict[str, Any]:
    """Draw spots with their names, and a line of steps along the front.

    Costs that span more than a decade have a logarithmic axis; one of 0 is drawn at its left end,
    which is labelled so.
    """
    x, zero = _cost_scale([one.cost for one in listed])
    y = extent([one.worth for one in listed], False, from_zero=False)
    values = [
        {
            "x": zero if one.cost == 0 and zero is not None else one.cost,
            "y": one.worth,
            "kind": "front" if one.on_front else "other",
        }
        for one in listed
    ]
    at = alt.X("x:Q", title=x_title, scale=alt.Scale(**x), axis=_cost_axis(x, zero))
    up = alt.Y("y:Q", title=y_title, scale=alt.Scale(**y), axis=axis_of(y, grid=True))
    base = alt.Chart(alt.NamedData(DATA)).encode(x=at, y=up)
    tone = alt.Scale(domain=["front", "other"], range=[COLOURS[0], QUIET[1]])
    along = base.transform_filter("datum.kind === 'front'").mark_line(
        interpolate="step-after", strokeWidth=1.2, color=RULE
    )
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(
        color=alt.Color("kind:N", scale=tone, legend=None)
    )
    chart = alt.layer(along, dots, *_names(listed, values, x, y))
    return finished(chart.properties(width=_WIDE, height=_HIGH), values)


def _cost_scale(costs: Sequence[float]) -> tuple[dict[str, Any], float | None]:
    """Return the scale of costs, and where 0 is drawn; None where it is at its own place."""
    positive = [cost for cost in costs if cost > 0]
    scale = extent(positive or costs, None, from_zero=False)
    if scale["type"] != "log":
        return extent(costs, False, from_zero=True), None
    if len(positive) == len(costs):
        return scale, None
    low, high = scale["domain"]
    zero = low / max(2.0, (high / low) ** 0.12)
    return {**scale, "domain": [zero / (high / zero) ** 0.03, high]}, zero


def _cost_axis(scale: Mapping[str, Any], zero: float | None) -> alt.Axis:
    """Return the axis of costs, with a 0 at its end where there is one."""
    if zero is None:
        return axis_of(scale, grid=True)
    high = scale["domain"][1]
    own = axis_of({**scale, "domain": [zero * 1.5, high]}).to_dict()
    at_zero = f"abs(datum.value - {zero!r}) < {zero * 1e-6!r}"
    return alt.Axis(
        grid=True,
        values=[zero, *own["values"]],
        format=own["format"],
        labelExpr=f"{at_zero} ? '0' : datum.label",
    )


def _names(
    listed: Sequence[Spot],
    values: Sequence[Mapping[str, Any]],
    x: Mapping[str, Any],
    y: Mapping[str, Any],
) -> list[Any]:
    """Return the names beside their spots, none over another where there is room."""
    spots_at = [
        (_pixel(value["x"], x, _WIDE), _HIGH - _pixel(value["y"], y, _HIGH)) for value in values
    ]
    taken = [(px - 4, py - 4, px + 4, py + 4) for px, py in spots_at]
    by_side: dict[str, list[dict[str, Any]]] = {}
    for (px, py), one in sorted(zip(spots_at, listed, strict=True), key=lambda each: each[0][1]):
        name = short(one.name)
        boxes = [
            (_box(px + right, py + down, len(name) * _LETTER, side), (right, down, side))
            for right, down, side in _PLACES
        ]
        free = [
            (box, place)
            for box, place in boxes
            if box[0] >= -_GAP
            and box[2] <= _WIDE + 4 * _GAP
            and not any(_meet(box, o) for o in taken)
        ]
        box, (right, down, side) = (free or boxes)[0]
        taken.append(box)
        tone = COLOURS[0] if one.on_front else QUIET[0]
        spot = {"px": px + right, "py": py + down, "text": name, "tone": tone}
        by_side.setdefault(side, []).append(spot)
    return [
        alt.Chart(alt.InlineData(values=named))
        .mark_text(align=side, baseline="middle", fontSize=11, fontWeight=600)  # type: ignore[arg-type]
        .encode(
            x=alt.X("px:Q", scale=None, axis=None),
            y=alt.Y("py:Q", scale=None, axis=None),
            text=alt.Text("text:N"),
            color=alt.Color("tone:N", scale=None),
        )
        for side, named in by_side.items()
    ]


def _pixel(value: float, scale: Mapping[str, Any], length: int) -> float:
    """Return how far along its axis a value lies."""
    put = math.log10 if scale["type"] == "log" else float
    low, high = (put(end) for end in scale["domain"])
    return length * (put(value) - low) / ((high - low) or 1.0)


_Box = tuple[float, float, float, float]


def _box(x: float, y: float, width: float, side: str) -> _Box:
    left = {"left": x, "right": x - width, "center": x - width / 2}[side]
    return left, y - _LINE / 2, left + width, y + _LINE / 2


def _meet(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
