"""A whole table's training step against a plain Python twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import batches

from lorabench._kernels.train import TableOptimizer


def step_twin(tables, sums, *, indices, offsets, grad, rate=0.1, epsilon=1e-6):
    """SGD (`sums` None) or row-wise Adagrad in float64: duplicates are summed, one step a row."""
    batch = grad.shape[0]
    for f, table in enumerate(tables):
        totals: dict[int, np.ndarray] = {}
        for b in range(batch):
            if offsets is None:
                bag = [indices[b, f]]
            else:
                bag = indices[offsets[f * batch + b] : offsets[f * batch + b + 1]]
            for row in map(int, bag):
                totals[row] = totals.get(row, 0) + grad[b, f].astype(np.float64)
        for row, total in totals.items():
            step = rate
            if sums is not None:
                sums[f][row] += np.square(total).mean()
                step /= np.sqrt(sums[f][row]) + epsilon
            table[row] -= step * total


@given(batches(), st.booleans())
@settings(max_examples=150)
def test_a_step_sums_duplicates_then_moves_each_row_once(case, adagrad) -> None:
    tables, indices, offsets, batch, rng = case
    twins = [table.astype(np.float64) for table in tables]
    sums = [np.zeros(len(table), np.float32) for table in tables] if adagrad else None
    twin_sums = [np.zeros(len(table)) for table in tables] if adagrad else None
    optimizer = TableOptimizer(tables, sums)
    for _ in range(3):
        grad = rng.normal(size=(batch, len(tables), tables[0].shape[1])).astype(np.float32)
        optimizer.step(indices, grad, learning_rate=0.1, epsilon=1e-6, offsets=offsets)
        step_twin(twins, twin_sums, indices=indices, offsets=offsets, grad=grad)
    for f, (table, twin) in enumerate(zip(tables, twins, strict=True)):
        np.testing.assert_allclose(table, twin, rtol=2e-4, atol=2e-4)
        if sums is not None:
            np.testing.assert_allclose(sums[f], twin_sums[f], rtol=2e-4, atol=2e-4)


def test_what_cannot_be_trained_is_refused() -> None:
    table = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match=r"accumulators: found 2, expected 1"):
        TableOptimizer([table], [np.zeros(3, np.float32)] * 2)
    with pytest.raises(ValueError, match=r"accumulators\[0\]: found 4 entries, expected 3"):
        TableOptimizer([table], [np.zeros(4, np.float32)])
    with pytest.raises(ValueError, match=r"arrays\[0\]"):
        TableOptimizer([table.view(np.uint16)])
    frozen = table.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match=r"arrays\[0\].*writ"):
        TableOptimizer([frozen])
    optimizer = TableOptimizer([table])
    with pytest.raises(IndexError, match="found 3 at position 0"):
        optimizer.step(np.array([[3]], np.int32), np.ones((1, 1, 2), np.float32), learning_rate=1.0)
    assert not table.any()
