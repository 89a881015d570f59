"""Axes of plots: where they begin and end, when they are logarithmic, which ticks they have."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

_DECADES = 10.0
# What lies beyond is drawn at the end: no measured number does.
_MOST, _LEAST, _SPAN = 1e100, 1e-100, 1e15


def extent(
    values: Sequence[float], log: bool | None, from_zero: bool, tight: bool = False
) -> dict[str, Any]:
    """Return the type of a scale and its ends, which leave room around what is drawn."""
    there = [min(max(value, -_MOST), _MOST) for value in values if math.isfinite(value)]
    positive = [value for value in there if value > 0]
    if log is None:
        log = len(positive) == len(there) > 1 and max(positive) / min(positive) > _DECADES
    if log and positive:
        high = max(*positive, _LEAST)
        low = max(min(positive), high / _SPAN)
        room = 1.0 if tight and high > low else max((high / low) ** 0.05, 1.05)
        return {"type": "log", "domain": [low / room, high * room], "nice": False, "clamp": True}
    low, high = (min(there), max(there)) if there else (0.0, 1.0)
    if low == high:
        low, high = (low - abs(low) * 0.1, high + abs(high) * 0.1) if low else (0.0, 1.0)
    room = 0.0 if tight else (high - low) * 0.06
    low, high = (low - room if low < 0 or not from_zero else 0.0), high + room
    return {"type": "linear", "domain": [low, high], "nice": False, "zero": False, "clamp": True}


def axis_of(scale: Mapping[str, Any], grid: bool = False) -> alt.Axis:
    """Return an axis with ticks that suit the scale."""
    low, high = scale["domain"]
    if scale["type"] == "log":
        return alt.Axis(
            grid=grid, values=_log_ticks(low, high), format=",~r" if low > 1e-3 else "~e"
        )
    most = max(abs(low), abs(high))
    # No prefixes of small numbers: shares have none, and a unit has its own.
    form = "~s" if most >= 1e6 else "~e" if most < 1e-6 else ",~r"
    return alt.Axis(grid=grid, tickCount=6, format=form)


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 of each decade, or the decades alone where there are many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps: Sequence[float] = (1, 2, 5) if last - first <= 3 else (1,)
    if high / low < 3:
        steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    if high / low < 1.5:
        ticks = [low + (high - low) * n / 4 for n in range(5)]
        return [float(f"{tick:.3g}") for tick in ticks]
    every = max(1, (last - first) // 8)
    found = [s * 10.0**e for e in range(first, last + 1, every) for s in steps]
    return [tick for tick in found if low <= tick <= high]


def percentile_axis(percentiles: Sequence[float]) -> alt.Axis:
    """Return the axis of 1 / (1 - q), with percentiles as its ticks."""
    at = {round(1 / (1 - q / 100), 6): q for q in percentiles}
    names = " : ".join(f"abs(datum.value - {x!r}) < {x * 1e-6!r} ? 'p{q:g}'" for x, q in at.items())
    return alt.Axis(values=list(at), grid=True, labelExpr=f"{names} : ''")
