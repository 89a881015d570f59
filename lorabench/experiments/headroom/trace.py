"""Recorded CPU use of a production host: exports of sysstat and of Prometheus, as tracks.

What a file is gets recognised from its first lines and is never declared:

- sysstat: ``sadf -d FILE -- -u ALL`` or ``-u -P ALL`` (semicolons, a header that starts with
  ``# hostname;interval;timestamp``), see sadf(1);
- Prometheus: CSV with a header and a column of times, beside it either busy shares (a column a
  host, or one of values and one of instances) or counters ``node_cpu_seconds_total`` (a column a
  CPU and mode, as Grafana exports them, or columns ``cpu``, ``mode`` and a value).

A CPU is busy when it is not idle and not waiting for a disk; stolen time counts as busy.
"""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np

from lorabench.errors import InputError
from lorabench.results.headroom import Track

_FORMATS = (
    "an export of sysstat (sadf -d FILE -- -u ALL) or CSV from Prometheus (a column of times, and "
    "busy shares or node_cpu_seconds_total)"
)
_SYSSTAT = ["hostname", "interval", "timestamp"]
_TIMES = ("time", "timestamp", "ts", "_time", "date", "datetime")
_VALUES = ("value", "_value", "node_cpu_seconds_total")
_HOSTS = ("instance", "host", "hostname", "node", "target")
_NOTHING = ("", "nan", "null", "none", "undefined", "-")

# Counters of these are time in which a CPU had nothing to do.
_IDLE = ("idle", "iowait")
# With these beside them, the modes of a CPU add up to all of its time.
_WHOLE = {"idle", "user", "system"}

# Epochs beyond this are in milliseconds: in seconds it is the year 5138.
_LEAST_MS = 1e11


@dataclass(frozen=True)
class Trace:
    """What a file tells.

    Attributes
    ----------
    kind : str
        ``sysstat`` or ``prometheus``.
    hosts : dict of str to Track
        Busy share of all CPUs of each host, 0 to 1.
    cpus : dict of (str, str) to Track
        Of each single CPU, by host and number, where the file has them.
    notes : list of str
        How it was read, where that is not plain from the file.
    """

    kind: str
    hosts: dict[str, Track] = field(default_factory=dict)
    cpus: dict[tuple[str, str], Track] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_trace(path: Path) -> Trace:
    """Read an export, whichever it is.

    Raises
    ------
    InputError
        It cannot be read, is none of the formats, or a line of it is bad: file, line, column, what
        was found and what was expected.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected {_FORMATS}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: found no text, expected {_FORMATS}") from None
    return parse_trace(text, path.name)


def parse_trace(text: str, name: str) -> Trace:
    """Read the text of an export; `name` is the file's, for messages.

    Raises
    ------
    InputError
        As `read_trace`.
    """
    first = next((line for line in text.splitlines() if line.strip()), None)
    if first is None:
        raise InputError(f"{name}: found nothing in it, expected {_FORMATS}")
    if first.startswith("#") or ";LINUX-RESTART" in first:
        return _Sysstat(name).read(text)
    return _Prometheus(name).read(text)


def _bad(name: str, line: int, column: str, found: object, expected: str) -> NoReturn:
    raise InputError(f"{name}, line {line}, {column}: found {found!r:.60}, expected {expected}")


class _Spans:
    """Spans of one track as they come, in time's order."""

    def __init__(self) -> None:
        self.begin: list[float] = []
        self.end: list[float] = []
        self.busy: list[float] = []

    def add(self, begin_s: float, end_s: float, busy: float) -> None:
        # Times are written in whole seconds, so that neighbours may seem to overlap by one.
        if self.end:
            begin_s = max(begin_s, self.end[-1])
        self.begin.append(begin_s)
        self.end.append(end_s)
        self.busy.append(min(1.0, max(0.0, busy)))

    def track(self) -> Track:
        return Track(np.array(self.begin), np.array(self.end), np.array(self.busy))


