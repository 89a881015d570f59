"""Arrays of numbers in files, by parts: numpy's ``.npy``, the members of ``.npz``, and bare ones.

Nothing is held in memory whole. What lies in a file as it is gets mapped; a compressed member is
read along its rows. One that is compressed column by column (``fortran_order``, as the reference
DLRM's day files come to be) has no rows that follow each other: it is unpacked once, into a file
that has no name and goes with the process. Nothing is unpickled.
"""

import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lorabench.errors import InputError

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"

_COPIED = 4 << 20
_LOCAL_HEADER = 30  # of a zip's member, before its name


@dataclass(frozen=True, eq=False)
class Array:
    """An array in a file, which is opened and not read.

    Parameters
    ----------
    path : Path
        The file.
    member : str
        Which of an ``.npz``, without its suffix; empty for a file of one array.
    shape : tuple of int
        The first is its rows.
    dtype : numpy dtype
        Of its numbers, as they are stored.
    fortran : bool
        Stored column by column.
    offset : int or None
        Where in the file it begins, in bytes; None where it is compressed.
    """

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int | None

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"{self.path}: {self.member}" if self.member else str(self.path)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size_bytes(self) -> int:
        """Its size once it is unpacked."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def parts(self, start: int, rows: int) -> Iterator[NDArray[Any]]:
        """Hand out its rows from `start` on, `rows` at a time; the last part may have fewer.

        Raises
        ------
        InputError
            The file is damaged, or there is no room to unpack it.
        """
        if self.offset is None and not (self.fortran and np.prod(self.shape[1:]) > 1):
            yield from self._read(start, rows)
            return
        whole = self._mapped if self.offset is not None else self._unpacked
        for begin in range(start, len(self), rows):
            yield whole[begin : begin + rows]

    @cached_property
    def _mapped(self) -> NDArray[Any]:
        return np.memmap(
            self.path, self.dtype, "r", self.offset or 0, self.shape, "F" if self.fortran else "C"
        )

    def _read(self, start: int, rows: int) -> Iterator[NDArray[Any]]:
        """Read a compressed member along its rows."""
        row_bytes = self.size_bytes // len(self)
        with self._opened() as file:
            _skip(file, start * row_bytes)
            for begin in range(start, len(self), rows):
                count = min(rows, len(self) - begin)
                found = file.read(count * row_bytes)
                if len(found) < count * row_bytes:
                    raise EOFError(f"{begin + len(found) // row_bytes} rows")
                yield np.frombuffer(found, self.dtype).reshape(count, *self.shape[1:])
            _check_end(file)

    @cached_property
    def _unpacked(self) -> NDArray[Any]:
        folder = _scratch_folder()
        free = shutil.disk_usage(folder).free
        if free < self.size_bytes:
            raise InputError(
                f"{self.name}: found {free:,} bytes free in {folder}, expected at least "
                f"{self.size_bytes:,} to unpack it, for it is compressed column by column; set "
                "XDG_CACHE_HOME to a folder with more room, or write the file again by numpy.savez"
            )
        with self._opened() as file, tempfile.TemporaryFile(dir=folder) as room:
            while found := file.read(_COPIED):
                room.write(found)
            if room.tell() != self.size_bytes:
                raise EOFError(f"{room.tell():,} bytes of {self.size_bytes:,}")
            room.flush()
            return np.memmap(room, self.dtype, "r", 0, self.shape, "F")

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        """Open a compressed member behind its header; damage becomes an InputError."""
        with (
            _reading(self.name),
            zipfile.ZipFile(self.path) as packed,
            packed.open(f"{self.member}.npy") as file,
        ):
            _header(file)
            yield file


def _skip(file: IO[bytes], count: int) -> None:
    while count and (found := file.read(min(count, _COPIED))):
        count -= len(found)


def _check_end(file: IO[bytes]) -> None:
    """Read on to the end, at which a zip's checksum is compared."""
    if file.read(1):
        raise ValueError("more numbers than its header says")


