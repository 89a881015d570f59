"""From estimates to verdicts: met, missed, inconclusive or unavailable, each with its reason.

Pure functions; no verdict is reached anywhere else, but for those about latency, in
`lorabench.results.latency`, those about freshness, in `lorabench.results.freshness`, those about
syncing, in `lorabench.results.sync`, and those that an interval alone gives, in
`lorabench.results.limit`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lorabench.results import limit as targets
from lorabench.results.learnable import Learned
from lorabench.results.limit import Limit, claim
from lorabench.results.schema import Basis, Claim, Verdict
from lorabench.results.statistics import Estimate
from lorabench.results.windows import Peak

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


IDLE = Limit(
    "headroom.idle",
    "a serving node's CPU stays <= 20 % busy in every 10 s window",
    0.20,
    strict=False,
)
IDLE_WINDOW_S = 10.0

# Of many processes that make a bench's load so many are named.
_NAMED = 3


@dataclass(frozen=True)
class Quota:
    """A quota of a control group on CPU time, less than the node's CPUs.

    Parameters
    ----------
    cpus : float
        That it allows.
    periods, stopped : int
        Periods in which the group had something to run, and those in which it was stopped.
    stopped_s : float
        For how long, s, its CPUs added up.
    peak : Peak or None
        Where a whole node was observed from within a container: busy share of what that may use,
        in the busiest window. None of a process or a group, whose busy share is of its quota.
    """

    cpus: float
    periods: int
    stopped: int
    stopped_s: float
    peak: Peak | None = None

    @property
    def stops(self) -> str:
        """How often the kernel stopped the group, as the end of a sentence."""
        times = f"{self.stopped:,} of {self.periods:,} periods, {self.stopped_s:.1f} s in all"
        return f"; the kernel stopped it in {times}" if self.stopped else ""


@dataclass(frozen=True)
class Idle:
    """What a judgement about idle CPU rests on.

    Parameters
    ----------
    where : str
        What was observed, in words.
    whole : bool
        That was all of a node, and not one process or group on it: the node is at least as busy.
    peak : Peak or None
        Busy share of the node's CPUs in the busiest window; None where none was observed.
    observed_s : float
        For how long.
    bench : tuple of str
        What made a bench's load on the node meanwhile.
    lacking : str or None
        Why the load of the node is not known, and what would tell it.
    quota : Quota or None
        What bound what was observed; None where nothing did.
    recorded : bool
        It was read from a recording.
    unknown_s : float
        Time within it of which a recording says nothing.
    range_s : float
        Over how long a recording's values are moving averages; 0 where they are none.
    """

    where: str
    whole: bool
    peak: Peak | None
    observed_s: float
    bench: tuple[str, ...] = ()
    lacking: str | None = None
    quota: Quota | None = None
    recorded: bool = False
    unknown_s: float = 0.0
    range_s: float = 0.0


def headroom_idle(evidence: Idle) -> Claim:
    """Judge ``headroom.idle``: the busiest 10 s of a node, observed and not loaded by a bench.

    A load recorded over spans longer than a window is known by bounds alone, which may leave it
    open. A process that is too busy by itself settles it for its node.
    """
    peak, observed = evidence.peak, f"{evidence.where}, observed for {evidence.observed_s:,.0f} s,"
    verdict: Verdict = "unavailable"
    if evidence.bench:
        named = ", ".join(evidence.bench[:_NAMED])
        more = len(evidence.bench) - _NAMED
        named += f" and {more} more" if more > 0 else ""
        reason = f"a bench made load on the node: {named}; observe it without"
    elif evidence.lacking is not None:
        peak, reason = None, evidence.lacking
    elif peak is None:
        more_time = (
            "a longer recording would" if evidence.recorded else "it takes longer (--duration)"
        )
        reason = f"{observed} gave no window of {IDLE_WINDOW_S:.0f} s; {more_time}"
    else:
        peak, verdict, reason = _busiest(evidence, peak, observed)
    measured = Estimate(peak.low, None, 1) if peak else None
    return claim(IDLE, measured, verdict, "measured-real", reason)


def _busiest(evidence: Idle, peak: Peak, observed: str) -> tuple[Peak, Verdict, str]:
    """Return the peak that decides, of the node or of the quota within it, what follows and why."""
    quota = evidence.quota
    reason = f"{observed} was {_share(peak)} busy in its busiest {IDLE_WINDOW_S:.0f} s"
    if quota is not None and not evidence.whole:
        # Whoever else is bound by it has used of it, too.
        reason += f", as a share of the CPU quota of {quota.cpus:.4g} CPUs that binds it"
        reason += quota.stops
    elif not evidence.whole:
        reason += ", as a share of the node's CPUs"
    elif quota is not None and quota.peak is not None:
        reason += (
            f"; of the {quota.cpus:.4g} CPUs of this container's CPU quota, which is all that "
            f"training in it can use, at most {_share(quota.peak)} were in use{quota.stops}"
        )
        peak = max(peak, quota.peak, key=lambda one: one.high)
    verdict = IDLE.verdict(peak.low, peak.high)
    if evidence.unknown_s:
        reason += f"; of {evidence.unknown_s:,.0f} s more nothing is known"
    if not evidence.whole and verdict != "missed":
        verdict = "unavailable"
        reason += f"; what else the node did was not {_elsewhere(evidence)}"
    elif evidence.whole and verdict == "inconclusive":
        reason += f"; {_would_tell(evidence)}"
    elif evidence.whole and verdict == "met":
        reason += "; that it served its usual load meanwhile is yours to know"
    return peak, verdict, reason


def _elsewhere(evidence: Idle) -> str:
    if evidence.recorded:
        return "recorded (a recording of the node itself has it)"
    return "observed (leave --pid and --cgroup out)"


def _would_tell(evidence: Idle) -> str:
    """Say what a recording lacks that leaves it open."""
    if evidence.range_s:
        return (
            f"values that are means over {evidence.range_s:,.0f} s hide shorter peaks: one of "
            f"{IDLE_WINDOW_S:.0f} s or less would tell (rate(...[{IDLE_WINDOW_S:.0f}s]))"
        )
    if evidence.unknown_s:
        return "a recording without gaps would tell"
    return f"a finer recording would tell ({IDLE_WINDOW_S:.0f} s or less between its values)"


def _share(peak: Peak) -> str:
    if peak.exact:
        return f"{peak.low * 100:.1f} %"
    return f"between {peak.low * 100:.1f} and {peak.high * 100:.1f} %"


def sentence(claim: Claim) -> str:
    """Put a claim's verdict into words for the terminal, beginning with its id and verdict."""
    return "; ".join((f"{claim.id} {claim.verdict}: {claim.statement}", claim.reason, *claim.why))
