"""``sadf -d FILE -- -u ALL`` or ``-u -P ALL``: lines of semicolons, see sadf(1)."""

import re
from datetime import UTC, datetime

from lorabench.experiments.headroom.recordings.spans import Trace
from lorabench.experiments.headroom.recordings.sysstat import Shares, is_share
from lorabench.experiments.headroom.recordings.table import bad, parse_number

_SYSSTAT = ["hostname", "interval", "timestamp"]
_EXPECTED = "one (sadf -d FILE -- -u ALL)"


def is_sadf(text: str) -> bool:
    """Whether a text is such an export."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.startswith("#") and not re.match(r"#\s*(datatype|group|default|time)\b", first, re.I):
        return True
    return ";LINUX-RESTART" in first or ";COM " in first


class Sadf:
    """A header a table, a line an interval and CPU."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._columns: list[str] | None = None
        self._shares = Shares()

    def read(self, text: str) -> Trace:
        """Read a whole file.

        Raises
        ------
        InputError
            A line of it is bad, or there is none of what is looked for.
        """
        for number, line in enumerate(text.splitlines(), start=1):
            if line.startswith("#"):
                self._header(number, line)
            elif line.strip():
                self._row(number, line.split(";"))
        return self._shares.trace(self._name, _EXPECTED)

    def _header(self, number: int, line: str) -> None:
        columns = [word.strip() for word in line.lstrip("# ").split(";")]
        if columns[:3] != _SYSSTAT:
            bad(self._name, number, "column 1", line, "# hostname;interval;timestamp;…")
        if "CPU" in columns and any("[...]" in column for column in columns):
            bad(
                self._name,
                number,
                f"column {len(columns)}",
                columns[-1],
                "a line a CPU: export without -h",
            )
        # Tables of other things (memory, disks) may stand beside.
        self._columns = columns if {"CPU", "%idle"} <= set(columns) else []

    def _row(self, number: int, fields: list[str]) -> None:
        name, columns = self._name, self._columns
        if len(fields) > 1 and fields[1].strip() == "-1":  # LINUX-RESTART or a comment
            return
        if columns is None:
            bad(name, number, "column 1", fields[0], "# hostname;interval;timestamp;… before data")
        if not columns:
            return
        if len(fields) != len(columns):
            bad(
                name,
                number,
                f"column {min(len(fields), len(columns)) + 1}",
                f"{len(fields)} fields",
                f"{len(columns)}, as in the header",
            )
        place = {column: i for i, column in enumerate(columns)}

        def at(column: str) -> str:
            return f"column {place[column] + 1} ({column})"

        interval = fields[1].strip()
        if not interval.isdecimal() or not 0 < int(interval) <= 10**7:
            bad(name, number, at("interval"), fields[1], "whole seconds above 0")
        end_s = _sysstat_time(fields[2].strip())
        if end_s is None:
            bad(
                name,
                number,
                at("timestamp"),
                fields[2],
                "2024-05-06 07:08:09 UTC, or seconds since 1970",
            )
        shares: dict[str, float] = {}
        for column in columns[place["CPU"] + 1 :]:
            # Some locales write a comma.
            share = parse_number(fields[place[column]].strip().replace(",", "."))
            if share is None or not is_share(share):
                bad(name, number, at(column), fields[place[column]], "a percentage")
            shares[column] = share
        host, cpu = fields[0].strip(), fields[place["CPU"]].strip()
        last_s = self._shares.last_end_s(host, cpu)
        if last_s is not None and end_s <= last_s:
            bad(
                name,
                number,
                at("timestamp"),
                fields[2],
                "a later time than before (sadf -U writes times that never go back)",
            )
        self._shares.add(host, cpu, end_s - int(interval), end_s, shares)


def _sysstat_time(text: str) -> float | None:
    if re.fullmatch(r"\d{9,11}", text):
        return float(text)
    if re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( UTC)?", text):
        # Local time without a zone will do: only differences count.
        try:
            return datetime.fromisoformat(text[:19]).replace(tzinfo=UTC).timestamp()
        except ValueError:
            return None
    return None
