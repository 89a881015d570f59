"""Numbers, times and sizes as people write them, for verdicts and terminals alike."""

import math

_DIGITS = 3
_HUGE, _TINY = 1e7, 1e-4
_TIMES = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (1.0, 1.0, "s"), (0.0, 1e-3, "ms"))
_SIZES = (
    *((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")),
    (0.0, "B"),
)


def number(value: float) -> str:
    """Write a number with three significant digits, or all of a whole one's."""
    if not math.isfinite(value):
        return "-"
    size = abs(value)
    if size and not _TINY <= size < _HUGE:
        return f"{value:.{_DIGITS - 1}e}" if size < _TINY or size >= 1e15 else f"{value:,.0f}"
    if float(value).is_integer():
        return f"{value:,.0f}"
    decimals = max(0, _DIGITS - 1 - math.floor(math.log10(size))) if size else 0
    return f"{value:,.{decimals}f}"


def time_text(seconds: float | None) -> str:
    """Write a time in the unit that people would tell it in; a dash where there is none.

    Examples
    --------
    >>> time_text(16_000.0), time_text(1600.0), time_text(0.25), time_text(None)
    ('4.44 h', '26.7 min', '250 ms', '-')
    """
    if seconds is None:
        return "-"
    if not seconds:
        return "0"
    scale, unit = next((scale, unit) for least, scale, unit in _TIMES if seconds >= least)
    return f"{number(seconds / scale)} {unit}"


def size_text(size: float | None) -> str:
    """Write bytes in decimal units, as links are told in; a dash where there are none.

    Examples
    --------
    >>> size_text(2.03e13), size_text(520.0), size_text(0.0)
    ('20.3 TB', '520 B', '-')
    """
    if not size:
        return "-"
    scale, unit = next(one for one in _SIZES if size >= one[0])
    return f"{number(size / (scale or 1.0))} {unit}"
