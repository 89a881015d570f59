"""Traffic: when each query is due, at which server, and how many rows it asks for.

A schedule is data, drawn before anything runs. It keeps no clock and waits for nobody, which is
what makes the server's loop an open one: a slow server cannot slow its own load down (coordinated
omission). Its arrivals are those of a law (`lorabench.targets.laws`), or as they were recorded
(`lorabench.targets.trace`), stretched to the mean rate that is asked for; a trace begins at a
random place and goes round.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.targets.laws import BURST_RATE, BURST_S, BURST_SHARE, CALM, LAWS, SPIKE, TROUGH
from lorabench.targets.trace import MOST_QUERY_ROWS, NS, TieRule, Trace, read_trace, replay

MLPERF_SIZES = (100, 100, *(200,) * 12, 300, 300, 400, 500, 600, 700)
"""Rows of a query in MLPerf inference's DLRM: equally likely quantiles, mean 270.

Source: ``dist_quantile.txt`` of mlcommons/inference, recommendation/dlrm (issues 784 and 1975).
"""

QueryRows = int | Literal["mlperf"]


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

    @property
    def mean_rows(self) -> float:
        """Rows of a query, on average."""
        if self.trace is not None and self.trace.rows is not None:
            return float(self.trace.rows.mean())
        return float(np.mean(MLPERF_SIZES)) if self.query_rows == "mlperf" else self.query_rows

    def describe(self) -> dict[str, Any]:
        """Return what a result document says of the traffic."""
        digest = None if self.trace is None else self.trace.digest
        parameters = {} if self.trace is None else self.trace.parameters
        laws = {
            "bursts": {"rate": BURST_RATE, "share": BURST_SHARE, "mean_s": BURST_S},
            "diurnal": {"trough": TROUGH},
            "spike": {"from": SPIKE[0], "to": SPIKE[1], "calm": CALM},
        }
        return {
            "arrivals": self.arrivals,
            "parameters": laws.get(self.arrivals, {}) if self.trace is None else parameters,
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
            arrivals, place = replay(self.trace, rate_qps, duration_s, rng)
            if self.trace.rows is not None:
                return arrivals, self.trace.rows[place]
        else:
            arrivals = LAWS[self.arrivals](rate_qps, duration_s, rng)
        return arrivals, self.sizes(len(arrivals), rng)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results has to know of it."""
        return () if self.trace is None else self.trace.notes

    @property
    def mean_share(self) -> float:
        """Mean rate as a share of the one that a load is given as."""
        if self.trace is not None:
            return 1.0
        spike = (SPIKE[1] - SPIKE[0]) * (1 - CALM) + CALM
        return {"diurnal": (1 + TROUGH) / 2, "spike": spike}.get(self.arrivals, 1.0)

    def spike_s(self, duration_s: float) -> tuple[float, float] | None:
        """Begin and end of the spike in a schedule of this length; None where there is none."""
        if self.trace is not None or self.arrivals != "spike":
            return None
        return SPIKE[0] * duration_s, SPIKE[1] * duration_s

    def sizes(self, n: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Draw the rows of n queries, int32 [n]."""
        if self.trace is not None and self.trace.rows is not None:
            return rng.choice(self.trace.rows, n)
        if self.query_rows == "mlperf":
            return rng.choice(np.array(MLPERF_SIZES, np.int32), n)
        return np.full(n, self.query_rows, np.int32)


@dataclass(frozen=True, eq=False)
class Schedule:
    """Arrivals of a round, the same in each of its conditions.

    Attributes
    ----------
    arrivals : int64 [N]
        ns after the start, rising.
    server : int32 [N]
        Who serves each.
    rows : int32 [N]
        How many rows each asks for.
    skipped_rows : int
        Rows of the queries before it, where it is a part of another schedule.
    """

    arrivals: NDArray[np.int64]
    server: NDArray[np.int32]
    rows: NDArray[np.int32]
    skipped_rows: int = 0

    def __len__(self) -> int:
        return len(self.arrivals)

    @property
    def total_rows(self) -> int:
        """Rows of all queries."""
        return int(self.rows.sum(dtype=np.int64))

    def first_rows(self, available: int) -> NDArray[np.int64]:
        """First row of each query among those available, which may be gone through again."""
        first = np.cumsum(self.rows, dtype=np.int64) - self.rows + self.skipped_rows
        if self.skipped_rows + self.total_rows > available:  # only when capacity is measured
            first %= available - int(self.rows.max()) + 1
        return first

    def later(self, by_s: float) -> "Schedule":
        """Return the same, so much later."""
        return replace(self, arrivals=self.arrivals + int(by_s * NS))

    def between(self, begin_s: float, end_s: float) -> "Schedule":
        """Return the part of it that is due from one moment to another."""
        begin, end = np.searchsorted(self.arrivals, [int(begin_s * NS), int(end_s * NS)])
        return Schedule(
            self.arrivals[begin:end],
            self.server[begin:end],
            self.rows[begin:end],
            self.skipped_rows + int(self.rows[:begin].sum(dtype=np.int64)),
        )

    @classmethod
    def joined(cls, parts: "Sequence[Schedule]") -> "Schedule":
        """Return parts that follow one another as one schedule."""
        return cls(
            np.concatenate([part.arrivals for part in parts]),
            np.concatenate([part.server for part in parts]),
            np.concatenate([part.rows for part in parts]),
            parts[0].skipped_rows,
        )

    @property
    def digest(self) -> str:
        """SHA-256 (hex): equal digests, equal load, as a result document shows."""
        digest = hashlib.sha256(self.arrivals.astype("<i8").tobytes())
        digest.update(self.server.astype("<i4").tobytes())
        digest.update(self.rows.astype("<i4").tobytes())
        return digest.hexdigest()

    @classmethod
    def draw(
        cls, traffic: Traffic, qps: float, duration_s: float, *, servers: int, seed: Sequence[int]
    ) -> "Schedule":
        """Draw arrivals and sizes, and share them out between servers.

        Parameters
        ----------
        traffic : Traffic
            Their law.
        qps : float
            Mean arrivals a second, all servers together; of ``diurnal`` and ``spike``, at the peak.
        duration_s : float
            Length of the schedule in s.
        servers : int
            Number of servers, at least 1.
        seed : sequence of int
            Equal seeds, equal schedules.
        """
        rng = np.random.default_rng(seed)
        arrivals, rows = traffic.draw(qps, duration_s, rng)
        return cls(arrivals, split_arrivals(len(arrivals), servers, rng), rows)


def open_traffic(
    arrivals: str, query_rows: str, *, ties: TieRule | None = None, seed: int = 0
) -> Traffic:
    """Make traffic of what the user named.

    Parameters
    ----------
    arrivals : str
        The name of a law, or the path of a trace.
    query_rows : str
        A number, or ``mlperf``.
    ties : {"refuse", "spread", "keep"}, optional
        What becomes of recorded arrivals that share a stamp (`read_trace`); refused where nothing
        is asked for.
    seed : int
        Of the moments that these are spread to.

    Raises
    ------
    InputError
        No such law or file, a bad line in it, stamps that are too coarse, or no number of rows.
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
    if arrivals in LAWS:
        if ties is not None:
            raise InputError(
                f"--{ties}-ties: found --arrivals {arrivals}, expected a file of recorded times"
            )
        return Traffic(arrivals, rows)
    path = Path(arrivals)
    if not path.is_file():
        raise InputError(
            f"--arrivals: found {arrivals!r}, expected {', '.join(LAWS)}, or a file of times"
        )
    return Traffic(path.name, rows, read_trace(path, ties or "refuse", seed))


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
