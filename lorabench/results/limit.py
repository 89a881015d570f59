"""What a claim asks of a number, and how an interval alone is held against it.

Judgements that rest on more than an interval are in `lorabench.results.claims` and
`lorabench.results.latency`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lorabench.results.schema import Basis, Claim, Verdict
from lorabench.results.statistics import Estimate

MIN_ROUNDS = 6


@dataclass(frozen=True)
class Limit:
    """What a claim says: the value stays at most at `limit`, or below it if `strict`.

    Or at least at it, or above it, if `least`.
    """

    claim: str
    statement: str
    limit: float
    strict: bool = False
    least: bool = False

    def verdict(self, low: float, high: float) -> Verdict:
        """Hold an interval against the limit."""
        limit = self.limit
        if self.least:
            low, high, limit = -high, -low, -limit
        if high < limit or (high == limit and not self.strict):
            return "met"
        if low > limit or (low == limit and self.strict):
            return "missed"
        return "inconclusive"


def claim(
    target: Limit, measured: Estimate | None, verdict: Verdict, basis: Basis, reason: str
) -> Claim:
    """Return the claim of a target that has been judged; None for what was not measured."""
    return Claim(
        id=target.claim,
        statement=target.statement,
        target=target.limit,
        measured=measured.value if measured else None,
        ci95=measured.interval if measured else None,
        verdict=verdict,
        basis=basis,
        reason=reason,
    )


def by_interval(target: Limit, estimate: Estimate | None, *, scale: float = 1.0) -> Claim:
    """Judge a figure of the kernels by its interval alone.

    Parameters
    ----------
    target : Limit
        What it is held against.
    estimate : Estimate or None
        Over rounds; None where there was nobody to compare with.
    scale : float
        Brings it to the unit that the statement speaks of.
    """
    verdict: Verdict = "unavailable"
    reason = "there is no peer to compare with"
    if estimate is not None:
        reason = f"measured {estimate.value * scale:.3g}"
        if estimate.interval is not None:
            low, high = (bound * scale for bound in estimate.interval)
            reason += f" [{low:.3g}..{high:.3g}]"
        if estimate.interval is None or estimate.n < MIN_ROUNDS:
            verdict = "inconclusive"
            reason += f" in {estimate.n} rounds, expected at least {MIN_ROUNDS}"
        else:
            verdict = target.verdict(*estimate.interval)
            if verdict == "inconclusive":
                reason += ", an interval that holds the target"
    return claim(target, estimate, verdict, "measured-synthetic", reason)


def everywhere(target: Limit, points: Sequence[tuple[str, Estimate]]) -> Claim | None:
    """Judge the lowest bound of all points, each with where it is; None where none has one."""
    bounds = [
        (estimate.interval[0], estimate, where)
        for where, estimate in points
        if estimate.interval is not None
    ]
    if not bounds:
        return None
    low, estimate, where = min(bounds, key=lambda bound: bound[0])
    return claim(
        target,
        Estimate(low, estimate.interval, estimate.n),
        target.verdict(low, low),
        "measured-synthetic",
        f"the lowest of {len(points)} points is {low:.3g}, at {where}",
    )
