"""What all plots have in common: colours, lines to hold values against, the look of axes."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
from altair.utils import schemapi

from lorabench.results.controls import FIRST, LAST

INK, MUTED, GRID, RULE = "#1c2128", "#59636e", "#dfe3e8", "#8a939d"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b85c92", "#a87100", "#2f96cc")
"""Okabe and Ito's (2008), which the colour-blind can tell apart; some darker, for text."""

QUIET = ("#4d5761", "#8b949e")
"""Of what is there to be compared with: controls."""

WIDTH = 620

# Fonts differ in width: room for a screen's that is wider than the one that was measured here.
_PADDING = {"top": 4, "right": 28, "bottom": 4}
_LABEL_LENGTH = 28

# The same in every plot of a page.
_KNOWN = {"isolated": 0, "naive": 1, "pinned": 2, "shared": 3, "sham": 4, "lora": 0, "ideal": 2}
# `none` is what strategies of `freshness` are held against.
_GREY = {"none", *FIRST, *LAST} - set(_KNOWN)
DASHES = ([1, 0], [5, 3], [2, 2])

DATA = "values"
_Build = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Rule:
    """A value to hold others against, such as a limit."""

    at: float
    text: str


def unchecked(build: _Build) -> _Build:
    """Let Altair check no part of a plot by itself, which takes ten times as long as the plot."""

    @functools.wraps(build)
    def plot(*given: Any, **named: Any) -> dict[str, Any]:
        with schemapi.debug_mode(False):
            return build(*given, **named)

    return plot


def colours(names: Iterable[str]) -> dict[str, tuple[str, list[int]]]:
    """Return a colour and a dash for each name: grey for controls, the same name the same."""
    listed = list(names)
    found: dict[str, tuple[str, list[int]]] = {}
    taken = [_KNOWN[name] for name in listed if name in _KNOWN]
    free = [place for place in range(3 * len(COLOURS)) if place not in taken]
    quiet = 0
    for name in listed:
        if name in _GREY:
            found[name] = QUIET[quiet % 2], DASHES[quiet // 2 % 3]
            quiet += 1
        else:
            place = _KNOWN[name] if name in _KNOWN else free.pop(0) if free else 0
            found[name] = COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % 3]
    return found


def rules_at(rules: Sequence[Rule], side: str) -> Any:
    """Return values to hold others against, as lines across a plot with their texts."""
    data = alt.InlineData(values=[{"at": rule.at} for rule in rules])
    line = alt.Chart(data).mark_rule(strokeDash=[4, 3], color=RULE)
    told = alt.Text("text:N")
    if side == "x":
        at = alt.X("at:Q")
        # Of several the least has its text at its left, where no other is.
        least = min(rules, key=lambda rule: rule.at) if len(rules) > 1 else None
        texts = [
            _texts([rule], align="right", dx=2, dy=-3)
            if rule is least
            else _texts([rule], align="left", dx=-2, dy=-3)
            for rule in rules
        ]
        named = (text.encode(x=at, y=alt.value(0), text=told) for text in texts)
        return alt.layer(line.encode(x=at), *named)
    up = alt.Y("at:Q")
    text = _texts(rules, align="left", dx=4, dy=-2)
    return alt.layer(line.encode(y=up), text.encode(x=alt.value(0), y=up, text=told))


def _texts(rules: Sequence[Rule], *, align: Literal["left", "right"], dx: int, dy: int) -> Any:
    data = alt.InlineData(values=[{"at": rule.at, "text": rule.text} for rule in rules])
    return alt.Chart(data).mark_text(
        align=align, baseline="bottom", dx=dx, dy=dy, fontSize=11, color=MUTED
    )


def short(name: str, length: int = _LABEL_LENGTH) -> str:
    """Return a name that has room beside a plot."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def finished(chart: Any, values: list[dict[str, Any]], left: int = 24) -> dict[str, Any]:
    """Return the specification, with what all plots have in common and what they draw.

    `left` is the room beside the names of rows, which may be wider on a screen. Both are put into
    it last: Altair would copy them with every layer.
    """
    found: dict[str, Any] = chart.to_dict(validate=False)
    found.setdefault("datasets", {})[DATA] = values
    found["config"] = {**_config(), "padding": {"left": left, **_PADDING}}
    return found


@functools.cache
def _config() -> dict[str, Any]:
    found: dict[str, Any] = alt.Config(
        background="transparent",
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=MUTED,
            titleColor=INK,
            titleFontWeight="normal",
            labelFontSize=11,
            titleFontSize=12,
            gridColor=GRID,
            domainColor=RULE,
            tickColor=RULE,
            titlePadding=8,
        ),
        legend=alt.LegendConfig(labelColor=INK, labelFontSize=11, symbolSize=60, offset=20),
    ).to_dict()
    return found