class _Sysstat:
    """``sadf -d``: a header a table, a line an interval and CPU."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._columns: list[str] | None = None
        self._spans: dict[tuple[str, str], _Spans] = defaultdict(_Spans)

    def read(self, text: str) -> Trace:
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
                trace.hosts[host] = _mean_of([t for (h, _), t in trace.cpus.items() if h == host])
                trace.notes.append("there was no line of all CPUs: the mean of those there stands")
        return trace

    def _header(self, number: int, line: str) -> None:
        columns = [word.strip() for word in line.lstrip("# ").split(";")]
        if columns[:3] != _SYSSTAT:
            _bad(self._name, number, "column 1", line, "# hostname;interval;timestamp;…")
        if "CPU" in columns and any("[...]" in column for column in columns):
            _bad(
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
            _bad(name, number, "column 1", fields[0], "# hostname;interval;timestamp;… before data")
        if not columns:
            return
        if len(fields) != len(columns):
            _bad(
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
            _bad(name, number, at("interval"), fields[1], "whole seconds above 0")
        end_s = _sysstat_time(fields[2].strip())
        if end_s is None:
            _bad(
                name,
                number,
                at("timestamp"),
                fields[2],
                "2024-05-06 07:08:09 UTC, or seconds since 1970",
            )
        shares: dict[str, float] = {}
        for column in columns[place["CPU"] + 1 :]:
            # Some locales write a comma.
            share = _number(fields[place[column]].strip().replace(",", "."))
            if share is None or not -0.1 <= share <= 100.1:
                _bad(name, number, at(column), fields[place[column]], "a percentage")
            shares[column] = share
        if not any(shares.values()):
            return  # a CPU that is offline
        spans = self._spans[fields[0].strip(), fields[place["CPU"]].strip()]
        if spans.end and end_s <= spans.end[-1]:
            _bad(
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


@dataclass(frozen=True)
class _Labels:
    """Where a value of Prometheus belongs."""

    host: str
    cpu: str = ""
    mode: str = ""


class _Prometheus:
    """CSV with a column of times; long (a value a line) or wide (a column a series)."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: dict[_Labels, list[tuple[float, float]]] = defaultdict(list)
        self._percent: set[str] = set()
        self._share = False
        self._place: dict[_Labels, tuple[int, str]] = {}

    def read(self, text: str) -> Trace:
        lines = text.splitlines()
        number = 0
        while number < len(lines) and (
            not lines[number].strip() or lines[number].startswith("sep=")
        ):
            number += 1
        separator = max(",;\t", key=lines[number].count)
        reader = csv.reader(lines[number:], delimiter=separator)
        try:
            header = [word.strip() for word in next(reader)]
            self._read(header, reader, number)
        except csv.Error as error:
            raise InputError(
                f"{self._name}, line {number + reader.line_num}: found no CSV ({error}), "
                f"expected {_FORMATS}"
            ) from None
        if not self._values:
            raise InputError(f"{self._name}: found no values in it, expected {_FORMATS}")
        if any(labels.mode for labels in self._values):
            return self._counters()
        return self._shares()

    def _read(self, header: list[str], rows: "Iterator[list[str]]", skipped: int) -> None:
        lower = [word.lower() for word in header]
        times = next((lower.index(word) for word in _TIMES if word in lower), None)
        if times is None or len(header) < 2:
            raise InputError(
                f"{self._name}, line {skipped + 1}, column 1: found {', '.join(header)!r:.60}, "
                f"expected {_FORMATS}"
            )
        value = next((lower.index(word) for word in _VALUES if word in lower), None)
        labels = self._long(lower) if value is not None else None
        wide = {} if value is not None else self._wide(header, times)
        for row in rows:
            line = skipped + rows.line_num  # type: ignore[attr-defined]
            if not any(field.strip() for field in row):
                continue
            if len(row) != len(header):
                _bad(
                    self._name,
                    line,
                    f"column {min(len(row), len(header)) + 1}",
                    f"{len(row)} fields",
                    f"{len(header)}, as in the header",
                )
            at_s = _prometheus_time(row[times].strip())
            if at_s is None:
                _bad(
                    self._name,
                    line,
                    f"column {times + 1} ({header[times]})",
                    row[times],
                    "seconds or milliseconds since 1970, or 2024-05-06T07:08:09Z",
                )
            if labels is not None and value is not None:
                whose = _Labels(*(row[i].strip() if i is not None else "" for i in labels))
                self._add(line, value, header[value], whose, at_s=at_s, text=row[value])
            else:
                for place, whose in wide.items():
                    self._add(line, place, header[place], whose, at_s=at_s, text=row[place])

    @staticmethod
    def _long(lower: list[str]) -> tuple[int | None, int | None, int | None]:
        host = next((lower.index(word) for word in _HOSTS if word in lower), None)
        cpu, mode = (lower.index(word) if word in lower else None for word in ("cpu", "mode"))
        return host, cpu, mode

    def _wide(self, header: list[str], times: int) -> dict[int, _Labels]:
        found = {}
        for place, word in enumerate(header):
            if place == times:
                continue
            pairs = dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', word))
            mode = pairs.get("mode", "")
            host = next((pairs[key] for key in _HOSTS if key in pairs), "" if mode else word)
            found[place] = _Labels(host, pairs.get("cpu", "") if mode else "", mode)
        return found

    def _add(
        self, line: int, place: int, column: str, whose: _Labels, *, at_s: float, text: str
    ) -> None:
        text = text.strip()
        if text.lower() in _NOTHING:
            return
        where = f"column {place + 1} ({column:.40})"
        value = _number(text.removesuffix("%").strip())
        if value is None or value < 0:
            _bad(self._name, line, where, text, "a number that is not negative, or nothing")
        if not whose.mode:
            if text.endswith("%") or re.search(r"%|percent|pct", column, re.IGNORECASE):
                self._percent.add("said")
            elif value > 1.001:
                self._percent.add("seen")
            if value > 100.1:
                _bad(self._name, line, where, text, "a busy share, 0 to 1, or 0 to 100 %")
        seen = self._values[whose]
        self._place.setdefault(whose, (place, column))
        if seen and at_s <= seen[-1][0]:
            _bad(self._name, line, where, f"time {at_s:.3f}", "a later time than before")
        seen.append((at_s, value))

    def _shares(self) -> Trace:
        scale = 0.01 if self._percent else 1.0
        trace = Trace("prometheus")
        if "said" not in self._percent:
            how = "percentages, since some exceed 1" if self._percent else "shares of 1"
            trace.notes.append(f"the values were read as {how}")
        for whose, values in self._values.items():
            host = whose.host or self._name
            track = _steps(values, scale)
            if whose.cpu:
                trace.cpus[host, whose.cpu] = track
            else:
                trace.hosts[host] = track
        for host in dict.fromkeys(host for host, _ in trace.cpus):
            if host not in trace.hosts:
                trace.hosts[host] = _mean_of([t for (h, _), t in trace.cpus.items() if h == host])
        return trace

    def _counters(self) -> Trace:
        groups: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = defaultdict(dict)
        for whose, values in self._values.items():
            if whose.mode:
                groups[whose.host or self._name, whose.cpu][whose.mode] = values
        trace = Trace("prometheus")
        for (host, cpu), modes in groups.items():
            track = self._busy(host, cpu, modes)
            if cpu:
                trace.cpus[host, cpu] = track
            else:
                trace.hosts[host] = track
        for host in dict.fromkeys(host for host, _ in groups):
            if host not in trace.hosts:
                trace.hosts[host] = _mean_of([t for (h, _), t in trace.cpus.items() if h == host])
        return trace

    def _busy(self, host: str, cpu: str, modes: dict[str, list[tuple[float, float]]]) -> Track:
        who = f"{host}, CPU {cpu}" if cpu else host
        if "idle" not in modes:
            raise InputError(
                f"{self._name}: {who}: found the modes {', '.join(sorted(modes))}, expected idle "
                "among them"
            )
        whole = set(modes) >= _WHOLE
        if not cpu and not whole:
            raise InputError(
                f"{self._name}: {who}: found the modes {', '.join(sorted(modes))} and no label "
                "cpu, expected that, or all modes"
            )
        if max(value for _, value in modes["idle"]) <= 1.001:
            raise InputError(
                f"{self._name}: {who}: found values of mode idle that never exceed 1, expected "
                "the counter node_cpu_seconds_total itself, or busy shares without a mode"
            )
        used = modes if whole else {m: v for m, v in modes.items() if m in _IDLE}
        at = sorted(set.intersection(*({t for t, _ in values} for values in used.values())))
        by_time = {mode: dict(values) for mode, values in used.items()}
        spans = _Spans()
        for before, after in pairwise(at):
            spent = {mode: v[after] - v[before] for mode, v in by_time.items()}
            if min(spent.values()) < -0.05:  # a counter that began anew: the host was restarted
                continue
            total = sum(spent.values()) if whole else after - before
            if total > 0:
                idle = sum(spent.get(mode, 0.0) for mode in _IDLE)
                spans.add(before, after, 1.0 - idle / total)
        return _without_gaps(spans.track())


