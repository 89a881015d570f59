"""Ordinary training: what its accumulators are, and that training goes on from them."""

import numpy as np
import pytest

from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.full import FullTrainer
from lorabench.model.gradients import embedding_gradients
from lorabench.model.tables import TableLayout, TableSet

ROWS, DIM = 50, 8


def model() -> tuple[TableSet, DenseNet]:
    tables = TableSet.create(TableLayout((ROWS, ROWS), DIM))
    tables.initialise(np.random.default_rng(0))
    net = DenseNet(DlrmShape(2, 2, DIM, (8,), (16,)))
    net.initialise(0)
    return tables, net.freeze()


def samples(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    dense = rng.standard_normal((n, 2)).astype(np.float32)
    sparse = rng.integers(0, ROWS, (n, 2)).astype(np.int32)
    return dense, sparse, rng.integers(0, 2, n).astype(np.int8)


def test_an_accumulator_sums_the_mean_squares_of_its_rows_summed_gradients() -> None:
    tables, net = model()
    dense, sparse, labels = samples(200)
    before = [table.copy() for table in tables.arrays]
    embeddings = np.empty((200, 2, DIM), np.float32)
    tables.kernels.lookup(sparse, embeddings)
    _, expected = embedding_gradients(net, dense, embeddings, labels)
    trainer = FullTrainer(tables, net, "adagrad", 0.1)
    _, grad = trainer.step(dense, sparse, labels)
    np.testing.assert_allclose(grad, expected, rtol=1e-4, atol=1e-6)
    assert trainer.accumulators is not None
    for f, sums in enumerate(trainer.accumulators):
        summed = np.zeros((ROWS, DIM))
        np.add.at(summed, sparse[:, f], expected[:, f].astype(np.float64))
        mean_square = (summed**2).mean(axis=1)
        np.testing.assert_allclose(sums, mean_square, rtol=1e-3, atol=1e-7)
        step = 0.1 * summed / np.sqrt(mean_square)[:, None]
        touched = np.unique(sparse[:, f])
        np.testing.assert_allclose(
            (before[f] - tables.arrays[f])[touched], step[touched], rtol=1e-2, atol=1e-5
        )


def test_accumulators_hold_for_batches_of_another_size() -> None:
    found = []
    for batch in (1, 4):
        tables, net = model()
        trainer = FullTrainer(tables, net, "adagrad", 1e-6)
        dense, _, labels = samples(ROWS)
        # Each row once, so that no batch sums any.
        sparse = np.stack([np.arange(ROWS), np.arange(ROWS)], axis=1).astype(np.int32)
        for begin in range(0, ROWS, batch):
            part = slice(begin, begin + batch)
            trainer.step(dense[part], sparse[part], labels[part])
        assert trainer.accumulators is not None
        found.append(np.concatenate(trainer.accumulators))
    np.testing.assert_allclose(*found, rtol=1e-3)


def test_training_in_two_parts_is_training_in_one() -> None:
    whole, parts = model(), model()
    dense, sparse, labels = samples(400)
    every = FullTrainer(*whole)
    for part in (slice(0, 200), slice(200, 400)):
        every.step(dense[part], sparse[part], labels[part])
    first = FullTrainer(*parts)
    first.step(dense[:200], sparse[:200], labels[:200])
    kept = first.accumulators
    assert kept is not None
    saved = [sums.copy() for sums in kept]
    FullTrainer(*parts, accumulators=kept).step(dense[200:], sparse[200:], labels[200:])
    for a, b in zip(whole[0].arrays, parts[0].arrays, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(kept, saved, strict=True):
        np.testing.assert_array_equal(a, b)


def test_sgd_has_none_and_its_rate_is_of_the_mean_loss() -> None:
    tables, net = model()
    dense, sparse, labels = samples(100)
    before = tables.arrays[0].copy()
    trainer = FullTrainer(tables, net, "sgd", 2.0)
    assert trainer.accumulators is None
    _, grad = trainer.step(dense, sparse, labels)
    summed = np.zeros((ROWS, DIM))
    np.add.at(summed, sparse[:, 0], grad[:, 0].astype(np.float64))
    np.testing.assert_allclose(tables.arrays[0] - before, -2.0 * summed / 100, atol=1e-6)


@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_forgetting_keeps_a_share_of_the_accumulators(kept: float) -> None:
    trainer = FullTrainer(*model())
    trainer.step(*samples(100))
    assert trainer.accumulators is not None
    before = [sums.copy() for sums in trainer.accumulators]
    trainer.forget(kept)
    for a, b in zip(trainer.accumulators, before, strict=True):
        np.testing.assert_allclose(a, kept * b)
