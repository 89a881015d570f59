"""Lines: how something goes with something else, each with its name at its end."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt

from lorabench.report.plots.axes import axis_of, extent, percentile_axis
from lorabench.report.plots.common import (
    COLOURS,
    DASHES,
    DATA,
    QUIET,
    WIDTH,
    Rule,
    colours,
    finished,
    rules_at,
    short,
    unchecked,
)

_LABELS_WIDTH = 150
_LABEL = 13
_LEADER = 14
# A line of more points than this is thinned: what is left has its shape, extremes included.
_POINTS = 160
# Of a line with few points they show.
_FEW_POINTS = 24
# So many lines can be told apart, and have room for their names.
_MOST_NAMED = 16
_MOST_TICKS = 12

# Its colour, its dash, whether it bears its name.
_Look = tuple[str, list[int], bool]


@dataclass(frozen=True)
class Line:
    """Points in the order of x, and what they are of."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Axes:
    """What lines are drawn against.

    Parameters
    ----------
    x, y : str
        Titles, with units.
    rules : sequence of Rule
        Values of y to hold lines against.
    marked : sequence of float
        Values of x at which something changes.
    log_x, log_y : bool
        Whether an axis is logarithmic; of y by default where values span more than a decade and
        do not begin at 0.
    percentiles : sequence of float
        x is 1 / (1 - q) on a logarithmic axis, which has these percentiles as ticks.
    from_zero : bool
        Whether y begins at 0.
    whole_x : bool
        x is a count.
    height : int
        In pixels.
    """

    x: str
    y: str
    rules: Sequence[Rule] = ()
    marked: Sequence[float] = ()
    log_x: bool = False
    log_y: bool | None = None
    percentiles: Sequence[float] = ()
    from_zero: bool = False
    whole_x: bool = False
    height: int = 250


