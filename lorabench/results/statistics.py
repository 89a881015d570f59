"""The statistics of an experiment: exact quantiles, paired ratios over rounds, saturation.

The unit of replication is the block, not the query: queries of one block share its machine weather,
so an interval from them is too narrow (a bootstrap inside rounds covers 0.87 to 0.93 instead of
0.95). Ratios are taken within a block, where both sides had the same arrivals, and averaged as
logarithms. See ``docs/methodology.md``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Mean = Literal["arithmetic", "geometric", "median"]

LEVEL = 0.025
"""What a 95 % interval leaves out on either side."""

# Samples that must lie beyond a quantile for it to be more than an anecdote.
MIN_BEYOND = 20

# Queueing delay that grows faster than this (seconds a second) is a queue that does not empty.
_GROWTH = 0.02


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` blocks and its interval, 95 % by default; None with fewer than two."""

    value: float
    interval: tuple[float, float] | None
    n: int


def quantile(
    samples: NDArray[np.floating[Any]], q: float, min_beyond: int = MIN_BEYOND
) -> float | None:
    """Return the smallest sample that at least a share `q` of all samples does not exceed.

    Parameters
    ----------
    samples : float [N]
        In any order.
    q : float
        Above 0, below 1.
    min_beyond : int
        How many samples must lie beyond.

    Returns
    -------
    float or None
        An order statistic, never interpolated; None where too few samples lie beyond.
    """
    # Rounded, since 0.99 * 2000 is a little more than 1980.
    place = math.ceil(round(q * len(samples), 9)) - 1
    if place < 0 or len(samples) - 1 - place < min_beyond:
        return None
    return float(np.partition(samples, place)[place])


def mean(values: Sequence[float | None], level: float = LEVEL) -> Estimate | None:
    """Average the rounds that gave a value, with Student's t interval.

    For differences taken within a round this is the paired t interval. `level` is what the interval
    leaves out on either side.
    """
    return _t_interval([value for value in values if value is not None], level)


def geometric_mean(values: Sequence[float | None], level: float = LEVEL) -> Estimate | None:
    """Average positive values: exp of the mean log, with its t interval.

    For ratios taken within a round this is the paired interval of the ratio.

    Raises
    ------
    ValueError
        A value is not positive.
    """
    logs = _t_interval([math.log(value) for value in values if value is not None], level)
    if logs is None:
        return None
    interval = tuple(map(math.exp, logs.interval)) if logs.interval else None
    return Estimate(math.exp(logs.value), interval, logs.n)  # type: ignore[arg-type]


def median(values: Sequence[float | None]) -> Estimate | None:
    """Take the median of the rounds that gave a value, and an interval free of any law.

    The interval runs between two order statistics: the widest that leave out at most 2.5 % of a
    fair coin's binomial law on either side (David and Nagaraja, Order Statistics, 7.1). Fewer than
    six values have none. For a short piece of work on a shared machine, where a turn may meet a
    neighbour and a mean follows it.
    """
    found = sorted(value for value in values if value is not None)
    n = len(found)
    if n == 0:
        return None
    centre = (found[(n - 1) // 2] + found[n // 2]) / 2
    skipped, tail = -1, 0.0
    while tail + math.comb(n, skipped + 1) / 2**n <= 0.025:
        skipped += 1
        tail += math.comb(n, skipped) / 2**n
    interval = (found[skipped], found[n - 1 - skipped]) if skipped >= 0 else None
    return Estimate(centre, interval, n)


def summarise(values: Sequence[float | None], kind: Mean, level: float = LEVEL) -> Estimate | None:
    """Average the rounds that gave a value, by the mean of that kind.

    `level` is what the interval leaves out on either side; of a median it is always 2.5 %.
    """
    if kind == "median":
        return median(values)
    return {"arithmetic": mean, "geometric": geometric_mean}[kind](values, level)


def _t_interval(values: Sequence[float], level: float = LEVEL) -> Estimate | None:
    n = len(values)
    if n == 0:
        return None
    centre = math.fsum(values) / n
    if n == 1:
        return Estimate(centre, None, 1)
    # scipy.special and not scipy.stats, which takes most of a second to import.
    from scipy.special import stdtrit

    variance = math.fsum((value - centre) ** 2 for value in values) / (n - 1)
    half = float(stdtrit(n - 1, 1 - level)) * math.sqrt(variance / n)
    return Estimate(centre, (centre - half, centre + half), n)


def detectable_difference(
    values: Sequence[float | None], power: float = 0.8, level: float = LEVEL
) -> float | None:
    """Return the smallest true mean that so many values, so far apart, would have told from 0.

    (t_{1-level, n-1} + t_{power, n-1}) s / sqrt(n), the usual approximation of the non-central t
    (Bloom 1995, "Minimum Detectable Effects").

    Parameters
    ----------
    values : sequence of float or None
        Differences taken within a block, one each.
    power : float
        How often the interval then leaves out 0.
    level : float
        What that interval leaves out on either side.

    Returns
    -------
    float or None
        None with fewer than two values.
    """
    found = [value for value in values if value is not None]
    n = len(found)
    if n < 2:
        return None
    from scipy.special import stdtrit

    quantiles = float(stdtrit(n - 1, 1 - level)) + float(stdtrit(n - 1, power))
    return quantiles * float(np.std(found, ddof=1)) / math.sqrt(n)


def paired_p(values: Sequence[float | None]) -> float | None:
    """Return how likely a mean so far from 0 is where nothing differs: two-sided paired t test.

    Parameters
    ----------
    values : sequence of float or None
        Differences taken within a block, one each.

    Returns
    -------
    float or None
        None with fewer than two values. Of values that are all the same it is 0, or 1 where they
        are 0.
    """
    found = [value for value in values if value is not None]
    n = len(found)
    if n < 2:
        return None
    from scipy.special import stdtr

    centre, spread = math.fsum(found) / n, float(np.std(found, ddof=1))
    if not spread:
        return 0.0 if centre else 1.0
    return float(2 * stdtr(n - 1, -abs(centre) / (spread / math.sqrt(n))))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of several tests, each as if all had been one (Holm 1979).

    A test whose adjusted p-value is below 5 % says so among all of them: that any of those which
    hold no difference seems to is no more likely than 5 %, however they depend on each other.

    Examples
    --------
    >>> holm([0.01, 0.5, 0.02])
    [0.03, 0.5, 0.04]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    found, most = [0.0] * len(p_values), 0.0
    for place, number in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - place) * p_values[number]))
        found[number] = most
    return found


