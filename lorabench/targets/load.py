r"""Traffic: when each query is due, at which server, and how many rows it asks for.

A schedule is data, drawn before anything runs. It keeps no clock and waits for nobody, which is
what makes the server's loop an open one: a slow server cannot slow its own load down (coordinated
omission). For a mean rate r and a schedule of length L:

``poisson``
    A Poisson process.
``bursts``
    A Markov-modulated Poisson process of two states (Heffes and Lucantoni 1986): bursts of
    3 r that last 0.05 s on average and take up a tenth of the time, and 7/9 r between them.
``diurnal``
    A Poisson process whose rate runs through a day in the time L, from its trough, 0.3 r, up to its
    peak, r, and back: :math:`r (1 - 0.35 (1 + \cos(2 \pi t / L)))`. Here r is the peak, so that
    ``--load`` is the peak utilisation.
``spike``
    A Poisson process of rate r from 0.6 to 0.8 of the time L, and of r / 3 before and after. Here
    too r is the peak: ``--load 0.9`` is a jump from 0.3 to 0.9.
a file
    Arrivals as they were recorded, one time in seconds a line, never falling; a second column,
    after a comma, is the query's rows. Times are stretched so that the mean rate is r; the trace
    begins at a random place and goes round.

Rates that change are drawn by inversion: a Poisson process of rate 1 on the scale of the integrated
rate.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError

NS = 1_000_000_000

MLPERF_SIZES = (100, 100, *(200,) * 12, 300, 300, 400, 500, 600, 700)
"""Rows of a query in MLPerf inference's DLRM: equally likely quantiles, mean 270.