def thin(line: Line, most: int = _POINTS) -> Line:
    """Return a line with at most so many points: the least and the greatest of each stretch."""
    n = len(line.x)
    if n <= most:
        return line
    kept: set[int] = {0, n - 1}
    buckets = max(1, most // 2 - 1)
    for bucket in range(buckets):
        stretch = range(bucket * n // buckets, (bucket + 1) * n // buckets)
        kept.add(min(stretch, key=line.y.__getitem__))
        kept.add(max(stretch, key=line.y.__getitem__))
    places = sorted(kept)
    return replace(line, x=[line.x[p] for p in places], y=[line.y[p] for p in places])


@unchecked
def lines(listed: Sequence[Line], axes: Axes) -> dict[str, Any]:
    """Draw lines, each with its name at its end.

    Of more than can be told apart, only the highest, the middle and the lowest at the end bear one.
    """
    thinned = [thin(line) for line in listed if len(line.x)]
    looks = _looks(thinned)
    ys = [value for line in thinned for value in line.y]
    xs = [value for line in thinned for value in line.x]
    log_y = False if axes.log_y is None and axes.from_zero else axes.log_y
    y = extent([*ys, *(rule.at for rule in axes.rules)], log_y, axes.from_zero)
    x = extent(xs, axes.log_x or bool(axes.percentiles), from_zero=False, tight=True)
    values = _values(thinned, x, y)
    encoded = _encoded(looks).encode(
        x=alt.X("x:Q", title=axes.x, scale=alt.Scale(**x), axis=_x_axis(axes, x, xs)),
        y=alt.Y("y:Q", title=axes.y, scale=alt.Scale(**y), axis=axis_of(y, grid=True)),
    )
    layers: list[Any] = [rules_at(axes.rules, "y")] if axes.rules else []
    if axes.marked:
        changes = alt.Chart(alt.InlineData(values=[{"at": at} for at in axes.marked]))
        layers.append(changes.mark_rule(color=COLOURS[1], strokeWidth=1.5).encode(x=alt.X("at:Q")))
    layers.append(encoded.mark_line(strokeWidth=1.8))
    if len(thinned) <= _MOST_NAMED and any(len(line.x) <= _FEW_POINTS for line in thinned):
        layers.append(encoded.mark_point(filled=True, size=22, opacity=1))
    named = [(line, look) for line, look in zip(thinned, looks, strict=True) if look[2]]
    chart = alt.layer(*layers, _ends(named, y, axes.height))
    size = {"width": WIDTH - _LABELS_WIDTH, "height": axes.height}
    return finished(chart.properties(**size), values)


def _values(
    thinned: Sequence[Line], x: Mapping[str, Any], y: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the points of all lines; on logarithmic axes those above 0."""
    return [
        {"line": number, "x": at, "y": value, "order": place}
        for number, line in enumerate(thinned)
        for place, (at, value) in enumerate(zip(line.x, line.y, strict=True))
        if math.isfinite(at)
        and math.isfinite(value)
        and not ((x["type"] == "log" and at <= 0) or (y["type"] == "log" and value <= 0))
    ]


def _encoded(looks: Sequence[_Look]) -> Any:
    """Return lines with their colours and dashes."""
    numbers = list(range(len(looks)))
    tones = alt.Scale(domain=numbers, range=[tone for tone, _, _ in looks])
    dashes = alt.Scale(domain=numbers, range=[dash for _, dash, _ in looks])
    return alt.Chart(alt.NamedData(DATA)).encode(
        color=alt.Color("line:O", legend=None, scale=tones),
        strokeDash=alt.StrokeDash("line:O", legend=None, scale=dashes),
        order=alt.Order("order:Q"),
        detail=alt.Detail("line:O"),
    )


def _x_axis(axes: Axes, x: Mapping[str, Any], xs: Sequence[float]) -> alt.Axis:
    if axes.percentiles:
        return percentile_axis(axes.percentiles)
    if axes.whole_x and len(set(xs)) <= _MOST_TICKS:
        return alt.Axis(grid=False, values=sorted(set(xs)), format=",d")
    return axis_of(x)


def _looks(listed: Sequence[Line]) -> list[_Look]:
    """Return the colour and dash of each line, and whether it bears its name."""
    told = colours(line.name for line in listed)
    if len(listed) <= _MOST_NAMED:
        return [(*told[line.name], True) for line in listed]
    ends = sorted(range(len(listed)), key=lambda place: listed[place].y[-1])
    named = dict(zip((ends[-1], ends[len(ends) // 2], ends[0]), COLOURS, strict=False))
    return [(named.get(place, QUIET[1]), DASHES[0], place in named) for place in range(len(listed))]


def _ends(named: Sequence[tuple[Line, _Look]], y: Mapping[str, Any], height: int) -> Any:
    """Write each name beside the end of its line, pushed apart where they would overlap."""
    low, high = y["domain"]
    put = math.log10 if y["type"] == "log" else float

    def pixel(value: float) -> float:
        if y["type"] == "log" and value <= 0:
            return height
        share = (put(value) - put(low)) / ((put(high) - put(low)) or 1.0)
        return height * (1 - min(max(share, 0.0), 1.0))

    # From the top; each at least a line below the one before, then back up from the bottom.
    placed = sorted((pixel(line.y[-1]), line.name, look) for line, look in named)
    tops = [top for top, _, _ in placed]
    for place in range(1, len(tops)):
        tops[place] = max(tops[place], tops[place - 1] + _LABEL)
    for place in range(len(tops) - 1, -1, -1):
        below = tops[place + 1] if place + 1 < len(tops) else height + _LABEL
        tops[place] = min(tops[place], below - _LABEL)
    values = [
        {"text": short(name), "end": end, "top": top, "tone": look[0]}
        for top, (end, name, look) in zip(tops, placed, strict=True)
    ]
    right = WIDTH - _LABELS_WIDTH
    names = alt.Chart(alt.InlineData(values=values)).encode(
        color=alt.Color("tone:N", scale=None), y=alt.Y("top:Q", scale=None, axis=None)
    )
    # From where a line ends to its name, which may have had to give way.
    leaders = names.mark_rule(strokeWidth=0.8).encode(
        x=alt.value(right + 2),
        x2=alt.value(right + _LEADER),
        y=alt.Y("end:Q", scale=None, axis=None),
        y2=alt.Y2("top:Q"),
    )
    text = names.mark_text(align="left", dx=3, fontSize=11, fontWeight=600)
    return alt.layer(leaders, text.encode(x=alt.value(right + _LEADER), text=alt.Text("text:N")))
