"""Comparisons of two versions, made up from a recorded run to find out what gates can tell.

``lorabench compare --run`` has two versions change places with every turn of a block, which is one
slice of each case. Over the time of two recorded blocks either version so has as many turns as one
block has, half of them in each. So here a pair of blocks is made of two neighbours: an arm is a
quarter of the slices of `solo` and `solo_repeat` of both, as many as a control has in one, or half
of those of another case, and no slice is in both arms. Nothing is brought to the same level: both
arms meet what the two blocks differ by.

Slices of a block could change places, so that parts of it drawn at random have the law of fresh
ones, and nothing has to be corrected. Neighbouring pairs share a recorded block, though, so
that worlds (`lorabench.results.simulation`) are drawn in stretches of several.

What it does not know: processes of two versions, each of which has memory of its own where colocate
has one set for all cases of a round; their pages may lie better or worse for as long as these
processes live, which is a bias and no noise. Weather that changes within a block is met in random
order here, and in turns that alternate there, which even it out a little better. And all that
`lorabench.results.simulation` does not know.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench.results.change import POWER
from lorabench.results.limit import MIN_ROUNDS
from lorabench.results.sequential import Looks
from lorabench.results.simulation import (
    Intervals,
    Numbers,
    Values,
    intervals,
    log_quantiles,
)

STRETCH = 4
"""Pairs that are drawn together for a world."""


def pair_log_ratios(
    drawn: Sequence[Numbers], blocks: Sequence[Sequence[Values]], q: float = 0.99
) -> Values:
    """Return the logarithm of one version's quantile over the other's, where nothing differs.

    Parameters
    ----------
    drawn : sequence of int64 [each, 2, k]
        As of `lorabench.results.simulation.draw`, of two arms.
    blocks : sequence of sequence of float [N]
        Latencies of the slices of both controls, of every recorded block; positive.
    q : float
        Which quantile: an order statistic of all latencies of an arm.

    Returns
    -------
    float64 [recorded blocks, each]
        NaN where too few latencies lie beyond it in an arm.
    """
    logs = log_quantiles(drawn, [one for block in blocks for one in block], q)
    found: Values = logs[:, :, 0] - logs[:, :, 1]
    return found


@dataclass(frozen=True, eq=False)
class Compared:
    """What simulated comparisons of a version with itself know, as logarithms of a ratio.

    Parameters
    ----------
    found : Intervals
        Of every comparison at every look.
    detectable : float64 [runs, looks]
        The smallest difference that it could have shown (`lorabench.results.change.Change.least`);
        NaN where too few pairs have a value.
    """

    found: Intervals
    detectable: Values

    @classmethod
    def of(cls, logs: Values, looks: Looks) -> "Compared":
        """Compare: log ratios of pairs, float64 [runs, pairs]; NaN where a pair has none."""
        from scipy.special import stdtrit

        count = (~np.isnan(logs)).cumsum(axis=1)[:, np.array(looks.blocks) - 1]
        n = np.where(count >= MIN_ROUNDS, count, np.nan)
        found = intervals(logs, looks)
        # Both are so many standard errors.
        wider = 1 + stdtrit(n - 1, POWER) / stdtrit(n - 1, 1 - looks.level)
        return cls(found, wider * (found.high - found.low) / 2)

    def gate(self, ratio: float, tolerance: float) -> "Gated":
        """Hold a gate against all comparisons, where the head takes so many times as long.

        As `lorabench.results.gate.judge` does at each look, the first of which that decides ends
        a comparison; at the last one a gate also passes that could have shown a change.

        Parameters
        ----------
        ratio : float
            The true ratio of head and base.
        tolerance : float
            By how much the head may be slower: a share.
        """
        limit, slower = math.log1p(tolerance), math.log(ratio)
        fails = self.found.low + slower > limit
        passes = self.found.high + slower <= limit
        centre = (self.found.low[:, -1] + self.found.high[:, -1]) / 2 + slower
        could = (self.detectable[:, -1] <= limit) & (centre <= limit)
        passes[:, -1] |= ~fails[:, -1] & could
        decided = fails | passes
        first = np.arange(len(decided)), decided.argmax(axis=1)
        failed, passed = fails[first], passes[first]
        after = np.where(failed, np.array(self.found.blocks)[first[1]], np.inf)
        return Gated(failed, ~failed & ~passed, after)

    def least_slowdown(self, tolerance: float, share: float) -> float | None:
        """Return the smallest slowdown that fails this share of comparisons; None if none does.

        As a share: 0.2 for a ratio of 1.2.
        """
        return _least(lambda slowdown: self.gate(1 + slowdown, tolerance).failed.mean() >= share)

    def least_tolerance(self, share: float) -> float | None:
        """Return the smallest tolerance that this share of comparisons passes; None if none does.

        Of a version with itself: what fails, and what could not have shown so small a change, does
        not pass.
        """
        return _least(lambda tolerance: self.gate(1.0, tolerance).passed.mean() >= share)


def _least(does: Callable[[float], bool]) -> float | None:
    """Return the smallest share from which on something is so, to four digits."""
    low, high = 0.0, 100.0
    if not does(high):
        return None
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if does(middle) else (middle, high)
    return high


@dataclass(frozen=True, eq=False)
class Gated:
    """How a gate ends in each of many comparisons.

    Parameters
    ----------
    failed : bool [runs]
        The interval lies beyond the tolerance (exit 1).
    unknown : bool [runs]
        The interval never lay on one side of it, nor could the data have shown a change of its
        size (exit 4).
    after : float64 [runs]
        After how many pairs it failed; infinity where it did not.
    """

    failed: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    after: Values

    @property
    def passed(self) -> NDArray[np.bool_]:
        """Which comparisons pass (exit 0)."""
        return ~self.failed & ~self.unknown
