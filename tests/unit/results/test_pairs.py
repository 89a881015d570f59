"""Simulated comparisons differ as neighbouring blocks do, and gates end as `compare` ends them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.results import sequential, statistics
from lorabench.results.change import change
from lorabench.results.gate import Gate, Held, judge
from lorabench.results.limit import MIN_ROUNDS
from lorabench.results.pairs import Compared, pair_log_ratios
from lorabench.results.simulation import Intervals, draw

LOOKS = sequential.plan_looks(27)

COUNTS = st.lists(st.integers(4, 12), min_size=2, max_size=6)


@given(COUNTS, st.integers(0, 1000))
def test_both_arms_have_as_many_slices_of_a_block_and_of_its_neighbour(counts, seed: int) -> None:
    owner = np.repeat(np.arange(len(counts)), counts)
    drawn = draw(counts, 10, seed, 2, 2)
    assert len(drawn) == len(counts)
    for recorded, arms in enumerate(drawn):
        other = recorded + 1 if recorded + 1 < len(counts) else recorded - 1
        assert arms.shape[:2] == (10, 2)
        # As long as a control of the two, or one slice short of it.
        assert 0 <= (counts[recorded] + counts[other]) // 4 - arms.shape[2] <= 1
        for pair in arms:
            of = [sorted(owner[arm].tolist()) for arm in pair]
            assert of[0] == of[1]
            assert set(of[0]) <= {recorded, other}
            assert len(set(pair.ravel().tolist())) == pair.size


def test_of_one_case_an_arm_is_half() -> None:
    for arms, length in zip(draw([4, 4, 6], 10, 0, 2, 1), (4, 5, 5), strict=True):
        assert arms.shape == (10, 2, length)
        assert all(len(set(pair.ravel().tolist())) == pair.size for pair in arms)


def test_a_ratio_is_that_of_exact_quantiles_and_no_level_is_taken_out() -> None:
    rng = np.random.default_rng(0)
    slices = [rng.lognormal(level, 0.3, 1000) for level in (0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0)]
    drawn = draw([4, 4], 50, 0, 2, 2)
    found, _ = pair_log_ratios(drawn, [slices[:4], slices[4:]])
    for ratio, pair in zip(found, drawn[0], strict=True):
        head, base = (
            math.log(statistics.quantile(np.concatenate([slices[n] for n in arm]), 0.99) or 0)
            for arm in pair
        )
        assert ratio == pytest.approx(head - base, abs=1e-9)


def test_simulated_pairs_vary_as_much_as_fresh_ones() -> None:
    rng = np.random.default_rng(1)

    def block(slices: int) -> list[np.ndarray]:
        level = rng.normal(0, 0.1)
        return [rng.lognormal(level + rng.normal(0, 0.1), 0.4, 600) for _ in range(slices)]

    def fresh() -> float:
        # The time of two blocks, in which either version has every second turn.
        both = [block(4), block(4)]
        arms = [np.concatenate([*both[0][n::2], *both[1][n::2]]) for n in (0, 1)]
        head, base = (math.log(np.quantile(arm, 0.99)) for arm in arms)
        return head - base

    simulated = pair_log_ratios(draw([8] * 200, 40, 0, 2, 2), [block(8) for _ in range(200)])
    assert simulated.std() == pytest.approx(np.std([fresh() for _ in range(2000)]), rel=0.1)


def _compared(logs: np.ndarray) -> Compared:
    return Compared.of(logs, LOOKS)


@given(st.lists(st.none() | st.floats(-1, 1), min_size=27, max_size=27))
def test_what_could_have_shown_is_told_at_every_look(values) -> None:
    logs = np.array([[np.nan if value is None else value for value in values]])
    (found,) = _compared(logs).detectable
    for at, end in enumerate(LOOKS.blocks):
        told = [value for value in values[:end] if value is not None]
        if len(told) < MIN_ROUNDS:
            assert np.isnan(found[at])
        else:
            least = statistics.detectable_difference(told, 0.8, LOOKS.level)
            assert found[at] == pytest.approx(least, abs=1e-6)


def test_the_first_look_that_can_tell_ends_a_gate() -> None:
    limit = math.log1p(0.05)
    nan = math.nan
    low = np.array([[nan, 0.1, -1], [nan, -1, 0.1], [nan, -1, 0.1], [nan, -1, -1], [nan, -1, -1]])
    high = np.array([[nan, 0.2, 1], [nan, 0.0, 0.2], [nan, 1, 0.2], [nan, 1, 1], [nan, 1, 1]])
    could = np.full_like(low, 1.0)
    could[3, 1] = limit  # could have shown one of that size, and goes on nevertheless
    could[4, 2] = limit
    found = Compared(Intervals((7, 14, 21), low, high), could).gate(1.0, 0.05)
    assert found.failed.tolist() == [True, False, True, False, False]
    assert found.passed.tolist() == [False, True, False, False, True]
    assert found.unknown.tolist() == [False, False, False, True, False]
    assert found.after.tolist() == [14, math.inf, 21, math.inf, math.inf]


def test_a_gate_ends_as_that_of_compare_does_at_every_look() -> None:
    rng = np.random.default_rng(5)
    logs = rng.normal(rng.normal(0.06, 0.1, (100, 1)), 0.08, (100, 27))
    gated = _compared(logs).gate(1.0, 0.05)
    for run, values in enumerate(logs):
        outcome = "unknown"
        for pairs in LOOKS.blocks:
            ones = [1.0] * pairs
            found = change(ones, np.exp(values[:pairs]), better="lower", paired=True)
            (verdict,) = judge([Held(Gate("latency_p99", 0.05), "solo", found)], LOOKS.level)
            outcome = verdict.outcome
            if verdict.decided:
                break
        assert outcome == (
            "fail" if gated.failed[run] else "pass" if gated.passed[run] else "unknown"
        )
    assert min(gated.failed.sum(), gated.passed.sum(), gated.unknown.sum()) > 5


def test_a_slower_head_is_the_same_comparisons_shifted() -> None:
    logs = np.random.default_rng(2).normal(0, 0.1, (500, 27))
    slower = _compared(logs + math.log(1.15)).gate(1.0, 0.05)
    shifted = _compared(logs).gate(1.15, 0.05)
    assert np.array_equal(slower.failed, shifted.failed)
    assert np.array_equal(slower.unknown, shifted.unknown)
    assert 0.5 < shifted.failed.mean() < 1


def test_a_gate_fails_equal_versions_hardly_ever_and_those_at_its_limit_as_planned() -> None:
    found = _compared(np.random.default_rng(3).normal(0, 0.1, (20_000, 27)))
    assert found.gate(1.0, 0.05).failed.mean() < 0.002
    at_limit = found.gate(1.05, 0.05).failed.mean()
    # A little more than the 2.5 % that looks are planned for, with t of 7 pairs at the first.
    assert 0.02 < at_limit < 0.03


def test_the_least_slowdown_and_tolerance_are_those_of_just_that_share() -> None:
    found = _compared(np.random.default_rng(4).normal(0, 0.1, (1000, 27)))
    slowdown, tolerance = found.least_slowdown(0.05, 0.9), found.least_tolerance(0.9)
    assert slowdown is not None
    assert tolerance is not None
    for factor, enough in ((1.001, True), (0.999, False)):
        failed = found.gate(1 + slowdown * factor, 0.05).failed.mean()
        passed = found.gate(1.0, tolerance * factor).passed.mean()
        assert (failed >= 0.9, passed >= 0.9) == (enough, enough)
    nothing = _compared(np.full((10, 27), np.nan))
    assert nothing.least_slowdown(0.05, 0.9) is None
    assert nothing.least_tolerance(0.9) is None
    assert nothing.gate(1.0, 0.05).unknown.all()
