"""Files of torch.save: tensors, numbers and strings, and no other class is made.

Read with ``weights_only=True``, so that a file is data and cannot run code. numpy's scalars and
dtypes are allowed besides: the reference DLRM writes its losses so, beside its weights.
"""

import io
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals, skip_data

from lorabench.errors import InputError
from lorabench.host.memory import require_memory
from lorabench.model.stored.tensors import (
    LeftOut,
    Stored,
    StoredTensor,
    flattened,
    plain,
    printable,
    raw,
)

LEGACY_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"
"""The number that files of torch before 1.6 begin with, as a pickle writes it."""

_DTYPES = "biufcSUmM"


def _numpy_scalars() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return what a pickled numpy scalar is made of, by the names of numpy 1 and 2."""
    scalar: Any = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in np.typecodes["All"] if np.dtype(kind).kind in _DTYPES}
    return [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *sorted(kinds, key=lambda kind: kind.__name__),
    ]


_ALONE = "save the tensors alone (torch.save(model.state_dict(), FILE)) where it can be loaded"


def open_pickle(path: Path, legacy: bool = False) -> Stored:
    """Open a file of torch.save, mapped if it is of torch 1.6 or newer.

    Parameters
    ----------
    path : Path
        The file.
    legacy : bool
        It is of an older torch, and has to be read as a whole.

    Raises
    ------
    InputError
        It holds anything but tensors, numbers and strings, or is damaged.
    """
    if legacy:
        require_memory(
            f"{path}, which torch before 1.6 wrote and which cannot be read in parts,",
            path.stat().st_size,
            advice="load and save it anew with a newer torch",
        )
    try:
        found = _load(path, mmap=not legacy)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file fails anywhere in the unpickler
        raise _refusal(path, error) from None
    left_out: list[LeftOut] = []
    tensors: dict[str, StoredTensor] = {}
    try:
        for name, tensor in flattened(found).items():
            one = plain(tensor)
            if isinstance(one, str):
                left_out.append(LeftOut(name, one))
            else:
                tensors[name] = one
    except RuntimeError as error:
        raise _refusal(path, error) from None
    if not tensors and not left_out:
        raise InputError(
            f"{path}: found a {type(found).__name__} of torch.save without a tensor in it, "
            "expected a dict of tensors"
        )
    kind = "a file of torch.save" + (", written before torch 1.6" if legacy else "")
    return Stored(path, kind, tensors, left_out, (path,))


def _load(file: Path | IO[bytes], *, mmap: bool) -> object:
    with safe_globals(_numpy_scalars()), warnings.catch_warnings():
        # What torch thinks of a tensor's layout or of its own pickles is nothing for the user.
        warnings.simplefilter("ignore")
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap or None)


def _refusal(path: Path, error: Exception) -> InputError:
    """Return the error in one line: which class was found, or that the file is damaged."""
    text = str(error)
    if "orchScript" in text:
        return InputError(
            f"{path}: found a TorchScript archive, which is a program, expected plain tensors; "
            "save what it holds: torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        )
    classes = _classes(path, text)
    if classes:
        return InputError(
            f"{path}: found a pickled {printable(classes[0])}, which is no plain tensor, and "
            f"making one could run code; expected tensors, numbers and strings; {_ALONE}"
        )
    first = printable((text.splitlines() or [type(error).__name__])[0])[:200]
    return InputError(f"{path}: found a damaged file of torch.save ({first}), expected a whole one")


def _classes(path: Path, text: str) -> list[str]:
    """Return the names of classes that weights_only does not make."""
    try:
        with safe_globals(_numpy_scalars()):
            if found := sorted(get_unsafe_globals_in_checkpoint(path)):
                # Of a module's many classes its own says most.
                return sorted(found, key=lambda name: name.startswith(("torch.", "collections.")))
    except Exception:  # noqa: BLE001 - a legacy file, or a damaged one: the message has to do
        pass
    named = re.search(r"GLOBAL ([\w.]+)|class <?'?([\w.]+)|function <?([\w.]+)", text)
    return [next(group for group in named.groups() if group)] if named else []


class _Slice(io.RawIOBase):
    """A part of a file, as a file that can be sought in."""

    def __init__(self, path: Path, offset: int, length: int) -> None:
        self._file = path.open("rb")
        self._offset, self._length, self._at = offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self._length)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._offset + self._at)
        count = min(len(buffer), max(0, self._length - self._at))
        found = self._file.readinto(memoryview(buffer)[:count])
        self._at += found
        return found

    def close(self) -> None:
        self._file.close()
        super().close()


def embedded(path: Path, offset: int, length: int) -> StoredTensor:
    """Return the one tensor of a torch.save that lies within a file; it is mapped.

    Parameters
    ----------
    path : Path
        The file.
    offset, length : int
        Where in it.

    Raises
    ------
    ValueError
        There is no such thing.
    """
    if offset < 0 or offset + length > path.stat().st_size:
        raise ValueError(f"{path.name} ends before its values do")
    try:
        with _Slice(path, offset, length) as part, skip_data():
            tensor = _load(io.BufferedReader(part), mmap=False)
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{path.name} holds a {type(tensor).__name__} where a tensor belongs")
        if tensor.layout == torch.strided and tensor.is_contiguous() and not tensor.is_quantized:
            begin = offset + _record(path, offset, length)
            begin += int(tensor.storage_offset()) * tensor.dtype.itemsize
            return raw(path, begin, tensor.dtype, tuple(tensor.shape))
        with _Slice(path, offset, length) as part:
            whole = _load(io.BytesIO(part.read()), mmap=False)
        assert isinstance(whole, Tensor)
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001 - as of `open_pickle`
        first = printable((str(error).splitlines() or [type(error).__name__])[0])
        raise ValueError(f"{path.name} is damaged ({first})") from None
    found = plain(whole)
    if isinstance(found, str):
        raise ValueError(f"a tensor of {path.name} cannot be read: {found}")
    return found


def _record(path: Path, offset: int, length: int) -> int:
    """Return the byte within the part at which its only storage begins."""
    with _Slice(path, offset, length) as part, zipfile.ZipFile(part) as archive:
        records = [one for one in archive.infolist() if "/data/" in one.filename]
        if len(records) != 1 or records[0].compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{path.name} holds {len(records)} storages where one belongs")
        part.seek(records[0].header_offset)
        header = io.BufferedReader(part).read(30)
        names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        return records[0].header_offset + 30 + names
