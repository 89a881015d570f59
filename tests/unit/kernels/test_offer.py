"""Offering answered queries to the ring: each once and in order, and only while there is time."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench._kernels.replay import ReplayRing
from lorabench.memory import Region

NEVER = 1 << 62


def ring_of(samples: int, rows: int = 200) -> tuple[ReplayRing, np.ndarray, np.ndarray]:
    """An empty ring for so many samples, and the rows that they are numbers of."""
    rng = np.random.default_rng(0)
    dense = rng.random((rows, 3)).astype(np.float32)
    sparse = rng.integers(0, 9, (rows, 2)).astype(np.int32)
    record = 40
    return ReplayRing(Region.create("ring", 384 + record * samples).mapping, 3, 2), dense, sparse


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 190), st.integers(0, 9)), max_size=30),
    st.lists(st.integers(0, 30), max_size=6),
)
def test_what_is_offered_is_what_append_would_have_put_there(
    queries: list[tuple[int, int]], stops: list[int]
) -> None:
    ring, dense, sparse = ring_of(400)
    other, *_ = ring_of(400)
    first = np.array([q[0] for q in queries], np.int64)
    rows = np.array([q[1] for q in queries], np.int32)
    answered = np.arange(len(queries), dtype=np.int64) * 7
    ring.offer_from(dense, sparse, first, rows, answered)
    at = 0
    for stop in sorted(min(stop, len(queries)) for stop in stops):
        at = ring.offer(at, max(at, stop), NEVER)
    assert ring.offer(at, len(queries), NEVER) == len(queries)
    for (start, count), when in zip(queries, answered, strict=True):
        to = slice(start, start + count)
        other.append(start, int(when), dense[to], sparse[to])
    taken = []
    for one in (ring, other):
        keys, d = np.zeros((400, 2), np.int64), np.zeros((400, 3), np.float32)
        s = np.zeros((400, 2), np.int32)
        n = one.take(NEVER, keys, d, s)
        taken.append((keys[:n], d[:n], s[:n]))
    for mine, theirs in zip(*taken, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert ring.appended == rows.sum()


def test_nothing_is_begun_that_would_not_be_done_in_time() -> None:
    ring, dense, sparse = ring_of(400)
    first, rows = np.arange(50, dtype=np.int64), np.full(50, 2, np.int32)
    ring.offer_from(dense, sparse, first, rows, np.zeros(50, np.int64))
    assert ring.offer(0, 50, time.monotonic_ns() - 1) == 0
    assert ring.appended == 0
    assert ring.offer(0, 50, NEVER) == 50
    assert ring.offered_ns > 0


def test_what_finds_the_ring_full_is_dropped_and_counted() -> None:
    ring, dense, sparse = ring_of(10)
    first, rows = np.arange(8, dtype=np.int64), np.full(8, 2, np.int32)
    ring.offer_from(dense, sparse, first, rows, np.zeros(8, np.int64))
    assert ring.offer(0, 8, NEVER) == 8
    assert ring.appended == 2 * (ring.capacity // 2)
    assert ring.appended + ring.dropped == 16


def test_rows_that_are_none_and_places_out_of_order_are_refused() -> None:
    ring, dense, sparse = ring_of(10)
    zero, one = np.zeros(1, np.int64), np.ones(1, np.int32)
    with pytest.raises(ValueError, match="found 1 from 200 on, expected some of 200 rows"):
        ring.offer_from(dense, sparse, zero + 200, one, zero)
    with pytest.raises(ValueError, match="found 1, 1 and 0, expected as many of each"):
        ring.offer_from(dense, sparse, zero, one, zero[:0])
    with pytest.raises(ValueError, match="found shapes"):
        ring.offer_from(dense[:3], sparse, zero, one, zero)
    ring.offer_from(dense, sparse, zero, one, zero)
    with pytest.raises(ValueError, match="found 0 and 2, expected 0 <= at <= end <= 1"):
        ring.offer(0, 2, NEVER)