Source: ``dist_quantile.txt`` of mlcommons/inference, recommendation/dlrm (issues 784 and 1975).
"""

_BURST_RATE = 3.0  # over the mean
_BURST_SHARE = 0.1  # of the time
_BURST_S = 0.05  # longer ones make a queue that is stable in the long run look like one that grows
_TROUGH = 0.3  # over the peak
_DAY_STEPS = 4096
_SPIKE = (0.6, 0.8)  # of the time
_CALM = 1 / 3  # over the peak

_LONGEST_LINE = 200
_LONGEST_S = 1e10  # beyond any recording, and far from where float64 loses nanoseconds of a run
_SHORTEST_S = 1e-6
_MOST_TRACE_BYTES = 1 << 30
MOST_QUERY_ROWS = 1 << 16

QueryRows = int | Literal["mlperf"]
Law = Callable[[float, float, np.random.Generator], NDArray[np.int64]]


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


@dataclass(frozen=True, eq=False)
class Traffic:
    """A law of arrivals and of query sizes.

    Parameters
    ----------
    arrivals : str
        ``poisson``, ``bursts``, ``diurnal``, ``spike``, or the name of a trace's file.
    query_rows : int or "mlperf"
        Rows of each query; a trace that has them goes first.
    trace : Trace or None
        The recorded arrivals.
    """

    arrivals: str
    query_rows: QueryRows
    trace: Trace | None = None

    @property
    def most_rows(self) -> int:
        """Rows of the largest query."""
        if self.trace is not None and self.trace.rows is not None:
            return int(self.trace.rows.max())
        return max(MLPERF_SIZES) if self.query_rows == "mlperf" else self.query_rows

    def describe(self) -> dict[str, Any]:
        """Say in a result document what the traffic was."""
        digest = None if self.trace is None else self.trace.digest
        laws = {
            "bursts": {"rate": _BURST_RATE, "share": _BURST_SHARE, "mean_s": _BURST_S},
            "diurnal": {"trough": _TROUGH},
            "spike": {"from": _SPIKE[0], "to": _SPIKE[1], "calm": _CALM},
        }
        return {
            "arrivals": self.arrivals,
            "parameters": laws.get(self.arrivals, {}) if self.trace is None else {},
            "query_rows": self.query_rows,
            "trace_sha256": digest,
        }

    def draw(
        self, rate_qps: float, duration_s: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Draw a schedule.

        Parameters
        ----------
        rate_qps : float
            Mean arrivals a second, all servers together; of ``diurnal`` and ``spike``, at the peak.
        duration_s : float
            Length of the schedule in s.
        rng : numpy.random.Generator
            Where the randomness comes from.

        Returns
        -------
        arrivals : int64 [N]
            Sorted times in ns, within [0, duration).
        rows : int32 [N]
            Of each query.

        Raises
        ------
        ValueError
            A negative or non-finite rate or duration.
        """
        for name, value in (("rate_qps", rate_qps), ("duration_s", duration_s)):
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: found {value}, expected a finite number >= 0")
        if self.trace is not None:
            arrivals, place = _replay(self.trace, rate_qps, duration_s, rng)
            if self.trace.rows is not None:
                return arrivals, self.trace.rows[place]
        else:
            arrivals = _LAWS[self.arrivals](rate_qps, duration_s, rng)
        return arrivals, self.sizes(len(arrivals), rng)

    def spike_s(self, duration_s: float) -> tuple[float, float] | None:
        """Begin and end of the spike in a schedule of this length; None where there is none."""
        if self.trace is not None or self.arrivals != "spike":
            return None
        return _SPIKE[0] * duration_s, _SPIKE[1] * duration_s

    def sizes(self, n: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Draw the rows of n queries, int32 [n]."""
        if self.trace is not None and self.trace.rows is not None:
            return rng.choice(self.trace.rows, n)
        if self.query_rows == "mlperf":
            return rng.choice(np.array(MLPERF_SIZES, np.int32), n)
        return np.full(n, self.query_rows, np.int32)


def open_traffic(arrivals: str, query_rows: str) -> Traffic:
    """Make traffic of what the user named.

    Parameters
    ----------
    arrivals : str
        The name of a law, or the path of a trace.
    query_rows : str
        A number, or ``mlperf``.

    Raises
    ------
    InputError
        No such law or file, a bad line in it, or no number of rows.
    """
    rows: QueryRows
    if query_rows == "mlperf":
        rows = "mlperf"
    elif query_rows.isascii() and query_rows.isdigit() and len(query_rows) < 9:
        rows = int(query_rows)
    else:
        rows = 0
    if rows != "mlperf" and not 1 <= rows <= MOST_QUERY_ROWS:
        raise InputError(
            f"--query-rows: found {query_rows!r}, expected 1 to {MOST_QUERY_ROWS}, or mlperf"
        )
    if arrivals in _LAWS:
        return Traffic(arrivals, rows)
    path = Path(arrivals)
    if not path.is_file():
        raise InputError(
            f"--arrivals: found {arrivals!r}, expected {', '.join(_LAWS)}, or a file of times"
        )
    return Traffic(path.name, rows, read_trace(path))


def poisson_arrivals(
    rate_qps: float, duration_s: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a Poisson process by its definition: a Poisson count, then that many uniform times.

    Parameters
    ----------
    rate_qps : float
        Mean arrivals a second.
    duration_s : float
        Length in s.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    int64 array [N]
        Sorted times in ns, within [0, duration).
    """
    duration_ns = int(duration_s * NS)
    if duration_ns == 0:
        return np.empty(0, np.int64)
    count = int(rng.poisson(rate_qps * duration_s))
    arrivals = rng.integers(0, duration_ns, count, dtype=np.int64)
    arrivals.sort()
    return arrivals


def burst_arrivals(
    rate_qps: float, duration_s: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw ``bursts``; parameters and result as those of `poisson_arrivals`."""
    calm_s = _BURST_S * (1 - _BURST_SHARE) / _BURST_SHARE
    calm_rate = (1 - _BURST_RATE * _BURST_SHARE) / (1 - _BURST_SHARE)
    edges, rates = [0.0], []
    burst = bool(rng.random() < _BURST_SHARE)  # as in the long run
    while edges[-1] < duration_s:
        edges.append(edges[-1] + rng.exponential(_BURST_S if burst else calm_s))
        rates.append(rate_qps * (_BURST_RATE if burst else calm_rate))
        burst = not burst
    edges[-1] = duration_s
    return _by_inversion(np.array(edges), np.array(rates), rng)


def diurnal_arrivals(
    peak_qps: float, duration_s: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw ``diurnal``, its peak in the middle; parameters and result as `poisson_arrivals`."""
    edges = np.linspace(0, duration_s, _DAY_STEPS + 1)
    middle = (np.arange(_DAY_STEPS) + 0.5) / _DAY_STEPS
    swing = (1 - _TROUGH) / 2
    return _by_inversion(edges, peak_qps * (1 - swing * (1 + np.cos(2 * math.pi * middle))), rng)


def spike_arrivals(
    peak_qps: float, duration_s: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw ``spike``; parameters and result as those of `poisson_arrivals`."""
    edges = np.array([0.0, *_SPIKE, 1.0]) * duration_s
    return _by_inversion(edges, peak_qps * np.array([_CALM, 1.0, _CALM]), rng)


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


def split_arrivals(n: int, servers: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw the server of each of n queries, uniformly: each gets a Poisson process of its own.

    Parameters
    ----------
    n : int
        Number of queries.
    servers : int
        Number of servers, at least 1.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    int32 array [N]
        Server numbers in [0, servers).

    Raises
    ------
    ValueError
        No servers.
    """
    if servers < 1:
        raise ValueError(f"servers: found {servers}, expected at least 1")
    return rng.integers(0, servers, n, dtype=np.int32)


def schedule_digest(
    arrivals: NDArray[np.int64], server: NDArray[np.int32], rows: NDArray[np.int32]
) -> str:
    """SHA-256 (hex) of a schedule: equal digests, equal load.

    Parameters
    ----------
    arrivals : int64 array [N]
        Times in ns.
    server : int32 array [N]
        Server of each query.
    rows : int32 array [N]
        Rows of each query.
    """
    digest = hashlib.sha256(arrivals.astype("<i8").tobytes())
    digest.update(server.astype("<i4").tobytes())
    digest.update(rows.astype("<i4").tobytes())
    return digest.hexdigest()


_LAWS: dict[str, Law] = {
    "poisson": poisson_arrivals,
    "bursts": burst_arrivals,
    "diurnal": diurnal_arrivals,
    "spike": spike_arrivals,
}


def _by_inversion(
    edges_s: NDArray[np.float64], rates: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a Poisson process whose rate is constant between edges."""
    integral = np.concatenate([[0.0], np.cumsum(np.diff(edges_s) * rates)])
    count = int(rng.poisson(integral[-1]))
    places = np.sort(rng.random(count)) * integral[-1]
    last = max(int(edges_s[-1] * NS) - 1, 0)
    times = (np.interp(places, integral, edges_s) * NS).astype(np.int64)
    return np.asarray(np.minimum(times, last), np.int64)


def _replay(
    trace: Trace, rate_qps: float, duration_s: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give times in ns, and the place of each in the trace."""
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
