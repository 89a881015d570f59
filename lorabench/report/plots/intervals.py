"""Estimates, a row each, with their intervals: where they lie, and what they are held against."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from lorabench.report.plots.axes import axis_of, extent
from lorabench.report.plots.common import (
    COLOURS,
    DATA,
    INK,
    WIDTH,
    Rule,
    finished,
    rules_at,
    short,
    unchecked,
)

_ROW, _KIND = 24, 18
_VALUES_WIDTH = 60
_NAMES_WIDTH = 130
_NAME_LENGTH = 50


@dataclass(frozen=True)
class Mark:
    """An estimate of something, with its interval.

    Parameters
    ----------
    row : str
        What it is of: its row.
    kind : str
        Which of several figures of that row.
    value, low, high : float
        In the unit of the axis.
    text : str
        The value as it is written beside it.
    """

    row: str
    kind: str
    value: float
    low: float | None
    high: float | None
    text: str


@unchecked
def intervals(
    marks: Sequence[Mark], title: str, *, rules: Sequence[Rule] = (), log: bool | None = None
) -> dict[str, Any]:
    """Draw estimates, a row each, with their intervals and their values beside them.

    Parameters
    ----------
    marks : sequence of Mark
        In the order of their rows.
    title : str
        Of the axis.
    rules : sequence of Rule
        Values to hold them against.
    log : bool or None
        Whether the axis is logarithmic; by default where values span more than a decade.
    """
    rows, kinds = _unique(one.row for one in marks), _unique(one.kind for one in marks)
    shown = _shortened(rows)
    ends = [e for m in marks for e in (m.low, m.value, m.high) if e is not None]
    scale = extent([*ends, *(rule.at for rule in rules)], log, from_zero=not rules)
    drawn = [
        one
        for one in marks
        if math.isfinite(one.value) and (scale["type"] != "log" or one.value > 0)
    ]
    values = [_datum(one, shown, scale["domain"][0]) for one in drawn]
    axis = alt.Axis(
        title=None, domain=False, ticks=False, grid=False, labelPadding=10, labelLimit=320
    )
    bands = alt.Scale(domain=list(shown.values()), paddingInner=0.2, paddingOuter=0.15)
    base = alt.Chart(alt.NamedData(DATA)).encode(
        y=alt.Y("row:O", axis=axis, scale=bands),
        yOffset=alt.YOffset("kind:O", scale=alt.Scale(domain=kinds)),
    )
    tone = _tone(kinds)
    at: dict[str, Any] = {"title": title, "scale": alt.Scale(**scale), "axis": axis_of(scale)}
    layers: list[Any] = [rules_at(rules, "x")] if rules else []
    layers += [
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X("low:Q", **at), x2=alt.X2("high:Q"), color=tone
        ),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            x=alt.X("value:Q", **at), color=tone
        ),
        base.mark_text(align="left", dx=8, fontSize=11, color=INK).encode(
            x=alt.X("high:Q"), text=alt.Text("text:N")
        ),
    ]
    step = _ROW if len(kinds) == 1 else _KIND * len(kinds) + 8
    width = WIDTH - _VALUES_WIDTH - _extra(shown.values())
    height = max(step * len(rows), 2 * _ROW)
    left = max(map(len, shown.values()), default=0)
    return finished(alt.layer(*layers).properties(width=width, height=height), values, left)


def _extra(names: Iterable[str]) -> int:
    """Return what names take of the width that short ones would not."""
    return max(0, 6 * max(map(len, names), default=0) - _NAMES_WIDTH)


def _datum(one: Mark, shown: dict[str, str], least: float) -> dict[str, Any]:
    return {
        "row": shown[one.row],
        "kind": one.kind,
        "value": one.value,
        "low": max(_end(one.low, one.value), least),
        "high": _end(one.high, one.value),
        "text": one.text,
    }


def _end(bound: float | None, value: float) -> float:
    """Return an end of an interval; the value where there is none that can be drawn."""
    return value if bound is None or not math.isfinite(bound) else bound


def _tone(kinds: list[str]) -> alt.Color:
    """Return a colour for each kind, named at the top where there are several."""
    legend = alt.Legend(title=None, orient="top", symbolType="circle", labelLimit=400)
    return alt.Color(
        "kind:O",
        scale=alt.Scale(domain=kinds, range=list(COLOURS[: len(kinds)])),
        legend=legend if len(kinds) > 1 else None,
    )


def _shortened(names: Sequence[str]) -> dict[str, str]:
    """Return names short enough to stand beside a row, no two the same."""
    found: dict[str, str] = {}
    for name in names:
        shown, again = short(name, _NAME_LENGTH), 2
        while shown in found.values():
            shown, again = f"{short(name, _NAME_LENGTH)} ({again})", again + 1
        found[name] = shown
    return found


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
