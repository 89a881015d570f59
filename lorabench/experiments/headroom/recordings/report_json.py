"""JSON of sysstat: ``sadf -j FILE -- -u ALL`` and ``mpstat -o JSON``.

sadf says how long each interval was. mpstat says when each ended: it began when the one before
ended, and the first one is as long as is usual.
"""

import statistics
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NoReturn

from lorabench.errors import InputError
from lorabench.experiments.headroom.recordings.clock import (
    Clock,
    TimeOfDay,
    time_of_day,
    twelve_hours,
)
from lorabench.experiments.headroom.recordings.spans import Trace
from lorabench.experiments.headroom.recordings.sysstat import Shares, is_share
from lorabench.results.parse import escaped

_EXPECTED = "one (sadf -j FILE -- -u ALL, mpstat -o JSON 1)"
_TABLES = ("cpu-load", "cpu-load-all")


class ReportJson:
    """The document of one or several hosts."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shares = Shares()

    def read(self, document: dict[str, Any]) -> Trace:
        """Read a whole document.

        Raises
        ------
        InputError
            Something in it is not as sysstat writes it.
        """
        hosts = document["sysstat"]
        hosts = hosts.get("hosts") if isinstance(hosts, dict) else None
        if not isinstance(hosts, list):
            self._bad("sysstat", hosts, "hosts, as sadf -j and mpstat -o JSON write them")
        for number, host in enumerate(hosts):
            if not isinstance(host, dict) or not isinstance(host.get("statistics"), list):
                self._bad(f"hosts[{number}]", host, "statistics")
            self._host(f"hosts[{number}]", host)
        return self._shares.trace(self._name, _EXPECTED)

    def _host(self, where: str, host: dict[str, Any]) -> None:
        rows = []
        for number, entry in enumerate(host["statistics"]):
            place = f"{where}.statistics[{number}]"
            if not isinstance(entry, dict):
                self._bad(place, entry, "a time and the CPUs' load")
            if any(name in entry for name in _TABLES):
                rows.append((place, entry))
        name = str(host.get("nodename", self._name))
        for (place, entry), (begin_s, end_s) in zip(rows, self._times(rows), strict=True):
            loads = next(entry[table] for table in _TABLES if table in entry)
            for at, load in enumerate(loads if isinstance(loads, list) else [loads]):
                if not isinstance(load, dict) or "cpu" not in load:
                    self._bad(f"{place}[{at}]", load, "a CPU's load")
                cpu = str(load["cpu"])
                last_s = self._shares.last_end_s(name, cpu)
                if last_s is not None and end_s <= last_s:
                    self._bad(place, entry.get("timestamp"), "a later time than before")
                shares = self._load(f"{place}[{at}]", load)
                self._shares.add(name, cpu, begin_s, end_s, shares)

    def _load(self, where: str, load: dict[str, Any]) -> dict[str, float]:
        shares = {}
        for mode, value in load.items():
            if mode == "cpu":
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not is_share(value):
                self._bad(f"{where}.{mode}", value, "a percentage")
            shares[f"%{mode}"] = float(value)
        if "%idle" not in shares:
            self._bad(where, ", ".join(load), "idle among them")
        return shares

    def _times(self, rows: list[tuple[str, dict[str, Any]]]) -> list[tuple[float, float]]:
        """Return when each entry's interval began and ended."""
        stamps = [(place, entry.get("timestamp")) for place, entry in rows]
        if all(isinstance(stamp, dict) for _, stamp in stamps):
            return [self._interval(place, stamp) for place, stamp in stamps]
        times = [self._time_of_day(place, stamp) for place, stamp in stamps]
        clock = Clock(halves=twelve_hours(times))
        ends: list[float] = []
        for (place, stamp), time in zip(stamps, times, strict=True):
            at_s = clock.at(time)
            if at_s is None or (ends and at_s <= ends[-1]):
                self._bad(place, stamp, "a later time than before")
            ends.append(at_s)
        usual = (
            statistics.median(after - before for before, after in pairwise(ends))
            if len(ends) > 1
            else 0.0
        )
        begins = [end - usual for end in ends[:1]] + ends[:-1]
        return list(zip(begins, ends, strict=True))

    def _interval(self, place: str, stamp: Any) -> tuple[float, float]:
        interval = stamp.get("interval")
        try:
            at = datetime.fromisoformat(f"{stamp['date']} {stamp['time']}")
            end_s = at.replace(tzinfo=UTC).timestamp()
        except (KeyError, ValueError):
            self._bad(place, stamp, "a timestamp with date, time and interval")
        if isinstance(interval, bool) or not isinstance(interval, int) or not 0 <= interval < 10**7:
            self._bad(place, stamp, "an interval in whole seconds")
        return end_s - interval, end_s

    def _time_of_day(self, place: str, stamp: Any) -> TimeOfDay:
        found = time_of_day(stamp) if isinstance(stamp, str) else None
        if found is None:
            self._bad(place, stamp, "a timestamp such as 11:30:00")
        return found[0]

    def _bad(self, where: str, found: object, expected: str) -> NoReturn:
        raise InputError(
            f"{self._name}, {where}: found {escaped(repr(found)):.60}, expected {expected}"
        )
