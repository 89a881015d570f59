"""Reports of sar and mpstat as text: a table under a heading with a time, see sar(1), mpstat(1).

A value is the mean since the time of the line before, and the first one's since the heading's. The
clock has 12 or 24 hours, as the locale has it, and goes on over midnight.
"""

import re

from lorabench.experiments.headroom.recordings.clock import (
    Clock,
    TimeOfDay,
    days_between,
    time_of_day,
    twelve_hours,
)
from lorabench.experiments.headroom.recordings.spans import Trace
from lorabench.experiments.headroom.recordings.sysstat import Shares, is_share
from lorabench.experiments.headroom.recordings.table import bad, parse_number

_EXPECTED = "one (sar -u ALL, mpstat 1)"
_BANNER = re.compile(r"\S+ \S+ \((?P<host>[^)]*)\)\s+(?P<date>\S+)\s.*\(\d+ CPU\)")
_RESTART = "LINUX RESTART"
_SET_BACK = "a later time than before (sadf -d -U writes times that never go back)"


def is_report(text: str) -> bool:
    """Whether a text is such a report."""
    for line in [line for line in text.splitlines() if line.strip()][:40]:
        words = line.split()
        if _BANNER.match(line) or (";" not in line and {"CPU", "%idle"} <= set(words)):
            return True
    return False


class Report:
    """One or several reports, one after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._host = name
        self._date = ""
        self._shares = Shares()
        self._columns: list[str] = []
        self._begin_s: float | None = None
        self._now_s: float | None = None
        self._clock = Clock()

    def read(self, text: str) -> Trace:
        """Read a whole file.

        Raises
        ------
        InputError
            A line of it is bad, or there is none of what is looked for.
        """
        lines = text.splitlines()
        self._clock = Clock(halves=twelve_hours(_times(lines)))
        for number, line in enumerate(lines, start=1):
            banner = _BANNER.match(line)
            if banner:
                self._banner(number, banner["host"], banner["date"])
                continue
            # The last lines are means of all: a word stands where others have their time.
            timed = time_of_day(line)
            if timed is not None:
                self._line(number, line, *timed)
        return self._shares.trace(self._name, _EXPECTED)

    def _banner(self, number: int, host: str, date: str) -> None:
        if self._date and date != self._date:
            days = days_between(self._date, date)
            if days is None:
                bad(self._name, number, "column 1", date, f"a date after {self._date}")
            self._clock.new_day(days)
        self._host, self._date, self._columns = host, date, []
        self._begin_s = self._now_s = None

    def _line(self, number: int, line: str, time: TimeOfDay, rest: str) -> None:
        words = rest.split()
        if _RESTART in rest or not words or words[0] == "COM":
            if _RESTART in rest:
                self._begin_s = self._now_s = None
            return
        if not any(_value(word) is not None for word in words):
            # Tables of other things (memory, disks) may stand beside.
            self._columns = words if {"CPU", "%idle"} <= set(words) else []
            if self._columns:
                self._begin_s, self._now_s = self._at(number, line, time), None
            return
        if self._columns:
            self._row(number, line, time, words)

    def _at(self, number: int, line: str, time: TimeOfDay) -> float:
        at_s = self._clock.at(time)
        if at_s is None:
            bad(self._name, number, "column 1", line.split("  ", maxsplit=1)[0].strip(), _SET_BACK)
        return at_s

    def _row(self, number: int, line: str, time: TimeOfDay, words: list[str]) -> None:
        columns = self._columns
        if len(words) != len(columns):
            place = f"column {min(len(words), len(columns)) + 1}"
            bad(self._name, number, place, f"{len(words)} fields", f"{len(columns)}, as above it")
        at_s = self._at(number, line, time)
        if at_s != self._now_s:
            self._begin_s = self._begin_s if self._now_s is None else self._now_s
            self._now_s = at_s
        cpu = words[columns.index("CPU")]
        shares = {}
        for at, (column, word) in enumerate(zip(columns, words, strict=True), start=1):
            if not column.startswith("%"):
                continue
            share = _value(word)
            if share is None or not is_share(share):
                bad(self._name, number, f"column {at} ({column})", word, "a percentage")
            shares[column] = share
        last_s = self._shares.last_end_s(self._host, cpu)
        if last_s is not None and at_s <= last_s:
            bad(self._name, number, "column 1", line.split("  ", maxsplit=1)[0].strip(), _SET_BACK)
        if self._begin_s is not None:
            self._shares.add(self._host, cpu, self._begin_s, at_s, shares)


def _value(word: str) -> float | None:
    # Some locales write a comma.
    return parse_number(word.removesuffix("%").replace(",", "."))


def _times(lines: list[str]) -> list[TimeOfDay]:
    found = (time_of_day(line) for line in lines if not _BANNER.match(line))
    return [one[0] for one in found if one is not None]
