"""How often a link can take pushes: the interval that is asked for, or a fixed point.

A push begins when the last has ended. While it is under way, training touches the rows of the next
one: pushes that follow one another back to back come to a period T for which
T = time to push what is touched within T. A push that takes longer than the interval makes the next
one larger, up to that fixed point, or until all rows go.

The touched share is concave in time (`lorabench.updates.touch`), and so is what a push takes: there
is one fixed point above 0 at most, and pushes of whatever size come to it.
"""

from dataclasses import dataclass

from lorabench.updates.link import Cost, Sync
from lorabench.updates.payload import Payload
from lorabench.updates.touch import TouchCurve

# Of the time that all rows take: a shorter fixed point is none but 0. Bisection halves down to it.
_RESOLUTION = 2.0**-60


@dataclass(frozen=True)
class PushCycle:
    """All that decides how pushes follow one another.

    Parameters
    ----------
    sync : Sync
        What a push takes.
    payload : Payload
        What is sent of the rows touched.
    dim : int
        D.
    curve : TouchCurve
        Which share is touched within a time.
    """

    sync: Sync
    payload: Payload
    dim: int
    curve: TouchCurve

    def cost(self, since_s: float) -> Cost:
        """Return what a push of the rows touched within a time takes."""
        return self._of(self.curve.share(since_s))

    def _of(self, touched: float) -> Cost:
        expansion = self.payload.expansion(self.dim)
        size = self.sync.scale.table_bytes * self.payload.share(touched) * expansion
        return self.sync.cost(size)

    def back_to_back_s(self) -> float:
        """Return the period of pushes that follow one another; 0 where they shrink to nothing."""
        low, high = 0.0, self._of(1.0).total_s
        least = high * _RESOLUTION
        while high > least:
            middle = (low + high) / 2
            if middle in (low, high):
                break
            if self.cost(middle).total_s >= middle:
                low = middle
            else:
                high = middle
        return high if high > least else 0.0

    def settle(self, interval_s: float) -> "Settled":
        """Return what pushes come to that are to begin every so often."""
        alone_s = self.back_to_back_s()
        period_s = max(interval_s, alone_s)
        touched = self.curve.share(period_s)
        all_go = self.payload.may_send_all and self.curve.share(alone_s) >= 1.0
        return Settled(
            period_s, self.payload.share(touched), self._of(touched), None if all_go else alone_s
        )


@dataclass(frozen=True)
class Settled:
    """What pushes come to.

    Attributes
    ----------
    period_s : float
        From the beginning of one to that of the next.
    share : float
        Of all rows, that each sends.
    cost : Cost
        What each takes.
    fixed_point_s : float or None
        The period of pushes back to back; 0 where the link outruns the rows touched however short
        the interval, and None where pushes grow until all rows go.
    """

    period_s: float
    share: float
    cost: Cost
    fixed_point_s: float | None

    @property
    def update_latency_s(self) -> float:
        """Median time from when a row is learned to when it is served.

        It waits for the next push to begin, half a period in the median, and for that push.
        """
        return self.period_s / 2 + self.cost.total_s
