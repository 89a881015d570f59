"""What comes out of a recording: loads over time of hosts and CPUs, and how they were read."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lorabench.results.windows import Track


@dataclass(frozen=True)
class Trace:
    """What a file tells.

    Attributes
    ----------
    kind : str
        ``sysstat``, ``prometheus`` or ``kubectl``.
    hosts : dict of str to Track
        Busy share of all CPUs of each host, 0 to 1.
    cpus : dict of (str, str) to Track
        Of each single CPU, by host and number, where the file has them.
    reading : list of str
        What each column was taken for, without names.
    notes : list of str
        What was left out or assumed.
    whole : bool
        False where it is not of hosts but of containers or processes on them.
    """

    kind: str
    hosts: dict[str, Track] = field(default_factory=dict)
    cpus: dict[tuple[str, str], Track] = field(default_factory=dict)
    reading: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    whole: bool = True


class Spans:
    """Spans of one track as they come, in time's order."""

    def __init__(self) -> None:
        self.begin: list[float] = []
        self.end: list[float] = []
        self.busy: list[float] = []

    def add(self, begin_s: float, end_s: float, busy: float) -> None:
        """Take one more."""
        # Times are written in whole seconds, so that neighbours may seem to overlap by one, or to
        # leave one out.
        if self.end:
            last = self.end[-1]
            rounded = last < begin_s <= last + min(1.0, 0.5 * (end_s - begin_s))
            begin_s = last if rounded else max(begin_s, last)
        self.begin.append(begin_s)
        self.end.append(end_s)
        self.busy.append(min(1.0, max(0.0, busy)))

    def track(self, extent_s: tuple[float, float] | None = None) -> Track:
        """Return all of them."""
        return Track(
            np.array(self.begin, np.float64),
            np.array(self.end, np.float64),
            np.array(self.busy, np.float64),
            extent_s=extent_s,
        )


def mean_of(tracks: Sequence[Track], absent: int = 0) -> Track:
    """Average CPUs, each of which may lack spans or have longer ones than others.

    The mean is of the CPUs that have a value. Where one has none, bounds say what that leaves open:
    it may have idled, or not, and so may CPUs that are absent altogether. Where a CPU's spans are
    longer, all are averaged over these.
    """
    edges = np.unique(np.concatenate([np.concatenate([t.begin_s, t.end_s]) for t in tracks]))
    if not len(edges):
        return tracks[0]
    inside = np.zeros(len(edges), np.int64)
    for track in tracks:
        # An edge strictly within a span of some CPU is none of the mean's.
        first = np.searchsorted(edges, track.begin_s, side="right")
        last = np.searchsorted(edges, track.end_s, side="left")
        marks = np.zeros(len(edges) + 1, np.int64)
        np.add.at(marks, first, 1)
        np.add.at(marks, last, -1)
        inside += np.cumsum(marks)[:-1] > 0
    cuts = edges[inside == 0]
    length = np.diff(cuts)
    known, busy = np.zeros(len(length)), np.zeros(len(length))
    for track in tracks:
        where = np.searchsorted(cuts, track.begin_s, side="right") - 1
        np.add.at(known, where, track.span_s)
        np.add.at(busy, where, track.span_s * track.value)
    there = known > 0
    known, busy, whole = known[there], busy[there], length[there] * (len(tracks) + absent)
    low, high = busy / whole, np.minimum(1.0, (busy + np.maximum(0.0, whole - known)) / whole)
    value = busy / known
    found = Track(cuts[:-1][there], cuts[1:][there], value, extent_s=_around(tracks))
    if np.allclose(known, whole, rtol=1e-9, atol=0.0):
        return found
    return replace(found, low=np.minimum(low, value), high=np.maximum(high, value))


def _around(tracks: Sequence[Track]) -> tuple[float, float] | None:
    extents = [track.extent_s for track in tracks if track.extent_s is not None]
    if not extents:
        return None
    return min(first for first, _ in extents), max(last for _, last in extents)


def add_hosts(
    trace: Trace, whole: Mapping[str, Track], absent: Mapping[str, int] | None = None
) -> bool:
    """Put hosts into a trace that has CPUs: their own tracks, or else the mean of their CPUs.

    Parameters
    ----------
    trace : Trace
        With its CPUs.
    whole : mapping of str to Track
        Of hosts that have one of all of their CPUs.
    absent : mapping of str to int, optional
        How many CPUs of a host run and are not in it.

    Returns
    -------
    bool
        Whether a mean stands for one.
    """
    by_host: dict[str, list[Track]] = defaultdict(list)
    for (host, _), track in trace.cpus.items():
        by_host[host].append(track)
    averaged = False
    for host in dict.fromkeys((*whole, *by_host)):
        if host in whole:
            trace.hosts[host] = whole[host]
        else:
            averaged = True
            trace.hosts[host] = mean_of(by_host[host], (absent or {}).get(host, 0))
    return averaged
