"""Bad arguments: refused by name and place, before anything is written; never a crash."""

import mmap
import os
from collections.abc import Callable

import numpy as np
import pytest
from kernel_twins import make_adapter, shared

from lorabench._kernels.adapter import (
    AdapterReader,
    adapter_bytes,
    clear_pin,
    format_adapter,
    slot_state_bytes,
)
from lorabench._kernels.lookup import Tables
from lorabench._kernels.replay import ReplayRing
from lorabench._kernels.train import TableOptimizer
from lorabench._kernels.writer import AdapterWriter

ROWS, DIM, BATCH = 5, 4, 2


def good(dtype: type = np.int32) -> np.ndarray:
    return np.zeros((BATCH, 2), dtype)


def misaligned(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    room = np.zeros(int(np.prod(shape)) * np.dtype(dtype).itemsize + 16, np.uint8)
    begin = -room.ctypes.data % 8 + 1
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return room[begin : begin + size].view(dtype).reshape(shape)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


FLAT = np.zeros(6, np.int32)
OFFSETS = np.array([0, 1, 3, 4, 6])

BAD = [
    (good() - 1, {}, IndexError, "indices of table 0: found -1 at position 0, expected 0 to 4"),
    (np.array([[0, 0], [0, 5]]), {}, IndexError, "indices of table 1: found 5 at position 1"),
    (good(np.int64) + 2**32, {}, IndexError, "indices of table 0: found 4294967296 at position 0"),
    (good(np.int16), {}, ValueError, "indices: found int16, expected int32 or int64"),
    (good(np.float32), {}, ValueError, "indices: found float32"),
    (np.zeros((3, 2), np.int32), {}, ValueError, r"indices: found shape \(3, 2\), expected \[2,"),
    (np.zeros(4, np.int32), {}, ValueError, r"indices: found shape \(4,\), expected 2 axes"),
    (np.zeros((2, 4), np.int32)[:, ::2], {}, ValueError, "indices: found strides"),
    (misaligned((2, 2), np.int32), {}, ValueError, "indices: found an address that is no"),
    ("rows", {}, TypeError, "indices: found str, expected an array of int32 or int64"),
    (FLAT, {"offsets": OFFSETS[:-1]}, ValueError, r"offsets: found shape \(4,\)"),
    (FLAT, {"offsets": OFFSETS + 1}, ValueError, r"offsets\[0\]: found 1, expected 0"),
    (FLAT, {"offsets": np.array([0, 3, 1, 4, 6])}, ValueError, r"offsets\[2\]: found 1 after 3"),
    (FLAT, {"offsets": np.array([0, -1, 3, 4, 6])}, ValueError, r"offsets\[1\]: found -1 after 0"),
    (FLAT, {"offsets": np.array([0, 1, 3, 4, 7])}, ValueError, r"offsets\[-1\]: found 7, expected"),
    (FLAT, {"offsets": OFFSETS.astype(np.float32)}, ValueError, "offsets: found float32"),
    (FLAT[None], {"offsets": OFFSETS}, ValueError, r"indices: found shape \(1, 6\), expected 1"),
    (FLAT + np.array([0, 0, 0, 0, 9, 0], np.int32), {"offsets": OFFSETS}, IndexError,
     "indices of table 1: found 9 at position 4"),
    (good(), {"mode": "max"}, ValueError, "mode: found 'max', expected 'sum' or 'mean'"),
    (good(), {"mode": "mean", "weights": np.ones((2, 2), np.float32)}, ValueError,
     "weights: found some with mode 'mean'"),
    (good(), {"weights": np.ones((2, 3), np.float32)}, ValueError, r"weights: found shape"),
    (good(), {"weights": np.ones((2, 2))}, ValueError, "weights: found float64, expected float32"),
]  # fmt: skip


@pytest.mark.parametrize(("indices", "options", "error", "message"), BAD)
def test_a_bad_batch_is_refused_by_lookup_and_learning_alike(
    indices, options, error: type[Exception], message: str
) -> None:
    tables = Tables([np.ones((ROWS, DIM), np.float32)] * 2)
    writer, reader = make_adapter([3, 3], 2, DIM)
    writer.begin()
    out = np.full((BATCH, 2, DIM), 7, np.float32)
    for call in (
        lambda: tables.lookup(indices, out, **options),
        lambda: reader.lookup(tables, indices, out, **options),
        lambda: writer.lookup(tables, indices, out, **options),
        lambda: writer.learn(
            tables,
            indices,
            out,
            learning_rate=1.0,
            epsilon=0.0,
            initial_accumulator=np.zeros(2, np.float32),
            **options,
        ),
    ):
        with pytest.raises(error, match=message):
            call()
    assert (out == 7).all()
    assert writer.used == [0, 0]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((2, 2, 3), np.float32), r"out: found shape \(2, 2, 3\), expected \[B, 2, 4\]"),
        (np.zeros((2, 3, 4), np.float32), "out: found shape"),
        (np.zeros((2, 8), np.float32), "out: found shape"),
        (np.zeros((2, 2, 4)), "out: found float64, expected float32"),
        (read_only(np.zeros((2, 2, 4), np.float32)), "out: found a read-only array"),
        (np.zeros((2, 2, 8), np.float32)[:, :, ::2], "out: found strides"),
        (misaligned((2, 2, 4), np.float32), "out: found an address"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused(out, message: str) -> None:
    tables = Tables([np.ones((ROWS, DIM), np.float32)] * 2)
    before = out.copy()
    with pytest.raises(ValueError, match=message):
        tables.lookup(good(), out)
    np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], "arrays: found no table"),
        ([np.ones((0, 4), np.float32)], r"arrays\[0\]: found shape \(0, 4\)"),
        ([np.ones((3, 0), np.float32)], r"arrays\[0\]: found shape \(3, 0\)"),
        ([np.ones((3, 4), np.float32), np.ones((3, 5), np.float32)], r"arrays\[1\]: found shape"),
        ([np.ones((3, 4))], r"arrays\[0\]: found float64, expected float32 or uint16"),
        ([np.ones((3, 8), np.float32)[:, ::2]], r"arrays\[0\]: found strides"),
        ([np.ones(4, np.float32)], r"arrays\[0\]: found shape \(4,\), expected 2 axes"),
    ],
)
def test_what_is_no_set_of_tables_is_refused(arrays, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tables(arrays)


def test_an_adapter_of_other_tables_is_refused() -> None:
    writer, reader = make_adapter([3], 2, DIM)
    tables = Tables([np.ones((ROWS, DIM), np.float32)] * 2)
    writer.begin()
    out = np.full((BATCH, 2, DIM), 7, np.float32)
    message = "tables: found 2 of dim 4, expected the adapter's 1 of dim 4"
    with pytest.raises(ValueError, match=message):
        reader.lookup(tables, good(), out)
    with pytest.raises(ValueError, match=message):
        writer.lookup(tables, good(), out)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("initial_accumulator", np.zeros(3, np.float32), "initial_accumulator: found 3 entries"),
        ("initial_accumulator", np.zeros(2), "initial_accumulator: found float64"),
        ("basis_grad", np.zeros((2, 3, 4), np.float32), r"basis_grad: found shape \(2, 3, 4\)"),
        ("basis_grad", read_only(np.zeros((2, 2, 4), np.float32)), "basis_grad: found a read-only"),
    ],
)
def test_what_learning_needs_is_checked_as_well(option: str, value, message: str) -> None:
    tables = Tables([np.ones((ROWS, DIM), np.float32)] * 2)
    writer, _ = make_adapter([3, 3], 2, DIM)
    writer.begin()
    options = {"initial_accumulator": np.zeros(2, np.float32), option: value}
    with pytest.raises(ValueError, match=message):
        writer.learn(
            tables,
            good(),
            np.ones((BATCH, 2, DIM), np.float32),
            learning_rate=1.0,
            epsilon=0.0,
            **options,
        )
    assert writer.used == [0, 0]


