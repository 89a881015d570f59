"""Arrival schedules: when each query is due and at which server, drawn before anything runs.

A schedule is data. It keeps no clock and waits for nobody, which is what makes the server's loop
an open one: a slow server cannot slow its own load down (coordinated omission).
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


def poisson_arrivals(
    rate_qps: float, duration_s: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a Poisson process by its definition: a Poisson count, then that many uniform times.

    Parameters
    ----------
    rate_qps : float
        Mean arrivals a second, all servers together.
    duration_s : float
        Length of the schedule in s.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    int64 array [N]
        Sorted times in ns, within [0, duration).

    Raises
    ------
    ValueError
        A negative or non-finite rate or duration.
    """
    for name, value in (("rate_qps", rate_qps), ("duration_s", duration_s)):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name}: found {value}, expected a finite number >= 0")
    duration_ns = int(duration_s * 1e9)
    if duration_ns == 0:
        return np.empty(0, np.int64)
    count = int(rng.poisson(rate_qps * duration_s))
    arrivals = rng.integers(0, duration_ns, count, dtype=np.int64)
    arrivals.sort()
    return arrivals


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


def schedule_digest(arrivals: NDArray[np.int64], server: NDArray[np.int32]) -> str:
    """SHA-256 (hex) of a schedule: equal digests, equal load.

    Parameters
    ----------
    arrivals : int64 array [N]
        Times in ns.
    server : int32 array [N]
        Server of each query.
    """
    digest = hashlib.sha256(arrivals.astype("<i8").tobytes())
    digest.update(server.astype("<i4").tobytes())
    return digest.hexdigest()
