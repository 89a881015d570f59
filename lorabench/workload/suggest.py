"""A column map to start from: what the columns of a file seem to be, each guess with its reason.

It is TOML that loads as it is where the guesses are right (`lorabench.workload.guesses`); what
cannot be guessed is left out and said, in a comment at its place.
"""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lorabench.workload.column_map import MISSING_MARKS, ColumnMap
from lorabench.workload.guesses import (
    Column,
    TimeGuess,
    guess_kind,
    guess_label,
    guess_rule,
    guess_time,
)
from lorabench.workload.head import Head
from lorabench.workload.layouts import recognise
from lorabench.workload.values import printable

_COMMA_NUMBER = re.compile(r"[+-]?\d+(,\d+)?")


def suggest(head: Head) -> str:
    """Write a column map for a file.

    Parameters
    ----------
    head : Head
        The file's beginning.

    Returns
    -------
    str
        TOML with comments.

    Raises
    ------
    InputError
        A known layout without its label.
    """
    layout = recognise(head)
    rows = f"the first {len(head.rows):,} rows"
    lines = [
        f"# A column map for {printable(head.path.name)} ({head.words()}), to start from.",
    ]
    if layout is None:
        lines.append(f"# Guessed from names and {rows}: see whether it is right, then")
        body = list(_guessed(head))
    else:
        lines.append(f"# Recognised as {layout.words}; ingest needs no map for it. Or")
        body = list(_of_layout(layout.columns, layout.left_out))
    lines.append(
        f"# lorabench ingest {printable(shlex.quote(str(head.path)))} --columns MAP.toml -o DIR"
    )
    return "\n".join([*lines, "", *body]) + "\n"


def _of_layout(columns: ColumnMap, left_out: Sequence[str]) -> Iterator[str]:
    content = columns.model_dump(mode="json", exclude_unset=True)
    for key in ColumnMap.model_fields:
        if content.get(key) is not None:
            yield f"{key} = {_toml(content[key])}"
    for name in left_out:
        yield f"# left out: {_toml(name)}"


def _guessed(head: Head) -> Iterator[str]:
    columns = [_column(head, name) for name in head.names if head.names.count(name) == 1]
    commas = {column.name: column for column in columns if _has_commas(column)}
    columns = [_with_points(column) if column.name in commas else column for column in columns]
    if len(columns) < len(head.names):
        yield "# left out: columns of one name, of which none can be told from the other"
    label = guess_label(columns)
    yield from _label_lines(label)
    time = guess_time([column for column in columns if column is not label])
    yield from _time_lines(time)
    found: dict[str, list[tuple[Column, str]]] = {"dense": [], "sparse": [], "": []}
    for column in columns:
        if column is not label and (time is None or column is not time.column):
            kind, why = guess_kind(column, len(head.rows))
            found[kind].append((column, why))
    for key in ("dense", "sparse"):
        yield from _listed(key, found[key])
    scaled = [_toml(c.name) for c, _ in found["dense"] if not c.counts]
    if scaled:
        scales = ", ".join(f'{name} = "standardise"' for name in scaled)
        yield f"transform = {{ {scales} }}  # no counts; of the others: log(1 + x)"
    if head.form == "csv":
        yield f"delimiter = {_toml(head.delimiter)}"
        if commas:
            yield f'decimal = ","  # of {", ".join(map(printable, commas))}'
        if not head.header:
            yield f"header = {_toml(head.names)}  # the first line is a row"
    for column, why in found[""]:
        yield f"# left out: {_toml(column.name)}: {why}"
    yield from _marks(head)


def _column(head: Head, name: str) -> Column:
    values = (value.strip() for value in head.column(name))
    given = tuple(value for value in values if value and value not in MISSING_MARKS)
    return Column(name, given, (head.kinds or {}).get(name, ""))


def _has_commas(column: Column) -> bool:
    """Whether all are numbers, and some have a decimal comma."""
    return bool(column.values) and (
        all(map(_COMMA_NUMBER.fullmatch, column.values)) and any("," in v for v in column.values)
    )


def _with_points(column: Column) -> Column:
    return replace(column, values=tuple(value.replace(",", ".") for value in column.values))


def _label_lines(column: Column | None) -> Iterator[str]:
    if column is None:
        yield '# label = "..."  # found no column of 0 and 1, or of a label\'s name;'
        yield "# labelled = false  # if there is none: nothing can be learned or judged then"
        return
    yield f"label = {_toml(column.name)}  # {column.look()}"
    if not column.binary:
        rule = guess_rule(column)
        assert rule is not None
        yield f"positive = {_toml(rule)}  # which values are clicks: a guess"


def _time_lines(time: TimeGuess | None) -> Iterator[str]:
    if time is None:
        yield '# time = "..."  # found none: rows are spaced evenly, in their order'
        return
    typed = time.column.kind.startswith(("timestamp", "date"))
    fell = not typed and not time.in_order()
    yield f"time = {_toml(time.column.name)}" + ("  # not in order: add --sort" if fell else "")
    if time.key:
        yield f"{time.key} = {_toml(time.value)}  # {time.why}"


def _listed(key: str, columns: Sequence[tuple[Column, str]]) -> Iterator[str]:
    if not columns:
        yield f"{key} = []"
        return
    yield f"{key} = ["
    for column, why in columns:
        yield f"  {_toml(column.name)},  # {why}"
    yield "]"


def _marks(head: Head) -> Iterator[str]:
    found = {
        value.strip()
        for row in head.rows
        for value in row
        if value is not None and value.strip() in MISSING_MARKS
    }
    if found:
        marks = ", ".join(map(repr, sorted(found)))
        yield f"# {marks}: a missing value, as by default; another list: missing = [...]"


def _toml(value: object) -> str:
    """Write a text, or several, as TOML: JSON, but for what JSON need not escape."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    text = json.dumps(str(value), ensure_ascii=False)
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
