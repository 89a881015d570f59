"""A's training step, and the replay ring, against plain Python twins."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import batches, make_adapter, shared

from lorabench._kernels.lookup import Tables
from lorabench._kernels.replay import ReplayRing


def learn_twin(state, indices, offsets, grad, *, basis, slots, rate, epsilon, start):
    """Row-wise Adagrad on A in float64: duplicates are summed, then one step a slot."""
    count = basis.shape[0]
    batch = grad.shape[0]
    for f in range(count):
        sums: dict[int, np.ndarray] = {}
        for b in range(batch):
            if offsets is None:
                bag = [indices[b, f]]
            else:
                bag = indices[offsets[f * batch + b] : offsets[f * batch + b + 1]]
            for row in map(int, bag):
                if row not in state[f]:
                    if len(state[f]) == slots:
                        continue
                    state[f][row] = [np.zeros(basis.shape[1]), start[f]]
                sums[row] = sums.get(row, 0) + basis[f].astype(np.float64) @ grad[b, f]
        for row, total in sums.items():
            state[f][row][1] += float(total @ total)
            state[f][row][0] = state[f][row][0] - rate * total / (
                np.sqrt(state[f][row][1]) + epsilon
            )


@given(batches(), st.sampled_from([1, 4, 9]), st.integers(0, 8))
@settings(max_examples=150)
def test_learning_sums_duplicates_then_steps_as_row_wise_adagrad(case, rank, slots) -> None:
    tables, indices, offsets, batch, rng = case
    count, dim = len(tables), tables[0].shape[1]
    writer, _ = make_adapter([slots] * count, rank, dim)
    basis = rng.normal(size=(count, rank, dim)).astype(np.float32)
    start = rng.uniform(0.1, 1, count).astype(np.float32)
    base = Tables(tables)
    writer.begin()
    writer.set_basis(basis)
    state: list[dict[int, list]] = [{} for _ in range(count)]
    refused = 0
    for _ in range(4):
        writer.begin()
        grad = rng.normal(size=(batch, count, dim)).astype(np.float32)
        refused += writer.learn(
            base,
            indices,
            grad,
            learning_rate=0.1,
            epsilon=1e-6,
            initial_accumulator=start,
            offsets=offsets,
        )
        writer.publish()
        learn_twin(
            state,
            indices,
            offsets,
            grad,
            basis=basis,
            slots=slots,
            rate=0.1,
            epsilon=1e-6,
            start=start,
        )
    for f in range(count):
        A, B, rows = writer.arrays(f)
        assert list(rows) == list(state[f])
        if slots:
            np.testing.assert_array_equal(B, basis[f])
        for a, row in zip(A, rows, strict=True):
            np.testing.assert_allclose(a, state[f][int(row)][0], rtol=2e-4, atol=2e-5)
    distinct = [set(_rows_of(indices, offsets, f, batch).tolist()) for f in range(count)]
    assert (refused > 0) == (slots > 0 and any(len(rows) > slots for rows in distinct))


def _rows_of(indices, offsets, f, batch):
    if offsets is None:
        return indices[:, f]
    return indices[offsets[f * batch] : offsets[(f + 1) * batch]]


def test_both_sides_agree_after_many_flips() -> None:
    rng = np.random.default_rng(3)
    base = Tables([rng.normal(size=(50, 8)).astype(np.float32)])
    writer, reader = make_adapter([20], 3, 8)
    indices = np.arange(50, dtype=np.int32)[:, None]
    writer.begin()
    writer.set_basis(np.linalg.qr(rng.normal(size=(8, 3)))[0].T.astype(np.float32)[None].copy())
    for step in range(40):
        assert writer.begin()
        few = rng.integers(0, 50, (4, 1)).astype(np.int32)
        writer.learn(
            base,
            few,
            rng.normal(size=(4, 1, 8)).astype(np.float32),
            learning_rate=0.1,
            epsilon=1e-8,
            initial_accumulator=np.zeros(1, np.float32),
        )
        trained, served = (np.zeros((50, 1, 8), np.float32) for _ in range(2))
        writer.lookup(base, indices, trained)
        assert writer.publish() == reader.lookup(base, indices, served) == step + 1
        np.testing.assert_array_equal(served, trained)


def test_clearing_serves_the_base_tables_again_and_learning_can_resume() -> None:
    rng = np.random.default_rng(4)
    base = Tables([rng.normal(size=(6, 4)).astype(np.float32)])
    writer, reader = make_adapter([6], 2, 4)
    indices = np.arange(6, dtype=np.int32)[:, None]
    plain, out = (np.zeros((6, 1, 4), np.float32) for _ in range(2))
    base.lookup(indices, plain)
    step = {
        "learning_rate": 0.1,
        "epsilon": 1e-8,
        "initial_accumulator": np.zeros(1, np.float32),
    }
    writer.begin()
    writer.set_basis(np.eye(2, 4, dtype=np.float32)[None])
    for _ in range(3):
        writer.begin()
        writer.learn(base, indices, np.ones((6, 1, 4), np.float32), **step)
        writer.publish()
        reader.lookup(base, indices, out)
        assert not np.array_equal(out, plain)
        writer.begin()
        writer.clear()
        writer.publish()
        reader.lookup(base, indices, out)
        np.testing.assert_array_equal(out, plain)
        assert writer.used == [0]


def test_the_idle_side_is_out_of_reach_before_begin_and_after_publish() -> None:
    base = Tables([np.ones((6, 4), np.float32)])
    writer, _ = make_adapter([6], 2, 4)
    with pytest.raises(RuntimeError, match="only between begin and publish"):
        writer.publish()
    writer.begin()
    writer.publish()
    with pytest.raises(RuntimeError, match="only between begin and publish"):
        writer.lookup(base, np.zeros((1, 1), np.int32), np.zeros((1, 1, 4), np.float32))


class RingTwin:
    """What the ring promises, as a deque."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.held, self.dropped = capacity, deque(), 0

    def append(self, first, n, ns):
        if len(self.held) + n > self.capacity:
            self.dropped += n
            return False
        self.held.extend((first + i, ns) for i in range(n))
        return True

    def due(self, before):
        return sum(ns <= before for _, ns in self.held)

    def take(self, before, most):
        return [self.held.popleft() for _ in range(min(most, self.due(before)))]


