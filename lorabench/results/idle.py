"""The verdict on idle CPU: how busy a node was in its busiest window, observed or recorded.

Pure; a load that is known by bounds, in part or of a part of its node alone leaves it open.
"""

from dataclasses import dataclass

from lorabench.results.limit import Limit, claim
from lorabench.results.schema import Claim, Verdict
from lorabench.results.statistics import Estimate
from lorabench.results.windows import Peak

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
