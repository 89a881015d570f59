"""Plain deltas of small tables: looked up, learned, published and laid out anew beside adapters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import F32, batches, make_adapter, pooled

from lorabench._kernels.adapter import AdapterReader
from lorabench._kernels.lookup import Tables
from lorabench._kernels.writer import AdapterWriter

pytestmark = pytest.mark.usefixtures("build")

RATE, PLAIN_RATE, EPSILON, START = 0.1, 0.3, 1e-6, 0.2


def learn(writer: AdapterWriter, tables: Tables, indices, grad, offsets=None) -> int:
    return writer.learn(
        tables,
        indices,
        grad,
        learning_rate=RATE,
        plain_rate=PLAIN_RATE,
        epsilon=EPSILON,
        initial_accumulator=np.full(tables.count, START, np.float32),
        offsets=offsets,
    )


def step_twin(delta, sums, batch_of, grad, f: int) -> None:
    """Row-wise Adagrad on whole rows in float64: duplicates are summed, then one step a row."""
    (indices, offsets), batch, total = batch_of, len(grad), {}
    for b in range(batch):
        bag = (
            indices[b : b + 1, f]
            if offsets is None
            else indices[offsets[f * batch + b] : offsets[f * batch + b + 1]]
        )
        for row in map(int, bag):
            total[row] = total.get(row, 0) + grad[b, f].astype(np.float64)
    for row, one in total.items():
        sums[row] = (sums[row] or START) + one @ one
        delta[row] -= PLAIN_RATE * one / (np.sqrt(sums[row]) + EPSILON)


@given(batches(), st.data())
@settings(max_examples=150)
def test_every_row_moves_by_row_wise_adagrad_and_is_served_with_its_delta(case, data) -> None:
    arrays, indices, offsets, batch, rng = case
    count, dim = len(arrays), arrays[0].shape[1]
    plain = [data.draw(st.booleans()) for _ in arrays]
    slots = [len(table) if one else 3 for table, one in zip(arrays, plain, strict=True)]
    writer, reader = make_adapter(slots, [0 if one else 2 for one in plain], dim)
    tables = Tables(arrays)
    exact = [table.astype(np.float64) for table in arrays]
    sums = [np.zeros(len(table)) for table in arrays]
    served = np.zeros((batch, count, dim), np.float32)
    for _ in range(3):
        grad = rng.normal(size=(batch, count, dim)).astype(np.float32)
        assert writer.begin()
        learn(writer, tables, indices, grad, offsets)
        writer.publish()
        for f in range(count):
            if plain[f]:
                step_twin(exact[f], sums[f], (indices, offsets), grad, f)
        reader.lookup(tables, indices, served, offsets)
        # Without a basis the others serve their base rows.
        expected = pooled(exact, indices, offsets)
        np.testing.assert_allclose(served, expected, rtol=2e-4, atol=2e-5)
    for f in range(count):
        delta, basis, rows = writer.arrays(f)
        if plain[f] and indices.size:
            assert basis.shape == (0, dim)
            np.testing.assert_array_equal(rows, np.arange(len(arrays[f])))
            np.testing.assert_allclose(delta, exact[f] - arrays[f], rtol=2e-4, atol=2e-5)


def node(dim: int = 8) -> tuple[AdapterWriter, AdapterReader, Tables, np.random.Generator]:
    """A table with slots and a small one, room for other layouts."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(rows, dim)).astype(np.float32) for rows in (200, 5)]
    writer, reader = make_adapter([20, 5], [4, 0], dim, room=4)
    basis = np.linalg.qr(rng.normal(size=(dim, 4)))[0].T.astype(np.float32)
    writer.begin()
    writer.set_basis(np.ascontiguousarray(np.stack([basis, basis])))
    writer.publish()
    return writer, reader, Tables(arrays), rng


def some_rows(rng: np.random.Generator, n: int = 16) -> np.ndarray:
    return np.stack([rng.integers(0, 200, n), rng.integers(0, 5, n)], axis=1).astype(np.int32)


def lookup(reader: AdapterReader, tables: Tables) -> F32:
    out = np.zeros((200, 2, tables.dim), np.float32)
    indices = np.stack([np.arange(200), np.arange(200) % 5], axis=1).astype(np.int32)
    reader.lookup(tables, indices, out)
    return out


def test_both_sides_agree_flip_after_flip_and_after_another_layout() -> None:
    writer, reader, tables, rng = node()
    for step in range(30):
        assert writer.begin()
        if step == 15:
            before = lookup(reader, tables)
            keep = [np.arange(used, dtype=np.int32) for used in writer.used]
            bases = np.stack([writer.basis(0)[:2]] * 2)
            turns = np.stack([np.eye(4, 2, dtype=np.float32)] * 2)
            writer.relayout(np.array([25, 5]), [2, 0], keep, bases, turns)
            writer.publish()
            np.testing.assert_array_equal(lookup(reader, tables)[:, 1], before[:, 1])
            assert writer.begin()
        grad = rng.normal(size=(16, 2, 8)).astype(np.float32)
        learn(writer, tables, some_rows(rng), grad)
        trained = np.zeros((200, 2, 8), np.float32)
        rows = np.stack([np.arange(200), np.arange(200) % 5], axis=1).astype(np.int32)
        writer.lookup(tables, rows, trained)
        writer.publish()
        np.testing.assert_array_equal(lookup(reader, tables), trained)


