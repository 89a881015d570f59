"""Every way to a verdict, and its words."""

import pytest

from lorabench.results import claims as verdict
from lorabench.results.claims import memory_budget
from lorabench.results.learnable import LabelCount, Learned
from lorabench.results.statistics import Estimate


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
