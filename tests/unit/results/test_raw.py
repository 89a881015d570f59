"""Raw samples beside a document: read as they were written, or refused in one line.

What of them `calibrate` makes runs up from is tested beside it.
"""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import colocate_samples as samples
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.results import raw
from lorabench.results.files import read_result
from lorabench.results.raw import RawSamples, open_raw

SMALL = replace(samples.CALM, blocks=2, slices=2, queries=20)
ARRAYS = samples.arrays(SMALL)
COLUMN = "block0/solo/done_ns"


def opened(path: Path) -> RawSamples:
    return open_raw(path, read_result(path))


def with_bytes(folder: Path, data: bytes) -> Path:
    """Write a document whose raw samples are these bytes, hash and all."""
    path = samples.write(folder / "run.json", {})
    text, beside = path.read_text(), path.with_suffix(".npz")
    path.write_text(text.replace(samples.sha256(beside.read_bytes()), samples.sha256(data)))
    beside.write_bytes(data)
    return path


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def saved(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def refused(read: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        read()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_columns_are_those_that_were_written(tmp_path: Path) -> None:
    found = opened(samples.write(tmp_path / "run.json", ARRAYS))
    assert list(found.blocks) == [0, 1]
    assert found.cases() == ("solo", "solo_repeat", "sham")
    for name, array in ARRAYS.items():
        block, case, column = name.split("/")
        (read,) = found.columns(int(block.removeprefix("block")), case, column)
        np.testing.assert_array_equal(read, array)


def test_a_latency_is_of_a_query_that_counts_and_was_answered(tmp_path: Path) -> None:
    arrays = dict(ARRAYS)
    arrays[COLUMN] = arrays[COLUMN].copy()
    arrays[COLUMN][[5, 15]] = 0
    found = opened(samples.write(tmp_path / "run.json", arrays)).latencies_ns(0, "solo")
    counts = arrays["block0/solo/counted"] & (arrays[COLUMN] > 0)
    expected = (arrays[COLUMN] - arrays["block0/solo/scheduled_ns"])[counts]
    np.testing.assert_array_equal(found, expected)
    assert counts.sum() == 2 * (SMALL.queries - SMALL.queries // 10) - 2


def test_what_was_answered_before_it_was_due_is_refused(tmp_path: Path) -> None:
    path = samples.write(tmp_path / "run.json", ARRAYS | {COLUMN: ARRAYS[COLUMN] - 10**12})
    assert opened(path).latencies_ns(0, "solo").size == 0  # as of those never answered
    late = ARRAYS["block0/solo/scheduled_ns"] + 10**12
    path = samples.write(tmp_path / "run.json", ARRAYS | {"block0/solo/scheduled_ns": late})
    text = refused(lambda: opened(path).latencies_ns(0, "solo"))
    assert text.endswith("block0/solo: found queries that were answered before they were due, "
                         "expected none")  # fmt: skip


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(tmp_path / "exploded"),))

    objects = saved(np.array([Bomb()], object), allow_pickle=True)
    path = with_bytes(tmp_path, packed({COLUMN: objects}))
    assert "found no raw samples (values of type object" in refused(
        lambda: opened(path).columns(0, "solo", "done_ns")
    )
    path = with_bytes(tmp_path, packed({COLUMN: pickle.dumps(Bomb())}))
    assert "found no raw samples" in refused(lambda: opened(path).columns(0, "solo", "done_ns"))
    path = with_bytes(tmp_path, pickle.dumps(Bomb()))
    assert "File is not a zip file" in refused(lambda: opened(path))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros(3), "found float64, expected whole numbers"),
        (np.zeros(3, "datetime64[s]"), "values of type datetime64[s], expected numbers"),
        (np.array(["a"]), "values of type <U1"),
        (np.zeros(2, [("a", int)]), "values of type [('a', '<i8')]"),
        (np.zeros((2, 2), int), "found columns of unlike lengths"),
    ],
)
def test_a_column_of_other_values_is_refused(tmp_path: Path, array: np.ndarray, said: str) -> None:
    path = samples.write(tmp_path / "run.json", {COLUMN: array})
    assert said in refused(lambda: opened(path).columns(0, "solo", "done_ns"))


def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An array that is not there, one that unpacks to more than is read, too many of them."""
    buffer = io.BytesIO()
    declared = {"descr": "<i8", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(buffer, declared)
    header = buffer.getvalue()
    path = with_bytes(tmp_path, packed({COLUMN: header}))
    assert "array of shape (1000000000000,) in 128 bytes" in refused(
        lambda: opened(path).columns(0, "solo", "done_ns")
    )
    path = samples.write(tmp_path / "run.json", {COLUMN: np.zeros(100_000, np.int64)})
    assert path.with_suffix(".npz").stat().st_size < 10_000
    monkeypatch.setattr(raw, "MOST_BYTES", 100_000)
    assert "800,128 bytes unpacked, at most 100,000 are read" in refused(lambda: opened(path))
    path = samples.write(tmp_path / "run.json", ARRAYS)
    monkeypatch.setattr(raw, "MOST_COLUMNS", 10)
    assert "60 columns, at most 10 are read" in refused(lambda: opened(path))
    monkeypatch.setattr(raw, "MOST_FILE_BYTES", 1000)
    assert "found more than 1,000 bytes" in refused(lambda: opened(path))


def test_a_packing_that_numpy_does_not_use_is_refused(tmp_path: Path) -> None:
    path = with_bytes(tmp_path, packed({COLUMN: saved(np.zeros(3, int))}, zipfile.ZIP_LZMA))
    assert "columns that NumPy would not have packed so" in refused(lambda: opened(path))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "folder"])
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = samples.write(tmp_path / "run.json", ARRAYS)
    path.with_suffix(".npz").unlink()
    make(path.with_suffix(".npz"))
    assert f"expected the raw samples of {path}" in refused(lambda: opened(path))


@given(st.data())
def test_samples_with_a_byte_changed_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """With the hash of what they became: a document can be made to fit any file."""
    folder = tmp_path_factory.mktemp("raw")
    beside = samples.write(folder / "run.json", {COLUMN: ARRAYS[COLUMN]}).with_suffix(".npz")
    changed = bytearray(beside.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(changed) - 1), min_size=1, max_size=3)):
        changed[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(changed)))
    path = with_bytes(folder, bytes(changed[:cut]))
    assert "\n" not in said(lambda: read_all(path))


def read_all(path: Path) -> None:
    found = opened(path)
    for block, cases in found.blocks.items():
        for case, names in cases.items():
            found.columns(block, case, *names)


def said(read: Callable[[], object]) -> str:
    """Return why it was refused, or nothing."""
    try:
        read()
    except InputError as error:
        return str(error)
    return ""
