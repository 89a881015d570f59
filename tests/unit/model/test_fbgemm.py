"""FBGEMM's operators: what they work on, and when they are left alone."""

import numpy as np
import pytest

from lorabench.model import fbgemm


@pytest.mark.usefixtures("with_fbgemm")
@pytest.mark.parametrize("integers", [np.int32, np.int64])
def test_tables_are_trained_where_they_lie_and_what_is_between_them_is_left_alone(
    integers: type,
) -> None:
    import torch

    rng = np.random.default_rng(0)
    rows, dim, begins = (5, 3), 4, (2, 30)
    memory = rng.standard_normal(48).astype(np.float32)
    before = memory.copy()
    optimizer = fbgemm.RowwiseAdagrad(
        torch.from_numpy(memory), rows, dim, offsets=begins, learning_rate=0.1, epsilon=1e-8
    )
    tables = [
        table[begin : begin + count * dim].reshape(count, dim)
        for table in (memory,)
        for begin, count in zip(begins, rows, strict=True)
    ]
    firsts = [table.copy() for table in tables]
    optimizer.accumulators[1][2] = 7.0
    # Bags of table 0: rows 4 and 4, row 0; of table 1: row 2, none.
    indices, offsets = np.array([4, 4, 0, 2], integers), np.array([0, 2, 3, 4, 4], integers)
    bags = torch.from_numpy(indices), torch.from_numpy(offsets)
    pooled = optimizer.forward(*bags).numpy().reshape(2, 2, dim)
    expected = [[2 * tables[0][4], tables[1][2]], [tables[0][0], np.zeros(dim)]]
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)
    grad = rng.standard_normal((2, 2, dim)).astype(np.float32)
    optimizer.backward(*bags, torch.from_numpy(grad.reshape(2, -1)))
    for f, row, total, start in ((0, 4, 2 * grad[0, 0], 0), (0, 0, grad[1, 0], 0),
                                 (1, 2, grad[0, 1], 7.0)):  # fmt: skip
        square = start + np.square(total).mean()
        assert optimizer.accumulators[f][row] == pytest.approx(square, rel=1e-5)
        moved = firsts[f][row] - 0.1 * total / np.sqrt(square)
        np.testing.assert_allclose(tables[f][row], moved, rtol=1e-5, atol=1e-6)
    changed = set(np.flatnonzero(memory != before).tolist())
    touched = [begins[0] + 16, begins[0], begins[1] + 8]
    assert changed == {begin + d for begin in touched for d in range(dim)}


def test_a_release_for_another_torch_is_not_even_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.13.0+cpu", "fbgemm-gpu-cpu": "1.7.0"}
    monkeypatch.setattr(fbgemm.metadata, "version", versions.__getitem__)
    monkeypatch.setattr(fbgemm.util, "find_spec", lambda name: object())
    monkeypatch.setattr(fbgemm, "load", lambda: pytest.fail("it was loaded"))
    why = fbgemm.unavailable.__wrapped__()
    assert why == "fbgemm-gpu-cpu 1.7.0 goes with torch 2.12, not with 2.13.0+cpu"


def test_where_it_is_missing_or_broken_the_reason_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise OSError("libfoo.so:\n  cannot open")

    monkeypatch.setattr(fbgemm.util, "find_spec", lambda name: None)
    assert fbgemm.unavailable.__wrapped__() == "fbgemm-gpu-cpu is not installed"
    monkeypatch.setattr(fbgemm.util, "find_spec", lambda name: object())
    monkeypatch.setattr(fbgemm, "_mismatch", lambda: None)
    monkeypatch.setattr(fbgemm, "load", broken)
    assert fbgemm.unavailable.__wrapped__() == "it cannot be loaded: libfoo.so: cannot open"
