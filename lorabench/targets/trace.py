"""Recorded arrivals: how a trace of queries is read, and stretched to a rate.

One time in seconds a line, never falling; a second column, after a comma, is the query's rows.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError

NS = 1_000_000_000

MOST_QUERY_ROWS = 1 << 16

_LONGEST_LINE = 200
_LONGEST_S = 1e10  # beyond any recording, and far from where float64 loses nanoseconds of a run
_SHORTEST_S = 1e-6
_MOST_TRACE_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Trace:
    """Recorded arrivals.

    Attributes
    ----------
    times_s : float64 [N]
        Never falling, from 0.
    rows : int32 [N] or None
        Of each query.
    digest : str
        SHA-256 (hex) of the file.
    """

    times_s: NDArray[np.float64]
    rows: NDArray[np.int32] | None
    digest: str

    @property
    def period_s(self) -> float:
        """Its length, a mean gap after the last arrival included."""
        n = len(self.times_s)
        return float(self.times_s[-1]) * n / (n - 1)


def read_trace(path: Path) -> Trace:
    """Read recorded arrivals.

    Raises
    ------
    InputError
        An unreadable file, fewer than two different times, or a bad line, which is named.
    """
    try:
        if path.stat().st_size > _MOST_TRACE_BYTES:
            raise InputError(
                f"{path}: found {path.stat().st_size:,} bytes, expected at most "
                f"{_MOST_TRACE_BYTES:,} of arrival times"
            )
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected arrival times") from error
    times: list[float] = []
    rows: list[int] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        time_s, size = _line(line, f"{path}, line {number}")
        if times and time_s < times[-1]:
            raise InputError(
                f"{path}, line {number}: found {time_s:g} s after {times[-1]:g} s, "
                "expected times that never fall"
            )
        if times and (size is None) != (not rows):
            raise InputError(
                f"{path}, line {number}: found {1 if size is None else 2} columns, expected "
                f"{2 if size is None else 1} as in the lines before"
            )
        times.append(time_s)
        if size is not None:
            rows.append(size)
    if len(times) < 2 or times[-1] - times[0] < _SHORTEST_S:
        raise InputError(f"{path}: found {len(set(times))} different times, expected at least 2")
    first = times[0]
    return Trace(
        np.array(times) - first,
        np.array(rows, np.int32) if rows else None,
        hashlib.sha256(content).hexdigest(),
    )


def replay(
    trace: Trace, rate_qps: float, duration_s: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stretch a trace to a mean rate, from a random place on and round again.

    Parameters
    ----------
    trace : Trace
        What was recorded.
    rate_qps : float
        Mean arrivals a second.
    duration_s : float
        Length of the schedule in s.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    times : int64 [N]
        Sorted times in ns, within [0, duration).
    place : int64 [N]
        Of each in the trace.
    """
    n = len(trace.times_s)
    if rate_qps * duration_s == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    period_s = n / rate_qps
    scaled = trace.times_s * (period_s / trace.period_s)
    begin = float(rng.random()) * period_s
    rounds = np.arange(math.ceil(duration_s / period_s) + 1)
    times = (rounds[:, None] * period_s + scaled).ravel() - begin
    place = np.tile(np.arange(n), len(rounds))
    inside = (times >= 0) & (times < duration_s)
    return (times[inside] * NS).astype(np.int64), place[inside]


def _line(line: bytes, where: str) -> tuple[float, int | None]:
    """Parse a time and, maybe, a number of rows."""
    if len(line) > _LONGEST_LINE:
        raise InputError(f"{where}: found {len(line)} bytes, expected a time in seconds")
    fields = line.split(b",")
    try:
        time_s = float(fields[0])
    except ValueError:
        time_s = math.nan
    if not 0 <= time_s <= _LONGEST_S or len(fields) > 2:
        raise InputError(
            f"{where}: found {line.decode('utf-8', 'backslashreplace')[:60]!r}, expected a time in "
            "seconds, at least 0, and at most a comma and a number of rows behind it"
        )
    if len(fields) == 1:
        return time_s, None
    text = fields[1].strip()
    rows = int(text) if text.isdigit() and len(text) < 9 else 0
    if not 1 <= rows <= MOST_QUERY_ROWS:
        raise InputError(
            f"{where}: found {text.decode('utf-8', 'backslashreplace')[:20]!r} rows, "
            f"expected 1 to {MOST_QUERY_ROWS}"
        )
    return time_s, rows
