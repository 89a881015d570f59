"""Loads over time: means over windows, and what a recording leaves open about the busiest one.

A recording rarely has a value for each instant. What it lacks is not guessed: a span without a
value may have been anything from idle to busy, a mean over a long span hides how its work lay in
it, and means that overlap (a moving average) say something of their own width alone. From all of
these come bounds, which hold whatever happened. Pure; ``docs/headroom.md`` has the method.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Spans of which a window is made may miss its width by this much: sleeping is not exact.
_SHORT = 0.02
_LONG = 0.25

# A range that exceeds the step by more makes a moving average.
_WIDER = 1.1

# A gap that is shorter than this share of a typical span is a clock's doing.
_JITTER = 0.5


@dataclass(frozen=True)
class Track:
    """A value over spans of time, one after the other.

    Parameters
    ----------
    begin_s, end_s : float64 [N]
        Of each span; a gap between two is allowed, an overlap is not.
    value : float64 [N]
        Mean over each span.
    low, high : float64 [N], or None
        Bounds of the mean, where a part of what it is of was not seen; None where it is exact.
    extent_s : tuple of float, or None
        From when to when something is to be said: what no span covers in it is unknown. None where
        only the spans are meant.
    range_s : float
        Where that is longer than the spans, each value is the mean over that long before the
        span's end, so that neighbours overlap: a moving average.
    """

    begin_s: Floats
    end_s: Floats
    value: Floats
    low: Floats | None = None
    high: Floats | None = None
    extent_s: tuple[float, float] | None = None
    range_s: float = 0.0

    @property
    def span_s(self) -> Floats:
        """Length of each span."""
        return self.end_s - self.begin_s

    @property
    def covered_s(self) -> float:
        """Time that is covered, gaps left out."""
        return float(self.span_s.sum())

    @property
    def unknown_s(self) -> float:
        """Time within the extent that nothing is known of."""
        return float(sum(end - begin for begin, end in self.gaps()))

    @property
    def mean(self) -> float | None:
        """Mean over the time that is covered."""
        covered = self.covered_s
        return float((self.value * self.span_s).sum() / covered) if covered > 0 else None

    @property
    def smoothed(self) -> bool:
        """Whether it is a moving average, of which neighbours overlap."""
        return bool(len(self.value)) and self.range_s > _WIDER * float(np.median(self.span_s))

    def unbroken(self) -> Iterator[slice]:
        """Return the runs of spans with no gap of over half a typical span between them."""
        if not len(self.value):
            return
        gap = self.begin_s[1:] - self.end_s[:-1]
        cuts = np.flatnonzero(gap > _JITTER * float(np.median(self.span_s))) + 1
        edges = [0, *map(int, cuts), len(self.value)]
        for first, last in pairwise(edges):
            yield slice(first, last)

    def gaps(self) -> list[tuple[float, float]]:
        """Return the spans within the extent that have no value; without an extent there are none.

        At both ends up to one and a half typical spans may be missing: hosts are not read at the
        same moment.
        """
        if self.extent_s is None:
            return []
        first, last = self.extent_s
        if not len(self.value):
            return [(first, last)]
        typical = float(np.median(self.span_s))
        found = []
        if self.begin_s[0] - first > (1 + _JITTER) * typical:
            found.append((first, float(self.begin_s[0])))
        gap = self.begin_s[1:] - self.end_s[:-1]
        found += [
            (float(self.end_s[at]), float(self.begin_s[at + 1]))
            for at in np.flatnonzero(gap > 1e-6 * max(typical, 1.0))
        ]
        if last - self.end_s[-1] > (1 + _JITTER) * typical:
            found.append((float(self.end_s[-1]), last))
        return found

    def filled(self) -> "Track":
        """Return it with a span for each gap, of which nothing is known but that it is 0 to 1."""
        gaps = np.array(self.gaps(), np.float64).reshape(-1, 2)
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        zero, one = np.zeros(len(gaps)), np.ones(len(gaps))
        begin = np.concatenate([self.begin_s, gaps[:, 0]])
        order = np.argsort(begin, kind="stable")
        return Track(
            begin[order],
            np.concatenate([self.end_s, gaps[:, 1]])[order],
            np.concatenate([self.value, zero])[order],
            np.concatenate([low, zero])[order],
            np.concatenate([high, one])[order],
        )


@dataclass(frozen=True)
class Windows:
    """Means over windows, a window beginning with every span that has room for one behind it."""

    begin_s: Floats
    span_s: Floats
    mean: Floats

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def peak(self) -> float | None:
        """Of the busiest window."""
        return float(self.mean.max()) if len(self) else None

    @property
    def p95(self) -> float | None:
        """What 95 % of the windows do not exceed: an order statistic."""
        if not len(self):
            return None
        return float(np.sort(self.mean)[math.ceil(0.95 * len(self)) - 1])


def windows(track: Track, width_s: float) -> Windows:
    """Average over every shortest run of successive spans that lasts `width_s`.

    Spans longer than `width_s` are windows by themselves, and so are the values of a moving
    average that is wider.
    """
    if track.smoothed and track.range_s >= width_s:
        span = np.full(len(track.value), track.range_s)
        return Windows(track.end_s - track.range_s, span, track.value)
    begins: list[Floats] = []
    spans: list[Floats] = []
    means: list[Floats] = []
    for part in track.unbroken():
        first, last, covered = _runs(track.span_s[part], width_s)
        total = np.concatenate([[0.0], np.cumsum(track.span_s[part] * track.value[part])])
        length = covered[last] - covered[first]
        begins.append(track.begin_s[part][first])
        spans.append(length)
        means.append((total[last] - total[first]) / length)
    if not begins:
        return Windows(np.zeros(0), np.zeros(0), np.zeros(0))
    return Windows(np.concatenate(begins), np.concatenate(spans), np.concatenate(means))


def _runs(span: Floats, width_s: float) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return the shortest runs of spans that last so long: first, last + 1, and time until each."""
    covered = np.concatenate([[0.0], np.cumsum(span)])
    # A little short of the width will do; a sum in floating point is.
    last = np.searchsorted(covered, covered[:-1] + width_s * (1 - _SHORT), side="left")
    first = np.flatnonzero(last < len(covered))
    return first, last[first], covered


