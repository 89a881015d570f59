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
from lorabench.results.learnable import LabelCount
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


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict", "measured", "words"),
    [
        # Ours beyond the end: theirs over it is no ratio, and not 0.
        ([UpdateLatency(1.0, None)], [known(100.0)], "inconclusive", None, "ratio of at most 100"),
        ([UpdateLatency(90.0, None)], [known(100.0)], "missed", None, "lora's at least 90 s"),
        (
            [UpdateLatency(1.0, None)], [UpdateLatency(3.0, None)], "inconclusive", None,
            "delta's median update latency was at least 3 s and lora's at least 1 s, a ratio of "
            "which no bound",
        ),
        (
            [known(1.0), UpdateLatency(2.0, None)], [known(9.0)] * 2, "inconclusive", None,
            "lora's lies beyond the end of 1 of 2 replays",
        ),
        (
            [known(1.0)] * 2, [known(4.0), UpdateLatency(9.0, None)], "met", 6.0,
            "a ratio of at least 6",
        ),
        ([known(0.0)], [known(9.0)], "met", None, "a ratio without bound"),
        ([known(0.0), known(1.0)], [known(9.0)] * 2, "met", 9.0, "a ratio of at least 9"),
        ([known(0.0)], [known(0.0)], "missed", 1.0, "a ratio of 1"),
    ],
)  # fmt: skip
def test_a_latency_beyond_the_end_or_of_0_makes_no_ratio_of_0(
    ours, theirs, verdict, measured, words
) -> None:
    found = judged(ours, theirs)
    assert found.verdict == verdict
    assert found.measured == (None if measured is None else pytest.approx(measured))
    assert words in found.reason


def area(low: float, high: float, n: int = 8) -> Estimate:
    return Estimate((low + high) / 2, (low, high), n)


ABOVE, BELOW, EITHER = area(0.001, 0.002), area(-0.002, -0.001), area(-0.001, 0.002)


@pytest.mark.parametrize(
    ("areas", "verdict", "words"),
    [
        ({"delta": ABOVE}, "met", "lora had +0.15 [+0.10..+0.20] points of AUC on delta over 8 se"),
        ({"delta": BELOW}, "missed", "-0.15 [-0.20..-0.10] points of AUC on delta"),
        ({"delta": EITHER}, "inconclusive", "contains 0: replay more seeds"),
        ({"delta": area(0.001, 0.002, 5)}, "inconclusive", "at least 6 seeds (--seeds 6)"),
        ({"delta": None}, "unavailable", "lora and delta have no AUC to compare"),
        # Of several, the worst: it has to be above each of them.
        ({"delta": area(0.5, 0.6), "priority-5": ABOVE}, "met", "on priority-5 over 8 seeds"),
        ({"delta": ABOVE, "stream": EITHER}, "inconclusive", "it had +0.15 [+0.10..+0.20] on "),
        ({"delta": EITHER, "delta-int8": BELOW, "stream": ABOVE}, "missed", "on delta-int8 over 8"),
        ({"delta": ABOVE, "stream": None}, "inconclusive", "no AUC to compare with stream"),
    ],
)  # fmt: skip
def test_quality_is_judged_by_the_worst_over_all_that_ship_deltas(areas, verdict, words) -> None:
    found = freshness_quality(Gain("lora", areas), "measured-synthetic")
    assert found.verdict == verdict
    assert words in found.reason


def test_blocks_of_one_generated_stream_are_no_draws_to_judge_by() -> None:
    alone = freshness_quality(
        Gain("lora", {"delta": ABOVE}, "blocks of one seed"), "measured-synthetic"
    )
    assert alone.verdict == "inconclusive"
    assert alone.reason.endswith("a verdict takes at least 6 seeds (--seeds 6)")
    there = Gain("lora", {"delta": ABOVE}, "blocks")
    assert freshness_quality(there, "measured-real").verdict == "met"


def test_it_is_said_that_deltas_never_landed() -> None:
    gain = Gain("lora", {"delta": ABOVE}, never_landed=["delta"])
    assert freshness_quality(gain, "measured-synthetic").reason.endswith(
        "; no push of delta landed within the replay: it was held against the pre-trained model"
    )


def test_quality_is_not_judged_without_delta_updates() -> None:
    found = freshness_quality(None, "measured-real")
    assert (found.verdict, found.measured) == ("unavailable", None)
    assert "no strategy that ships delta updates was replayed" in found.reason


def test_labels_that_are_all_alike_decide_nothing() -> None:
    alike = LabelCount(5000, 0)
    for found in (
        freshness_quality(None, "measured-real", alike),
        freshness_latency(None, "measured-real", alike),
    ):
        assert found.verdict == "unavailable"
        assert "all 5,000 labels were negative: there was nothing to learn" in found.reason
