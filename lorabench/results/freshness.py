"""Verdicts on freshness: how good what is served is, and how long updates take to be served."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lorabench.results import statistics
from lorabench.results.claims import ROWS
from lorabench.results.limit import MIN_ROUNDS, Limit, claim
from lorabench.results.schema import Basis, Claim, Verdict
from lorabench.results.statistics import Estimate
from lorabench.results.units import number, size_text, time_text

QUALITY = Limit(
    "freshness.quality",
    "higher AUC than delta updates inside the freshness window",
    0.0,
    strict=True,
    least=True,
)
LATENCY = Limit(
    "freshness.latency", "update latency at least 2 times lower than that of delta updates", 2.0,
    least=True,
)  # fmt: skip


@dataclass(frozen=True)
class Gain:
    """What a judgement about quality rests on.

    Parameters
    ----------
    strategy : str
        Learns beside the servers.
    against : str
        Ships delta updates.
    area : Estimate or None
        Difference of their AUCs, window by window or seed by seed; None where none gave both.
    over : {"windows", "seeds"}
        What `area` has a value of each.
    others : mapping of str to Estimate
        The same against others that ship.
    """

    strategy: str
    against: str
    area: Estimate | None
    over: Literal["windows", "seeds"] = "windows"
    others: Mapping[str, Estimate] = field(default_factory=dict)


def freshness_quality(gain: Gain | None, basis: Basis) -> Claim:
    """Judge ``freshness.quality``: AUC above that of delta updates in the same windows.

    None where not both were replayed.
    """
    estimate = gain.area if gain else None
    verdict: Verdict = "unavailable"
    reason = "no strategy that ships delta updates was replayed beside one that learns here"
    if gain and estimate is None:
        reason = f"{gain.strategy} and {gain.against} have no AUC to compare in the same windows"
    elif gain and estimate:
        verdict = "inconclusive"
        reason = (
            f"on {ROWS[basis]}, {gain.strategy} had {100 * estimate.value:+.2f} points of AUC on "
            f"{gain.against} over {estimate.n} {gain.over}"
        )
        if estimate.n < MIN_ROUNDS or estimate.interval is None:
            reason += f", but at least {MIN_ROUNDS} are needed (--{gain.over})"
        else:
            low, high = estimate.interval
            reason += f" (95 % interval {100 * low:+.2f} to {100 * high:+.2f})"
            verdict = QUALITY.verdict(low, high)
            if verdict == "inconclusive":
                reason += f", but the interval contains 0; replay more {gain.over} (--{gain.over})"
        if gain.others:
            told = (f"{_points(one)} on {name}" for name, one in gain.others.items())
            reason += f"; {gain.against} is the best that ships, and it had {', '.join(told)}"
    return claim(QUALITY, estimate, verdict, basis, reason)


def _points(estimate: Estimate) -> str:
    """Write a difference, with its interval where there are enough values for one."""
    text = f"{100 * estimate.value:+.2f}"
    if estimate.interval is None or estimate.n < MIN_ROUNDS:
        return text
    return "{} [{:+.2f}..{:+.2f}]".format(text, *(100 * bound for bound in estimate.interval))


@dataclass(frozen=True)
class UpdateLatency:
    """Median update latency of a strategy in one replay.

    Parameters
    ----------
    least_s : float
        What it is at least.
    most_s : float or None
        What it is at most; None where it lies beyond the end of the replay.
    """

    least_s: float
    most_s: float | None


@dataclass(frozen=True)
class Lateness:
    """What a judgement about update latency rests on.

    Parameters
    ----------
    strategy : str
        Learns beside the servers.
    ours, theirs : sequence of UpdateLatency
        Of it and of ``delta``, a replay each.
    interval_s : float
        From one push to the next.
    modelled_s : float or None
        What a model of the pushes has for ``delta`` at the size of the tables that was asked for;
        None where nothing was touched.
    twice_bytes : float or None
        The size at which that model has twice our latency; None where no size is that small.
    back_to_back_bytes : float or None
        The same were each push to follow the last at once.
    """

    strategy: str
    ours: Sequence[UpdateLatency]
    theirs: Sequence[UpdateLatency]
    interval_s: float
    modelled_s: float | None = None
    twice_bytes: float | None = None
    back_to_back_bytes: float | None = None

    @property
    def ratios(self) -> list[tuple[float, float]]:
        """Bounds of theirs over ours, a replay each; infinite above where theirs has no end."""
        return [
            (
                theirs.least_s / ours.most_s if ours.most_s else 0.0,
                math.inf
                if theirs.most_s is None or not ours.least_s
                else theirs.most_s / ours.least_s,
            )
            for ours, theirs in zip(self.ours, self.theirs, strict=True)
        ]


def freshness_latency(lateness: Lateness | None, basis: Basis) -> Claim:
    """Judge ``freshness.latency``: the median update latency of ``delta`` over that of LoRA.

    A replay's median is that of all its labels, so that it is no draw to have an interval of: the
    verdict is that of the replay in which the ratio is the least, or where it is missed, the
    greatest. Where the median of ``delta`` lies beyond the end of a replay, the ratio is a lower
    bound. None where not both were replayed and had labels.
    """
    if lateness is None or not lateness.ratios:
        reason = "delta was not replayed beside a strategy that learns here"
        return claim(LATENCY, None, "unavailable", basis, reason)
    low, high = zip(*lateness.ratios, strict=True)
    verdict = LATENCY.verdict(min(low), max(high))
    measured = statistics.geometric_mean(low) if min(low) > 0 else Estimate(0.0, None, len(low))
    assert measured is not None
    bound = any(math.isinf(one) for one in high)
    least = "at least " if bound else ""
    reason = (
        f"on {ROWS[basis]} over a modelled link, delta's median update latency was {least}"
        f"{_told(lateness.theirs)} and {lateness.strategy}'s {_told(lateness.ours)}, a ratio of "
        f"{least}{number(measured.value)}"
    )
    if len(low) > 1:
        reason += f" ({least}{number(min(low))} in each of {len(low)} replays)"
    if bound:
        reason += "; delta's lies beyond the end of the replay, and the verdict rests on the bound"
    found = claim(LATENCY, measured, verdict, basis, reason)
    return found.model_copy(update={"why": list(_where_twice(lateness))})


def _where_twice(lateness: Lateness) -> Sequence[str]:
    """Say at which size of the tables the ratio would be exactly 2."""
    if lateness.modelled_s is None:
        return ()
    model = (
        f"by the model (learned as soon as ideal, then half a period and a push, of the rows that "
        f"were touched) delta's median is {time_text(lateness.modelled_s)} at the size asked for"
    )
    if lateness.twice_bytes is not None:
        return (model, f"the ratio would be exactly 2 at tables of "
                f"{size_text(lateness.twice_bytes)}")  # fmt: skip
    alone = (
        f"no size of the tables brings the ratio down to 2, since of a push every "
        f"{time_text(lateness.interval_s)} the wait for the next alone is "
        f"{time_text(lateness.interval_s / 2)} in the median"
    )
    if lateness.back_to_back_bytes is None:
        return (model, f"{alone}, and with pushes back to back none does either")
    size = size_text(lateness.back_to_back_bytes)
    return (
        model,
        f"{alone}; with pushes back to back it would be exactly 2 at tables of {size}",
    )


def _told(latencies: Sequence[UpdateLatency]) -> str:
    """Write the mean over replays."""
    found = [one.least_s if one.most_s is None else one.most_s for one in latencies]
    return time_text(math.fsum(found) / len(found))