def test_clearing_forgets_a_delta_and_learning_begins_anew() -> None:
    writer, reader, tables, rng = node()
    rows, grad = some_rows(rng), rng.normal(size=(16, 2, 8)).astype(np.float32)
    served = []
    for _ in range(2):
        assert writer.begin()
        learn(writer, tables, rows, grad)
        writer.publish()
        served.append(lookup(reader, tables))
        assert writer.begin()
        writer.clear()
        writer.publish()
        np.testing.assert_array_equal(
            lookup(reader, tables)[:, 1], tables.arrays[1][np.arange(200) % 5]
        )
    np.testing.assert_array_equal(*served)


def test_base_vectors_that_came_along_stand_in_for_the_rows() -> None:
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=(6, 8)).astype(np.float32)]
    tables = Tables(arrays, hotness=[4])
    writer, reader = make_adapter([6], [0], 8)
    rows = rng.integers(0, 6, (10, 4)).astype(np.int32)
    assert writer.begin()
    learn(writer, tables, rows, rng.normal(size=(10, 1, 8)).astype(np.float32))
    writer.publish()
    base, out, again = (np.zeros((10, 1, 8), np.float32) for _ in range(3))
    reader.lookup(tables, rows, out, base=base)
    np.testing.assert_allclose(base[:, 0], arrays[0][rows].sum(axis=1), rtol=1e-5, atol=1e-6)
    assert writer.begin()
    writer.lookup(tables, rows, again, base=base)
    np.testing.assert_array_equal(again, out)
    assert not np.allclose(out, base)


def test_tables_of_other_rows_are_refused_before_anything_is_read() -> None:
    writer, reader, tables, _ = node()
    shorter = Tables([tables.arrays[0], tables.arrays[1][:4].copy()])
    one, out = np.zeros((1, 2), np.int32), np.zeros((1, 2, 8), np.float32)
    assert writer.begin()
    for act in (
        lambda: reader.lookup(shorter, one, out),
        lambda: writer.lookup(shorter, one, out),
        lambda: learn(writer, shorter, one, out),
    ):
        with pytest.raises(ValueError, match="has not the rows of its plain delta"):
            act()
    assert reader.lookup(tables, one, out) == 1


@pytest.mark.parametrize(
    ("slots", "ranks"), [([20, 4], [4, 0]), ([20, 5], [4, 1]), ([20, 0], [4, 0])]
)
def test_a_layout_leaves_plain_deltas_as_they_are(slots, ranks) -> None:
    writer, _, _, _ = node()
    keep = [np.zeros(0, np.int32)] * 2
    assert writer.begin()
    with pytest.raises(ValueError, match="slots and rank of table 1: found"):
        writer.relayout(
            np.array(slots),
            ranks,
            keep,
            np.zeros((2, 4, 8), np.float32),
            np.zeros((2, 4, 4), np.float32),
        )


def test_a_layout_keeps_all_of_a_plain_delta_or_nothing() -> None:
    writer, _, tables, rng = node()
    assert writer.begin()
    learn(writer, tables, some_rows(rng), rng.normal(size=(16, 2, 8)).astype(np.float32))
    writer.publish()
    assert writer.begin()
    none = np.zeros(0, np.int32)
    for kept in ([3, 1], [0, 1, 2, 3], [1, 0, 2, 3, 4]):
        with pytest.raises(ValueError, match=r"keep\[1\]: found some slots of a plain delta"):
            writer.relayout(
                np.array([20, 5]),
                [4, 0],
                [none, np.array(kept, np.int32)],
                np.zeros((2, 4, 8), np.float32),
                np.zeros((2, 4, 4), np.float32),
            )


def test_a_delta_is_put_whole_with_its_accumulators() -> None:
    writer, reader, tables, rng = node()
    delta = rng.normal(size=(5, 8)).astype(np.float32)
    sums = np.array([4, 0, 1, 1, 1], np.float32)
    assert writer.begin()
    with pytest.raises(ValueError, match=r"delta: found shape \(4, 8\), expected \[5, 8\]"):
        writer.put_plain(1, delta[:4].copy(), sums)
    with pytest.raises(ValueError, match="accumulator: found 4 entries, expected 5"):
        writer.put_plain(1, delta, sums[:4].copy())
    with pytest.raises(ValueError, match="table 1: found a plain delta"):
        writer.put(1, np.zeros(1, np.int32), np.zeros((1, 0), np.float32))
    writer.put_plain(1, delta, sums)
    writer.publish()
    served = lookup(reader, tables)[:5, 1]
    np.testing.assert_array_equal(served, tables.arrays[1] + delta)
    assert writer.begin()
    learn(writer, tables, np.array([[0, 0], [0, 1]], np.int32), np.ones((2, 2, 8), np.float32))
    # 8 is the energy of the gradient; an accumulator of 0 has seen nothing.
    np.testing.assert_allclose(writer.slot_state(1)[0][:2], [4 + 8, START + 8], rtol=1e-6)
