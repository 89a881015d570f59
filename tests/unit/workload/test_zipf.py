"""The bounded Zipf sampler follows the exact law, whatever the exponent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lorabench.workload.zipf import BoundedZipf


def pooled_pvalue(ranks: np.ndarray, n: int, exponent: float) -> float:
    """P-value of a chi-square test, rare ranks pooled until each cell expects 20 draws."""
    weight = np.arange(1, n + 1, dtype=float) ** -exponent
    expected = weight / weight.sum() * len(ranks)
    cell = np.floor(np.cumsum(expected) / 20).astype(int)
    cell = np.unique(cell, return_inverse=True)[1]
    want = np.bincount(cell, expected)
    have = np.bincount(cell, np.bincount(ranks, minlength=n + 1)[1:])
    if want[-1] < 5 and len(want) > 1:
        want = np.append(want[:-2], want[-2:].sum())
        have = np.append(have[:-2], have[-2:].sum())
    return 1.0 if len(want) < 2 else float(stats.chisquare(have, want).pvalue)


@pytest.mark.parametrize("exponent", [0.0, 0.3, 0.75, 1.0, 1.0 + 1e-12, 1.05, 1.5, 2.2, 4.0])
@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000, 100_000])
def test_frequencies_follow_the_exact_law(n: int, exponent: float) -> None:
    ranks = BoundedZipf(n, exponent).sample(np.random.default_rng(n), 200_000)
    assert ranks.min() >= 1
    assert ranks.max() <= n
    assert pooled_pvalue(ranks, n, exponent) > 1e-4


def test_the_test_above_tells_close_exponents_apart() -> None:
    ranks = BoundedZipf(1000, 1.05).sample(np.random.default_rng(0), 200_000)
    assert pooled_pvalue(ranks, 1000, 1.03) < 1e-4


@given(st.integers(1, 2**31 - 2), st.floats(0, 60), st.integers(0, 2**32))
def test_ranks_stay_in_range_for_any_law(n: int, exponent: float, seed: int) -> None:
    ranks = BoundedZipf(n, exponent).sample(np.random.default_rng(seed), 200)
    assert ranks.dtype == np.int64
    assert ((ranks >= 1) & (ranks <= n)).all()


def test_no_law_without_ranks_or_with_a_negative_exponent() -> None:
    with pytest.raises(ValueError, match="n: found 0"):
        BoundedZipf(0, 1.0)
    with pytest.raises(ValueError, match=r"exponent: found -0\.5"):
        BoundedZipf(5, -0.5)