def small_adapter() -> tuple[AdapterWriter, AdapterReader]:
    return make_adapter([3, 3], 2, 4)


MOST_ROWS = 2**31 - 1


def tall(rows: int, dtype: type = np.float32) -> np.ndarray:
    """Return a writable table [rows, 1] of zeros, of which only what is touched takes memory."""
    size = rows * np.dtype(dtype).itemsize
    fd = os.memfd_create("tall")
    try:
        os.ftruncate(fd, size)
        return np.frombuffer(mmap.mmap(fd, size), dtype).reshape(rows, 1)
    finally:
        os.close(fd)


TOO_TALL = f"found a table of {MOST_ROWS + 1} rows, expected at most {MOST_ROWS}"


@pytest.mark.parametrize("ids", [np.int32, np.int64])
def test_what_numbers_rows_by_int32_refuses_tables_with_more_of_them(ids: type) -> None:
    table = tall(MOST_ROWS + 1)
    with pytest.raises(ValueError, match=f"^arrays: {TOO_TALL}"):
        TableOptimizer([table])
    tables, (writer, reader) = Tables([table]), make_adapter([3], 2, 1)
    writer.begin()
    vectors, rows = np.full((1, 1, 1), 7, np.float32), np.zeros((1, 1), ids)
    start = np.zeros(1, np.float32)
    for call in (
        lambda: reader.lookup(tables, rows, vectors),
        lambda: writer.lookup(tables, rows, vectors),
        lambda: writer.learn(
            tables, rows, vectors, learning_rate=1.0, epsilon=0.0, initial_accumulator=start
        ),
    ):
        with pytest.raises(ValueError, match=f"^tables: {TOO_TALL}"):
            call()
    assert vectors.item() == 7
    assert writer.used == [0]


