"""Verdicts on freshness: how good what is served is, and how long updates take to be served."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lorabench.results import statistics
from lorabench.results.claims import ROWS
from lorabench.results.learnable import LabelCount
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


ANY = LabelCount(0, 0)
"""Labels of which nothing is known."""

Over = Literal["seeds", "blocks", "blocks of one seed"]
"""What replicates are: seeds, blocks of time of rows that are there, or such of generated rows."""


@dataclass(frozen=True)
class Gain:
    """What a judgement about quality rests on.

    Parameters
    ----------
    strategy : str
        Learns beside the servers.
    areas : mapping of str to Estimate or None
        Difference of its AUC from that of each that ships deltas, paired by replicate; None where
        no replicate gave both.
    over : {"seeds", "blocks", "blocks of one seed"}
        What replicates are.
    never_landed : sequence of str
        Those of which no push landed in any replay.
    """

    strategy: str
    areas: Mapping[str, Estimate | None]
    over: Over = "seeds"
    never_landed: Sequence[str] = ()


def freshness_quality(gain: Gain | None, basis: Basis, labels: LabelCount = ANY) -> Claim:
    """Judge ``freshness.quality``: AUC above that of all that ship deltas, of each by itself.

    The verdict is the worst of all pairs. To be met each has to be, at its own level: such an
    intersection-union test needs no correction for how many there are (Berger 1982). None where
    not both kinds were replayed. `labels` are those of the rows that were replayed.
    """
    if labels.obstacle is not None:
        reason = f"on {ROWS[basis]}, {labels.obstacle}"
        return claim(QUALITY, None, "unavailable", basis, reason)
    if gain is None:
        reason = "no strategy that ships delta updates was replayed beside one that learns here"
        return claim(QUALITY, None, "unavailable", basis, reason)
    known = {name: one for name, one in gain.areas.items() if one is not None}
    if not known:
        reason = f"{gain.strategy} and {' and '.join(gain.areas)} have no AUC to compare"
        return claim(QUALITY, None, "unavailable", basis, reason)
    verdicts = {name: _of_pair(one, gain.over) for name, one in known.items()}
    # Of those judged alike the one of which the least is sure.
    closest = min(known, key=lambda name: (_WORST.index(verdicts[name]), _least(known[name])))
    estimate, verdict = known[closest], verdicts[closest]
    lacking = [name for name in gain.areas if name not in known]
    if lacking and verdict == "met":
        verdict = "inconclusive"
    reason = (
        f"on {ROWS[basis]}, {gain.strategy} had {_points(estimate)} points of AUC on {closest} "
        f"over {estimate.n} {gain.over}"
    )
    if any("[" in _points(one) for one in known.values()):
        reason += " (in [] the 95 % interval)"
    others = [f"{_points(one)} on {name}" for name, one in known.items() if name != closest]
    if others:
        reason += f", where it is least sure; it had {', '.join(others)}"
    if lacking:
        reason += f"; it has no AUC to compare with {' and '.join(lacking)}"
    if missing := _what_it_takes(estimate, gain.over, verdicts[closest]):
        reason += f"; {missing}"
    if gain.never_landed:
        names = " and ".join(gain.never_landed)
        reason += (
            f"; no push of {names} landed within the replay: it was held against the pre-trained "
            "model"
        )
    return claim(QUALITY, estimate, verdict, basis, reason)


_WORST: Sequence[Verdict] = ("missed", "inconclusive", "met")


def _of_pair(estimate: Estimate, over: Over) -> Verdict:
    """Hold one difference against 0; too few replicates, or but one draw, decide nothing."""
    if over == "blocks of one seed" or estimate.interval is None or estimate.n < MIN_ROUNDS:
        return "inconclusive"
    return QUALITY.verdict(*estimate.interval)


def _least(estimate: Estimate) -> float:
    """Return the lower bound; without one the value."""
    return estimate.value if estimate.interval is None else estimate.interval[0]


def _what_it_takes(estimate: Estimate, over: Over, verdict: Verdict) -> str:
    """Say what a verdict would take; nothing where there is one."""
    if verdict != "inconclusive":
        return ""
    if over == "blocks of one seed":
        return (
            "blocks of time of one seed are no draws of their own: a verdict takes at least "
            f"{MIN_ROUNDS} seeds (--seeds {MIN_ROUNDS})"
        )
    if estimate.interval is None or estimate.n < MIN_ROUNDS:
        return f"a verdict takes at least {MIN_ROUNDS} {over} (--seeds {MIN_ROUNDS})"
    more = "replay more seeds" if over == "seeds" else "a longer stream may tell"
    return f"the interval contains 0: {more}"


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
        """Bounds of theirs over ours, a replay each; infinite above where there is none."""
        return [_ratio(*pair) for pair in zip(self.ours, self.theirs, strict=True)]


def _ratio(ours: UpdateLatency, theirs: UpdateLatency) -> tuple[float, float]:
    """Return the bounds of theirs over ours; where ours is 0, without bound unless theirs is."""
    low, high = 0.0, math.inf
    if ours.most_s is not None:
        low = _over(theirs.least_s, ours.most_s)
    if theirs.most_s is not None:
        high = _over(theirs.most_s, ours.least_s)
    return low, high


def _over(theirs_s: float, ours_s: float) -> float:
    """Return a ratio: that of two that are both 0 is 1."""
    if ours_s > 0:
        return theirs_s / ours_s
    return math.inf if theirs_s > 0 else 1.0


def freshness_latency(lateness: Lateness | None, basis: Basis, labels: LabelCount = ANY) -> Claim:
    """Judge ``freshness.latency``: the median update latency of ``delta`` over that of LoRA.

    A replay's median is that of all its labels, so that it is no draw to have an interval of: the
    verdict is that of the replay in which the ratio is the least, or where it is missed, the
    greatest. Where a median lies beyond the end of a replay it is known by what it is at least, so
    that the ratio is a lower bound, an upper bound, or neither. None where not both were replayed
    and had labels; `labels` are those of the rows that were replayed.
    """
    if labels.obstacle is not None:
        reason = f"on {ROWS[basis]}, {labels.obstacle}"
        return claim(LATENCY, None, "unavailable", basis, reason)
    if lateness is None or not lateness.ratios:
        reason = "delta was not replayed beside a strategy that learns here"
        return claim(LATENCY, None, "unavailable", basis, reason)
    low, high = zip(*lateness.ratios, strict=True)
    verdict = LATENCY.verdict(min(low), max(high))
    known = [one for one in low if math.isfinite(one)]
    # Of a replay that has no lower bound there is no ratio that a mean could be of.
    measured = statistics.geometric_mean(known) if known and min(known) > 0 else None
    reason = (
        f"on {ROWS[basis]} over a modelled link, delta's median update latency was "
        f"{_told(lateness.theirs)} and {lateness.strategy}'s {_told(lateness.ours)}, "
        f"{_told_ratio(low, high, measured)}"
    )
    replays = len(low)
    if replays > 1 and math.isfinite(min(low)) and min(low) > 0:
        reason += f" ({number(min(low))} or more in each of {replays} replays)"
    for whose, latencies in (("delta", lateness.theirs), (lateness.strategy, lateness.ours)):
        beyond = sum(one.most_s is None for one in latencies)
        if beyond:
            where = "the replay" if replays == 1 else f"{beyond} of {replays} replays"
            reason += f"; {whose}'s lies beyond the end of {where}"
            reason += ", and the verdict rests on the bound"
    found = claim(LATENCY, measured, verdict, basis, reason)
    return found.model_copy(update={"why": list(_where_twice(lateness))})


def _told_ratio(low: Sequence[float], high: Sequence[float], measured: Estimate | None) -> str:
    """Write what is known of the ratio."""
    if measured is not None:
        # A bound, or a mean without those that have none.
        least = "at least " if low != high or math.inf in low else ""
        return f"a ratio of {least}{number(measured.value)}"
    if min(low) == math.inf:
        return "a ratio without bound"
    if math.isfinite(max(high)):
        return f"a ratio of at most {number(max(high))}"
    return "a ratio of which no bound is known in each replay"


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
    """Write the mean over replays; what it is at least where one lies beyond the end."""
    found = [one.least_s if one.most_s is None else one.most_s for one in latencies]
    least = "at least " if any(one.most_s is None for one in latencies) else ""
    return f"{least}{time_text(math.fsum(found) / len(found))}"
