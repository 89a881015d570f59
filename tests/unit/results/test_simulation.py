"""Simulated runs differ by as much as recorded ones would, and say nothing that is not there."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.results import sequential, statistics
from lorabench.results.limit import MIN_ROUNDS
from lorabench.results.simulation import (
    ARMS,
    LEAST_SLICES,
    Intervals,
    Question,
    draw,
    false_verdicts,
    first_look,
    intervals,
    least_seen,
    log_ratios,
    share,
)

LOOKS = sequential.plan_looks(40)

COUNTS = st.lists(st.integers(LEAST_SLICES, 12), min_size=2, max_size=6)


@given(COUNTS, st.integers(0, 1000))
def test_no_slice_is_in_two_arms_nor_twice_in_one(counts: list[int], seed: int) -> None:
    for _, arms in draw(counts, 5, 8, seed).parts:
        for block in arms.reshape(len(arms), -1):
            assert len(set(block.tolist())) == len(block)


@given(COUNTS, st.integers(0, 1000))
def test_every_arm_takes_as_many_slices_of_each_block(counts: list[int], seed: int) -> None:
    owner = np.repeat(np.arange(len(counts)), counts)
    for _, arms in draw(counts, 5, 8, seed).parts:
        for block in owner[arms]:
            first, *others = (sorted(arm.tolist()) for arm in block)
            assert all(arm == first for arm in others)
            assert len(set(first)) <= 2
            assert np.ptp(first) <= 1  # neighbours in time


@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 1000))
def test_an_arm_is_as_long_as_a_control(blocks: int, slices: int, seed: int) -> None:
    draws = draw([2 * slices] * blocks, 5, 8, seed)
    assert {arms.shape[1:] for _, arms in draws.parts} == {(ARMS, slices)}
    places = np.concatenate([where for where, _ in draws.parts])
    assert sorted(places.tolist()) == list(range(5 * 8))


@given(
    st.lists(st.integers(0, 400), min_size=12, max_size=12),
    st.sampled_from([0.5, 0.9, 0.99]),
    st.integers(0, 1000),
)
def test_a_ratio_is_that_of_exact_quantiles(sizes: list[int], q: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    slices = [rng.lognormal(size=size) for size in sizes]
    blocks = [slices[:4], slices[4:]]
    draws = draw([4, 8], 3, 5, seed)
    found = log_ratios(draws, blocks, q).ravel()
    levelled = [
        one / np.median(joined if len(joined := np.concatenate(block)) else [1.0])
        for block in blocks
        for one in block
    ]
    for where, arms in draws.parts:
        for place, block in zip(where, arms, strict=True):
            of = [
                statistics.quantile(np.concatenate([levelled[one] for one in arm]), q)
                for arm in block
            ]
            if None in of:
                assert np.isnan(found[place])
            else:
                logs = np.log(np.array(of, float))
                assert found[place] == pytest.approx(logs[0] - (logs[1] + logs[2]) / 2, abs=1e-9)


def _block(rng: np.random.Generator, slices: int, stalls: float) -> list[np.ndarray]:
    """Return slices that differ a little, of a block that may differ much from others."""
    level = rng.normal(0, 0.5)
    found = [rng.lognormal(level + rng.normal(0, 0.1), 0.4, 600) for _ in range(slices)]
    for one in found:
        for at in rng.integers(0, 600, rng.poisson(stalls)):
            one[at : at + 30] *= rng.uniform(5, 10)
    return found


@pytest.mark.parametrize("stalls", [0.0, 0.5])
def test_simulated_blocks_vary_as_much_as_fresh_ones(stalls: float) -> None:
    rng = np.random.default_rng(0)
    recorded = [_block(rng, 8, stalls) for _ in range(60)]
    simulated = log_ratios(draw([8] * 60, 50, 40, 0), recorded)
    fresh = []
    for _ in range(600):
        arms = np.array(_block(rng, 12, stalls)).reshape(ARMS, -1)
        logs = np.log([statistics.quantile(arm, 0.99) for arm in arms])
        fresh.append(logs[0] - logs[1:].mean())
    assert simulated.std() == pytest.approx(np.std(fresh), rel=0.12)
    assert abs(simulated.mean()) < 4 * simulated.std() / math.sqrt(simulated.size)


def test_the_same_seed_draws_the_same_runs() -> None:
    one, same, other = (draw([4, 6], 3, 4, seed) for seed in (1, 1, 2))
    arrays = [np.concatenate([arms.ravel() for _, arms in d.parts]) for d in (one, same, other)]
    assert np.array_equal(arrays[0], arrays[1])
    assert not np.array_equal(arrays[0], arrays[2])


@given(st.lists(st.none() | st.floats(-5, 5), min_size=1, max_size=30))
def test_intervals_are_those_of_a_run_that_leaves_out_blocks_without_a_value(values) -> None:
    logs = np.array([[np.nan if value is None else value for value in values]])
    found = intervals(logs, LOOKS.level)
    for end in range(1, len(values) + 1):
        told = [value for value in values[:end] if value is not None]
        low, high = found.low[0, end - 1], found.high[0, end - 1]
        expected = sequential.interval(told, LOOKS.level)
        if expected is None or len(told) < MIN_ROUNDS:
            assert np.isnan([low, high]).all()
        else:
            assert (low, high) == pytest.approx(expected[1:], abs=1e-6)


def _normal_runs(runs: int, sigma: float) -> Intervals:
    logs = np.random.default_rng(1).normal(0, sigma, (runs, 40))
    return intervals(logs, LOOKS.level)


def test_runs_of_normal_blocks_err_as_often_as_planned() -> None:
    found = _normal_runs(20_000, 0.2)
    for question in (Question("", 1.1, 1.1, above=True), Question("", 1.1, 1.1, above=False)):
        errors = np.isfinite(first_look(question.decided(found), LOOKS.blocks)).mean()
        assert 0.02 <= errors <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 20_000)


def test_a_verdict_is_found_at_the_first_look_that_has_it() -> None:
    decided = np.zeros((3, 40), bool)
    decided[0, 8:] = True  # from the ninth block on
    decided[1, 20] = True  # between two looks alone
    assert first_look(decided, LOOKS.blocks).tolist() == [16, np.inf, np.inf]


def test_the_least_slowdown_is_seen_by_just_that_share() -> None:
    found = _normal_runs(1000, 0.2)
    least = least_seen(found, LOOKS.blocks, 0.9)
    assert least is not None
    for ratio, most in ((least * 1.0001, 1000), (least * 0.9999, 900)):
        seen = np.isfinite(first_look(Question("", ratio, 1, True).decided(found), LOOKS.blocks))
        assert most - 101 < seen.sum() <= most
    assert seen.sum() < 900
    assert least_seen(intervals(np.full((10, 40), np.nan), 0.01), LOOKS.blocks, 0.9) is None


@pytest.mark.parametrize("p", [0.01, 0.025, 0.3, 0.9])
def test_the_interval_of_a_share_holds_it_at_least_as_often_as_it_says(p: float) -> None:
    n, held = 100, 0.0
    for k in range(n + 1):
        low, high = share(k, n).interval or ()
        if low <= p <= high:
            held += math.comb(n, k) * p**k * (1 - p) ** (n - k)
    assert 0.95 <= held < 1


def test_the_interval_of_a_share_is_the_published_one() -> None:
    # R 4: binom.test(10, 400)$conf.int
    assert share(10, 400).interval == pytest.approx((0.012049, 0.045496), abs=1e-5)
    assert share(0, 10).interval == pytest.approx((0, 0.308497), abs=1e-6)
    assert share(10, 10).interval == pytest.approx((0.691503, 1), abs=1e-6)


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [
        ({"one": 0, "other": 1}, "met"),
        ({"one": 8, "other": 12}, "inconclusive"),
        ({"one": 40, "other": 0}, "missed"),
    ],
)
def test_false_verdicts_are_judged_by_the_error_made_most_often(errors, verdict: str) -> None:
    claim = false_verdicts(errors, 400)
    worst = max(errors, key=errors.get)
    assert (claim.verdict, claim.basis) == (verdict, "derived")
    assert claim.measured == errors[worst] / 400
    assert claim.reason.startswith(f"{worst} in {errors[worst] / 4:.1f} % of 400 simulated runs")
