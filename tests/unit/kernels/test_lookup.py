"""The lookup kernels against plain numpy twins."""

import mmap
import os
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import batches, make_adapter, pooled

from lorabench._kernels.lookup import Tables
from lorabench._kernels.memory import Mapping


@given(batches())
def test_lookup_pools_as_numpy_does(case) -> None:
    tables, indices, offsets, batch, _ = case
    out = np.full((batch, len(tables), tables[0].shape[1]), np.nan, np.float32)
    Tables(tables).lookup(indices, out, offsets)
    np.testing.assert_allclose(out, pooled(tables, indices, offsets), rtol=1e-5, atol=1e-6)


@given(batches(), st.sampled_from([1, 3, 8, 64]), st.integers(0, 12))
@settings(max_examples=150)
def test_lora_lookup_adds_pooled_a_times_b(case, rank: int, slots: int) -> None:
    tables, indices, offsets, batch, rng = case
    count, dim = len(tables), tables[0].shape[1]
    writer, reader = make_adapter([slots] * count, rank, dim)
    basis = rng.normal(size=(count, rank, dim)).astype(np.float32)
    base = Tables(tables)
    start = np.zeros(count, np.float32)
    out = np.zeros((batch, count, dim), np.float32)
    assert reader.lookup(base, indices, out, offsets) == 0
    np.testing.assert_allclose(out, pooled(tables, indices, offsets), rtol=1e-5, atol=1e-6)
    assert writer.begin()
    writer.set_basis(basis)
    for _ in range(3):
        assert writer.begin()
        writer.learn(
            base,
            indices,
            rng.normal(size=(batch, count, dim)).astype(np.float32),
            learning_rate=0.5,
            epsilon=1e-8,
            initial_accumulator=start,
            offsets=offsets,
        )
        writer.publish()
    adapted = []
    for f, table in enumerate(tables):
        A, B, rows = writer.arrays(f)
        full = table.astype(np.float64)
        if len(rows):
            full[rows] += A.astype(np.float64) @ B
        adapted.append(full)
    assert reader.lookup(base, indices, out, offsets) == writer.epoch == 3
    np.testing.assert_allclose(out, pooled(adapted, indices, offsets), rtol=1e-4, atol=1e-4)


def test_the_side_being_trained_is_not_served_before_it_is_published() -> None:
    rng = np.random.default_rng(0)
    base = Tables([rng.normal(size=(5, 4)).astype(np.float32)])
    writer, reader = make_adapter([5], 2, 4)
    indices = np.array([[3]], np.int32)
    before, served, trained = (np.zeros((1, 1, 4), np.float32) for _ in range(3))
    reader.lookup(base, indices, before)
    assert writer.begin()
    writer.set_basis(np.eye(2, 4, dtype=np.float32)[None])
    writer.learn(
        base,
        indices,
        np.ones((1, 1, 4), np.float32),
        learning_rate=0.1,
        epsilon=0.0,
        initial_accumulator=np.zeros(1, np.float32),
    )
    writer.lookup(base, indices, trained)
    assert reader.lookup(base, indices, served) == 0
    np.testing.assert_array_equal(served, before)
    writer.publish()
    assert reader.lookup(base, indices, served) == 1
    np.testing.assert_array_equal(served, trained)
    assert not np.array_equal(served, before)


@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_outside_its_table_is_refused_before_anything_is_written(row: int) -> None:
    base = Tables([np.ones((5, 4), np.float32), np.ones((9, 4), np.float32)])
    out = np.full((2, 2, 4), 7, np.float32)
    with pytest.raises(IndexError, match=f"table 0: found {row} at position 1, expected 0 to 4"):
        base.lookup(np.array([[0, 0], [row, 0]], np.int32), out)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("indices", "offsets", "message"),
    [
        (np.zeros((2, 3), np.int32), None, "indices: found shape"),
        (np.zeros(4, np.int32), np.array([0, 2, 1, 3, 4]), r"offsets\[2\]: found 1 after 2"),
        (np.zeros(4, np.int32), np.array([0, 1, 2, 3, 9]), r"offsets\[-1\]: found 9"),
        (np.zeros(4, np.int32), np.array([0, 4]), "offsets: found shape"),
    ],
)
def test_a_batch_of_the_wrong_shape_is_refused(indices, offsets, message: str) -> None:
    base = Tables([np.ones((5, 4), np.float32)] * 2)
    with pytest.raises(ValueError, match=message):
        base.lookup(indices, np.zeros((2, 2, 4), np.float32), offsets)


def test_wrong_dtypes_and_read_only_outputs_are_refused() -> None:
    base = Tables([np.ones((5, 4), np.float32)])
    with pytest.raises(ValueError, match="indices: found int16, expected int32 or int64"):
        base.lookup(np.zeros((1, 1), np.int16), np.zeros((1, 1, 4), np.float32))  # type: ignore[arg-type]
    out = np.zeros((1, 1, 4), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        base.lookup(np.zeros((1, 1), np.int32), out)


def test_lookup_releases_the_gil() -> None:
    base = Tables([np.ones((1000, 128), np.float32)])
    indices = np.zeros((400_000, 1), np.int32)
    out = np.empty((400_000, 1, 128), np.float32)
    inside = threading.Event()
    ticks_during_call: list[int] = []
    ticks = 0

    def call() -> None:
        inside.set()
        before = ticks
        base.lookup(indices, out)
        ticks_during_call.append(ticks - before)

    # A switch interval far beyond the call: this thread can only run meanwhile if it lets go.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        worker = threading.Thread(target=call)
        worker.start()
        inside.wait()
        while worker.is_alive():
            ticks += 1
            time.sleep(0)  # hands the GIL over, so that the worker can return
    finally:
        sys.setswitchinterval(interval)
    assert ticks_during_call[0] > 0


def test_a_mapping_is_aligned_and_read_only_unless_asked() -> None:
    fd = os.memfd_create("test")
    os.ftruncate(fd, 3 * mmap.PAGESIZE)
    mapping = Mapping(fd, 3 * mmap.PAGESIZE)
    assert mapping.start % (2 << 20) == 0
    assert memoryview(mapping).readonly
    with pytest.raises(ValueError, match="read-only"):
        np.frombuffer(mapping, np.uint8)[0] = 1
    with pytest.raises(OSError, match=r"\[Errno 9\]"):
        Mapping(999, 4096)
