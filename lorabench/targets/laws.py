r"""Laws of arrivals: Poisson processes whose rate is constant, jumps, or runs through a day.

For a mean rate r and a schedule of length L:

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

Rates that change are drawn by inversion: a Poisson process of rate 1 on the scale of the integrated
rate.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lorabench.targets.trace import NS

BURST_RATE = 3.0  # over the mean
BURST_SHARE = 0.1  # of the time
BURST_S = 0.05  # longer ones make a queue that is stable in the long run look like one that grows
TROUGH = 0.3  # over the peak
_DAY_STEPS = 4096
SPIKE = (0.6, 0.8)  # of the time
CALM = 1 / 3  # over the peak

Law = Callable[[float, float, np.random.Generator], NDArray[np.int64]]


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
    calm_s = BURST_S * (1 - BURST_SHARE) / BURST_SHARE
    calm_rate = (1 - BURST_RATE * BURST_SHARE) / (1 - BURST_SHARE)
    edges, rates = [0.0], []
    burst = bool(rng.random() < BURST_SHARE)  # as in the long run
    while edges[-1] < duration_s:
        edges.append(edges[-1] + rng.exponential(BURST_S if burst else calm_s))
        rates.append(rate_qps * (BURST_RATE if burst else calm_rate))
        burst = not burst
    edges[-1] = duration_s
    return _by_inversion(np.array(edges), np.array(rates), rng)


def diurnal_arrivals(
    peak_qps: float, duration_s: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw ``diurnal``, its peak in the middle; parameters and result as `poisson_arrivals`."""
    edges = np.linspace(0, duration_s, _DAY_STEPS + 1)
    middle = (np.arange(_DAY_STEPS) + 0.5) / _DAY_STEPS
    swing = (1 - TROUGH) / 2
    return _by_inversion(edges, peak_qps * (1 - swing * (1 + np.cos(2 * math.pi * middle))), rng)


def spike_arrivals(
    peak_qps: float, duration_s: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw ``spike``; parameters and result as those of `poisson_arrivals`."""
    edges = np.array([0.0, *SPIKE, 1.0]) * duration_s
    return _by_inversion(edges, peak_qps * np.array([CALM, 1.0, CALM]), rng)


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


LAWS: dict[str, Law] = {
    "poisson": poisson_arrivals,
    "bursts": burst_arrivals,
    "diurnal": diurnal_arrivals,
    "spike": spike_arrivals,
}
