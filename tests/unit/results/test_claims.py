"""Every way to a verdict, and its words."""

from dataclasses import replace

import pytest

from lorabench.results import claims as verdict
from lorabench.results.claims import (
    Idle,
    Quota,
    headroom_idle,
    memory_budget,
)
from lorabench.results.learnable import LabelCount, Learned
from lorabench.results.statistics import Estimate
from lorabench.results.windows import Peak


def test_the_budget_is_a_bound_that_is_not_reached() -> None:
    assert memory_budget(0.0199, "measured-real").verdict == "met"
    assert memory_budget(0.02, "measured-real").verdict == "missed"
    # Fewer digits would show 2.00 % and "met" side by side.
    assert "1.999985 % of the table bytes" in memory_budget(0.01999985, "measured-real").reason
    assert "1.99999998 % of the table bytes" in memory_budget(0.0199999998, "measured-real").reason
    assert memory_budget(None, "measured-real").verdict == "unavailable"


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
        ({"wraps": 1}, "inconclusive", "2.50), but the rows ended and began anew once: take fewer"),
        ({"wraps": 3}, "inconclusive", "began anew 3 times"),
        (
            {"learned": Learned(LabelCount(800_000, 0), 8, 8)},
            "unavailable",
            "but all 800,000 labels were negative: there was nothing to learn",
        ),
        ({"learned": Learned(LabelCount(9, 1), 1, 8)}, "unavailable", "of 1 of 8 windows"),
        (
            {"learned": Learned(LabelCount(9, 1), 0, 8, Estimate(1.01, None, 8))},
            "inconclusive",
            "did not fall below that of predicting the mean",
        ),
        ({"wraps": 3, "dim": 16}, "unavailable", "began anew 3 times"),
        (
            {"otherwise": {"by SGD": 1.3, "by X": 3.0}},
            "met",
            "the rows moved by SGD about 1.30, by X about 3.",
        ),
    ],
)
def test_low_rankness_is_judged_by_its_interval(changes, expected, words) -> None:
    claim = verdict.lowrank_variance(low_rank(**changes), "measured-real")
    assert claim.verdict == expected
    assert words in claim.reason
    # Of snapshots nobody knows which rows moved them; of rows, only that they were given.
    assert ("on given rows" in claim.reason) == bool(low_rank(**changes).rows)
    assert claim.target == int(0.05 * changes.get("dim", 64))


@pytest.mark.parametrize(
    ("variance", "expected"),
    [
        (0.8, "lowrank.variance"),
        (0.9, "lowrank.variance[V=0.9]"),
        (0.955, "lowrank.variance[V=0.955]"),
    ],
)
def test_another_share_of_the_variance_is_another_claim(variance: float, expected: str) -> None:
    assert verdict.lowrank_variance(low_rank(variance=variance), "derived").id == expected


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
            replace(HOST, quota=Quota(1.2, 600, 340, 9.0, exactly(1.0))),
            "missed",
            "this host, observed for 60 s, was 15.0 % busy in its busiest 10 s; of the 1.2 CPUs of "
            "this container's CPU quota, which is all that training in it can use, at most 100.0 % "
            "were in use; the kernel stopped it in 340 of 600 periods, 9.0 s in all",
        ),
        (
            replace(HOST, quota=Quota(1.2, 600, 0, 0.0, exactly(0.01))),
            "met",
            "at most 1.0 % were in use; that it served its usual load meanwhile is yours to know",
        ),
        (
            Idle("this control group", False, exactly(1.0), 34.0, quota=Quota(0.2, 343, 340, 27.0)),
            "missed",
            "was 100.0 % busy in its busiest 10 s, as a share of the CPU quota of 0.2 CPUs that "
            "binds it; the kernel stopped it in 340 of 343 periods, 27.0 s in all",
        ),
        (
            Idle("this process", False, exactly(0.1), 34.0, quota=Quota(0.2, 343, 0, 0.0)),
            "unavailable",
            "of 0.2 CPUs that binds it; what else the node did was not observed",
        ),
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