@given(
    st.integers(1, 7),
    st.integers(0, 2),
    st.lists(st.tuples(st.sampled_from("ats"), st.integers(0, 4), st.integers(0, 3)), max_size=40),
)
def test_the_ring_is_a_bounded_queue_in_arrival_order(capacity: int, vectors: int, script) -> None:
    # Key, 2 dense, 3 sparse, and with base vectors of 4 floats a version; padded to 8.
    record = 16 + 4 * (2 + 3) + 4 + (8 + 16 * vectors if vectors else 0)
    ring = ReplayRing(shared(256 + capacity * record), 2, 3, 4 * vectors)
    assert ring.capacity == capacity
    assert ring.base_bytes == (8 + 16 * vectors if vectors else 0)
    ring.reset()
    twin = RingTwin(capacity)
    clock, sample = 0, 0
    for what, n, wait in script:
        clock += wait
        if what == "a":
            ids = np.arange(sample, sample + n)
            dense = np.stack([ids, -ids], axis=1).astype(np.float32)
            sparse = np.stack([ids, ids + 1, ids + 2], axis=1).astype(np.int32)
            base = np.repeat(ids.astype(np.float32), 4 * vectors).reshape(n, vectors, 4)
            kept = {"version": 3 * clock, "base": base} if vectors else {}
            assert ring.append(sample, clock, dense, sparse, **kept) == twin.append(
                sample, n, clock
            )
            sample += n
        elif what == "t":
            keys = np.zeros((n, 2), np.int64)
            dense, sparse = np.zeros((n, 2), np.float32), np.zeros((n, 3), np.int32)
            versions, base = np.zeros(n, np.int64), np.full((n, vectors, 4), -1, np.float32)
            room = {"versions": versions, "base": base} if vectors else {}
            taken = ring.take(clock - 1, keys, dense, sparse, **room)
            expected = twin.take(clock - 1, n)
            assert [tuple(k) for k in keys[:taken]] == expected
            np.testing.assert_array_equal(dense[:taken, 0], keys[:taken, 0])
            np.testing.assert_array_equal(sparse[:taken, 2], keys[:taken, 0] + 2)
            if vectors:
                np.testing.assert_array_equal(versions[:taken], 3 * keys[:taken, 1])
                np.testing.assert_array_equal(base[:taken].min(axis=(1, 2)), keys[:taken, 0])
                np.testing.assert_array_equal(base[:taken].max(axis=(1, 2)), keys[:taken, 0])
        else:
            assert ring.due(clock - 1) == twin.due(clock - 1)
            skipped = min(n, len(twin.held))
            ring.skip(skipped)
            for _ in range(skipped):
                twin.held.popleft()
        assert ring.dropped == twin.dropped


def test_both_ends_of_a_ring_must_have_it_laid_out_alike() -> None:
    memory = shared(4096)
    plain, keeping = ReplayRing(memory, 1, 1), ReplayRing(memory, 1, 1, 8)
    dense, sparse = np.zeros((2, 1), np.float32), np.zeros((2, 1), np.int32)
    keys, versions = np.zeros((2, 2), np.int64), np.zeros(2, np.int64)
    base = np.zeros((2, 2, 4), np.float32)
    plain.append(0, 0, dense, sparse)
    with pytest.raises(ValueError, match=r"ring: found one laid out for 0 floats .* expected 8"):
        keeping.append(0, 0, dense, sparse, base=base)
    keeping.reset()
    assert keeping.append(0, 0, dense, sparse, version=2, base=base)
    with pytest.raises(ValueError, match=r"ring: found one laid out for 8 floats .* expected 0"):
        plain.take(0, keys, dense, sparse)
    for call in (
        lambda: keeping.append(0, 0, dense, sparse),
        lambda: keeping.append(0, 0, dense, sparse, base=base[:1]),
        lambda: keeping.append(0, 0, dense, sparse, base=base[:, :, :3].copy()),
        lambda: plain.append(0, 0, dense, sparse, base=base),
        lambda: keeping.take(0, keys, dense, sparse, versions=versions),
        lambda: keeping.take(0, keys, dense, sparse, base=base),
        lambda: keeping.take(0, keys, dense, sparse, versions=versions[:1], base=base),
    ):
        with pytest.raises(ValueError, match=r"^(base|versions): found"):
            call()
    assert keeping.take(0, keys, dense, sparse, versions=versions, base=base) == 2
    assert versions.tolist() == [2, 2]
