"""Verdicts about syncing: the paper's times, and whether the model of a link is true.

Pure functions, as those in `lorabench.results.claims`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lorabench.results.limit import MIN_ROUNDS, Limit, claim
from lorabench.results.schema import Claim, Verdict
from lorabench.results.statistics import Estimate


@dataclass(frozen=True)
class SyncTimes:
    """Computed times of shares of 200 TB over one link of 100 Gbit/s, all of it payload.

    Parameters
    ----------
    twentieth_s, tenth_s, all_s : float
        Of 5 %, 10 % and all of it.
    """

    twentieth_s: float
    tenth_s: float
    all_s: float


_MINUTE_S = 60.0
SYNC = Limit(
    "sync.delta10",
    "syncing 10 % of 200 TB over 100 GbE takes over 26 min; the full set over 4 h; 5 % over 13 min",
    26 * _MINUTE_S,
    strict=True,
    least=True,
)
_ALL_S, _TWENTIETH_S = 240 * _MINUTE_S, 13 * _MINUTE_S
# The paper's own figure for 5 %, which is more than the line rate takes.
_PAPER_TWENTIETH_S = 14 * _MINUTE_S


def sync_delta10(times: SyncTimes) -> Claim:
    """Judge ``sync.delta10``, all three parts of it, by times at the line rate.

    The paper has over 14 minutes for 5 %, from which follows what share of the line rate it
    reckons with at most.
    """
    measured = Estimate(times.tenth_s, None, 1)
    holds = times.all_s > _ALL_S and times.twentieth_s > _TWENTIETH_S
    verdict = SYNC.verdict(times.tenth_s, times.tenth_s) if holds else "missed"
    efficiency = times.twentieth_s / _PAPER_TWENTIETH_S
    reason = (
        f"at the line rate and without keys, 10 % take {times.tenth_s / _MINUTE_S:.1f} min, all "
        f"{times.all_s / 3600:.2f} h and 5 % {times.twentieth_s / _MINUTE_S:.1f} min; the paper's "
        f"over 14 min for 5 % take a link efficiency of at most {100 * efficiency:.1f} %"
    )
    return claim(SYNC, measured, verdict, "derived", reason)


LINK = Limit("sync.link", "the model of the link is within 10 % of what real transfers take", 0.10)


@dataclass(frozen=True)
class Trials:
    """What a judgement about the model of the link rests on.

    Parameters
    ----------
    link : str
        What was sent over, and where its rate is known from, in words.
    ratios : mapping of str to Estimate
        What transfers took over what the model has, by what was sent; at least one.
    """

    link: str
    ratios: Mapping[str, Estimate]


def sync_link(evidence: Trials) -> Claim:
    """Judge ``sync.link``: no transfer is further from the model than a tenth.

    The figure is the distance from 1 of the ratio that is, or by its interval may be, the furthest.
    """
    distances = {where: _distance(ratio) for where, ratio in evidence.ratios.items()}
    verdicts = {
        where: LINK.verdict(*one.interval) for where, one in distances.items() if one.interval
    }
    missed = [where for where, verdict in verdicts.items() if verdict == "missed"]
    where = max(missed or distances, key=lambda one: _furthest(distances[one]))
    ratio, worst = evidence.ratios[where], distances[where]
    reason = (
        f"{evidence.link}; of {len(distances)} kinds of transfers, {where} is furthest off, and "
        f"took {ratio.value:.3f} times what the model has"
    )
    if ratio.interval is None or ratio.n < MIN_ROUNDS:
        verdict: Verdict = "inconclusive"
        reason += f", but at least {MIN_ROUNDS} rounds are needed (--check-repeats)"
    else:
        verdict = verdicts[where]
        reason += " (95 % interval {:.3f} to {:.3f})".format(*ratio.interval)
    return claim(LINK, worst, verdict, "measured-synthetic", reason)


def _furthest(distance: Estimate) -> float:
    return distance.interval[1] if distance.interval else distance.value


def _distance(ratio: Estimate) -> Estimate:
    """Return how far a ratio is from 1, to whichever side."""
    if ratio.interval is None:
        return Estimate(abs(ratio.value - 1), None, ratio.n)
    low, high = (bound - 1 for bound in ratio.interval)
    least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return Estimate(abs(ratio.value - 1), (least, max(abs(low), abs(high))), ratio.n)
