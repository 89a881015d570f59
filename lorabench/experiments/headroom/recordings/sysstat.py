"""What all of sysstat's formats say: shares of each CPU's time by mode, in percent, over intervals.

A CPU is busy when it is not idle and not waiting for a disk; stolen time counts as busy.
"""

from collections import defaultdict
from collections.abc import Mapping

from lorabench.errors import InputError
from lorabench.experiments.headroom.recordings.spans import Spans, Trace, add_hosts
from lorabench.results.windows import Track

_ALL = ("-1", "all")

# Rounded shares may miss 0 or 100 % by this much.
_ROUNDING = 0.1

# A report that nobody gave an interval, such as mpstat alone, has a mean since the boot.
_EMPTY = "found no table with the columns CPU and %idle over intervals, expected {expected}"


def is_share(value: float | None) -> bool:
    """Whether it is a share of time in percent."""
    return value is not None and -_ROUNDING <= value <= 100 + _ROUNDING


class Shares:
    """Intervals of CPUs as they come."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, str], Spans] = defaultdict(Spans)
        self._iowait = False

    def last_end_s(self, host: str, cpu: str) -> float | None:
        """Return when the last interval of a CPU ended."""
        spans = self._spans.get((host, _name(cpu)))
        return spans.end[-1] if spans is not None else None

    def add(
        self, host: str, cpu: str, begin_s: float, end_s: float, shares: Mapping[str, float]
    ) -> None:
        """Take an interval; one in which a CPU did nothing, not even idling, was offline."""
        if not any(shares.values()) or end_s <= begin_s:
            return
        self._iowait = self._iowait or "%iowait" in shares
        idle = shares["%idle"] + shares.get("%iowait", 0.0)
        self._spans[host, _name(cpu)].add(begin_s, end_s, 1.0 - idle / 100.0)

    def trace(self, file: str, expected: str) -> Trace:
        """Return the loads of all hosts.

        Raises
        ------
        InputError
            There were no intervals.
        """
        if not self._spans:
            raise InputError(f"{file}: {_EMPTY.format(expected=expected)}")
        trace = Trace("sysstat")
        whole: dict[str, Track] = {}
        for (host, cpu), spans in self._spans.items():
            track = spans.track(self._extent(host))
            if cpu == "all":
                whole[host] = track
            else:
                trace.cpus[host, cpu] = track
        if add_hosts(trace, whole):
            trace.notes.append("there was no line of all CPUs: the mean of those there stands")
        wait = " - iowait" if self._iowait else ""
        trace.reading.append(f"shares of modes as sysstat writes them; busy = 100 % - idle{wait}")
        return trace

    def _extent(self, host: str) -> tuple[float, float]:
        mine = [spans for (whose, _), spans in self._spans.items() if whose == host]
        return min(one.begin[0] for one in mine), max(one.end[-1] for one in mine)


def _name(cpu: str) -> str:
    return "all" if cpu in _ALL else cpu