def test_the_last_row_that_int32_can_name_is_trained_and_adapted() -> None:
    table, last = tall(MOST_ROWS), np.array([[MOST_ROWS - 1]], np.int32)
    TableOptimizer([table]).step(last, np.ones((1, 1, 1), np.float32), learning_rate=2.0)
    assert table[[0, -2, -1], 0].tolist() == [0, 0, -2]
    writer, reader = make_adapter([3], 1, 1, rows=[MOST_ROWS])
    writer.begin()
    writer.set_basis(np.ones((1, 1, 1), np.float32))
    writer.put(0, last[0], np.full((1, 1), 5, np.float32))
    writer.publish()
    out = np.zeros((1, 1, 1), np.float32)
    reader.lookup(Tables([table]), last, out)
    assert out.item() == 3


def test_plain_lookups_read_rows_that_int32_cannot_name() -> None:
    table = tall(MOST_ROWS + 3)
    table[[0, MOST_ROWS, -1], 0] = 1, 2, 3
    rows = np.array([[0], [MOST_ROWS], [MOST_ROWS + 2]])
    out = np.zeros((3, 1, 1), np.float32)
    Tables([table]).lookup(rows, out)
    assert out.ravel().tolist() == [1, 2, 3]
    with pytest.raises(IndexError, match=f"found {MOST_ROWS + 3} at position 0"):
        Tables([table]).lookup(rows[:1] + MOST_ROWS + 3, out[:1])


EMPTY = [np.zeros(0, np.int32)] * 2
KEPT = np.zeros(1, np.int32)
BASIS = np.zeros((2, 2, 4), np.float32)
TURN = np.zeros((2, 2, 2), np.float32)


def begun() -> AdapterWriter:
    writer, _ = small_adapter()
    writer.begin()
    return writer


@pytest.mark.parametrize(
    "call",
    [
        lambda: AdapterReader(None, shared(4096), 0),
        lambda: AdapterReader(shared(1 << 16), None, 0),
        lambda: AdapterReader(shared(1 << 16), shared(4096), -5),
        lambda: AdapterReader(shared(1), shared(4096), 0),
        lambda: small_adapter()[1].lookup(None, good()[:1], np.zeros((1, 2, 4), np.float32)),
        lambda: small_adapter()[0].lookup(None, good()[:1], np.zeros((1, 2, 4), np.float32)),
        lambda: AdapterWriter(None, shared(128), 1),
        lambda: AdapterWriter(shared(1), shared(128), 1),
        lambda: AdapterWriter(shared(1 << 16), shared(128), -3),
        lambda: AdapterWriter(shared(1 << 16), shared(128), 1, np.zeros(7, np.int64)),
        lambda: slot_state_bytes(np.array([3, 3]), np.array([9])),
        lambda: slot_state_bytes(np.array([3, 3]), np.array([9, 0])),
        lambda: slot_state_bytes(np.array([3, 3]), np.array([9, MOST_ROWS + 1])),
        lambda: make_adapter([3, 3], 2, 4, rows=[9, MOST_ROWS + 1]),
        lambda: begun().seed(np.zeros(3, np.uint32)),
        lambda: begun().seed(np.zeros(2, np.int64)),
        lambda: begun().put(0, np.array([-1], np.int32), np.zeros((1, 2), np.float32)),
        lambda: begun().put(0, np.array([1, 1], np.int32), np.zeros((2, 2), np.float32)),
        lambda: begun().put(0, np.arange(4, dtype=np.int32), np.zeros((4, 2), np.float32)),
        lambda: begun().put(0, None, np.zeros((4, 2), np.float32)),
        lambda: begun().relayout(np.array([9, 9]), [2, 2], EMPTY, BASIS, TURN),
        lambda: begun().relayout(np.array([3, 3]), [0, 2], EMPTY, BASIS, TURN),
        lambda: begun().relayout(np.array([3, 3]), [2, 2], EMPTY[:1], BASIS, TURN),
        lambda: begun().relayout(np.array([3, 3]), [2, 2], EMPTY, BASIS[:, :1], TURN),
        lambda: begun().relayout(np.array([3, 3]), [2, 2], EMPTY, BASIS, TURN[:, :, :1]),
        lambda: begun().relayout(np.array([3, 3]), [2, 2], [KEPT, KEPT], BASIS, TURN),
        lambda: begun().relayout(None, [2, 2], EMPTY, BASIS, TURN),
        lambda: begun().relayout(np.array([3, 3]), [2, 2], None, BASIS, TURN),
        lambda: adapter_bytes(np.array([-3, 3]), 2, 4),
        lambda: adapter_bytes(np.array([2**62, 3]), 2, 4),
        lambda: adapter_bytes(np.array([3, 3]), 2, -4),
        lambda: adapter_bytes(np.array([3, 3]), 2, 0),
        lambda: adapter_bytes(None, 2, 4),
        lambda: format_adapter(None, np.array([3, 3]), 2, 4),
        lambda: clear_pin(None, 0),
        lambda: clear_pin(shared(4096), -1),
        lambda: ReplayRing(None, 2, 3),
        lambda: ReplayRing(shared(4096), -4, 0),
        lambda: ReplayRing(shared(4096), -8, 3),
    ],
)
def test_what_is_no_adapter_ring_or_table_is_refused_and_never_crashes(
    call: Callable[[], object],
) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert "\n" not in str(caught.value)