def _scratch_folder() -> Path:
    """Return where files may be unpacked: on a disk, and not in memory as /tmp often is."""
    base = os.environ.get("XDG_CACHE_HOME")
    for folder in (Path(base) if base else Path.home() / ".cache", Path(tempfile.gettempdir())):
        try:
            (folder / "lorabench").mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder / "lorabench", os.W_OK):
            return folder / "lorabench"
    raise InputError(
        "found no folder that can be written to, expected one to unpack data into: set "
        "XDG_CACHE_HOME"
    )


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Make one line of whatever a damaged file brings about."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        found = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"{name}: found damaged or truncated data ({found}), expected a whole array of numpy"
        ) from None
    except (NotImplementedError, RuntimeError) as error:
        raise InputError(f"{name}: {error}; expected an array that numpy.savez wrote") from None
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or error}; expected an array") from None


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    raise ValueError(f"format {version[0]}.{version[1]}")


def _checked(array: Array) -> Array:
    """Return an array of numbers, with at least one row."""
    if array.dtype.kind not in "biuf":
        raise InputError(f"{array.name}: found values of type {array.dtype}, expected numbers")
    if not array.shape or array.size_bytes == 0:
        raise InputError(f"{array.name}: found shape {list(array.shape)}, expected rows")
    if array.offset is not None:
        found, wanted = array.path.stat().st_size, array.offset + array.size_bytes
        if found < wanted:
            raise InputError(
                f"{array.path}: found {found:,} bytes, expected {wanted:,} by its header: truncated"
            )
    return array


def open_npy(path: Path) -> Array:
    """Open a ``.npy`` file.

    Raises
    ------
    InputError
        It is damaged, or holds no numbers.
    """
    with _reading(str(path)), path.open("rb") as file:
        shape, fortran, dtype = _header(file)
        return _checked(Array(path, "", shape, dtype, fortran, file.tell()))


def member_names(path: Path) -> tuple[str, ...]:
    """Names of the arrays in an ``.npz`` file, in its order.

    Raises
    ------
    InputError
        It is no zip archive.
    """
    with _reading(str(path)), zipfile.ZipFile(path) as packed:
        return tuple(
            name.removesuffix(".npy") for name in packed.namelist() if name.endswith(".npy")
        )


def open_member(path: Path, member: str) -> Array:
    """Open an array of an ``.npz`` file.

    Raises
    ------
    InputError
        It is not there, damaged, or no numbers.
    """
    with _reading(f"{path}: {member}"), zipfile.ZipFile(path) as packed:
        try:
            info = packed.getinfo(f"{member}.npy")
        except KeyError:
            raise InputError(f"{path}: found no array {member}, expected one") from None
        with packed.open(info) as file:
            shape, fortran, dtype = _header(file)
            header = file.tell()
        offset = None
        if info.compress_type == zipfile.ZIP_STORED:
            offset = _data_offset(path, info) + header
        return _checked(Array(path, member, shape, dtype, fortran, offset))


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where a stored member's bytes begin: its local header has lengths of its own."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(_LOCAL_HEADER)
    lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    return info.header_offset + _LOCAL_HEADER + lengths


def read_small(path: Path, member: str, most: int = 1 << 16) -> NDArray[Any]:
    """Read an array of an ``.npz`` file whole: counts, a number a feature or a day.

    Raises
    ------
    InputError
        It is not there, damaged, or has more than `most` numbers.
    """
    array = open_member(path, member)
    if len(array.shape) != 1 or len(array) > most:
        raise InputError(f"{array.name}: found shape {list(array.shape)}, expected a short list")
    return np.concatenate(list(array.parts(0, len(array))))


def open_bare(path: Path, columns: int, dtype: Any = "<i4") -> Array:
    """Open a file of nothing but numbers, `columns` a row.

    Raises
    ------
    InputError
        It does not end with a row.
    """
    with _reading(str(path)):
        size, row_bytes = path.stat().st_size, columns * np.dtype(dtype).itemsize
    if size % row_bytes:
        raise InputError(
            f"{path}: found {size:,} bytes, expected a multiple of {row_bytes} ({columns} numbers "
            "a row): truncated"
        )
    return _checked(Array(path, "", (size // row_bytes, columns), np.dtype(dtype), False, 0))
