"""Files that hold tensors and nothing else: safetensors, with or without an index, and numpy's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lorabench.errors import InputError
from lorabench.model.stored.tensors import (
    LeftOut,
    Stored,
    StoredTensor,
    named,
    printable,
    raw,
)

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def open_numpy(path: Path) -> Stored:
    """Open an array of numpy.save, mapped.

    Raises
    ------
    InputError
        It is damaged, or of Python objects.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TypeError) as error:
        first = printable((str(error).splitlines() or [type(error).__name__])[0])[:200]
        raise InputError(
            f"{path}: found a file of numpy.save that cannot be read ({first}), expected an array "
            "of numbers"
        ) from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"{path}: found an array of {array.dtype}, expected floating point")
    native = array.dtype.newbyteorder("=")
    try:
        dtype = torch.from_numpy(np.empty(0, native)).dtype
    except TypeError:
        raise InputError(f"{path}: found an array of {array.dtype}, expected float32") from None

    def rows(begin: int, end: int) -> torch.Tensor:
        part = array[begin:end] if array.ndim else array
        return torch.from_numpy(np.array(part, dtype=native))

    tensor = StoredTensor(tuple(array.shape), dtype, rows)
    return Stored(path, "an array of numpy.save", {"table": tensor}, [], (path,))


def open_safetensors(path: Path) -> Stored:
    """Open a file of safetensors; no more than its header is read.

    Raises
    ------
    InputError
        It is damaged.
    """
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, StoredTensor] = {}
    left_out: list[LeftOut] = []
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())  # which checks the whole header
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        for name in sorted(names, key=lambda one: header[one]["data_offsets"][0]):
            kind = header[name]["dtype"]
            if kind not in _DTYPES:
                left_out.append(LeftOut(printable(name), f"of dtype {kind}"))
                continue
            at = 8 + length + header[name]["data_offsets"][0]
            shape = tuple(header[name]["shape"])
            tensors[printable(name)] = raw(path, at, _DTYPES[kind], shape)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        first = printable((str(error).splitlines() or [type(error).__name__])[0])[:200]
        raise InputError(
            f"{path}: found a damaged file of safetensors ({first}), expected a whole one"
        ) from None
    return Stored(path, "a file of safetensors", tensors, left_out, (path,), _offsets(header))


def _offsets(header: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return where shards begin that torch.distributed.checkpoint wrote as safetensors."""
    try:
        told = json.loads(header["__metadata__"]["DCP_SHARDING_INFO"])
        return {name: tuple(map(int, one["saved_offsets"])) for name, one in told.items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}  # nobody's shards


def read_index(path: Path) -> dict[str, list[str]]:
    """Return the tensors of each file that an index names.

    Parameters
    ----------
    path : Path
        ``model.safetensors.index.json``, or of another name.

    Returns
    -------
    dict of str to list of str
        Names of tensors by name of file.

    Raises
    ------
    InputError
        It is no index, or a file that it names is missing.
    """
    try:
        found = json.loads(path.read_bytes())
        files = found["weight_map"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"{path}: found no map of tensors to files (weight_map) in it, expected the index that "
            "safetensors are saved with"
        ) from None
    by_file: dict[str, list[str]] = {}
    for name, file in files:
        if not isinstance(file, str) or Path(file).name != file:
            raise InputError(
                f"{path}: found {printable(repr(file))} as the file of {printable(name)}, expected "
                "the name of a file beside the index"
            )
        by_file.setdefault(file, []).append(name)
    missing = [file for file in by_file if not (path.parent / file).is_file()]
    if missing:
        raise InputError(
            f"{path}: found no file {named([printable(one) for one in missing])} beside it, "
            f"expected all {len(by_file)} that it names"
        )
    return by_file
