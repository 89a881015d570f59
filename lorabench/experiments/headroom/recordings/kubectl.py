"""``kubectl top`` as people collect it: its table time after time, under or beside a time.

A pod's or container's CPU is in cores (250m is a quarter of one); a node's is also in per cent of
what the node can allocate, which is taken. What stands there is the mean over the window of
metrics-server, and the same value again until it has a new one.
"""

import re
from datetime import UTC, datetime

from lorabench.errors import InputError
from lorabench.experiments.headroom.recordings.content import FORMATS
from lorabench.experiments.headroom.recordings.table import (
    Column,
    Table,
    bad,
    parse_time,
    parse_value,
)

_HEADER = "CPU(cores)"
_ROW = re.compile(
    r"(?P<names>\S+(?:\s+\S+){0,2}?)\s+(?P<cores>\d+[mun]?|<unknown>)"
    r"(?:\s+(?P<percent>\d+%|<unknown>))?\s+(?:\d+(?:[KMGT]i?|m)?|<unknown>)"
    r"(?:\s+(?:\d+%|<unknown>))?\s*$"
)
_MONTHS = {
    month: number
    for number, month in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
# As date writes it (Mon May  6 07:08:09 UTC 2024, Mon 6 May 07:08:09 AM CEST 2024) and ts does.
_WRITTEN = re.compile(
    r"(?:[A-Za-z]{3},?\s+)?(?:(?P<m1>[A-Za-z]{3})\s+(?P<d1>\d{1,2})|(?P<d2>\d{1,2})\s+"
    r"(?P<m2>[A-Za-z]{3})(?:\s+(?P<y2>\d{4}))?),?\s+(?P<h>\d{1,2}):(?P<m>\d\d):(?P<s>\d\d)"
    r"(?:\s+(?P<half>AM|PM))?(?:\s+(?:[A-Z]{2,5}|[+-]\d{2,4}))?(?:\s+(?P<y1>\d{4}))?(?=\s|$)"
)


def is_kubectl_top(text: str) -> bool:
    """Whether a text is such a collection."""
    first = [line for line in text.splitlines() if line.strip()][:40]
    if any(_HEADER in line for line in first):
        return True
    rows = [_split(line)[1] for line in first]
    return any(row and "," not in row and _ROW.match(row) and "m" in row for row in rows)


def read_kubectl_top(text: str, file: str) -> Table:
    """Read all tables of a collection.

    Raises
    ------
    InputError
        A line of it is bad, or there are no times in it.
    """
    table = Table(file, "kubectl")
    columns: dict[tuple[str, ...], Column] = {}
    at_s: float | None = None
    for line, text_ in enumerate(text.splitlines(), start=1):
        time_s, rest = _split(text_)
        at_s = at_s if time_s is None else time_s
        if not rest or _HEADER in rest:
            continue
        row = _ROW.match(rest)
        if row is None:
            bad(file, line, "column 1", text_.strip(), f"a row as under {_HEADER}, or a time")
        if at_s is None:
            bad(file, line, "column 1", text_.strip(),
                "a time before it: kubectl top writes none, collect it with date -Is before each "
                "call")  # fmt: skip
        table.saw(at_s)
        names = tuple(row["names"].split())
        node = row["percent"] is not None
        if names not in columns:
            label = "node" if node else "pod"
            columns[names] = Column(f"{label} {'/'.join(names)}", "", {label: "/".join(names)})
        _take(file, line, columns[names], at_s, row["percent"] if node else row["cores"])
    table.keep(columns.values())
    if not table.columns:
        raise InputError(f"{file}: found no values in it, expected {FORMATS}")
    return table


def _take(file: str, line: int, column: Column, at_s: float, text: str) -> None:
    value, unit = parse_value(text)
    if value is None:
        return
    if not column.add(at_s, value, unit or "cores", line):
        bad(file, line, "column 1", column.place, "a later time before it")


def _split(line: str) -> tuple[float | None, str]:
    """Return the time at the beginning of a line, and the rest of it."""
    line = line.strip().lstrip("[# -=").strip()
    written = _WRITTEN.match(line)
    if written is not None and (at_s := _written(written)) is not None:
        return at_s, line[written.end() :].strip(" ]:,-=")
    words = line.split()
    for many in (2, 1):
        first = " ".join(words[:many]).rstrip("]:,")
        if len(words) >= many and (many == 1 or "-" in first or "/" in first):
            at_s = parse_time(first) if re.match(r"\d{9,}|\d{4}-\d\d-\d\d", first) else None
            if at_s is not None:
                return at_s, " ".join(words[many:]).strip(" ]:,-=")
    return None, line


def _written(found: re.Match[str]) -> float | None:
    month = _MONTHS.get((found["m1"] or found["m2"]).lower())
    if month is None:
        return None
    hour = int(found["h"])
    if found["half"]:
        hour = hour % 12 + (12 if found["half"] == "PM" else 0)
    # Of times without a year only the differences count.
    year = int(found["y1"] or found["y2"] or 2000)
    try:
        day = int(found["d1"] or found["d2"])
        at = datetime(year, month, day, hour, int(found["m"]), int(found["s"]), tzinfo=UTC)
    except ValueError:
        return None
    return at.timestamp()
