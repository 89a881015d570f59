"""How many simulated runs do something: shares with their intervals, and claims about them.

Runs are made up in `lorabench.results.simulation` and `lorabench.results.pairs`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench.results.limit import Limit, claim
from lorabench.results.schema import Claim
from lorabench.results.sequential import ALPHA
from lorabench.results.statistics import Estimate


@dataclass(frozen=True)
class Share:
    """How many of the simulated runs do something.

    Parameters
    ----------
    count, runs : int
        How many of how many, 1 or more.
    between : float
        Variance of the share between worlds (`variance_between`).
    """

    count: int
    runs: int
    between: float = 0.0

    def estimate(self, miss: float = 0.05) -> Estimate:
        """Return the share with its interval, which misses the machine's at most at `miss`.

        That of Clopper and Pearson (1934), for as many runs as would vary by as much if the
        recorded blocks were all there are (the effective sample size of surveys: Korn and Graubard
        1998, Confidence intervals for proportions with small expected number of positive counts
        estimated from survey data, Survey Methodology 24).
        """
        from scipy.special import betaincinv

        value = self.count / self.runs
        # Where no run or every run does it, one in two more would.
        near = min(max(value, 0.5 / self.runs), 1 - 0.5 / self.runs)
        n = 1 / (1 / self.runs + self.between / (near * (1 - near)))
        k = value * n
        low = float(betaincinv(k, n - k + 1, miss / 2)) if self.count else 0.0
        high = float(betaincinv(k + 1, n - k, 1 - miss / 2)) if self.count < self.runs else 1.0
        return Estimate(value, (low, high), self.runs)


def variance_between(does: NDArray[np.bool_]) -> float:
    """Return how much a share of runs varies between worlds, beyond what chance makes it vary.

    Parameters
    ----------
    does : bool [worlds, runs]
        Which runs do it.
    """
    shares = does.mean(axis=1)
    chance = (shares * (1 - shares)).mean() / (does.shape[1] - 1)
    return max(0.0, float(shares.var(ddof=1) - chance))


FALSE_VERDICTS = Limit("bench.false_verdicts", "at most 2.5 % false verdicts of either kind", ALPHA)

LEAST_RECORDED = 16
"""Of fewer recorded blocks the interval of a share holds the machine's less often than it says."""


def false_verdicts(errors: Mapping[str, Share], recorded: int) -> Claim:
    """Judge ``bench.false_verdicts`` by the error that simulated runs made most often.

    Parameters
    ----------
    errors : mapping of str to Share
        How many runs made it, by what it is, in words.
    recorded : int
        Blocks that the runs were made up from.
    """
    worst = max(errors, key=lambda error: errors[error].count)
    # The interval of the worst of several has to hold for each of them.
    estimate = errors[worst].estimate(0.05 / len(errors))
    assert estimate.interval is not None
    low, high = estimate.interval
    reason = (
        f"{worst} in {estimate.value * 100:.1f} % of {estimate.n:,} simulated runs, and no other "
        f"error more often (95 % interval {low * 100:.1f} to {high * 100:.1f} %)"
    )
    verdict = FALSE_VERDICTS.verdict(low, high)
    if recorded < LEAST_RECORDED:
        verdict = "inconclusive"
        reason += f", but that is from {recorded} recorded blocks, and {LEAST_RECORDED} are needed"
    elif verdict == "inconclusive":
        reason += ", an interval that holds what the looks at a run are planned for"
    return claim(FALSE_VERDICTS, estimate, verdict, "derived", reason)


FALSE_ALARMS = Limit(
    "bench.gate_false_alarms", "a gate fails at most 2 % of comparisons of equal versions", 0.02
)
SIGHT = Limit(
    "bench.gate_sight", "a gate fails 90 % of comparisons with a p99 15 % up", 0.9, least=True
)


def gate_claims(false_alarms: Share, found: Share, size: str, recorded: int) -> list[Claim]:
    """Judge ``bench.gate_false_alarms`` and ``bench.gate_sight``.

    Parameters
    ----------
    false_alarms, found : Share
        Of simulated comparisons: those that fail where nothing differs, and where p99 is 15 % up.
    size : str
        The gate and the pairs of a comparison, in words.
    recorded : int
        Blocks that the comparisons were made up from.
    """
    claims = []
    for target, share, what in (
        (FALSE_ALARMS, false_alarms, "of equal versions"),
        (SIGHT, found, "with a p99 15 % up"),
    ):
        estimate = share.estimate()
        assert estimate.interval is not None
        low, high = estimate.interval
        reason = (
            f"{share.count:,} of {share.runs:,} simulated comparisons {what} failed {size}: "
            f"{estimate.value * 100:.1f} % (95 % interval {low * 100:.1f} to {high * 100:.1f} %)"
        )
        verdict = target.verdict(low, high)
        if recorded < LEAST_RECORDED:
            verdict = "inconclusive"
            reason += (
                f", but that is from {recorded} recorded blocks, and {LEAST_RECORDED} are needed"
            )
        elif verdict == "inconclusive":
            reason += ", an interval that holds the target"
        claims.append(claim(target, estimate, verdict, "derived", reason))
    return claims
