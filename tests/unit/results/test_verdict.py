"""Every way to a verdict, and its words."""

from dataclasses import replace

import pytest

from lorabench.results.statistics import Estimate
from lorabench.results.verdict import (
    Evidence,
    latency_impact,
    latency_isolated,
    latency_not_run,
    memory_budget,
    sentence,
)

QUIET = Evidence("pinned", Estimate(1.01, (0.97, 1.05), 8), False, "measured-real")


def ratio(low: float, high: float, n: int = 8) -> Estimate:
    return Estimate((low + high) / 2, (low, high), n)


@pytest.mark.parametrize(
    ("evidence", "estimate", "verdict", "words"),
    [
        (QUIET, ratio(1.0, 1.10), "met", "pinned on real rows: 1.05 [1.00, 1.10]"),
        (QUIET, ratio(1.11, 1.3), "missed", "[1.11, 1.30]"),
        (QUIET, ratio(1.05, 1.2), "inconclusive", "the interval contains 1.10"),
        (QUIET, ratio(1.0, 1.05, n=5), "inconclusive", "from 5 rounds; at least 6 are needed"),
        (QUIET, Estimate(1.0, None, 1), "inconclusive", "from 1 rounds"),
        (QUIET, None, "inconclusive", "too few queries; measure for longer"),
        (
            replace(QUIET, control=ratio(0.8, 1.05)),
            ratio(1.0, 1.05),
            "inconclusive",
            "the machine was too noisy: solo over itself is 0.93 [0.80, 1.05]",
        ),
        (
            replace(QUIET, control=ratio(0.95, 1.2)),
            ratio(2.0, 3.0),
            "inconclusive",
            "the machine was too noisy",
        ),
        (replace(QUIET, control=None), ratio(1.0, 1.05), "inconclusive", "not repeated"),
        (replace(QUIET, saturated=True), ratio(1.0, 1.05), "inconclusive", "only grew"),
        (
            replace(QUIET, basis="measured-synthetic"),
            ratio(1.0, 1.05),
            "met",
            "on synthetic rows",
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
    assert "3.00 ms [1.00 ms, 5.00 ms]" in claim.reason
    assert latency_impact(QUIET, Estimate(0.03, (0.021, 0.04), 8)).verdict == "missed"


def test_the_budget_is_a_bound_that_is_not_reached() -> None:
    assert memory_budget(0.0199, "measured-real").verdict == "met"
    assert memory_budget(0.02, "measured-real").verdict == "missed"


def test_claims_that_nothing_tested_are_unavailable() -> None:
    claims = latency_not_run("measured-real")
    assert [claim.id for claim in claims] == ["latency.impact", "latency.isolated"]
    assert {claim.verdict for claim in claims} == {"unavailable"}
    assert all(claim.measured is None for claim in claims)