def ratio_of_sums(
    pairs: Sequence[tuple[float, float] | None], level: float = LEVEL
) -> Estimate | None:
    """Return the sum of the numerators over that of the denominators, with its jackknife interval.

    A mean of the blocks' own ratios gives a block with a denominator near 0 any weight; of their
    sums every block has the weight of its denominator. The interval is Student's t, n - 1 degrees
    of freedom, around that ratio, with the standard error of the delete-one jackknife, the ratio
    without each block in turn (Quenouille 1956, Tukey 1958; Efron 1982, "The Jackknife", 3).

    Parameters
    ----------
    pairs : sequence of (float, float) or None
        Numerator and denominator of each block, of any sign; None where it gave none.
    level : float
        What the interval leaves out on either side.

    Returns
    -------
    Estimate or None
        None where the sum of the denominators is not above 0. There is no interval with fewer than
        two blocks, or where that sum is not above 0 without one of them.
    """
    found = [pair for pair in pairs if pair is not None]
    n = len(found)
    above, below = (math.fsum(pair[side] for pair in found) for side in (0, 1))
    if n == 0 or below <= 0:
        return None
    ratio = above / below
    without = [
        tuple(math.fsum(pair[side] for pair in found[:k] + found[k + 1 :]) for side in (0, 1))
        for k in range(n)
    ]
    if n == 1 or any(rest <= 0 for _, rest in without):
        return Estimate(ratio, None, n)
    from scipy.special import stdtrit

    ratios = [over / rest for over, rest in without]
    centre = math.fsum(ratios) / n
    variance = (n - 1) / n * math.fsum((one - centre) ** 2 for one in ratios)
    half = float(stdtrit(n - 1, 1 - level)) * math.sqrt(variance)
    return Estimate(ratio, (ratio - half, ratio + half), n)


def saturated(
    scheduled_ns: NDArray[np.int64],
    started_ns: NDArray[np.int64],
    slices: NDArray[np.int32] | None = None,
) -> bool:
    """Return whether a queue only grows: then there is no latency to speak of.

    The median wait (from scheduled arrival to being taken up) of the last third of the arrivals is
    held against that of the first third; it must not grow by more than 0.02 seconds a second. Of
    several slices, each of which begins with an empty queue, the median growth counts.

    Parameters
    ----------
    scheduled_ns, started_ns : int64 [N]
        In order of arrival.
    slices : int32 [N], optional
        Number of each one's slice.
    """
    if slices is None:
        slices = np.zeros(len(scheduled_ns), np.int32)
    found = [
        growth
        for number in np.unique(slices)
        if (growth := _growth(scheduled_ns[slices == number], started_ns[slices == number]))
        is not None
    ]
    return bool(found) and float(np.median(found)) > _GROWTH


def _growth(scheduled_ns: NDArray[np.int64], started_ns: NDArray[np.int64]) -> float | None:
    """Return by how many seconds a second the wait grows; None where too few came to tell."""
    n = len(scheduled_ns)
    if n < 3:
        return None
    wait = started_ns - scheduled_ns
    third = n // 3
    apart = float(np.median(scheduled_ns[-third:]) - np.median(scheduled_ns[:third]))
    growth = float(np.median(wait[-third:]) - np.median(wait[:third]))
    return growth / apart if apart > 0 else None


def outer_share(values: Sequence[float], groups: Sequence[int]) -> float | None:
    """Return the share of the variance that lies between groups: the intraclass correlation.

    One-way analysis of variance with random effects and groups of unequal size (Searle, Casella
    and McCulloch, Variance Components, 3.6); what comes out below 0 is 0.

    Parameters
    ----------
    values : sequence of float
        One a block, as logarithms where they are ratios.
    groups : sequence of int
        The round of each.

    Returns
    -------
    float or None
        None with fewer than two groups, or nothing but single values in them.
    """
    found, of = np.array(values, np.float64), np.array(groups)
    names, counts = np.unique(of, return_counts=True)
    k, n = len(names), len(found)
    if k < 2 or n <= k:
        return None
    means = np.array([found[of == name].mean() for name in names])
    between = float((counts * (means - found.mean()) ** 2).sum()) / (k - 1)
    apart = found - means[np.searchsorted(names, of)]
    within = float((apart**2).sum()) / (n - k)
    size = (n - float((counts**2).sum()) / n) / (k - 1)
    outer = max(0.0, (between - within) / size)
    return outer / (outer + within) if outer + within > 0 else None
