"""Times of day as reports write them, on a clock that goes on over midnight."""

import re
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

DAY_S = 86_400.0
HALF_DAY_S = DAY_S / 2

_MORNING = r"[Aa]\.?\s?[Mm]\.?|午前|上午|오전"
_EVENING = r"[Pp]\.?\s?[Mm]\.?|午後|下午|오후"

# 23:40:01, 11:40:01 PM, 23.40.01, 23時40分01秒, 02:31:36+0000, or seconds since 1970.
_TIME = re.compile(
    rf"\s*(?:(?P<epoch>\d{{9,11}})|(?:(?P<before>{_MORNING}|{_EVENING})\s*)?"
    r"(?P<h>\d{1,2})[:.時h](?P<m>\d\d)[:.分m](?P<s>\d\d)(?:[.,]\d+)?[秒s]?(?:[+-]\d\d:?\d\d)?"
    rf"(?:\s*(?P<after>{_MORNING}|{_EVENING}))?)(?:\s+|$)"
)


@dataclass(frozen=True)
class TimeOfDay:
    """A time as it is written.

    Parameters
    ----------
    seconds : float
        Since midnight; since noon or midnight where nothing tells which; since 1970 for an epoch.
    marked : bool
        It says which half of the day is meant.
    hour : int
        As it is written; -1 for an epoch.
    """

    seconds: float
    marked: bool
    hour: int


def time_of_day(text: str) -> tuple[TimeOfDay, str] | None:
    """Read a time at the beginning of a line.

    Returns
    -------
    tuple of TimeOfDay and str, or None
        With the rest of the line; None where there is no time.
    """
    found = _TIME.match(text)
    if found is None:
        return None
    rest = text[found.end() :]
    if found["epoch"]:
        return TimeOfDay(float(found["epoch"]), marked=True, hour=-1), rest
    hour, minute, second = (int(found[part]) for part in "hms")
    half = found["before"] or found["after"]
    if minute > 59 or second > 60 or hour > (12 if half else 24):
        return None
    written = hour
    if half:
        hour = hour % 12 + (12 if re.fullmatch(_EVENING, half) else 0)
    return TimeOfDay(3600.0 * hour + 60.0 * minute + second, bool(half), written), rest


class Clock:
    """Turns times of day, one after the other, into seconds that never go back.

    Parameters
    ----------
    halves : bool
        The clock has twelve hours and nothing says which half of the day is meant.
    """

    def __init__(self, *, halves: bool = False) -> None:
        self._period_s = HALF_DAY_S if halves else DAY_S
        self._halves = halves
        self._base_s = 0.0
        self._last_s: float | None = None

    def at(self, time: TimeOfDay) -> float | None:
        """Return when that is; None where it goes back by less than half a turn of the clock.

        A clock that was set back, as at the end of summer time, is no midnight.
        """
        of_day = time.seconds % self._period_s if self._halves else time.seconds
        at_s = self._base_s + of_day
        if self._last_s is not None and at_s < self._last_s:
            if self._last_s - at_s < self._period_s / 2 or time.hour < 0:
                return None
            self._base_s += self._period_s
            at_s += self._period_s
        self._last_s = at_s
        return at_s

    def new_day(self, days: int) -> None:
        """Go on at a later day's midnight: another report follows."""
        self._base_s += days * DAY_S
        self._last_s = None


def twelve_hours(times: list[TimeOfDay]) -> bool:
    """Whether these times, in their order, are of a clock of twelve hours without a mark.

    Then no hour is beyond 1 to 12, and after 12 comes 1.
    """
    if not times or any(time.marked or not 1 <= time.hour <= 12 for time in times):
        return False
    hours = [time.hour for time in times]
    return any(before > after for before, after in pairwise(hours))


def days_between(before: str, after: str) -> int | None:
    """Return how many days lie between two dates that are written alike; None if it cannot be told.

    Of the orders of day, month and year that both allow, the one that puts them closest holds.
    """
    found = [
        (two - one).days
        for one, two in zip(_dates(before), _dates(after), strict=True)
        if one is not None and two is not None and two >= one
    ]
    return min(found, default=None)


def _dates(text: str) -> list[date | None]:
    parts = re.findall(r"\d+", text)
    if len(parts) != 3:
        return [None] * 3
    found: list[date | None] = []
    for order in ((0, 1, 2), (2, 0, 1), (2, 1, 0)):
        year, month, day = (int(parts[place]) for place in order)
        try:
            found.append(date(year + 2000 if year < 100 else year, month, day))
        except ValueError:
            found.append(None)
    return found
