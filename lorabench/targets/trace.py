"""Recorded arrivals: how a trace of queries is read, and stretched to a rate.

One time in seconds a line, never falling; a second column, after a comma, is the query's rows.
Times are read exactly, to the nanosecond: seconds since 1970 leave float64 no room for that.
"""

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.targets.ties import Ties, find_ties, spread

NS = 1_000_000_000

TieRule = Literal["refuse", "spread", "keep"]
"""What becomes of arrivals that share a stamp where stamps are coarser than the gaps."""

MOST_QUERY_ROWS = 1 << 16

_LONGEST_LINE = 200
_LONGEST_S = 9_000_000_000  # beyond any recording; in ns it fits int64
_SHORTEST_NS = 1000
_PLAIN = re.compile(rb"\s*([0-9]{1,12})(?:\.([0-9]*))?\s*")
_MOST_TRACE_BYTES = 1 << 30
_SPREAD = 0x5D  # apart from all else that is drawn by the seed


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
    ties : Ties
        Arrivals that share a stamp, as they were recorded.
    spread : bool
        Whether these have been given moments of their own.
    """

    times_s: NDArray[np.float64]
    rows: NDArray[np.int32] | None
    digest: str
    ties: Ties
    spread: bool = False

    @property
    def period_s(self) -> float:
        """Its length, a mean gap after the last arrival included."""
        n = len(self.times_s)
        return float(self.times_s[-1]) * n / (n - 1)

    @property
    def parameters(self) -> dict[str, Any]:
        """What a result document says of it: nothing where no stamp is shared."""
        ties = self.ties
        if not ties.tied:
            return {}
        return {
            "tied": ties.tied,
            "arrivals": ties.arrivals,
            "step_s": None if ties.step_ns is None else ties.step_ns / NS,
            "mean_gap_s": ties.mean_gap_ns / NS,
            "ties": "spread" if self.spread else "kept",
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """The same in words."""
        if not self.ties.tied:
            return ()
        found = f"recorded arrivals: {self.ties.describe()}"
        if self.spread:
            return (f"{found}: spread within their steps, at moments drawn by --seed",)
        kept = f"{found}: served at once, as they were recorded"
        if self.ties.coarse:
            kept += ", though stamps that were cut look like that: latencies may be those of bursts"
        return (kept,)


def read_trace(path: Path, rule: TieRule = "refuse", seed: int = 0) -> Trace:
    """Read recorded arrivals.

    Parameters
    ----------
    path : Path
        The file.
    rule : {"refuse", "spread", "keep"}
        What to do where stamps are coarser than the gaps between arrivals, so that arrivals of one
        stamp would come as a burst. ``spread`` gives all that share a stamp moments within its
        step, however fine that is.
    seed : int
        Of these moments.

    Raises
    ------
    InputError
        An unreadable file, fewer than two different times, a bad line, which is named, or stamps
        that are too coarse.
    """
    content = _content(path)
    stamps, rows = _parsed(path, content)
    if len(stamps) < 2 or stamps[-1] - stamps[0] < _SHORTEST_NS:
        found = len(np.unique(stamps))
        raise InputError(f"{path}: found {found} different times, expected at least 2")
    ties = find_ties(stamps)
    if rule == "refuse" and ties.coarse:
        raise InputError(_too_coarse(path, content, stamps, ties))
    if rule == "spread" and ties.tied:
        stamps, order = spread(stamps, ties, np.random.default_rng([seed, _SPREAD]))
        rows = None if rows is None else rows[order]
    return Trace(
        (stamps - stamps[0]) / NS,
        rows,
        hashlib.sha256(content).hexdigest(),
        ties,
        spread=rule == "spread" and ties.tied > 0,
    )


def _too_coarse(path: Path, content: bytes, stamps: NDArray[np.int64], ties: Ties) -> str:
    """Say that stamps were cut, and where it shows."""
    place = int(np.flatnonzero(np.diff(stamps) == 0)[0]) + 1
    filled = (number for number, line in enumerate(content.splitlines(), 1) if line.strip())
    line = next(number for i, number in enumerate(filled) if i == place)
    return (
        f"{path}, line {line}: found {ties.describe()}: stamps that were cut, whose queries would "
        "come in bursts that nobody sent; expected stamps finer than the gaps, --spread-ties (to "
        "draw moments within each step) or --keep-ties (they did come at once)"
    )


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST_TRACE_BYTES:
            raise InputError(
                f"{path}: found {path.stat().st_size:,} bytes, expected at most "
                f"{_MOST_TRACE_BYTES:,} of arrival times"
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected arrival times") from error


def _parsed(path: Path, content: bytes) -> tuple[NDArray[np.int64], NDArray[np.int32] | None]:
    """Return times in ns and, maybe, rows."""
    times: list[int] = []
    rows: list[int] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        time_ns, size = _line(line, f"{path}, line {number}")
        if times and time_ns < times[-1]:
            raise InputError(
                f"{path}, line {number}: found {time_ns / NS:g} s after {times[-1] / NS:g} s, "
                "expected times that never fall"
            )
        if times and (size is None) != (not rows):
            raise InputError(
                f"{path}, line {number}: found {1 if size is None else 2} columns, expected "
                f"{2 if size is None else 1} as in the lines before"
            )
        times.append(time_ns)
        if size is not None:
            rows.append(size)
    return np.array(times, np.int64), np.array(rows, np.int32) if rows else None


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


def _line(line: bytes, where: str) -> tuple[int, int | None]:
    """Parse a time, in ns, and, maybe, a number of rows."""
    if len(line) > _LONGEST_LINE:
        raise InputError(f"{where}: found {len(line)} bytes, expected a time in seconds")
    fields = line.split(b",")
    time_ns = _ns(fields[0])
    if time_ns is None or len(fields) > 2:
        raise InputError(
            f"{where}: found {line.decode('utf-8', 'backslashreplace')[:60]!r}, expected a time in "
            f"seconds, 0 to {_LONGEST_S:g} (ms since 1970 are more: divide them), and at most a "
            "comma and a number of rows behind it"
        )
    if len(fields) == 1:
        return time_ns, None
    text = fields[1].strip()
    rows = int(text) if text.isdigit() and len(text) < 9 else 0
    if not 1 <= rows <= MOST_QUERY_ROWS:
        raise InputError(
            f"{where}: found {text.decode('utf-8', 'backslashreplace')[:20]!r} rows, "
            f"expected 1 to {MOST_QUERY_ROWS}"
        )
    return time_ns, rows


def _ns(field: bytes) -> int | None:
    """Read a time in seconds as ns; None if it is none, or too far off."""
    plain = _PLAIN.fullmatch(field)
    if plain is not None:  # exactly
        found = int(plain[1]) * NS + int((plain[2] or b"")[:9].ljust(9, b"0"))
    else:
        try:
            time_s = float(field)
        except ValueError:
            return None
        if not 0 <= time_s <= _LONGEST_S:
            return None
        found = round(time_s * NS)
    return found if found <= _LONGEST_S * NS else None
