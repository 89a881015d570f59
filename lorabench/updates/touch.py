"""The touch curve: which share of the rows training touches within some time.

Rows that are touched twice are sent once, so that a longer interval touches more rows, but ever
fewer new ones: of a stationary stream the curve is concave. With one figure alone (10 % in ten
minutes) the straight line through it is all there is: an upper bound beyond that time, and a lower
one before it.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class TouchCurve:
    """Share of the rows that is touched within a time; piecewise linear, and concave.

    Parameters
    ----------
    times_s : tuple of float
        Ascending, from 0.
    shares : tuple of float
        Of all rows, at most 1; from 0.
    """

    times_s: tuple[float, ...]
    shares: tuple[float, ...]

    @staticmethod
    def linear(share: float, within_s: float) -> "TouchCurve":
        """Return the line through one known figure."""
        return TouchCurve((0.0, within_s), (0.0, share))

    @staticmethod
    def of(points: Iterable[tuple[float, float]]) -> "TouchCurve":
        """Return the least concave curve through the origin on or above some points.

        Means over few windows wobble; what they estimate does not.

        Parameters
        ----------
        points : iterable of (float, float)
            Times above 0 and shares.
        """
        hull = [(0.0, 0.0)]
        for point in sorted(points):
            while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-2], point):
                hull.pop()
            hull.append(point)
        times_s, shares = zip(*hull, strict=True)
        return TouchCurve(times_s, shares)

    @property
    def known_s(self) -> float:
        """The longest time of which the share is known."""
        return self.times_s[-1]

    def share(self, within_s: float) -> float:
        """Return the share that is touched within a time.

        Beyond what is known it goes on as it went last, up to 1: of a concave curve an upper bound.
        """
        times, shares = self.times_s, self.shares
        right = min(bisect_right(times, within_s), len(times) - 1)
        last = times[right - 1], shares[right - 1]
        slope = _slope(last, (times[right], shares[right]))
        return min(1.0, last[1] + slope * (within_s - last[0]))


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])
