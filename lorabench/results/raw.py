"""Raw samples in the ``.npz`` beside a document: found by the document, which has their hash.

Columns are named ``block{n}/{case}/{column}``; what they hold is written in
``docs/methodology.md``. Whoever sends a document sends these too, so nothing in them is taken at
its word: the hash is checked before anything is parsed, nothing is unpickled, and what an archive
declares is bounded before it is unpacked.
"""

import hashlib
import io
import math
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.results.files import read_bounded
from lorabench.results.schema import Result

NS = 1e9

MOST_FILE_BYTES = 1 << 30
"""A query takes about 13 bytes of it, so there is room for 80 million."""
MOST_BYTES = 8 << 30
"""Of all columns, as declared. A query takes 90; a bomb grows by 1,000, an honest file by 7."""
MOST_COLUMNS = 100_000

_NAME = re.compile(r"block(0|[1-9][0-9]{0,8})/(.+)/(\w+)")
# Boolean, whole and floating-point numbers.
_KINDS = "biuf"
_STORED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (
    ValueError,
    EOFError,
    OSError,
    RuntimeError,  # also what is encrypted or compressed in some other way
    MemoryError,
    SyntaxError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class RawSamples:
    """Raw samples that were checked, and not yet unpacked.

    Parameters
    ----------
    path : Path
        The ``.npz``.
    blocks : mapping of int to mapping of str to frozenset of str
        Names of the columns of each case of each block, in the order of blocks.
    archive : ZipFile
        What they are unpacked from, held in memory: what was checked is what is read.
    """

    path: Path
    blocks: Mapping[int, Mapping[str, frozenset[str]]]
    archive: zipfile.ZipFile

    def cases(self) -> tuple[str, ...]:
        """Return the names of all cases, in the order in which they are stored."""
        return tuple(dict.fromkeys(case for cases in self.blocks.values() for case in cases))

    def columns(self, block: int, case: str, *wanted: str) -> list[NDArray[np.int64]]:
        """Read columns of one value a query.

        Parameters
        ----------
        block : int
            Of which block.
        case : str
            Of which case of it.
        *wanted : str
            Which.

        Returns
        -------
        list of int64 [N]
            As many values in each.

        Raises
        ------
        InputError
            One is missing, broken, of no whole numbers, or not as long as the others.
        """
        whose = f"block{block}/{case}"
        there = self.blocks.get(block, {}).get(case, frozenset())
        found = []
        for name in wanted:
            if name not in there:
                raise InputError(f"{self.path}: found no {whose}/{name}, expected it; measure anew")
            array = self._read(f"{whose}/{name}")
            if array.dtype.kind not in "biu":
                raise InputError(
                    f"{self.path}: {whose}/{name}: found {array.dtype}, expected whole numbers"
                )
            found.append(array.astype(np.int64))
        if len({one.shape for one in found}) > 1 or (found and found[0].ndim != 1):
            raise InputError(
                f"{self.path}: {whose}: found columns of unlike lengths, expected one of each"
            )
        return found

    def latencies_ns(self, block: int, case: str) -> NDArray[np.int64]:
        """Return the latencies of the queries that count: int64 [N], ns.

        Raises
        ------
        InputError
            They cannot be read.
        """
        names = ("scheduled_ns", "done_ns", "counted")
        scheduled, done, counted = self.columns(block, case, *names)
        latency: NDArray[np.int64] = (done - scheduled)[counted.astype(bool) & (done > 0)]
        if (latency < 0).any():
            raise InputError(
                f"{self.path}: block{block}/{case}: found queries that were answered before they "
                "were due, expected none"
            )
        return latency

    def _read(self, name: str) -> NDArray[np.generic]:
        try:
            member = self.archive.getinfo(f"{name}.npy")
            with self.archive.open(member) as file:
                return _array(file.read(), member.file_size)
        except _BROKEN as error:
            raise _no_samples(self.path, error) from None


def open_raw(path: Path, result: Result) -> RawSamples:
    """Open the raw samples that lie beside a document.

    Parameters
    ----------
    path : Path
        The document.
    result : Result
        It.

    Raises
    ------
    InputError
        It has none, they are missing, too large, no ``.npz``, or not those that it was written
        with.
    """
    if result.raw is None:
        raise InputError(
            f"{path}: raw: found no raw samples named, expected the .npz that "
            "lorabench colocate writes beside its result"
        )
    raw = path.parent / Path(result.raw.name).name
    data = read_bounded(raw, MOST_FILE_BYTES, f"the raw samples of {path}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != result.raw.sha256:
        raise InputError(
            f"{raw}: found sha256 {digest[:12]}…, expected {result.raw.sha256[:12]}…, as {path} "
            "has it: these are the samples of another run"
        )
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = archive.infolist()
        _check(members)
    except _BROKEN as error:
        raise _no_samples(raw, error) from None
    return RawSamples(raw, _by_block(members), archive)


def _check(members: Sequence[zipfile.ZipInfo]) -> None:
    """Hold what an archive declares against the bounds; raise ValueError with what was found."""
    if len(members) > MOST_COLUMNS:
        raise ValueError(f"{len(members):,} columns, at most {MOST_COLUMNS:,} are read")
    declared = sum(member.file_size for member in members)
    if declared > MOST_BYTES:
        raise ValueError(f"{declared:,} bytes unpacked, at most {MOST_BYTES:,} are read")
    if any(member.flag_bits & 1 or member.compress_type not in _STORED for member in members):
        raise ValueError("columns that NumPy would not have packed so")


def _by_block(
    members: Sequence[zipfile.ZipInfo],
) -> dict[int, dict[str, frozenset[str]]]:
    """Return what the columns are of; names that are none of a column are left out."""
    found: dict[int, dict[str, set[str]]] = {}
    for member in members:
        if parts := _NAME.fullmatch(member.filename.removesuffix(".npy")):
            block = found.setdefault(int(parts[1]), {})
            block.setdefault(parts[2], set()).add(parts[3])
    return {
        number: {case: frozenset(names) for case, names in found[number].items()}
        for number in sorted(found)
    }


def _array(data: bytes, declared: int) -> NDArray[np.generic]:
    """Read an array from what ``np.save`` wrote, after it has exactly the bytes that it declares.

    ``np.load`` makes room for what the header says before it finds out that this is not there.
    """
    file = io.BytesIO(data)
    version = npy.read_magic(file)
    if version not in {(1, 0), (2, 0)}:
        raise ValueError(f"version {version[0]}.{version[1]} of .npy")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    if dtype.kind not in _KINDS:
        raise ValueError(f"values of type {dtype}, expected numbers")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or file.tell() + size != declared or len(data) != declared:
        raise ValueError(f"an array of shape {shape} in {declared:,} bytes")
    array = np.frombuffer(data, dtype, offset=file.tell())
    return array.reshape(shape, order="F" if fortran_order else "C")


def _no_samples(path: Path, error: BaseException) -> InputError:
    said = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{path}: found no raw samples ({said:.120}), expected .npz")
