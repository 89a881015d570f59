"""Arrays in files: the numbers that numpy reads, whatever the layout, and one line on damage."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.workload.arrays import (
    Array,
    member_names,
    open_bare,
    open_member,
    open_npy,
    read_small,
)

DTYPES = st.sampled_from(["<i4", ">i4", "<i8", "<f4", "<f8", "|b1", "|u1"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: arrays(
        np.dtype(dtype), array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=9)
    )
)


def read(array: Array, start: int, rows: int) -> NDArray[Any]:
    return np.concatenate(list(array.parts(start, rows)))


@given(array=ARRAYS, fortran=st.booleans(), start=st.integers(0, 8), rows=st.integers(1, 10))
def test_parts_are_the_rows_that_numpy_wrote(
    tmp_path_factory: pytest.TempPathFactory,
    array: NDArray[Any],
    fortran: bool,
    start: int,
    rows: int,
) -> None:
    folder = tmp_path_factory.mktemp("arrays")
    array = np.asfortranarray(array) if fortran else array
    start %= len(array)
    np.save(folder / "a.npy", array)
    np.savez(folder / "b.npz", other=np.arange(3), x=array)
    np.savez_compressed(folder / "c.npz", x=array, other=np.arange(3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        for opened in (
            open_npy(folder / "a.npy"),
            open_member(folder / "b.npz", "x"),
            open_member(folder / "c.npz", "x"),
        ):
            assert (opened.shape, opened.dtype) == (array.shape, array.dtype)
            np.testing.assert_array_equal(read(opened, start, rows), array[start:])
    assert member_names(folder / "b.npz") == ("other", "x")
    assert not list(folder.glob("lorabench/*"))


def test_bare_numbers_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "train.bin"
    whole = np.arange(120, dtype="<i4").reshape(30, 4)
    path.write_bytes(whole.tobytes())
    np.testing.assert_array_equal(read(open_bare(path, 4), 7, 5), whole[7:])
    path.write_bytes(whole.tobytes()[:-4])
    with pytest.raises(InputError, match="found 476 bytes, expected a multiple of 16"):
        open_bare(path, 4)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "rows.npz"
    rng = np.random.default_rng(0)
    np.savez_compressed(
        path, c=rng.integers(0, 9, (5000, 3)), f=np.asfortranarray(rng.random((5000, 3)))
    )
    return path


@given(st.data())
def test_a_damaged_file_is_one_line_or_the_same_numbers(
    packed: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(packed.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    path = tmp_path_factory.mktemp("damaged") / "rows.npz"
    path.write_bytes(bytes(content))
    for member in "cf":
        expected = read(open_member(packed, member), 0, 999)
        try:
            found = read(open_member(path, member), 0, 999)
        except InputError as error:
            lines = str(error).splitlines()
            assert [str(path) in line for line in lines] == [True]
        else:
            np.testing.assert_array_equal(found, expected)


def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "none.npy", np.empty((0, 26)))
    np.save(tmp_path / "short.npy", np.arange(100.0))
    whole = (tmp_path / "short.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(whole[:-8])
    np.savez(tmp_path / "x.npz", counts=np.zeros((2, 2)))
    for name, words in {
        "objects.npy": "type object, expected numbers",
        "words.npy": "type <U1, expected numbers",
        "none.npy": r"shape \[0, 26\], expected rows",
        "short.npy": "found 920 bytes, expected 928 by its header: truncated",
        "absent.npy": "No such file",
        "x.npz": "damaged",
    }.items():
        with pytest.raises(InputError, match=words):
            open_npy(tmp_path / name)
    with pytest.raises(InputError, match="found no array y"):
        open_member(tmp_path / "x.npz", "y")
    with pytest.raises(InputError, match=r"shape \[2, 2\], expected a short list"):
        read_small(tmp_path / "x.npz", "counts")
    with pytest.raises(InputError, match="damaged"):
        member_names(tmp_path / "short.npy")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as text:
        text.writestr("x.npy", "no array")
    with pytest.raises(InputError, match="x: found damaged"):
        open_member(tmp_path / "text.npz", "x")


def test_no_room_to_unpack_is_refused_with_both_numbers(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("lorabench.workload.arrays.shutil.disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"found 10 bytes free in .*, expected at least 120,000"):
        read(open_member(packed, "f"), 0, 10)