@dataclass(frozen=True)
class Peak:
    """What is known of the busiest window: between `low` and `high`.

    The two are the same where all is known and spans are fine enough to make windows; `exact` says
    that.
    """

    low: float
    high: float
    exact: bool


def peak(track: Track, width_s: float) -> Peak | None:
    """Bound the mean of the busiest window of `width_s`, for a load of 0 to 1.

    A span of length S that was busy for b seconds, longer than the width, holds a window that was
    busy for b / ceil(S / width), since so many cover it; so do all spans together. No window was
    busier than the sum over the spans that it touches of what it covers of each, or of what that
    was busy for where this is less. A span without a value was busy for 0 to S.

    Returns
    -------
    Peak or None
        None where nothing lasts for a window.
    """
    if track.smoothed:
        return _of_moving_average(track, width_s)
    whole = track.filled() if track.extent_s is not None else track
    found = [_bounds(whole, part, width_s) for part in whole.unbroken()]
    there = [one for one in found if one is not None]
    if not there or not len(track.value):
        return None
    low, high = max(one.low for one in there), max(one.high for one in there)
    return Peak(low, min(1.0, max(low, high)), exact=all(one.exact for one in there))


def _bounds(track: Track, part: slice, width_s: float) -> Peak | None:
    """Bound the busiest window of spans that have no gap between them."""
    begin, end, span = track.begin_s[part], track.end_s[part], track.span_s[part]
    least = (track.value if track.low is None else track.low)[part] * span
    most = (track.value if track.high is None else track.high)[part] * span
    first, last, covered = _runs(span, width_s)
    if not len(first):
        return None
    length = covered[last] - covered[first]
    sums = (np.concatenate([[0.0], np.cumsum(busy)]) for busy in (least, most))
    low, high = (total[last] - total[first] for total in sums)
    fine = length <= width_s * (1 + _LONG)
    cover = np.where(fine, 1.0, np.maximum(1.0, np.ceil(length / width_s - _SHORT)))
    lowest = float((low / np.where(fine, length, cover * width_s)).max())
    highest = float((high[fine] / length[fine]).max()) if fine.any() else 0.0
    if fine.all():
        return Peak(lowest, highest, exact=bool(np.array_equal(least, most)))
    # So many windows cover all of it, and the busiest of them is no less busy than their mean.
    every = math.ceil(float(covered[-1]) / width_s - _SHORT) * width_s
    lowest = max(lowest, float(least.sum()) / every)
    marks = np.zeros(len(span) + 1)
    np.add.at(marks, first[~fine], 1)
    np.add.at(marks, last[~fine], -1)
    coarse = np.cumsum(marks)[:-1] > 0
    return Peak(lowest, max(highest, _most(begin, end, most, coarse, width_s)), exact=False)


