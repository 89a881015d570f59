"""Sizes as people give them: a number and its unit, decimal (200TB) or binary (10TiB).

A unit is asked for, since tables of some hundred units may be gigabytes or terabytes, and the two
families of units are told apart: a TiB is a tenth more than a TB (IEC 80000-13).
"""

import math
import re

_UNITS = {
    "B": 1.0,
    **{f"{prefix}B": 1e3 ** (n + 1) for n, prefix in enumerate("kMGTPE")},
    **{f"{prefix}iB": 2.0 ** (10 * (n + 1)) for n, prefix in enumerate("KMGTPE")},
}
_SIZE = re.compile(r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?) ?([A-Za-z]+)")
_EXPECTED = "a size with its unit, such as 200TB, 1.5PB or 10TiB"


def parse_size(text: str) -> float:
    """Read a size in bytes.

    Parameters
    ----------
    text : str
        A number and one of B, kB, MB, GB, TB, PB, EB, KiB, MiB, GiB, TiB, PiB, EiB.

    Raises
    ------
    ValueError
        It is none; the message says what was expected.

    Examples
    --------
    >>> parse_size("1.5PB"), parse_size("10TiB")
    (1500000000000000.0, 10995116277760.0)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or found[2] not in _UNITS:
        raise ValueError(_EXPECTED)
    size = float(found[1]) * _UNITS[found[2]]
    if not math.isfinite(size):
        raise ValueError(_EXPECTED)
    return size


def write_size(size: float) -> str:
    """Write bytes as the shortest text that `parse_size` reads as exactly as many.

    Examples
    --------
    >>> write_size(2e14), write_size(10 * 2.0**40)
    ('200TB', '10TiB')
    """
    texts = (f"{_number(size / each)}{unit}" for unit, each in _UNITS.items())
    exact = [text for text in (*texts, f"{_number(size)}B") if parse_size(text) == size]
    return min(exact, key=len)


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")
