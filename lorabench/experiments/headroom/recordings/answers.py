"""JSON of Prometheus: the answer to ``query_range``, or the list of series in it; lines of JSON.

See Prometheus, "HTTP API", range queries: ``data.result`` has a series each, with its labels in
``metric`` and pairs of a time and a number in quotes in ``values``. Thanos, Mimir and
VictoriaMetrics answer alike; ``promtool query range -o json`` prints the list alone, and
VictoriaMetrics exports a line a series with ``values`` and ``timestamps`` in ms.
"""

import json
from collections.abc import Iterator
from typing import Any

from lorabench.errors import InputError
from lorabench.experiments.headroom.recordings.content import FORMATS
from lorabench.experiments.headroom.recordings.table import (
    Column,
    Table,
    parse_time,
    parse_value,
)

_RANGE = "an answer of query_range (resultType matrix)"


def load_json(text: str, file: str) -> list[Any]:
    """Parse JSON, or lines of JSON; a list of what was found, one for each.

    Raises
    ------
    InputError
        It is no JSON: line, column and what is wrong there.
    """
    try:
        return [json.loads(text)]
    except RecursionError:
        raise InputError(f"{file}: found JSON too deep to be read, expected {FORMATS}") from None
    except json.JSONDecodeError as error:
        first = error
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and first.lineno > 1:
        try:
            return [json.loads(line) for line in lines]
        except (json.JSONDecodeError, RecursionError):
            pass
    cut = "; it ends too early" if first.pos >= len(text.rstrip()) else ""
    raise InputError(
        f"{file}, line {first.lineno}, column {first.colno}: found no JSON ({first.msg}{cut}), "
        f"expected {FORMATS}"
    ) from None


def read_answer(documents: list[Any], file: str) -> Table:
    """Read what Prometheus answered.

    Raises
    ------
    InputError
        It is an error, or an answer to another question, or a value of it is none.
    """
    table = Table(file, "prometheus")
    columns = []
    for series, one in enumerate(_series(documents, file, table.notes), start=1):
        labels = one.get("metric", {})
        if not isinstance(labels, dict):
            raise InputError(f"{file}, series {series}: found no labels, expected {_RANGE}")
        labels = {str(name): str(value) for name, value in labels.items()}
        name = labels.pop("__name__", "")
        shown = ",".join(f'{key}="{value}"' for key, value in labels.items())
        column = Column(f"series {series} ({name}{{{shown}}})"[:100], name, labels)
        for at, value in _pairs(one, file, series):
            _take(table, column, at, value)
        columns.append(column)
    table.keep(columns)
    if not table.columns:
        raise InputError(f"{file}: found no values in it, expected {_RANGE}")
    return table


def _series(documents: list[Any], file: str, warned: list[str]) -> Iterator[dict[str, Any]]:
    for document in documents:
        found = document
        if isinstance(found, dict) and found.get("status") == "error":
            said = str(found.get("error", ""))
            raise InputError(
                f"{file}: found an error of Prometheus {said!r:.80}, expected {_RANGE}"
            )
        if isinstance(found, dict) and found.get("warnings"):
            warned.append("Prometheus warned of its own answer: parts of it may be missing")
        if isinstance(found, dict) and isinstance(found.get("data"), dict):
            found = found["data"]
        kind = found.get("resultType", "matrix") if isinstance(found, dict) else "matrix"
        if kind != "matrix":
            raise InputError(
                f"{file}: found resultType {kind!r:.20}, expected {_RANGE}: "
                "ask for it with start, end and step"
            )
        if isinstance(found, dict) and isinstance(found.get("result"), list):
            found = found["result"]
        listed = found if isinstance(found, list) else [found]
        for one in listed:
            if not isinstance(one, dict) or "values" not in one:
                keys = ", ".join(one) if isinstance(one, dict) else type(one).__name__
                raise InputError(f"{file}: found JSON with {keys!r:.60}, expected {FORMATS}")
            yield one


def _pairs(one: dict[str, Any], file: str, series: int) -> Iterator[tuple[Any, Any]]:
    values, times = one["values"], one.get("timestamps")
    if isinstance(values, list) and isinstance(times, list) and len(times) == len(values):
        yield from zip(times, values, strict=True)
        return
    for number, pair in enumerate(values if isinstance(values, list) else [None], start=1):
        if not isinstance(pair, list) or len(pair) != 2:
            raise InputError(
                f"{file}, series {series}, value {number}: found {pair!r:.40}, "
                "expected a time and a value"
            )
        yield pair[0], pair[1]


def _take(table: Table, column: Column, at: Any, text: Any) -> None:
    place = f"{table.file}, {column.place}"
    at_s = None if isinstance(at, bool) else parse_time(str(at))
    if at_s is None:
        raise InputError(f"{place}: found the time {at!r:.40}, expected an epoch")
    table.saw(at_s)
    try:
        value, unit = parse_value("" if text is None else str(text))
    except ValueError as error:
        raise InputError(
            f"{place}, time {at_s:.0f}: found {text!r:.40}, expected {error}"
        ) from None
    if value is None:
        return
    if not column.add(at_s, value, unit, 0):
        raise InputError(f"{place}: found time {at_s:.3f}, expected a later time than before")
