"""From estimates to verdicts: met, missed, inconclusive or unavailable, each with its reason.

Pure functions; no verdict is reached anywhere else. A ratio is judged only where it can be: enough
rounds, a control that agrees with itself, queues that empty, and an interval on one side of the
target. What keeps it from being judged is the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lorabench.results.schema import Basis, Claim, Verdict
from lorabench.results.statistics import Estimate

MIN_ROUNDS = 6
ISOLATED_RATIO = 1.10
IMPACT_S = 0.020
ISOLATED = ("latency.isolated", "co-located p99 / solo p99 <= 1.10", ISOLATED_RATIO)
IMPACT = ("latency.impact", "co-located p99 - solo p99 < 20 ms", IMPACT_S)
BUDGET = 0.02

_ROWS = {
    "measured-real": "real rows",
    "measured-synthetic": "synthetic rows",
    "derived": "derived figures",
}


@dataclass(frozen=True)
class Evidence:
    """What a judgement about latency rests on.

    Parameters
    ----------
    condition : str
        The isolation condition that it is about.
    control : Estimate or None
        p99 of `solo_repeat` over that of `solo`: how far the machine agrees with itself.
    saturated : bool
        The condition's queue, or solo's, only grew in some round.
    basis : str
        What kind of rows were served.
    """

    condition: str
    control: Estimate | None
    saturated: bool
    basis: Basis


def latency_isolated(evidence: Evidence, ratio: Estimate | None) -> Claim:
    """Judge ``latency.isolated``: p99 beside the trainer over p99 alone."""
    return _judge(
        *ISOLATED,
        evidence,
        estimate=ratio,
        show=lambda value: f"{value:.2f}",
    )


def latency_impact(evidence: Evidence, difference: Estimate | None) -> Claim:
    """Judge ``latency.impact``: p99 beside the trainer minus p99 alone."""
    return _judge(
        *IMPACT,
        evidence,
        estimate=difference,
        show=lambda value: f"{value * 1e3:.2f} ms",
    )


def memory_budget(fraction: float, basis: Basis) -> Claim:
    """Judge ``memory.budget``: all LoRA state as a share of the table bytes.

    The adapter's memory is allocated once and does not grow, so its size is its size at every
    moment.
    """
    met = fraction < BUDGET
    return Claim(
        id="memory.budget",
        statement="all LoRA state under 2 % of the EMT bytes, at every moment",
        target=BUDGET,
        measured=fraction,
        ci95=None,
        verdict="met" if met else "missed",
        basis=basis,
        reason=f"all LoRA state together is {fraction:.2%} of the table bytes, allocated once",
    )


def latency_not_run(basis: Basis) -> list[Claim]:
    """Say of both latency claims that nothing was run that could test them."""
    return [
        Claim(
            id=claim,
            statement=statement,
            target=target,
            measured=None,
            ci95=None,
            verdict="unavailable",
            basis=basis,
            reason="no condition that isolates the trainer was run",
        )
        for claim, statement, target in (IMPACT, ISOLATED)
    ]


def sentence(claim: Claim) -> str:
    """Put a claim's verdict into words for the terminal."""
    return f"{claim.id} {claim.verdict}: {claim.statement}; {claim.reason}"


def _judge(
    claim: str,
    statement: str,
    target: float,
    evidence: Evidence,
    *,
    estimate: Estimate | None,
    show: Callable[[float], str],
) -> Claim:
    found = "no p99"
    if estimate is not None:
        found = show(estimate.value)
        if estimate.interval is not None:
            found += " [{}, {}]".format(*map(show, estimate.interval))
    verdict: Verdict = "inconclusive"
    obstacle = _obstacle(evidence, estimate)
    if obstacle is None and estimate is not None and estimate.interval is not None:
        low, high = estimate.interval
        if high <= target:
            verdict = "met"
        elif low > target:
            verdict = "missed"
        else:
            obstacle = f"the interval contains {show(target)}"
    what = f"{evidence.condition} on {_ROWS[evidence.basis]}: {found}"
    return Claim(
        id=claim,
        statement=statement,
        target=target,
        measured=estimate.value if estimate else None,
        ci95=estimate.interval if estimate else None,
        verdict=verdict,
        basis=evidence.basis,
        reason=f"{what}, but {obstacle}" if obstacle else what,
    )


def _obstacle(evidence: Evidence, estimate: Estimate | None) -> str | None:
    """Say what keeps an estimate from being judged; None if nothing does."""
    if evidence.saturated:
        return "the queue only grew; offer less load"
    if estimate is None:
        return "there were too few queries; measure for longer"
    if estimate.n < MIN_ROUNDS or estimate.interval is None:
        return f"from {estimate.n} rounds; at least {MIN_ROUNDS} are needed"
    control = evidence.control
    if control is None or control.interval is None:
        return "solo was not repeated as a control"
    low, high = control.interval
    if low < 1 / ISOLATED_RATIO or high > ISOLATED_RATIO:
        return (
            f"the machine was too noisy: solo over itself is {control.value:.2f} "
            f"[{low:.2f}, {high:.2f}], not inside [{1 / ISOLATED_RATIO:.2f}, {ISOLATED_RATIO:.2f}]"
        )
    return None
