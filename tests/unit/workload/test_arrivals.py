"""Arrival schedules: Poisson, reproducible, split evenly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lorabench.workload.arrivals import poisson_arrivals, schedule_digest, split_arrivals


@given(st.floats(0, 1e4), st.floats(0, 2), st.integers(0, 2**32))
def test_arrivals_are_sorted_and_within_the_duration(
    rate: float, duration: float, seed: int
) -> None:
    arrivals = poisson_arrivals(rate, duration, np.random.default_rng(seed))
    assert arrivals.dtype == np.int64
    assert (np.diff(arrivals) >= 0).all()
    assert ((arrivals >= 0) & (arrivals < duration * 1e9)).all()


def test_gaps_are_exponential_and_each_servers_too() -> None:
    rng = np.random.default_rng(1)
    arrivals = poisson_arrivals(2000.0, 20.0, rng)
    server = split_arrivals(len(arrivals), 4, rng)
    assert stats.kstest(np.diff(arrivals) * 2000.0 / 1e9, "expon").pvalue > 1e-3
    for s in range(4):
        gaps = np.diff(arrivals[server == s])
        assert stats.kstest(gaps * 500.0 / 1e9, "expon").pvalue > 1e-3


def test_counts_vary_as_a_poisson_variable_does() -> None:
    rng = np.random.default_rng(2)
    counts = np.array([len(poisson_arrivals(100.0, 1.0, rng)) for _ in range(2000)])
    assert abs(counts.mean() - 100) < 1.5
    assert 85 < counts.var() < 115


def test_queries_are_split_uniformly() -> None:
    server = split_arrivals(40_000, 5, np.random.default_rng(3))
    assert server.dtype == np.int32
    assert stats.chisquare(np.bincount(server, minlength=5)).pvalue > 1e-3


def test_the_digest_depends_on_the_times_and_on_the_split() -> None:
    def schedule(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        arrivals = poisson_arrivals(100.0, 1.0, rng)
        return arrivals, split_arrivals(len(arrivals), 2, rng)

    arrivals, server = schedule(7)
    again = schedule_digest(*schedule(7))
    assert schedule_digest(arrivals, server) == again
    assert schedule_digest(arrivals, 1 - server) != again
    assert schedule_digest(arrivals + 1, server) != again


def test_nonsense_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="rate_qps: found nan"):
        poisson_arrivals(float("nan"), 1.0, rng)
    with pytest.raises(ValueError, match="duration_s: found -1"):
        poisson_arrivals(1.0, -1, rng)
    with pytest.raises(ValueError, match="servers: found 0"):
        split_arrivals(5, 0, rng)
