"""Trained embedding tables on disk, as production keeps them: read a part at a time, run nothing.

Three formats: ``.pt`` (a dict of tensors, flat or under ``state_dict``, read with
``weights_only=True``), ``.safetensors``, and ``.npy`` for a single table. All two-dimensional
floating-point tensors count as tables, unless some are named as the reference DLRM names its
embeddings (``emb_l.N.weight``): then only those do.
"""

import hashlib
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError

_EMBEDDING = re.compile(r"emb_l\.(\d+)\.weight")
_KINDS = (".npy", ".pt", ".safetensors")

Rows = Callable[[str, int, int], NDArray[np.float64]]


class Snapshot:
    """Tables of one file; `open_snapshot` makes it.

    Attributes
    ----------
    path : Path
    digest : str
        SHA-256 (hex) of its size, modification time and first MiB: production files are too large
        to be hashed before every run.
    names : list of str
        Of the tables, in the order of the reference DLRM, or by name.
    """

    def __init__(self, path: Path, shapes: dict[str, tuple[int, int]], rows: Rows) -> None:
        self.path = path
        self._shapes = shapes
        self._rows = rows
        self.names = sorted(shapes, key=_order)
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            head = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode())
            head.update(file.read(1 << 20))
        self.digest = head.hexdigest()

    def shape(self, name: str) -> tuple[int, int]:
        """V and D of a table."""
        return self._shapes[name]

    def read(self, name: str, begin: int, end: int) -> NDArray[np.float64]:
        """Rows `begin` to `end` of a table, float64 [end - begin, D]."""
        return self._rows(name, begin, end)


def open_snapshot(path: Path) -> Snapshot:
    """Open a file of tables; nothing but its index is read.

    Raises
    ------
    InputError
        It is missing, of no known format, damaged, or holds no table.
    """
    readers = {".npy": _npy, ".pt": _pt, ".safetensors": _safetensors}
    if path.suffix not in readers:
        raise InputError(
            f"{path}: found a name that ends in {path.suffix or 'nothing'!r}, expected one of "
            f"{', '.join(_KINDS)}"
        )
    try:
        shapes, rows = readers[path.suffix](path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected embedding tables") from None
    except (
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        _DamagedError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: found no readable {path.suffix} file ({reason}), expected plain tensors"
        ) from None
    tables = {name: shape for name, shape in shapes.items() if _EMBEDDING.fullmatch(name)}
    tables = tables or {name: s for name, s in shapes.items() if len(s) == 2 and min(s) > 0}
    if not tables:
        raise InputError(
            f"{path}: found no two-dimensional floating-point tensor, expected embedding tables"
        )
    return Snapshot(path, {name: (s[0], s[1]) for name, s in tables.items()}, rows)


class _DamagedError(Exception):
    """What safetensors raises, in a class of ours."""


_Found = tuple[dict[str, tuple[int, ...]], Rows]


def _npy(path: Path) -> _Found:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind != "f":
        raise ValueError(f"found {array.dtype}, expected floating point")
    return {"table": array.shape}, lambda _name, begin, end: array[begin:end].astype(np.float64)


def _pt(path: Path) -> _Found:
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if isinstance(found, torch.Tensor):
        found = {"table": found}
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict):
        raise ValueError(f"found a {type(found).__name__}, expected a dict of tensors")
    tensors = {
        name: value
        for name, value in found.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    return {
        name: tuple(value.shape) for name, value in tensors.items()
    }, lambda name, b, e: tensors[name][b:e].double().numpy()


def _safetensors(path: Path) -> _Found:
    from safetensors import SafetensorError, safe_open

    path.stat()  # its own error for a missing file differs between versions
    try:
        # By torch: numpy has no bf16.
        file = safe_open(path, framework="pt")
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        shapes = {
            name: tuple(one.get_shape())
            for name, one in slices.items()
            if one.get_dtype() in ("F16", "BF16", "F32", "F64")
        }
    except SafetensorError as error:
        raise _DamagedError(str(error)) from None
    return shapes, lambda name, b, e: slices[name][b:e].double().numpy()


def _order(name: str) -> tuple[int, str]:
    match = _EMBEDDING.fullmatch(name)
    return (int(match[1]) if match else 0, name)
