"""Exports of Prometheus: CSV of busy shares, or of the counter ``node_cpu_seconds_total``."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np

from lorabench.errors import InputError
from lorabench.experiments.headroom.recording import (
    FORMATS,
    Spans,
    Trace,
    bad,
    mean_of,
    parse_number,
)
from lorabench.results.headroom import Track

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
class _Labels:
    """Where a value of Prometheus belongs."""

    host: str
    cpu: str = ""
    mode: str = ""


class Prometheus:
    """CSV with a column of times; long (a value a line) or wide (a column a series)."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: dict[_Labels, list[tuple[float, float]]] = defaultdict(list)
        self._percent: set[str] = set()
        self._share = False
        self._place: dict[_Labels, tuple[int, str]] = {}

    def read(self, text: str) -> Trace:
        """Read a whole file.

        Raises
        ------
        InputError
            A line of it is bad, or there is none of what is looked for.
        """
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
                f"expected {FORMATS}"
            ) from None
        if not self._values:
            raise InputError(f"{self._name}: found no values in it, expected {FORMATS}")
        if any(labels.mode for labels in self._values):
            return self._counters()
        return self._shares()

    def _read(self, header: list[str], rows: "Iterator[list[str]]", skipped: int) -> None:
        lower = [word.lower() for word in header]
        times = next((lower.index(word) for word in _TIMES if word in lower), None)
        if times is None or len(header) < 2:
            raise InputError(
                f"{self._name}, line {skipped + 1}, column 1: found {', '.join(header)!r:.60}, "
                f"expected {FORMATS}"
            )
        value = next((lower.index(word) for word in _VALUES if word in lower), None)
        labels = self._long(lower) if value is not None else None
        wide = {} if value is not None else self._wide(header, times)
        for row in rows:
            line = skipped + rows.line_num  # type: ignore[attr-defined]
            if not any(field.strip() for field in row):
                continue
            if len(row) != len(header):
                bad(
                    self._name,
                    line,
                    f"column {min(len(row), len(header)) + 1}",
                    f"{len(row)} fields",
                    f"{len(header)}, as in the header",
                )
            at_s = _prometheus_time(row[times].strip())
            if at_s is None:
                bad(
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
        value = parse_number(text.removesuffix("%").strip())
        if value is None or value < 0:
            bad(self._name, line, where, text, "a number that is not negative, or nothing")
        if not whose.mode:
            if text.endswith("%") or re.search(r"%|percent|pct", column, re.IGNORECASE):
                self._percent.add("said")
            elif value > 1.001:
                self._percent.add("seen")
            if value > 100.1:
                bad(self._name, line, where, text, "a busy share, 0 to 1, or 0 to 100 %")
        seen = self._values[whose]
        self._place.setdefault(whose, (place, column))
        if seen and at_s <= seen[-1][0]:
            bad(self._name, line, where, f"time {at_s:.3f}", "a later time than before")
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
                trace.hosts[host] = mean_of([t for (h, _), t in trace.cpus.items() if h == host])
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
                trace.hosts[host] = mean_of([t for (h, _), t in trace.cpus.items() if h == host])
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
        spans = Spans()
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
    number = parse_number(text)
    if number is not None:
        if number < 0:
            return None
        return number / 1e3 if number >= _LEAST_MS else number
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


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
