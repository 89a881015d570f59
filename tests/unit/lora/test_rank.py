"""The rank controller: which rank it finds, how fast it follows, how still it stays."""

import numpy as np
import pytest

from lorabench.lora.rank import RankController, RankRule, shrunk
from lorabench.lora.spectrum import Signal, signal

DIM = 32


def window(rng: np.random.Generator, directions: np.ndarray, rows: int = 256) -> Signal:
    """Signal of a window whose rows drifted by random amounts in `directions` [k, D]."""
    counts = rng.zipf(1.5, (rows, 2)).clip(1, 2000).astype(np.float32)
    mean = 0.4 * rng.standard_normal((rows, len(directions))) @ directions
    sums = [
        mean * counts[:, half : half + 1]
        + rng.standard_normal((rows, DIM)) * np.sqrt(counts[:, half : half + 1])
        for half in (0, 1)
    ]
    return signal(sums[0].astype(np.float32), sums[1].astype(np.float32), counts, rng)


def ranks(planted: list[int], seed: int, rule: RankRule | None = None) -> list[int]:
    """Rank after each window, where window w drifted in `planted[w]` directions."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((DIM, max(*planted, 1))))[0].T
    controller = RankController(rule or RankRule())
    controller.observe(window(rng, directions[: planted[0]]))
    basis = controller.first()
    found = [len(basis)]
    for count in planted[1:]:
        controller.observe(window(rng, directions[:count]))
        held = basis @ directions[:count].T  # what A would have learned, and some noise
        turn = controller.decide(basis, 100 * held @ held.T + np.eye(len(basis)))
        if turn is not None:
            basis = turn.basis
            np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-5)
        found.append(len(basis))
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("planted", [1, 3, 8])
def test_the_planted_rank_is_found_and_kept(planted: int, seed: int) -> None:
    found = ranks([planted] * 50, seed)
    # Equal directions: the target of 90 % leaves out the weakest of eight.
    assert found[-1] in ((planted,) if planted < 8 else (7, 8))
    assert np.count_nonzero(np.diff(found)) <= 1


def test_no_drift_leaves_the_least_rank() -> None:
    assert set(ranks([0] * 50, 0)) == {1}
    assert set(ranks([0] * 5, 0, RankRule(least=2))) == {2}


@pytest.mark.parametrize("seed", range(4))
def test_a_change_of_rank_is_followed_within_three_windows(seed: int) -> None:
    found = ranks([1] * 10 + [4] * 10 + [1] * 10, seed)
    assert found[9] == 1
    assert found[12] == 4
    assert set(found[12:20]) == {4}
    assert found[22] <= 2
    assert found[-1] == 1


def test_a_fixed_rank_stays_while_its_basis_turns() -> None:
    rng = np.random.default_rng(0)
    first, second = np.split(np.linalg.qr(rng.standard_normal((DIM, 4)))[0].T, 2)
    controller = RankController(RankRule(least=2, most=2))
    controller.observe(window(rng, first))
    basis = controller.first()
    turned = False
    for _ in range(6):
        controller.observe(window(rng, second))
        turn = controller.decide(basis, np.eye(2))
        if turn is not None:
            assert turn.rank == 2
            assert 0 <= turn.loss <= 1
            basis, turned = turn.basis, True
    assert turned
    assert np.square(basis @ second.T).sum() > 1.6, "most of the two new directions"


def test_growing_costs_nothing_and_keeps_the_span() -> None:
    rng = np.random.default_rng(1)
    directions = np.linalg.qr(rng.standard_normal((DIM, 3)))[0].T
    controller = RankController(RankRule())
    controller.observe(window(rng, directions[:1]))
    basis = controller.first()
    controller.observe(window(rng, directions))
    turn = controller.decide(basis, np.eye(len(basis)))
    assert turn is not None
    assert turn.rank == 3
    assert turn.loss == 0
    np.testing.assert_array_equal(turn.basis[: len(basis)], basis)


def test_the_best_approximation_keeps_the_most_energy() -> None:
    turn = shrunk(np.eye(3), np.diag([1.0, 5.0, 4.0]), 2)
    assert turn.loss == pytest.approx(0.1)
    np.testing.assert_allclose(np.abs(turn.basis), [[0, 1, 0], [0, 0, 1]], atol=1e-12)
