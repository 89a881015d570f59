"""From estimates to verdicts: met, missed, inconclusive or unavailable, each with its reason.

Pure functions; no verdict is reached anywhere else, but for those about latency, in
`lorabench.results.latency`, those about freshness, in `lorabench.results.freshness`, those about
syncing, in `lorabench.results.sync`, that about idle CPU, in `lorabench.results.idle`, and those
that an interval alone gives, in `lorabench.results.limit`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lorabench.results import limit as targets
from lorabench.results.learnable import Learned
from lorabench.results.limit import Limit, claim
from lorabench.results.schema import Basis, Claim, Verdict
from lorabench.results.statistics import Estimate

MIN_ROUNDS = targets.MIN_ROUNDS

BUDGET = Limit(
    "memory.budget", "all LoRA state under 2 % of the EMT bytes, at every moment", 0.02, strict=True
)

# Where rows come from that nobody generated here is not known: they are those that were given.
ROWS = {
    "measured-real": "given rows",
    "measured-synthetic": "planted synthetic rows",
    "derived": "derived figures",
}


def memory_budget(fraction: float | None, basis: Basis) -> Claim:
    """Judge ``memory.budget``: all LoRA state as a share of the table bytes; None where none ran.

    The adapter's memory is allocated once and does not grow, so its size is its size at every
    moment.
    """
    verdict: Verdict = "unavailable"
    reason = "no strategy that keeps LoRA state was run (--strategies lora)"
    if fraction is not None:
        verdict = BUDGET.verdict(fraction, fraction)
        reason = (
            f"all LoRA state together is {fraction * 100:.9g} % of the table bytes and is "
            f"allocated once, for {ROWS[basis]}"
        )
    measured = None if fraction is None else Estimate(fraction, None, 1)
    return claim(BUDGET, measured, verdict, basis, reason)


@dataclass(frozen=True)
class LowRank:
    """What a judgement about low-rankness rests on.

    Parameters
    ----------
    dim : int
        D.
    variance : float
        Share of the variance that is to be explained.
    rank : Estimate or None
        Fewest components that explain it, tables weighted by update energy, over windows.
    windows : int
        Windows of steady state.
    rows : int
        Samples of a window; 0 where two snapshots were compared.
    wraps : int
        How often the rows ended and began anew meanwhile.
    otherwise : mapping of str to float
        What the rank would have been had something else moved the rows, by what, in words.
    learned : Learned
        What shows that there was something to learn.
    """

    dim: int
    variance: float
    rank: Estimate | None
    windows: int
    rows: int
    wraps: int = 0
    otherwise: Mapping[str, float] = field(default_factory=dict)
    learned: Learned = field(default_factory=Learned)


LOW_RANK_SHARE = 0.05
LOW_RANK_VARIANCE = 0.80
# Fewer samples than this a window, and what a window shows is how few they are.
LEAST_WINDOW_ROWS = 4096


def lowrank_variance(evidence: LowRank, basis: Basis) -> Claim:
    """Judge ``lowrank.variance``: rank at 80 % of the variance <= floor(0.05 D).

    At another share of the variance it is another claim, ``lowrank.variance[V=0.9]``. There is no
    verdict where rows came round again: updates that are learned twice are not those of a stream.
    Nor is there one where nothing could be learned, or nothing was.
    """
    limit = int(LOW_RANK_SHARE * evidence.dim)
    share = f"{evidence.variance * 100:.3g} %"
    usual = evidence.variance == LOW_RANK_VARIANCE
    target = Limit(
        "lowrank.variance" if usual else f"lowrank.variance[V={evidence.variance:g}]",
        f"at D = {evidence.dim}, rank at {share} of the variance <= {limit} "
        "(5 % of the components)",
        float(limit),
    )
    estimate = evidence.rank
    what = (
        f"on {ROWS[basis]}, over {evidence.windows} windows of {evidence.rows:,} samples"
        if evidence.rows
        else "between the two snapshots"
    )
    reason = f"{what}, no update had any energy"
    if estimate is not None:
        reason = (
            f"{what}, {estimate.value:.2f} of {evidence.dim} components held "
            f"{share} of the updates' variance (tables weighted by energy)"
        )
        if estimate.interval is not None:
            reason += " (95 % interval {:.2f} to {:.2f})".format(*estimate.interval)
    verdict, obstacles = _held_against(target, evidence)
    if obstacles:
        reason += f", but {' and '.join(obstacles)}"
    if evidence.otherwise:
        others = (f"{how} about {rank:.2f}" for how, rank in evidence.otherwise.items())
        reason += f"; as derived, had the rows moved {', '.join(others)}"
    return claim(target, estimate, verdict, basis, reason)


def _held_against(target: Limit, evidence: LowRank) -> tuple[Verdict, list[str]]:
    """Return the verdict on low-rankness, and what is in a verdict's way."""
    verdict: Verdict = "inconclusive"
    estimate, limit = evidence.rank, target.limit
    obstacles = []
    if limit == 0:
        verdict = "unavailable"
        obstacles.append(f"5 % of {evidence.dim} components are less than one")
    if (impossible := evidence.learned.impossible) is not None:
        return "unavailable", [*obstacles, impossible]
    if (doubt := evidence.learned.doubt) is not None:
        obstacles.append(doubt)
    elif evidence.rows and evidence.rows < LEAST_WINDOW_ROWS:
        obstacles.append(
            f"{evidence.windows * evidence.rows:,} rows are too few for a verdict, which takes "
            f"windows of {LEAST_WINDOW_ROWS:,}"
        )
    elif evidence.rows and evidence.windows < MIN_ROUNDS:
        obstacles.append(f"at least {MIN_ROUNDS} windows are needed (--windows)")
    elif evidence.wraps:
        times = "once" if evidence.wraps == 1 else f"{evidence.wraps} times"
        obstacles.append(
            f"the rows ended and began anew {times}: take fewer or shorter windows (--windows, "
            "--window)"
        )
    elif estimate is not None and limit:
        low, high = estimate.interval or (estimate.value, estimate.value)
        verdict = target.verdict(low, high)
        if verdict == "inconclusive":
            obstacles.append(f"the interval contains {limit:g}; measure more windows (--windows)")
    return verdict, obstacles


def sentence(claim: Claim) -> str:
    """Put a claim's verdict into words for the terminal, beginning with its id and verdict."""
    return "; ".join((f"{claim.id} {claim.verdict}: {claim.statement}", claim.reason, *claim.why))
