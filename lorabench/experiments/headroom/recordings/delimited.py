"""CSV of Prometheus and Grafana: a column a series, a value a line beside its labels, or both."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lorabench.errors import InputError
from lorabench.experiments.headroom.recordings.content import FORMATS
from lorabench.experiments.headroom.recordings.naming import CPUS, HOSTS, MODES, read_name
from lorabench.experiments.headroom.recordings.table import (
    TIME,
    Column,
    Table,
    bad,
    parse_time,
    parse_value,
)

_TIMES = ("time", "timestamp", "ts", "_time", "date", "datetime", "@timestamp", "time (utc)")
_VALUES = ("value", "_value", "node_cpu_seconds_total", "node_cpu", "values")
_NAMES = ("series", "metric", "_field", "__name__", "name", "_measurement")
_APART = ("", "result", "table", "_start", "_stop", "step")

# So many lines are looked at to tell a column of words from one of numbers.
_LOOKED_AT = 50

_VALUE = "a number, or nothing"


@dataclass(frozen=True)
class _Layout:
    """Which column of the file is what."""

    header: list[str]
    time: int
    words: list[int]
    values: list[int]
    apart: list[int]


def read_delimited(text: str, file: str, known: Sequence[str] = ()) -> Table:
    """Read CSV; `known` are more names of columns that hold labels.

    Raises
    ------
    InputError
        A line of it is bad, or there is none of what is looked for.
    """
    lines = text.splitlines()
    skipped = 0
    while skipped < len(lines) and re.match(r"\s*$|sep=|#", lines[skipped]):
        skipped += 1
    if skipped == len(lines):
        raise InputError(f"{file}: found nothing in it, expected {FORMATS}")
    separator = max(",;\t", key=lines[skipped].count)
    reader = csv.reader(lines[skipped:], delimiter=separator)
    try:
        header = [word.strip() for word in next(reader)]
        rows = [(skipped + reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise InputError(
            f"{file}, line {skipped + reader.line_num}: found no CSV ({error}), expected {FORMATS}"
        ) from None
    layout = _layout(file, skipped + 1, header, rows, known)
    return _read(file, layout, rows, comma=separator != ",")


def _layout(
    file: str, line: int, header: list[str], rows: list[tuple[int, list[str]]], known: Sequence[str]
) -> _Layout:
    lower = [word.lower() for word in header]
    time = next((lower.index(word) for word in _TIMES if word in lower), None)
    if time is None or len(header) < 2:
        found = ", ".join(header)
        bad(file, line, "column 1", found, FORMATS)
    twice = next((word for word in header if word and header.count(word) > 1), None)
    if twice is not None:
        place = len(header) - header[::-1].index(twice)
        bad(file, line, f"column {place}", f"{twice} once more", "a name for each column")
    named = {*HOSTS, *CPUS, *MODES, *_NAMES, *(word.lower() for word in known)}
    others = [p for p in range(len(header)) if p != time and lower[p] not in _APART]
    said = [p for p in others if lower[p] in _VALUES]
    # A value a line has its labels beside it; a column a series may be called like one of them.
    long = bool(said) or _goes_back(rows, time)
    words = [p for p in others if _is_words(rows, p) or (long and lower[p] in named)]
    values = [p for p in others if p not in words]
    if not values:
        # Then nothing in it is a number, and the first line of it is told.
        return _Layout(header, time, [], words, [])
    apart = [p for p in values if read_name(header[p]).meaning.kind == "other"]
    kept = [p for p in values if p not in apart] or values
    if said:
        # Numbers that come again and again beside the values tell series apart, too.
        words += [p for p in kept if p not in said and _comes_again(rows, p)]
        apart, kept = [p for p in values if p not in words and p not in said], said
    return _Layout(header, time, words, kept, [p for p in apart if p not in kept])


def _cells(rows: list[tuple[int, list[str]]], place: int) -> Iterator[str]:
    found = (row[place].strip() for _, row in rows[:_LOOKED_AT] if place < len(row))
    return (cell for cell in found if cell)


def _is_words(rows: list[tuple[int, list[str]]], place: int) -> bool:
    """Whether most of a column is words; a few among numbers are mistakes."""
    words = numbers = 0
    for cell in _cells(rows, place):
        try:
            parse_value(cell.replace(",", "."))
            numbers += 1
        except ValueError:
            quantity = re.fullmatch(r"\d+([.,]\d+)?\s?([KMGT]i?B?|[kKM]?B/s|°?C|s|ms)", cell)
            words += quantity is None
    return words > 2 * numbers


def _comes_again(rows: list[tuple[int, list[str]]], place: int) -> bool:
    cells = [row[place] for _, row in rows if place < len(row)]
    return len(set(cells)) <= len(cells) / 2


def _goes_back(rows: list[tuple[int, list[str]]], time: int) -> bool:
    """Whether times come more than once: a value a line has labels beside it."""
    times = [row[time] for _, row in rows if time < len(row)]
    return len(set(times)) < len(times)


def _read(file: str, layout: _Layout, rows: list[tuple[int, list[str]]], *, comma: bool) -> Table:
    table = Table(file, "prometheus")
    if _newest_first(layout, rows):
        rows = rows[::-1]
    if layout.apart:
        places = ", ".join(f"column {place + 1}" for place in layout.apart)
        table.notes.append(f"left out, since they are no CPU time: {places}")
    header = layout.header
    columns: dict[tuple[object, ...], Column] = {}
    several = len(layout.values) > 1
    for line, row in rows:
        if len(row) != len(header):
            where = f"column {min(len(row), len(header)) + 1}"
            bad(file, line, where, f"{len(row)} fields", f"{len(header)}, as in the header")
        at_s = parse_time(row[layout.time].strip())
        if at_s is None:
            where = f"column {layout.time + 1} ({header[layout.time]})"
            bad(file, line, where, row[layout.time], TIME)
        table.saw(at_s)
        words = tuple(row[place].strip() for place in layout.words)
        for place in layout.values:
            whose = (place, *words)
            column = columns.get(whose)
            if column is None:
                column = columns[whose] = _column(layout, place, words, several=several)
            _take(file, line, column, at_s, row[place], comma=comma)
    table.keep(columns.values())
    if any("cores" in column.unit for column in table.columns):
        table.kind = "kubectl"  # nobody else writes 250m
    if not table.columns:
        raise InputError(f"{file}: found no values in it, expected {FORMATS}")
    return table


def _newest_first(layout: _Layout, rows: list[tuple[int, list[str]]]) -> bool:
    """Whether the last row is the oldest, as some exports have it."""
    ends = [row[layout.time].strip() for _, row in (rows[:1] + rows[-1:]) if layout.time < len(row)]
    times = [at_s for text in ends if (at_s := parse_time(text)) is not None]
    return len(times) == 2 and times[0] > times[1]


def _take(file: str, line: int, column: Column, at_s: float, text: str, *, comma: bool) -> None:
    # Where commas do not separate fields, a locale may have put them before decimals.
    if comma and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        value, unit = parse_value(text)
    except ValueError:
        bad(file, line, column.place, text, _VALUE)
    if value is None:
        return
    if not column.add(at_s, value, unit, line):
        bad(file, line, column.place, f"time {at_s:.3f}",
            "a later time than before, or a column that tells two series apart")  # fmt: skip


def _column(layout: _Layout, place: int, words: tuple[str, ...], *, several: bool) -> Column:
    header = layout.header
    labels = {header[p].lower(): word for p, word in zip(layout.words, words, strict=True) if word}
    named = [labels.pop(word) for word in _NAMES if word in labels]
    name = header[place]
    if name.lower() in ("value", "_value", "values"):
        name = ""
    name = next(iter(named), name)
    who = f"column {place + 1} ({header[place]:.40})"
    if labels and not several:
        who += f" of {', '.join(labels.values()):.40}"
    return Column(who, name, labels)
