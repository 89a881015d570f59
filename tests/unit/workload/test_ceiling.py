"""The ceiling against the exact area and loss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit

from lorabench.workload.ceiling import CeilingCounts


def exact_auc(logit: np.ndarray, label: np.ndarray) -> float:
    rank = stats.rankdata(logit)
    clicks = int(label.sum())
    above = rank[label == 1].sum() - clicks * (clicks + 1) / 2
    return float(above / (clicks * (len(label) - clicks)))


@given(st.integers(0, 2**32 - 1), st.integers(2, 5000), st.floats(0.1, 4))
def test_area_entropy_and_rate_are_those_of_the_rows(seed: int, n: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1, spread, n)
    p = expit(logit)
    label = (rng.random(n) < p).astype(np.int8)
    label[:2] = 0, 1
    counts, other = CeilingCounts(), CeilingCounts()
    counts.add(logit[: n // 2], label[: n // 2])
    other.add(logit[n // 2 :], label[n // 2 :])
    counts.merge(CeilingCounts.unpack(other.pack()))
    found = counts.ceiling()
    rate = label.mean()
    assert found.click_rate == pytest.approx(rate)
    # Rows within a bin of 1/512 count as equal.
    bins = np.floor(logit * 512)
    assert found.auc == pytest.approx(exact_auc(bins, label), abs=1e-12)
    # Each pair that shares a bin counts by half, where it is 0 or 1 in truth.
    tied = (bins[label == 1][:, None] == bins[label == 0]).mean()
    assert abs(found.auc - exact_auc(logit, label)) <= tied / 2 + 1e-12
    loss = -np.log(np.where(label == 1, p, 1 - p)).mean()
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert found.normalized_entropy == pytest.approx(loss / entropy, rel=2e-3)


def test_labels_that_are_all_equal_have_no_area() -> None:
    counts = CeilingCounts()
    counts.add(np.zeros(10), np.ones(10, np.int8))
    assert counts.ceiling().auc is None
    assert counts.ceiling().click_rate == 1
