"""Verdicts on freshness."""

import math

import pytest

from lorabench.results.freshness import (
    Gain,
    Lateness,
    UpdateLatency,
    freshness_latency,
    freshness_quality,
)
from lorabench.results.statistics import Estimate


def known(seconds: float) -> UpdateLatency:
    return UpdateLatency(seconds, seconds)


def judged(ours: list[UpdateLatency], theirs: list[UpdateLatency], **more: float):
    lateness = Lateness("lora", ours, theirs, 600.0, **more)
    return freshness_latency(lateness, "measured-synthetic")


@pytest.mark.parametrize(
    ("theirs", "verdict"),
    [
        ([known(2.0), known(2.5)], "met"),
        ([known(1.9), known(1.5)], "missed"),
        ([known(1.9), known(2.1)], "inconclusive"),
        # Beyond the end of the replay: what it is at least is enough, or is not.
        ([UpdateLatency(300.0, None), known(2.5)], "met"),
        ([UpdateLatency(1.5, None), known(2.5)], "inconclusive"),
    ],
)
def test_latency_is_judged_by_the_replay_that_is_closest_to_missing_it(theirs, verdict) -> None:
    found = judged([known(1.0)] * 2, theirs)
    assert found.verdict == verdict
    assert found.measured == pytest.approx(math.sqrt(theirs[0].least_s * theirs[1].least_s))
    bound = theirs[0].most_s is None
    assert ("the verdict rests on the bound" in found.reason) == bound
    assert ("at least" in found.reason) == bound


def test_our_own_end_beyond_the_replay_is_no_success() -> None:
    assert judged([UpdateLatency(1.0, None)], [known(100.0)]).verdict == "inconclusive"


def test_it_is_said_where_the_ratio_would_be_exactly_2() -> None:
    at = {"modelled_s": 301.0}
    assert (
        "exactly 2 at tables of 1.20 TB"
        in judged([known(1.0)], [known(300.0)], **at, twice_bytes=1.2e12).why[-1]
    )
    alone = judged([known(1.0)], [known(300.0)], **at, back_to_back_bytes=5e9).why[-1]
    assert "no size of the tables" in alone
    assert "of a push every 10 min the wait for the next alone is 5 min" in alone
    assert alone.endswith("with pushes back to back it would be exactly 2 at tables of 5 GB")
    assert judged([known(1.0)], [known(300.0)], **at).why[-1].endswith("none does either")
    assert judged([known(1.0)], [known(300.0)]).why == []


def test_latency_is_not_judged_without_delta() -> None:
    found = freshness_latency(None, "measured-real")
    assert (found.verdict, found.measured) == ("unavailable", None)


def test_others_that_ship_are_named_beside_the_best_of_them() -> None:
    others = {
        "delta": Estimate(0.02, (0.015, 0.025), 6),
        "priority": Estimate(0.03, (0.01, 0.05), 5),
    }
    gain = Gain("lora", "stream", Estimate(0.01, (0.005, 0.015), 6), "seeds", others)
    found = freshness_quality(gain, "measured-synthetic")
    assert found.verdict == "met"
    assert found.reason.endswith(
        "stream is the best that ships, and it had +2.00 [+1.50..+2.50] on delta, +3.00 on priority"
    )
