"""Latencies as a log of HdrHistogram's, V2, so that its tools draw and compare them.

A line is the histogram of one interval, with the case as its tag. The histograms themselves are
packed by hdrhistogram, the library's port to Python (Tene, http://hdrhistogram.org); the lines are
written here, since its log writer knows no tags and fails on the time of the start.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError

DIGITS = 3
"""Significant digits that a histogram keeps: values are off by a thousandth at most."""
LONGEST_NS = 3_600_000_000_000
"""An hour, the longest latency that a histogram has room for."""

_NS = 1e9
_NS_PER_MS = 1e6
# A value's leading bits by which 3 digits are told apart.
_BITS = 11
_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'


@dataclass(frozen=True, eq=False)
class Interval:
    """The latencies of a case in one block.

    Parameters
    ----------
    case : str
        Whose.
    start_s : float
        When it began, s from the start of the log.
    length_s : float
        How long it was.
    latencies_ns : int64 [N]
        Of its queries.
    """

    case: str
    start_s: float
    length_s: float
    latencies_ns: NDArray[np.int64]


def tag(case: str) -> str:
    """Return a case's name as a tag, which may have no comma, space or line break: these as %2C."""
    return quote(case, safe="+@=:;()<>[]{}!?$&'*^~|/#`\\\"")


def render(start: datetime, comments: Sequence[str], intervals: Iterable[Interval]) -> bytes:
    """Write a log.

    Parameters
    ----------
    start : datetime
        What intervals begin after.
    comments : sequence of str
        Lines that say what this is.
    intervals : iterable of Interval
        In any order.

    Raises
    ------
    InputError
        hdrhistogram is not installed, or a latency is longer than an hour.
    """
    return "\n".join([*_head(start, comments), *_lines(intervals), ""]).encode()


def _head(start: datetime, comments: Sequence[str]) -> Iterator[str]:
    for comment in comments:
        yield f"#{' '.join(comment.split())}"
    yield "#[Histogram log format version 1.3]"
    seconds = start.timestamp()
    said = start.astimezone(UTC).strftime("%a %b %d %H:%M:%S UTC %Y")
    yield f"#[StartTime: {seconds:.3f} (seconds since epoch), {said}]"
    yield f"#[BaseTime: {seconds:.3f} (seconds since epoch)]"
    yield _LEGEND


def _lines(intervals: Iterable[Interval]) -> Iterator[str]:
    # Each is packed as it comes, so that no two cases' latencies are held at once.
    packed = [(one.start_s, _line(one)) for one in intervals]
    return (line for _, line in sorted(packed, key=lambda pair: pair[0]))


def _line(one: Interval) -> str:
    longest = int(one.latencies_ns.max(initial=0))
    if longest > LONGEST_NS:
        raise InputError(
            f"{one.case}: found a latency of {longest / _NS:,.0f} s, expected at most "
            f"{LONGEST_NS / _NS:,.0f} s in a log"
        )
    return (
        f"Tag={tag(one.case)},{one.start_s:.3f},{one.length_s:.3f},"
        f"{longest / _NS_PER_MS:.3f},{_packed(one.latencies_ns)}"
    )


def _packed(latencies_ns: NDArray[np.int64]) -> str:
    histogram = _library()(1, LONGEST_NS, DIGITS)
    # All values of a histogram's bucket are one to it: it is asked once for each bucket.
    drop = np.maximum(0, np.frexp(latencies_ns.astype(np.float64))[1] - _BITS)
    values, counts = np.unique(latencies_ns >> drop << drop, return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)
    text: str = histogram.encode().decode("ascii")
    return text


def _library() -> type:
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError:
        raise InputError(
            "--hlog: found no hdrhistogram, expected it; install it with: "
            "pip install 'lorabench[hlog]'"
        ) from None
    found: type = HdrHistogram
    return found
