"""Looks at a run err as rarely together as one look alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri, stdtrit

from lorabench.results.sequential import (
    ALPHA,
    LEAST_BLOCKS,
    MOST_BLOCKS,
    MOST_LOOKS,
    nominal_level,
    plan_looks,
)

# Pocock 1977, table 1; Jennison and Turnbull 2000, table 2.1: two-sided, 5 %.
_PUBLISHED = {1: 1.960, 2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413, 10: 2.555}

_RUNS = 20_000


@pytest.fixture(scope="module")
def above() -> np.ndarray:
    """Return whether the interval of each run after each number of blocks lies above the truth."""
    values = np.random.default_rng(0).standard_normal((_RUNS, MOST_BLOCKS))
    blocks = np.arange(1, MOST_BLOCKS + 1)
    centre = values.cumsum(axis=1) / blocks
    squares = (values**2).cumsum(axis=1) - blocks * centre**2
    with np.errstate(invalid="ignore", divide="ignore"):
        t = centre / np.sqrt(squares / (blocks - 1) / blocks)
        return t > stdtrit(blocks - 1, 1 - plan_looks(MOST_BLOCKS).level)


def _errors(above: np.ndarray, *blocks: int) -> float:
    return float(above[:, [block - 1 for block in blocks]].any(axis=1).mean())


_SIGMA = np.sqrt(ALPHA * (1 - ALPHA) / _RUNS)


@pytest.mark.parametrize("looks", _PUBLISHED)
def test_the_level_is_that_of_the_published_constants(looks: int) -> None:
    assert -ndtri(nominal_level(looks)) == pytest.approx(_PUBLISHED[looks], abs=5.1e-4)


def test_one_look_has_the_whole_level() -> None:
    assert nominal_level(1) == pytest.approx(ALPHA)
    assert nominal_level(1, 0.1) == pytest.approx(0.1)


def test_all_looks_together_err_on_one_side_as_one_would(above: np.ndarray) -> None:
    errors = _errors(above, *plan_looks(MOST_BLOCKS).blocks)
    assert 0.02 <= errors <= ALPHA + 3 * _SIGMA


def test_a_run_that_ends_between_two_looks_errs_no_more_often(above: np.ndarray) -> None:
    looks = plan_looks(MOST_BLOCKS).blocks
    for end in range(2, MOST_BLOCKS):
        made = [block for block in looks if block < end]
        assert _errors(above, *made, end) <= ALPHA + 3 * _SIGMA


def test_a_look_after_every_block_at_that_level_would_err_more_often(above: np.ndarray) -> None:
    assert _errors(above, *range(LEAST_BLOCKS, MOST_BLOCKS + 1)) > 0.04


def test_the_longest_run_looks_five_times() -> None:
    looks = plan_looks(MOST_BLOCKS)
    assert (looks.blocks, looks.most) == ((8, 16, 24, 32, 40), 40)
    assert looks.level == nominal_level(5)
    assert plan_looks(1000) == looks


@given(st.integers(1, 200), st.integers(1, 20))
def test_looks_are_spread_evenly_and_the_last_is_at_the_end(most: int, least: int) -> None:
    looks = plan_looks(most, least)
    assert looks.most == min(most, MOST_BLOCKS)
    assert 1 <= len(looks.blocks) <= MOST_LOOKS
    assert len(looks.blocks) == 1 or looks.blocks[0] >= least
    steps = np.diff((0, *looks.blocks))
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1
    # One more would come too early.
    more = len(looks.blocks) + 1
    assert more > MOST_LOOKS or looks.most / more < least


@given(st.integers(1, 200))
def test_the_level_hardly_depends_on_how_even_the_spacing_is(most: int) -> None:
    looks = plan_looks(most)
    assert looks.level == pytest.approx(nominal_level(len(looks.blocks)), rel=0.03)
    assert ALPHA / MOST_LOOKS <= looks.level <= ALPHA + 1e-9


def test_no_blocks_are_no_run() -> None:
    with pytest.raises(ValueError, match="found 0 blocks, expected 1 or more"):
        plan_looks(0)
