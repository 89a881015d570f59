"""Every way to a verdict, and its words."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.results import claims as verdict
from lorabench.results.claims import (
    Evidence,
    Gain,
    Idle,
    freshness_quality,
    headroom_idle,
    latency_impact,
    latency_isolated,
    latency_not_run,
    memory_budget,
    sentence,
)
from lorabench.results.headroom import Peak
from lorabench.results.statistics import Estimate

QUIET = Evidence("pinned", Estimate(1.01, (0.97, 1.05), 8), False, "measured-real")


def ratio(low: float, high: float, n: int = 8) -> Estimate:
    return Estimate((low + high) / 2, (low, high), n)


@pytest.mark.parametrize(
    ("evidence", "estimate", "verdict", "words"),
    [
        (
            QUIET,
            ratio(1.0, 1.10),
            "met",
            "with the trainer pinned, on real rows, p99 is 1.05 times that of solo (95 % interval "
            "1.00 to 1.10)",
        ),
        (QUIET, ratio(1.11, 1.3), "missed", "1.21 times that of solo (95 % interval 1.11 to 1.30)"),
        (QUIET, ratio(1.05, 1.2), "inconclusive", "but the interval contains 1.10; run more"),
        (QUIET, ratio(1.0, 1.05, n=5), "inconclusive", "from 5 rounds, and at least 6 are needed"),
        (QUIET, Estimate(1.0, None, 1), "inconclusive", "from 1 round, and"),
        (QUIET, None, "inconclusive", "there is no p99 to judge, but too few queries"),
        (
            replace(QUIET, control=ratio(0.8, 1.05)),
            ratio(1.0, 1.05),
            "inconclusive",
            "the machine was too noisy: solo, run twice, gave p99 0.93 times its own (95 % "
            "interval 0.80 to 1.05, which should lie within 0.91 to 1.10)",
        ),
        (
            replace(QUIET, control=ratio(0.95, 1.2)),
            ratio(2.0, 3.0),
            "inconclusive",
            "the machine was too noisy",
        ),
        (replace(QUIET, control=None), ratio(1.0, 1.05), "inconclusive", "no second p99"),
        (
            replace(QUIET, control=Estimate(1.0, None, 1)),
            ratio(1.0, 1.05),
            "inconclusive",
            "no second p99",
        ),
        (
            replace(QUIET, saturated=True),
            ratio(1.0, 1.05),
            "inconclusive",
            "the queue of pinned or of solo only grew in some round",
        ),
        (
            replace(QUIET, basis="measured-synthetic"),
            ratio(1.0, 1.05),
            "met",
            "on planted synthetic rows",
        ),
    ],
)
def test_a_ratio_is_judged_only_where_it_can_be(evidence, estimate, verdict, words) -> None:
    claim = latency_isolated(evidence, estimate)
    assert claim.verdict == verdict
    assert words in claim.reason
    assert claim.basis == evidence.basis
    assert "\n" not in sentence(claim)
    assert sentence(claim).startswith(f"latency.isolated {verdict}: ")


def test_the_impact_is_judged_in_milliseconds() -> None:
    claim = latency_impact(QUIET, Estimate(0.003, (0.001, 0.005), 8))
    assert (claim.verdict, claim.target) == ("met", 0.020)
    assert "p99 minus that of solo is 3.00 ms (95 % interval 1.00 to 5.00)" in claim.reason
    assert latency_impact(QUIET, Estimate(0.03, (0.021, 0.04), 8)).verdict == "missed"


def test_a_ratio_at_its_limit_is_met_and_an_impact_at_its_limit_is_not() -> None:
    at = Estimate(1.10, (1.10, 1.10), 8)
    assert latency_isolated(QUIET, at).verdict == "met"
    at = Estimate(0.020, (0.020, 0.020), 8)
    assert latency_impact(QUIET, at).verdict == "missed"


def test_a_saturated_condition_gets_no_number() -> None:
    claim = latency_isolated(replace(QUIET, saturated=True), ratio(1.0, 1.05))
    assert (claim.measured, claim.ci95) == (None, None)


def test_an_interval_from_too_few_rounds_stays_out_of_the_words() -> None:
    claim = latency_isolated(QUIET, Estimate(4.0, (0.0, 7e7), 2))
    assert claim.ci95 == (0.0, 7e7)
    assert "interval" not in claim.reason


@given(st.floats(0.5, 2.0), st.floats(0.0, 1.0), st.integers(2, 12), st.booleans(), st.booleans())
def test_a_verdict_is_reached_from_enough_rounds_on_one_side_of_the_target_only(
    low: float, width: float, n: int, quiet: bool, stuck: bool
) -> None:
    control = QUIET.control if quiet else ratio(0.9, 1.3)
    evidence = replace(QUIET, control=control, saturated=stuck)
    claim = latency_isolated(evidence, Estimate(low + width / 2, (low, low + width), n))
    judged = claim.verdict in ("met", "missed")
    assert judged == (n >= 6 and quiet and not stuck and not low <= 1.10 < low + width)
    if judged:
        assert claim.verdict == ("met" if low + width <= 1.10 else "missed")
    else:
        assert ", but " in claim.reason


def test_the_budget_is_a_bound_that_is_not_reached() -> None:
    assert memory_budget(0.0199, "measured-real").verdict == "met"
    assert memory_budget(0.02, "measured-real").verdict == "missed"
    # Fewer digits would show 2.00 % and "met" side by side.
    assert "1.99998 % of the table bytes" in memory_budget(0.01999985, "measured-real").reason
    assert memory_budget(None, "measured-real").verdict == "unavailable"


@pytest.mark.parametrize(
    ("area", "verdict", "words"),
    [
        (ratio(0.001, 0.002), "met", "lora had +0.15 points of AUC on delta over 8 windows"),
        (ratio(-0.002, -0.001), "missed", "(95 % interval -0.20 to -0.10)"),
        (ratio(-0.001, 0.002), "inconclusive", "the interval contains 0"),
        (ratio(0.001, 0.002, 2), "inconclusive", "at least 6 are needed"),
        (None, "unavailable", "no window of lora and delta"),
    ],
)
def test_quality_is_judged_by_the_gain_over_delta_updates(area, verdict, words) -> None:
    found = freshness_quality(Gain("lora", "delta", area), "measured-synthetic")
    assert found.verdict == verdict
    assert words in found.reason


def test_quality_is_not_judged_without_delta_updates() -> None:
    found = freshness_quality(None, "measured-real")
    assert (found.verdict, found.measured) == ("unavailable", None)
    assert "no strategy that ships delta updates was replayed" in found.reason


def test_claims_that_nothing_tested_are_unavailable() -> None:
    claims = latency_not_run("measured-real")
    assert [claim.id for claim in claims] == ["latency.impact", "latency.isolated"]
    assert {claim.verdict for claim in claims} == {"unavailable"}
    assert all(claim.measured is None for claim in claims)


def low_rank(**changes) -> verdict.LowRank:
    evidence = {
        "dim": 64,
        "variance": 0.8,
        "rank": Estimate(2.0, (1.5, 2.5), 8),
        "windows": 8,
        "rows": 100_000,
    }
    return verdict.LowRank(**(evidence | changes))


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        ({}, "met", "2.00 of 64 components held 80 %"),
        ({"rank": Estimate(4.0, (3.5, 4.5), 8)}, "missed", "3.50 to 4.50"),
        ({"rank": Estimate(3.0, (2.5, 3.5), 8)}, "inconclusive", "the interval contains 3"),
        ({"dim": 16}, "unavailable", "5 % of 16 components are less than one"),
        ({"rows": 200}, "inconclusive", "1,600 rows are too few for a verdict"),
        ({"rows": 200, "dim": 16}, "unavailable", "less than one and 1,600 rows are too few"),
        ({"windows": 3}, "inconclusive", "at least 6 windows"),
        ({"rank": None}, "inconclusive", "no update had any energy"),
        ({"rows": 0, "rank": Estimate(2.0, None, 1)}, "met", "between the two snapshots"),
    ],
)
def test_low_rankness_is_judged_by_its_interval(changes, expected, words) -> None:
    claim = verdict.lowrank_variance(low_rank(**changes), "measured-real")
    assert claim.verdict == expected
    assert words in claim.reason
    assert claim.target == int(0.05 * changes.get("dim", 64))


def exactly(busy: float) -> Peak:
    return Peak(busy, busy, exact=True)


HOST = Idle("this host", whole=True, peak=exactly(0.15), observed_s=60.0)


@pytest.mark.parametrize(
    ("evidence", "expected", "words"),
    [
        (HOST, "met", "this host, observed for 60 s, was 15.0 % busy in its busiest 10 s; that it"),
        (replace(HOST, peak=exactly(0.20)), "met", "was 20.0 % busy"),
        (replace(HOST, peak=exactly(0.21)), "missed", "was 21.0 % busy in its busiest 10 s"),
        (replace(HOST, peak=None), "unavailable", "gave no window of 10 s"),
        (
            replace(HOST, bench=("fio (process 3)",)),
            "unavailable",
            "made load on the node: fio (pr",
        ),
        (
            replace(HOST, peak=Peak(0.1, 0.5, exact=False)),
            "inconclusive",
            "was between 10.0 and 50.0 % busy in its busiest 10 s; a finer recording would tell",
        ),
        (replace(HOST, peak=Peak(0.3, 1.0, exact=False)), "missed", "between 30.0 and 100.0 %"),
        (replace(HOST, peak=Peak(0.01, 0.2, exact=False)), "met", "between 1.0 and 20.0 %"),
        (replace(HOST, whole=False), "unavailable", "what else the node did was not observed"),
        (replace(HOST, whole=False, peak=exactly(0.4)), "missed", "a share of the node's CPUs"),
    ],
)
def test_idle_cpu_is_judged_by_the_busiest_window_of_a_node_without_a_bench(
    evidence: Idle, expected: str, words: str
) -> None:
    claim = headroom_idle(evidence)
    assert (claim.id, claim.verdict, claim.target) == ("headroom.idle", expected, 0.20)
    assert words in claim.reason
