"""Where a difference changes its sign along an axis: the crossover of two strategies.

Between two points of a grid the difference is taken to be a line, over the logarithm of the axis
where that is multiplicative, such as bandwidth. What lies between the points is not measured: a
crossover is known to lie between its two neighbours, and where exactly is interpolated.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lorabench.results import statistics
from lorabench.results.statistics import Estimate


@dataclass(frozen=True)
class Crossing:
    """A change of sign.

    Attributes
    ----------
    at : float
        Where, interpolated.
    low, high : float
        Values of the axis that it lies between; both are `at` where the difference is 0 there.
    rises : bool
        From below 0 to above.
    """

    at: float
    low: float
    high: float
    rises: bool


@dataclass(frozen=True)
class Crossover:
    """A change of sign of the mean over replicates.

    Attributes
    ----------
    crossing : Crossing
        Of the mean.
    values : list of float or None
        Of each replicate: where it changes sign as the mean does; None where it does not, changes
        it the other way, or more than once.
    estimate : Estimate
        That of the mean with Student's t interval over replicates, of logarithms on a logarithmic
        axis, cut off at the ends of the axis, beyond which nothing was measured. Without one where
        not every replicate changes sign once, as the mean does, and where it would not hold the
        mean's: what crosses in replicates is then not what crosses in their mean.
    """

    crossing: Crossing
    values: list[float | None]
    estimate: Estimate


def crossings(xs: Sequence[float], ys: Sequence[float | None], *, log: bool) -> list[Crossing]:
    """Return where a difference changes sign, in order of the axis.

    Parameters
    ----------
    xs : sequence of float [n]
        Ascending.
    ys : sequence of float or None [n]
        None is passed over.
    log : bool
        Interpolate over the logarithm of x, where both neighbours are above 0.
    """
    found = []
    last: tuple[float, float] | None = None
    # Where it is 0 it has no sign: from the last point that had one.
    zeros: list[float] = []
    for x, y in zip(xs, ys, strict=True):
        if y is None:
            continue
        if y == 0:
            zeros.append(x)
            continue
        if last is not None and (last[1] < 0) != (y < 0):
            if zeros:
                at = _between(zeros[0], zeros[-1], 0.5, log)
                found.append(Crossing(at, zeros[0], zeros[-1], y > 0))
            else:
                share = last[1] / (last[1] - y)
                found.append(Crossing(_between(last[0], x, share, log), last[0], x, y > 0))
        last, zeros = (x, y), []
    return found


def crossovers(
    xs: Sequence[float], replicates: Sequence[Sequence[float | None]], *, log: bool
) -> list[Crossover]:
    """Return where the mean over replicates changes sign, with what replicates say of it.

    Parameters
    ----------
    xs : sequence of float [n]
        Ascending.
    replicates : sequence of sequence of float or None [n]
        The difference of each replicate at each x.
    log : bool
        As of `crossings`.
    """
    means = [statistics.mean(at) for at in zip(*replicates, strict=True)]
    found = crossings(xs, [None if one is None else one.value for one in means], log=log)
    each = [crossings(xs, ys, log=log) for ys in replicates]
    if len(found) != 1:
        none: list[float | None] = [None] * len(replicates)
        return [Crossover(one, none, Estimate(one.at, None, 0)) for one in found]
    (mean,) = found
    values = [one[0].at if len(one) == 1 and one[0].rises == mean.rises else None for one in each]
    known = [value for value in values if value is not None]
    interval = None
    if len(known) == len(replicates):
        interval = _interval(mean.at, known, (xs[0], xs[-1]), log)
    return [Crossover(mean, values, Estimate(mean.at, interval, len(known)))]


def _interval(
    at: float, values: Sequence[float], axis: tuple[float, float], log: bool
) -> tuple[float, float] | None:
    """Return the interval of values within the axis; None where it does not hold `at`."""
    logs = log and min(values) > 0
    found = statistics.geometric_mean(values) if logs else statistics.mean(values)
    if found is None or found.interval is None:
        return None
    low, high = (min(max(one, axis[0]), axis[1]) for one in found.interval)
    # Replicates that are all alike give an interval of no width, but for rounding.
    if not low <= at <= high and not any(math.isclose(at, one) for one in (low, high)):
        return None
    return low, high


def _between(low: float, high: float, share: float, log: bool) -> float:
    """Return what lies so far from one value to another."""
    if log and low > 0:
        return low * math.exp(share * math.log(high / low))
    return low + share * (high - low)
