"""Spectra: against LAPACK, by definition, and on drift whose rank is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_drift import lagging_gradients

from lorabench.lora.spectrum import MomentSum, Spectrum, SplitGradientSums, alignment, signal


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([1, 5, 16, 33]))
@settings(max_examples=60)
def test_eigenvalues_are_the_squared_singular_values_of_the_stacked_rows(seed, n, dim) -> None:
    rng = np.random.default_rng(seed)
    stacked = rng.standard_normal((n, 2, dim)).astype(np.float32)
    moments = MomentSum([1], dim)
    moments.add(stacked)
    spectrum = Spectrum.of(moments.matrix(0))
    expected = torch.linalg.svdvals(torch.from_numpy(stacked[:, 1]).double()).numpy() ** 2
    expected = np.pad(expected, (0, dim - len(expected)))
    np.testing.assert_allclose(spectrum.values, expected, atol=1e-4 * expected[0])
    order = spectrum.directions @ spectrum.directions.T
    np.testing.assert_allclose(order, np.eye(dim), atol=1e-9)


def test_ranks_by_hand() -> None:
    spectrum = Spectrum.of(np.diag([1.0, 6.0, 0.0, 3.0]))
    np.testing.assert_allclose(spectrum.explained, [0.6, 0.9, 1.0, 1.0])
    assert [spectrum.rank(share) for share in (0.5, 0.6, 0.61, 0.9, 0.95, 1.0)] == [
        *(1, 1, 2),
        *(2, 3, 3),
    ]
    assert spectrum.energy == pytest.approx(10)


def test_nothing_has_no_rank() -> None:
    spectrum = Spectrum.of(np.zeros((3, 3)))
    assert (spectrum.rank(0.8), spectrum.effective_rank, spectrum.energy) == (0, 0.0, 0.0)
    assert not spectrum.explained.any()


def test_the_effective_rank_of_equal_eigenvalues_is_their_number() -> None:
    assert Spectrum.of(np.diag([2.0, 2.0, 0.0, 2.0])).effective_rank == pytest.approx(3)
    assert Spectrum.of(np.diag([5.0, 0.0])).effective_rank == pytest.approx(1)


def test_alignment_is_one_for_the_same_subspace_and_zero_for_an_orthogonal_one() -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))
    first = np.eye(4)[:2]
    assert alignment(first, turn @ first) == pytest.approx(1)
    assert alignment(first, np.eye(4)[2:]) == pytest.approx(0)
    assert alignment(first, np.eye(4)[1:3]) == pytest.approx(0.5)


def half_sums(rows, grad, most=512, seed=0) -> SplitGradientSums:
    halves = SplitGradientSums(range(grad.shape[1]), grad.shape[2], most, seed)
    for begin in range(0, len(rows), 2048):
        part = slice(begin, begin + 2048)
        halves.add(rows[part], np.ascontiguousarray(grad[part]))
    return halves


@pytest.mark.parametrize("rank", [0, 1, 3, 8])
def test_the_signal_has_the_rank_of_the_planted_drift(rank: int) -> None:
    rows, grad = lagging_gradients(rank, dim=16, samples=262_144, seed=1)
    found = half_sums(rows, grad).signal(0)
    assert found.significant == rank
    assert np.isfinite(found.floor)
    moments = MomentSum([0], 16)
    moments.add(np.ascontiguousarray(grad))
    # What per-sample gradients would have said: noise fills them, whatever the drift.
    assert Spectrum.of(moments.matrix(0)).effective_rank > 4
    if rank == 0:
        assert found.share == 0
        assert found.kept.rank(0.8) == 0
    else:
        assert 0 < found.share < 1


def test_pure_noise_is_hardly_ever_signal() -> None:
    rng = np.random.default_rng(3)
    false = 0
    for _ in range(200):
        counts = rng.integers(1, 50, (100, 2)).astype(np.float32)
        noise = rng.standard_normal((2, 100, 16)) * np.sqrt(counts.T)[:, :, None]
        halves = noise.astype(np.float32)
        false += signal(halves[0], halves[1], counts, rng).significant > 0
    assert false <= 6


def test_half_sums_add_up_to_all_gradients_of_the_rows_that_came_first() -> None:
    rng = np.random.default_rng(4)
    rows = rng.integers(0, 40, (500, 1)).astype(np.int32)
    grad = rng.standard_normal((500, 1, 3)).astype(np.float32)
    halves = SplitGradientSums([0], 3, most=10, seed=0)
    for begin in range(0, 500, 100):
        halves.add(rows[begin : begin + 100], grad[begin : begin + 100])
    first = list(dict.fromkeys(rows[:, 0].tolist()))[:10]
    for place, row in enumerate(first):
        both = halves._sums[0][2 * place] + halves._sums[0][2 * place + 1]
        np.testing.assert_allclose(both, grad[rows[:, 0] == row, 0].sum(axis=0), atol=1e-4)
        counted = halves._counts[0][2 * place : 2 * place + 2].sum()
        assert counted == (rows[:, 0] == row).sum()
    assert halves._counts[0].sum() == np.isin(rows, first).sum()
    halves.clear()
    assert not halves._sums[0].any()
    assert halves.signal(0).rows == 0


def test_too_few_rows_have_no_signal() -> None:
    few = np.ones((3, 4), np.float32)
    found = signal(few, few, np.ones((3, 2), np.float32), np.random.default_rng(0))
    assert (found.significant, found.share, found.rows) == (0, 0.0, 3)
    assert found.floor == np.inf


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(0, 3),
)
@settings(max_examples=60)
def test_half_sums_of_bags_add_a_gradient_for_each_time_its_sample_names_the_row(
    seed: int, hotness: list[int], batches: int
) -> None:
    rng = np.random.default_rng(seed)
    dim, most = 3, 6
    halves = SplitGradientSums(range(len(hotness)), dim, most, 5, hotness)
    coins = np.random.default_rng(5)
    sums: list[dict[int, np.ndarray]] = [{} for _ in hotness]
    for _ in range(batches):
        n = int(rng.integers(1, 9))
        sparse = rng.integers(0, 8, (n, sum(hotness))).astype(np.int32)
        grad = rng.standard_normal((n, len(hotness), dim)).astype(np.float32)
        halves.add(sparse, grad)
        side = coins.integers(0, 2, n)
        for f, hot in enumerate(hotness):
            first = sum(hotness[:f])
            bags = sparse[:, first : first + hot]
            for row in dict.fromkeys(bags.ravel().tolist()):  # in the order of their coming
                if row in sums[f] or len(sums[f]) < most:
                    sums[f].setdefault(row, np.zeros((2, dim + 1)))
            for sample, bag in enumerate(bags):
                for row in set(bag.tolist()) & sums[f].keys():
                    times = int((bag == row).sum())
                    sums[f][row][side[sample], :dim] += times * grad[sample, f]
                    sums[f][row][side[sample], dim] += times**2
    for f in range(len(hotness)):
        expected = np.array(list(sums[f].values())).reshape(-1, dim + 1)
        np.testing.assert_allclose(
            halves._sums[f][: len(expected)], expected[:, :dim], rtol=1e-4, atol=1e-5
        )
        np.testing.assert_array_equal(halves._counts[f][: len(expected)], expected[:, dim])
