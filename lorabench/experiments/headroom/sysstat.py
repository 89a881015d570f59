"""Exports of sysstat: ``sadf -d FILE -- -u ALL`` or ``-u -P ALL``, see sadf(1)."""

import re
from collections import defaultdict
from datetime import UTC, datetime

from lorabench.errors import InputError
from lorabench.experiments.headroom.recording import Spans, Trace, bad, mean_of, parse_number

_SYSSTAT = ["hostname", "interval", "timestamp"]


class Sysstat:
    """``sadf -d``: a header a table, a line an interval and CPU."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._columns: list[str] | None = None
        self._spans: dict[tuple[str, str], Spans] = defaultdict(Spans)

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
        if not self._spans:
            raise InputError(
                f"{self._name}: found no table with the columns CPU and %idle, expected one "
                "(sadf -d FILE -- -u ALL)"
            )
        trace = Trace("sysstat")
        for (host, cpu), spans in self._spans.items():
            if cpu in ("-1", "all"):
                trace.hosts[host] = spans.track()
            else:
                trace.cpus[host, cpu] = spans.track()
        for host in dict.fromkeys(host for host, _ in self._spans):
            if host not in trace.hosts:
                trace.hosts[host] = mean_of([t for (h, _), t in trace.cpus.items() if h == host])
                trace.notes.append("there was no line of all CPUs: the mean of those there stands")
        return trace

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
            if share is None or not -0.1 <= share <= 100.1:
                bad(name, number, at(column), fields[place[column]], "a percentage")
            shares[column] = share
        if not any(shares.values()):
            return  # a CPU that is offline
        spans = self._spans[fields[0].strip(), fields[place["CPU"]].strip()]
        if spans.end and end_s <= spans.end[-1]:
            bad(
                name,
                number,
                at("timestamp"),
                fields[2],
                "a later time than before (sadf -U writes times that never go back)",
            )
        idle = shares["%idle"] + shares.get("%iowait", 0.0)
        spans.add(end_s - int(interval), end_s, 1.0 - idle / 100.0)


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