def _prometheus_time(text: str) -> float | None:
    number = _number(text)
    if number is not None:
        if number < 0:
            return None
        return number / 1e3 if number >= _LEAST_MS else number
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> float | None:
    """Read a plain decimal number."""
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) is None:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _steps(values: Sequence[tuple[float, float]], scale: float) -> Track:
    """Take each value for the mean since the one before; a step is typical where there is none."""
    at = np.array([t for t, _ in values])
    gaps = np.diff(at)
    step = float(np.median(gaps)) if len(gaps) else 0.0
    if step == 0.0:
        return Track(np.zeros(0), np.zeros(0), np.zeros(0))
    begin = at - step
    begin[1:] = np.where(gaps > 1.5 * step, begin[1:], at[:-1])
    busy = np.clip(np.array([v for _, v in values]) * scale, 0.0, 1.0)
    return Track(begin, at, busy)


def _without_gaps(track: Track) -> Track:
    """Leave out spans that only bridge a gap in the recording."""
    if not len(track.value):
        return track
    keep = track.span_s <= 1.5 * float(np.median(track.span_s))
    return Track(track.begin_s[keep], track.end_s[keep], track.value[keep])


def _mean_of(tracks: Sequence[Track]) -> Track:
    """Average CPUs over those that are there at each time."""
    sums: dict[tuple[float, float], list[float]] = defaultdict(list)
    for track in tracks:
        for begin, end, value in zip(track.begin_s, track.end_s, track.value, strict=True):
            sums[float(begin), float(end)].append(float(value))
    spans = _Spans()
    for (begin, end), values in sorted(sums.items(), key=lambda item: item[0][1]):
        if not spans.end or end > spans.end[-1]:
            spans.add(begin, end, sum(values) / len(values))
    return spans.track()
