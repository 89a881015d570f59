"""What a reader makes of a file: named columns of values at times; how a bad place is told."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn

from lorabench.errors import InputError
from lorabench.results.parse import escaped

# Epochs beyond these are in milliseconds, microseconds, nanoseconds: in the unit before it is the
# year 5138.
_LEAST = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

TIME = "seconds or milliseconds since 1970, or 2024-05-06T07:08:09Z"

_NOTHING = frozenset(
    ("", "nan", "null", "none", "undefined", "-", "na", "n/a", "<unknown>", "+inf", "-inf", "inf")
)

_CORES = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


@dataclass
class Column:
    """Values at times, as a file has them.

    Parameters
    ----------
    place : str
        Where it stands, for messages: ``column 3 (web1)``.
    name : str
        Words of the file that say what it is; empty where it has only labels.
    labels : mapping of str to str
        That the file gives it.
    unit : set of str
        Units that values bear themselves: ``percent`` or ``cores``.
    bare : int
        How many values other than 0 bear none.
    at_s, values : list of float
        Times rise.
    lines : list of int
        Where each value stands, from 1; 0 where a format has no lines.
    """

    place: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    unit: set[str] = field(default_factory=set)
    bare: int = 0
    at_s: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def add(self, at_s: float, value: float, unit: str, line: int) -> bool:
        """Take one more value; False where it is not later than the last one."""
        if self.at_s and at_s <= self.at_s[-1]:
            return False
        if unit:
            self.unit.add(unit)
        elif value:
            self.bare += 1
        self.at_s.append(at_s)
        self.values.append(value)
        self.lines.append(line)
        return True


@dataclass
class Table:
    """All columns of a file.

    Parameters
    ----------
    file : str
        Its name, for messages.
    kind : str
        ``prometheus`` or ``kubectl``.
    first_s, last_s : float
        Times of its first and last row, with or without values.
    notes : list of str
        What was left out.
    """

    file: str
    kind: str
    columns: list[Column] = field(default_factory=list)
    first_s: float = math.inf
    last_s: float = -math.inf
    notes: list[str] = field(default_factory=list)

    def keep(self, columns: Iterable[Column]) -> None:
        """Take the columns that have values; the others are left out, which is noted."""
        found = list(columns)
        self.columns = [column for column in found if column.values]
        empty = [column.place.split(" (")[0] for column in found if not column.values]
        if empty:
            self.notes.append(f"left out, since they have no value: {', '.join(empty)}")

    def saw(self, at_s: float) -> None:
        """Take note of a row's time."""
        self.first_s, self.last_s = min(self.first_s, at_s), max(self.last_s, at_s)


def one_line(text: str) -> str:
    """Return a text of the file as a message has it: on one line, and nothing a terminal obeys."""
    return " ".join(escaped(text).split())


def bad(file: str, line: int, column: str, found: object, expected: str) -> NoReturn:
    """Tell a bad place.

    Raises
    ------
    InputError
        Naming file, line and column, what was found and what was expected.
    """
    # A representation has no character that a terminal obeys.
    where = f"{one_line(file)}, line {line}, {one_line(column)}"
    raise InputError(f"{where}: found {found!r:.60}, expected {expected}")


def parse_number(text: str) -> float | None:
    """Read a plain decimal number."""
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def parse_value(text: str) -> tuple[float | None, str]:
    """Read a value and the unit that it bears: ``percent`` (12.5 %), ``cores`` (250m) or none.

    Returns
    -------
    tuple of float or None, and str
        None where nothing was measured: an empty field, NaN, null.

    Raises
    ------
    ValueError
        It is neither.
    """
    text = text.strip().strip('"').replace("\u2212", "-").strip()
    if text.lower() in _NOTHING:
        return None, ""
    if text.endswith("%"):
        value, unit = parse_number(text[:-1].strip()), "percent"
    elif text[-1] in "mun" and text[:-1].isdecimal():
        value, unit = float(text[:-1]) * _CORES[text[-1]], "cores"
    else:
        value, unit = parse_number(text), ""
    if value is None:
        raise ValueError("a number, or nothing")
    return value, unit


def parse_time(text: str) -> float | None:
    """Read a time: an epoch in s, ms, us or ns, or ISO 8601; without a zone it is taken for UTC.

    None where it is none. Only differences of times count.
    """
    number = parse_number(text)
    if number is not None:
        if number < 0:
            return None
        return number / next((unit for least, unit in _LEAST if number >= least), 1.0)
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
