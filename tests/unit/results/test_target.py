"""What an interval alone says of a target."""

import pytest

from lorabench.results.limit import Limit, by_interval, everywhere
from lorabench.results.statistics import Estimate


@pytest.mark.parametrize(
    ("least", "interval", "n", "judged"),
    [
        (True, (1.2, 1.4), 21, "met"),
        (True, (1.15, 1.4), 21, "met"),
        (True, (1.0, 1.1), 21, "missed"),
        (True, (1.0, 1.15), 21, "inconclusive"),
        (True, (1.2, 1.4), 5, "inconclusive"),
        (False, (1.0, 1.15), 21, "met"),
        (False, (1.2, 1.4), 21, "missed"),
        (False, (1.0, 1.4), 21, "inconclusive"),
    ],
)
def test_a_figure_of_the_kernels_is_judged_by_its_interval(least, interval, n, judged) -> None:
    target = Limit("t", "s", 1.15, least=least)
    claim = by_interval(target, Estimate(sum(interval) / 2, interval, n))
    assert claim.verdict == judged
    low, high = interval
    assert f"[{low:.3g}..{high:.3g}]" in claim.reason
    assert ("expected at least 6" in claim.reason) == (n < 6)
    assert by_interval(target, None).verdict == "unavailable"


def test_the_lowest_bound_stands_for_all_points() -> None:
    target = Limit("t", "s", 0.95, least=True)
    points = [
        ("here", Estimate(1.2, (1.0, 1.4), 6)),
        ("there", Estimate(1.1, (0.9, 1.3), 6)),
        ("nowhere", Estimate(0.5, None, 2)),
    ]
    claim = everywhere(target, points)
    assert claim is not None
    assert (claim.verdict, claim.measured, claim.ci95) == ("missed", 0.9, (0.9, 1.3))
    assert claim.reason == "the lowest of 3 points is 0.9, at there"
    assert everywhere(target, points[2:]) is None
