"""What other optimisers would have moved rows by, against those that do."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lorabench.experiments.profile.otherwise import OTHERWISE, moments

DIM = 4


def unit(moment: np.ndarray) -> np.ndarray:
    """A moment without the factor that all tables share."""
    return moment / np.trace(moment)


def adagrad(gradients: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Updates and accumulators of row-wise Adagrad over steps [K, N, D]."""
    moved, sums = np.zeros(gradients.shape[1:]), sums.astype(np.float64)
    for gradient in gradients:
        sums = sums + np.square(gradient).mean(axis=1)
        moved -= 0.1 * gradient / np.sqrt(sums)[:, None]
    return moved, sums


def derived(gradients: np.ndarray, before: np.ndarray) -> dict[str, np.ndarray]:
    moved, after = adagrad(gradients, before)
    single = [array.astype(np.float32) for array in (moved, before, after)]
    return {name: unit(moment) for name, moment in moments(*single).items()}


def truth(gradients: np.ndarray) -> dict[str, np.ndarray]:
    summed = gradients.sum(axis=0)
    fresh, _ = adagrad(gradients, np.zeros(gradients.shape[1]))
    return {"sgd": unit(summed.T @ summed), "adagrad-emptied": unit(fresh.T @ fresh)}


@given(
    gradients=arrays(
        np.float64, (1, 6, DIM), elements=st.floats(-1, 1).filter(lambda x: abs(x) > 0.05)
    ),
    before=arrays(np.float64, 6, elements=st.floats(0, 100)),
)
def test_one_step_is_told_exactly(gradients: np.ndarray, before: np.ndarray) -> None:
    found, expected = derived(gradients, before), truth(gradients)
    assert set(found) == set(OTHERWISE)
    for name, moment in found.items():
        np.testing.assert_allclose(moment, expected[name], atol=2e-2)


def test_sgd_is_told_of_rows_with_a_long_past() -> None:
    gradients = np.random.default_rng(0).standard_normal((20, 50, DIM))
    before = np.random.default_rng(1).uniform(1e4, 1e6, 50)
    np.testing.assert_allclose(
        derived(gradients, before)["sgd"], truth(gradients)["sgd"], atol=1e-3
    )


def test_rows_without_a_gradient_and_sums_beyond_float32_are_no_reason_to_fail() -> None:
    update = np.array([[0.0] * DIM, [1e-3] * DIM, [1.0] * DIM], np.float32)
    before = np.array([0.0, 1e6, 0.0], np.float32)
    after = np.array([0.0, 1e6, 1.0], np.float32)
    for moment in moments(update, before, after).values():
        assert np.isfinite(moment).all()
        assert np.trace(moment) > 0
