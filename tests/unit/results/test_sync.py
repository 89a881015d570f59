"""Every way to a verdict about syncing, and its words."""

import pytest

from lorabench.results.statistics import Estimate
from lorabench.results.sync import SyncTimes, Trials, sync_delta10, sync_link


def ratio(low: float, high: float, n: int = 8) -> Estimate:
    return Estimate((low + high) / 2, (low, high), n)


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        ((13.3, 26.7, 267), "met"),
        ((13.0, 26.7, 267), "missed"),
        ((13.3, 26.0, 267), "missed"),
        ((13.3, 26.7, 240), "missed"),
    ],
)
def test_syncing_is_judged_by_all_three_of_its_times(minutes, expected) -> None:
    found = sync_delta10(SyncTimes(*(60 * one for one in minutes)))
    assert (found.verdict, found.basis) == (expected, "derived")
    assert found.measured == 60 * minutes[1]
    assert f"at most {100 * minutes[0] / 14:.1f} %" in found.reason


@pytest.mark.parametrize(
    ("ratios", "expected", "words"),
    [
        ((ratio(0.99, 1.01), ratio(0.95, 1.02)), "met", "b is furthest off"),
        ((ratio(0.99, 1.01), ratio(0.95, 1.12)), "inconclusive", "0.950 to 1.120"),
        # Further off by its upper bound, but the other is known to be off.
        ((ratio(1.11, 1.12), ratio(0.5, 1.5)), "missed", "a is furthest off"),
        ((ratio(0.80, 0.89),), "missed", "a is furthest off"),
        ((ratio(0.99, 1.01, n=5),), "inconclusive", "but at least 6 rounds are needed"),
        ((Estimate(1.0, None, 1), Estimate(1.2, None, 1)), "inconclusive", "b is furthest off"),
    ],
)
def test_the_model_of_the_link_is_judged_by_the_transfer_furthest_off(
    ratios, expected, words
) -> None:
    found = sync_link(Trials("Over a wire", dict(zip("ab", ratios, strict=False))))
    assert (found.id, found.verdict, found.target) == ("sync.link", expected, 0.10)
    assert words in found.reason
