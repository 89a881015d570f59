"""How long blocks are and how many: what a p99 takes at a rate, and what there is time for."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.bench.rounds import Turn
from lorabench.bench.serving.slices import (
    LEAST_BLOCK_S,
    agreed,
    deciding,
    needed_queries,
    rounds_of,
    slicing,
)

USUAL = {"arrivals": "poisson", "slice_s": 0.5, "head_s": 0.05, "warmup_s": 1.3}


@given(st.floats(1.0, 50_000.0), st.sampled_from(["poisson", "bursts", "diurnal"]))
def test_a_block_holds_the_queries_that_a_p99_takes_at_any_rate(rate: float, law: str) -> None:
    cut = slicing(rate_qps=rate, duration_s=None, **{**USUAL, "arrivals": law})
    assert cut.measured_s >= LEAST_BLOCK_S - 1e-9
    assert rate * cut.measured_s >= needed_queries(law) * (1 - 1e-9) >= 2000
    assert cut.slice_s <= 0.5 + 1e-9


@given(st.floats(0.1, 100.0), st.floats(0.1, 5.0))
def test_a_duration_that_is_asked_for_is_what_is_measured(duration: float, slice_s: float) -> None:
    cut = slicing(rate_qps=1e3, duration_s=duration, **{**USUAL, "slice_s": slice_s})
    assert cut.measured_s == pytest.approx(duration)
    assert cut.slice_s <= slice_s * (1 + 1e-6)


def test_slices_follow_one_another_by_the_cases_clock_and_their_heads_are_left_out() -> None:
    cut = slicing(rate_qps=4800.0, duration_s=2.0, **USUAL)
    turns = [Turn(0, block, number) for block in range(3) for number in range(cut.turns)]
    slices = [cut.warmup, *map(cut.slice, turns)]
    for before, after in pairwise(slices):
        assert after.begin_s == pytest.approx(before.end_s)
        assert after.window_s[0] == pytest.approx(after.begin_s + 0.05)
        assert after.window_s[1] == pytest.approx(after.end_s)


def test_a_spike_is_not_cut_up() -> None:
    cut = slicing(rate_qps=1e3, duration_s=5.0, **{**USUAL, "arrivals": "spike"})
    assert (cut.turns, cut.warmup_s, cut.head_s, cut.slice_s) == (1, 0.0, 1.3, 5.0)


def test_so_many_rounds_are_a_block_each_and_are_looked_at_once() -> None:
    cut = slicing(rate_qps=1e3, duration_s=1.0, **USUAL)
    course = rounds_of(cut, 6)
    assert course.shape.blocks == (1,) * 6
    assert course.looks is None


@given(
    st.floats(10.0, 3600.0),
    st.integers(3, 12),
    st.floats(1.0, 30.0),
    st.floats(50.0, 5000.0),
    st.booleans(),
)
def test_a_run_that_decides_fits_into_its_time_and_looks_where_rounds_end(
    left: float, cases: int, start: float, rate: float, fixed: bool
) -> None:
    cut = slicing(rate_qps=rate, duration_s=3.0 if fixed else None, **USUAL)
    course = deciding(cut, cases=cases, learning=1, left_s=left, start_s=start, fixed=fixed)
    assert course.looks is not None
    assert course.shape.total == course.looks.most <= 40
    ends = [sum(course.shape.blocks[: n + 1]) for n in range(len(course.shape.blocks))]
    assert set(course.looks.blocks) <= set(ends)
    assert min(course.shape.blocks) >= 1
    if course.shape.total > 1:
        assert course.slicing.turns >= cut.turns
        if fixed:
            assert course.slicing.turns == cut.turns
    if course.looks.most > 1:
        assert course.shape.blocks[0] < course.looks.blocks[0], "on two sets of processes"
    rounds = len(course.shape.blocks)
    passed = rounds * (start + cut.warmup_s) + course.shape.total * cases * course.slicing.block_s
    if course.shape.total > 1:
        assert passed <= left + 1e-6


@given(st.floats(50.0, 5000.0), st.floats(60.0, 900.0), st.booleans())
def test_what_two_runs_agree_on_arrives_as_it_was_planned(
    rate: float, left: float, decide: bool
) -> None:
    cut = slicing(rate_qps=rate, duration_s=None, label_delay_s=0.3, **USUAL)
    course = rounds_of(cut, 7)
    if decide:
        course = deciding(cut, cases=5, learning=1, left_s=left, start_s=4.0, fixed=False)
    sent = json.loads(json.dumps(course.as_agreed()))
    assert agreed(sent, label_delay_s=0.3) == course


@given(st.floats(2.0, 60.0))
def test_a_round_ends_before_the_rows_do_if_a_block_fits(unbroken: float) -> None:
    cut = slicing(rate_qps=2600.0, duration_s=None, **USUAL)
    told = {"cases": 5, "learning": 1, "left_s": 900.0, "start_s": 6.0, "fixed": False}
    course = deciding(cut, **told, unbroken_s=unbroken)
    assert course.looks is not None
    assert course.shape.total == course.looks.most
    ends = [sum(course.shape.blocks[: n + 1]) for n in range(len(course.shape.blocks))]
    assert set(course.looks.blocks) <= set(ends)
    opening_s = 6.0 + cut.warmup_s
    measured_s = course.shape.total * 5 * course.slicing.block_s
    assert len(course.shape.blocks) * opening_s + measured_s <= 900.0, "every round is opened"
    for blocks in course.shape.blocks:
        lasts = course.slicing.warmup_s + blocks * course.slicing.block_s
        assert blocks == 1 or lasts <= unbroken + 1e-9
