"""A's training step, and the replay ring, against plain Python twins."""

from collections import deque

import numpy as np
import pytest
from hotpath_twins import batches, make_adapter, shared
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench._hotpath import ReplayRing, Tables


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
    st.lists(st.tuples(st.sampled_from("ats"), st.integers(0, 4), st.integers(0, 3)), max_size=40),
)
def test_the_ring_is_a_bounded_queue_in_arrival_order(capacity: int, script) -> None:
    record = 16 + 4 * (2 + 3) + 4  # key, 2 dense, 3 sparse, padded to 8
    ring = ReplayRing(shared(256 + capacity * record), 2, 3)
    assert ring.capacity == capacity
    twin = RingTwin(capacity)
    clock, sample = 0, 0
    for what, n, wait in script:
        clock += wait
        if what == "a":
            ids = np.arange(sample, sample + n)
            dense = np.stack([ids, -ids], axis=1).astype(np.float32)
            sparse = np.stack([ids, ids + 1, ids + 2], axis=1).astype(np.int32)
            assert ring.append(sample, clock, dense, sparse) == twin.append(sample, n, clock)
            sample += n
        elif what == "t":
            keys = np.zeros((n, 2), np.int64)
            dense, sparse = np.zeros((n, 2), np.float32), np.zeros((n, 3), np.int32)
            taken = ring.take(clock - 1, keys, dense, sparse)
            expected = twin.take(clock - 1, n)
            assert [tuple(k) for k in keys[:taken]] == expected
            np.testing.assert_array_equal(dense[:taken, 0], keys[:taken, 0])
            np.testing.assert_array_equal(sparse[:taken, 2], keys[:taken, 0] + 2)
        else:
            assert ring.due(clock - 1) == twin.due(clock - 1)
            skipped = min(n, len(twin.held))
            ring.skip(skipped)
            for _ in range(skipped):
                twin.held.popleft()
        assert ring.dropped == twin.dropped