def _most(
    begin: Floats, end: Floats, busy: Floats, coarse: NDArray[np.bool_], width_s: float
) -> float:
    """Return how busy a window that touches a coarse span can have been.

    As a function of where the window begins, that is made of straight pieces; its maximum is at an
    end of one.
    """
    edges = np.concatenate([begin, end, end - busy, begin + busy])
    at = np.unique(np.concatenate([edges, edges - width_s]))
    at = at[(at >= begin[0]) & (at <= max(begin[0], end[-1] - width_s))]
    one = np.minimum(np.searchsorted(end, at, side="right"), len(end) - 1)
    two = np.maximum(one, np.searchsorted(begin, at + width_s, side="left") - 1)
    total = np.concatenate([[0.0], np.cumsum(busy)])
    count = np.concatenate([[0], np.cumsum(coarse)])
    head = np.minimum(busy[one], end[one] - np.maximum(at, begin[one]))
    tail = np.minimum(busy[two], at + width_s - begin[two])
    inner = total[two] - total[np.minimum(one + 1, two)]
    most = np.where(one == two, np.minimum(busy[one], width_s), head + inner + tail)
    touched = count[two + 1] - count[one] > 0
    return float(most[touched].max()) / width_s if touched.any() else 0.0


def _of_moving_average(track: Track, width_s: float) -> Peak | None:
    """Bound the busiest window of a moving average.

    Values that lie its range apart are means of spans that do not overlap: of such tracks there
    are as many as steps in a range. Each gives a lower bound, and every window lies within one of
    them.
    """
    chains = [_apart(track, start) for start in _starts(track)]
    if all(chain.end_s[-1] < track.end_s[-1] for chain in chains):
        chains.append(_apart(track, len(track.value) - 1))
    there = [one for one in (peak(chain, width_s) for chain in chains) if one is not None]
    if not there:
        return None
    low, high = max(one.low for one in there), max(one.high for one in there)
    known = track.unknown_s == 0
    if known:
        high = min(high, max(low, _most_of_ranges(track, width_s)))
    exact = known and all(one.exact for one in there)
    return Peak(low, high if known else 1.0, exact=exact)


def _most_of_ranges(track: Track, width_s: float) -> float:
    """Return how busy a window was at most, since as many ranges cover it as it takes."""
    step = float(np.diff(track.end_s).max(initial=0.0))
    if step > track.range_s:
        return 1.0
    if step <= track.range_s - width_s:
        many = 1
    elif width_s <= track.range_s:
        many = 2
    else:
        many = math.ceil(width_s / float(track.span_s.min())) + 1
    many = min(many, len(track.value))
    busy = np.concatenate([[0.0], np.cumsum(track.value)]) * track.range_s
    return float((busy[many:] - busy[:-many]).max()) / width_s


def _starts(track: Track) -> list[int]:
    """Return where the tracks of values a range apart begin."""
    end = track.end_s
    within = int(np.searchsorted(end, end[0] + track.range_s * (1 - _SHORT), side="left"))
    return list(range(max(1, within)))


def _apart(track: Track, start: int) -> Track:
    """Return the values from `start` on whose ranges do not overlap."""
    end, range_s = track.end_s, track.range_s
    typical = float(np.median(track.span_s))
    chosen = [start]
    while True:
        # Scrapes and queries are not exact: a quarter of a step is no overlap.
        then = end[chosen[-1]] + range_s - 0.25 * min(typical, range_s)
        following = int(np.searchsorted(end, then, side="left"))
        if following >= len(end):
            break
        chosen.append(following)
    take = np.array(chosen)
    begin = end[take] - range_s
    begin[1:] = np.maximum(begin[1:], end[take][:-1])
    near = begin[1:] - end[take][:-1] < _JITTER * typical
    begin[1:] = np.where(near, end[take][:-1], begin[1:])
    low = None if track.low is None else track.low[take]
    high = None if track.high is None else track.high[take]
    extent = (float(begin[0]), float(end[take][-1]))
    return Track(begin, end[take], track.value[take], low, high, extent)
