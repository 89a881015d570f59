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
    intervals,
    least_seen,
    log_ratios,
    make_runs,
    make_worlds,
)

LOOKS = sequential.plan_looks(40)

COUNTS = st.lists(st.integers(LEAST_SLICES, 12), min_size=2, max_size=6)


@given(COUNTS, st.integers(0, 1000))
def test_no_slice_is_in_two_arms_nor_twice_in_one(counts: list[int], seed: int) -> None:
    for arms in draw(counts, 10, seed):
        for block in arms.reshape(len(arms), -1):
            assert len(set(block.tolist())) == len(block)


@given(COUNTS, st.integers(0, 1000))
def test_every_arm_takes_as_many_slices_of_each_block(counts: list[int], seed: int) -> None:
    owner = np.repeat(np.arange(len(counts)), counts)
    for recorded, arms in enumerate(draw(counts, 10, seed)):
        for block in owner[arms]:
            first, *others = (sorted(arm.tolist()) for arm in block)
            assert all(arm == first for arm in others)
            assert recorded in first
            assert len(set(first)) <= 2
            assert np.ptp(first) <= 1  # neighbours in time


@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 1000))
def test_an_arm_is_as_long_as_a_control(blocks: int, slices: int, seed: int) -> None:
    drawn = draw([2 * slices] * blocks, 10, seed)
    assert [arms.shape for arms in drawn] == [(10, ARMS, slices)] * blocks


@given(
    st.lists(st.integers(0, 400), min_size=12, max_size=12),
    st.sampled_from([0.5, 0.9, 0.99]),
    st.integers(0, 1000),
)
def test_a_ratio_is_that_of_exact_quantiles(sizes: list[int], q: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    slices = [rng.lognormal(size=size) for size in sizes]
    blocks = [slices[:4], slices[4:]]
    drawn = draw([4, 8], 10, seed)
    found = log_ratios(drawn, blocks, q)
    levelled = [
        one / np.median(joined if len(joined := np.concatenate(block)) else [1.0])
        for block in blocks
        for one in block
    ]
    for ratios, arms in zip(found, drawn, strict=True):
        for ratio, block in zip(ratios, arms, strict=True):
            of = [
                statistics.quantile(np.concatenate([levelled[one] for one in arm]), q)
                for arm in block
            ]
            if None in of:
                assert np.isnan(ratio)
            else:
                logs = np.log(np.array(of, float))
                assert ratio == pytest.approx(logs[0] - (logs[1] + logs[2]) / 2, abs=1e-9)


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
    simulated = log_ratios(draw([8] * 60, 40, 0), recorded)
    fresh = []
    for _ in range(600):
        arms = np.array(_block(rng, 12, stalls)).reshape(ARMS, -1)
        logs = np.log([statistics.quantile(arm, 0.99) for arm in arms])
        fresh.append(logs[0] - logs[1:].mean())
    assert simulated.std() == pytest.approx(np.std(fresh), rel=0.12)
    assert abs(simulated.mean()) < 4 * simulated.std() / math.sqrt(simulated.size)


def test_runs_are_made_of_the_blocks_that_there_are() -> None:
    ratios = np.arange(12.0).reshape(3, 4)
    runs = make_runs(ratios, 50, 40, 1)
    assert runs.shape == (50, 40)
    assert set(runs.ravel()) == set(ratios.ravel())
    assert np.array_equal(runs, make_runs(ratios, 50, 40, 1))
    assert not np.array_equal(runs, make_runs(ratios, 50, 40, 2))


def test_every_world_has_recorded_blocks_of_its_own() -> None:
    ratios = np.repeat(np.arange(5.0), 100).reshape(5, 100)  # each tells whose it is
    worlds = make_worlds(ratios, 30, 20, 40, 0)
    assert worlds.shape == (30, 20, 40)
    blocks = {tuple(sorted(set(world.ravel()))) for world in worlds}
    assert len(blocks) > 5
    assert max(map(len, blocks)) <= 5
    assert np.array_equal(worlds, make_worlds(ratios, 30, 20, 40, 0))


@given(st.integers(2, 9), st.integers(1, 6), st.integers(0, 1000))
def test_a_stretch_is_drawn_together(recorded: int, stretch: int, seed: int) -> None:
    ratios = np.arange(float(recorded))[:, None]
    worlds = make_worlds(ratios, 20, 50, 40, seed, stretch=stretch)
    for world in worlds:
        there = set(world.ravel())
        assert len(there) >= min(stretch, recorded)
        starts = [n for n in there if (n - 1) % recorded not in there]
        # Whole stretches, but for what the last one has too many.
        assert len(starts) <= math.ceil(recorded / stretch)


@given(st.lists(st.none() | st.floats(-5, 5), min_size=1, max_size=30))
def test_intervals_are_those_of_a_run_that_leaves_out_blocks_without_a_value(values) -> None:
    logs = np.array([[np.nan if value is None else value for value in values]])
    looks = sequential.Looks(tuple(range(1, len(values) + 1)), LOOKS.level)
    found = intervals(logs, looks)
    for end in looks.blocks:
        told = [value for value in values[:end] if value is not None]
        low, high = found.low[0, end - 1], found.high[0, end - 1]
        usual = statistics.mean(told, looks.level)
        expected = (
            None if usual is None or usual.interval is None else (usual.value, *usual.interval)
        )
        if expected is None or len(told) < MIN_ROUNDS:
            assert np.isnan([low, high]).all()
        else:
            assert (low, high) == pytest.approx(expected[1:], abs=1e-6)


def _normal_runs(runs: int, sigma: float) -> Intervals:
    return intervals(np.random.default_rng(1).normal(0, sigma, (runs, 40)), LOOKS)


def test_runs_of_normal_blocks_err_as_often_as_planned() -> None:
    found = _normal_runs(20_000, 0.2)
    for question in (Question("", 1.1, 1.1, above=True), Question("", 1.1, 1.1, above=False)):
        errors = np.isfinite(question.decided(found)).mean()
        assert 0.02 <= errors <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 20_000)


def test_a_run_is_decided_at_the_first_look_that_says_so() -> None:
    low = np.array([[np.nan, 0.1, -0.1], [np.nan, 0.0, 0.1], [np.nan, 0.0, 0.0]])
    found = Intervals((4, 8, 16), low, low + 0.2)
    assert Question("", 1.0, 1.0, above=True).decided(found).tolist() == [8, 16, np.inf]
    below = Question("", 1.0, math.exp(0.2), above=False)
    assert below.decided(found).tolist() == [16, 8, 8]


def test_the_least_slowdown_is_seen_by_just_that_share() -> None:
    found = _normal_runs(1000, 0.2)
    least = least_seen(found, 0.9)
    assert least is not None
    more, less = (
        np.isfinite(Question("", least * factor, 1.0, above=True).decided(found)).sum()
        for factor in (1 + 1e-9, 1 - 1e-9)
    )
    assert (more, less) == (900, 899)
    assert least_seen(intervals(np.full((10, 40), np.nan), LOOKS), 0.9) is None
