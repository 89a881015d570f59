"""Windows, their blocks, and what is kept of their predictions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.experiments.freshness.quality import Quality, blocks_of, part
from lorabench.results.quality import auc, normalized_entropy


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_blocks_are_consecutive_even_and_hold_every_window(counts) -> None:
    windows, blocks = counts
    found = blocks_of(windows, blocks)
    assert len(found) == blocks
    assert [window for block in found for window in block] == list(range(windows))
    sizes = [len(block) for block in found]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("windows", "parts", "expected"), [(12, 3, 4), (12, 4, 3), (7, 4, 1), (4, 4, 1), (3, 4, 0)]
)
def test_a_part_has_no_window_where_there_are_too_few(windows, parts, expected) -> None:
    assert part(windows, parts) == expected


def test_a_quality_has_each_window_and_its_last_third_together() -> None:
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 2, 50).astype(np.int8) for _ in range(7)]
    scores = [rng.random(50, np.float32) for _ in range(7)]
    found = Quality(7)
    for number, (label, score) in enumerate(zip(labels, scores, strict=True)):
        assert (found.whole, found.auc_last_third) == (False, None)
        found.add(label, score)
        assert found.auc[number] == auc(label, score)
        assert found.normalized_entropy[number] == normalized_entropy(label, score)
    assert found.whole
    assert found.auc_last_third == auc(np.concatenate(labels[5:]), np.concatenate(scores[5:]))


def test_two_windows_have_no_last_third() -> None:
    found = Quality(2)
    for _ in range(2):
        found.add(np.array([0, 1], np.int8), np.array([0.2, 0.7], np.float32))
    assert found.whole
    assert found.auc == [1.0, 1.0]
    assert found.auc_last_third is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_have_no_quality(bad) -> None:
    labels, scores = np.array([0, 1, 1], np.int8), np.array([0.1, 0.2, bad], np.float32)
    assert auc(labels, scores) is None
    assert normalized_entropy(labels, scores) is None
