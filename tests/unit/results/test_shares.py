"""A share of simulated runs holds the machine's as often as its interval says."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.results.shares import Share, false_verdicts, gate_claims, variance_between


@pytest.mark.parametrize("p", [0.01, 0.025, 0.3, 0.9])
def test_the_interval_of_a_share_holds_it_at_least_as_often_as_it_says(p: float) -> None:
    n, held = 100, 0.0
    for k in range(n + 1):
        low, high = Share(k, n).estimate().interval or ()
        if low <= p <= high:
            held += math.comb(n, k) * p**k * (1 - p) ** (n - k)
    assert 0.95 <= held < 1


def test_the_interval_of_a_share_is_the_published_one() -> None:
    # R 4: binom.test(10, 400)$conf.int
    assert Share(10, 400).estimate().interval == pytest.approx((0.012049, 0.045496), abs=1e-5)
    assert Share(0, 10).estimate().interval == pytest.approx((0, 0.308497), abs=1e-6)
    assert Share(10, 10).estimate().interval == pytest.approx((0.691503, 1), abs=1e-6)


@given(st.integers(1, 500), st.data(), st.floats(0, 0.2))
def test_worlds_that_differ_widen_the_interval_of_a_share(runs: int, data, between: float) -> None:
    count = data.draw(st.integers(0, runs))
    alone, wider = (Share(count, runs, b).estimate() for b in (0.0, between))
    assert alone.interval is not None
    assert wider.interval is not None
    assert wider.value == alone.value == count / runs
    assert 0 <= wider.interval[0] <= alone.interval[0] + 1e-9
    assert alone.interval[1] - 1e-9 <= wider.interval[1] <= 1


def test_what_chance_makes_a_share_vary_is_not_between_worlds() -> None:
    rng = np.random.default_rng(0)
    same = rng.random((4000, 50)) < 0.3
    assert variance_between(same) < 0.0005  # chance alone is 0.0042
    other = rng.random((4000, 50)) < rng.normal(0.3, 0.05, (4000, 1))
    assert variance_between(other) == pytest.approx(0.0025, rel=0.15)


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [
        ({"one": 0, "other": 1}, "met"),
        ({"one": 8, "other": 12}, "inconclusive"),
        ({"one": 40, "other": 0}, "missed"),
    ],
)
def test_false_verdicts_are_judged_by_the_error_made_most_often(errors, verdict: str) -> None:
    shares = {text: Share(count, 400) for text, count in errors.items()}
    claim = false_verdicts(shares, 16)
    worst = max(errors, key=errors.get)
    assert (claim.verdict, claim.basis) == (verdict, "derived")
    assert claim.measured == errors[worst] / 400
    assert claim.reason.startswith(f"{worst} in {errors[worst] / 4:.1f} % of 400 simulated runs")
    few = false_verdicts(shares, 15)
    assert few.verdict == "inconclusive"
    assert few.reason.endswith(", but that is from 15 recorded blocks, and 16 are needed")


@pytest.mark.parametrize(
    ("alarms", "found", "verdicts"),
    [
        (0, 400, ["met", "met"]),
        (8, 360, ["inconclusive", "inconclusive"]),
        (40, 200, ["missed", "missed"]),
    ],
)
def test_a_gate_is_judged_by_what_it_fails(alarms: int, found: int, verdicts: list[str]) -> None:
    size = "a gate of 5 % in 27 pairs of blocks"
    claims = gate_claims(Share(alarms, 400), Share(found, 400), size, 16)
    assert [claim.verdict for claim in claims] == verdicts
    assert [claim.measured for claim in claims] == [alarms / 400, found / 400]
    assert claims[0].reason.startswith(
        f"{alarms} of 400 simulated comparisons of equal versions failed {size}: "
    )
    few = gate_claims(Share(alarms, 400), Share(found, 400), size, 15)
    assert [claim.verdict for claim in few] == ["inconclusive"] * 2
    assert few[1].reason.endswith(", but that is from 15 recorded blocks, and 16 are needed")
