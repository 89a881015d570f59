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
    """

    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Crossover:
    """A change of sign of the mean over replicates.

    Attributes
    ----------
    crossing : Crossing
        Of the mean.
    values : list of float or None
        Of each replicate: where it changes sign; None where it does not, or more than once.
    estimate : Estimate
        That of the mean with Student's t interval over replicates, of logarithms on a logarithmic
        axis; without one where not every replicate changes sign once, as the mean does.
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
                found.append(Crossing(at, zeros[0], zeros[-1]))
            else:
                share = last[1] / (last[1] - y)
                found.append(Crossing(_between(last[0], x, share, log), last[0], x))
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
    values = [one[0].at if len(one) == 1 and len(found) == 1 else None for one in each]
    interval = None
    known = [value for value in values if value is not None]
    if found and len(known) == len(replicates):
        logs = log and min(known) > 0
        mean = statistics.geometric_mean(known) if logs else statistics.mean(known)
        interval = None if mean is None else mean.interval
    return [Crossover(one, values, Estimate(one.at, interval, len(known))) for one in found]


def _between(low: float, high: float, share: float, log: bool) -> float:
    """Return what lies so far from one value to another."""
    if log and low > 0:
        return low * math.exp(share * math.log(high / low))
    return low + share * (high - low)
