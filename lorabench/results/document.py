"""Result documents on disk: written whole or not at all, read with one clear line on failure."""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from lorabench.errors import InputError
from lorabench.results.schema import SCHEMA, Result


def check_writable(path: Path) -> None:
    """Find out before the work begins whether its result can be written; leave nothing behind.

    Raises
    ------
    InputError
        `path` is a folder, or its folder cannot be made or written in.
    """
    if path.is_dir():
        raise InputError(f"{path}: found a folder, expected the name of a file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); expected a folder that can be written"
        ) from None


def write_result(result: Result, path: Path) -> None:
    """Write a document under a temporary name, then rename it.

    Raises
    ------
    InputError
        It cannot be written.
    """
    write_bytes(path, (result.model_dump_json(indent=1, by_alias=True) + "\n").encode())


def write_raw(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """Write raw samples as ``.npz``, whole or not at all, and return the file's sha256."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
    data = buffer.getvalue()
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        partial.unlink(missing_ok=True)


def read_result(path: Path) -> Result:
    """Read and validate a document.

    Raises
    ------
    InputError
        It is missing, no JSON, of another schema, or does not validate.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a result document") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: line {error.lineno}, column {error.colno}: found no JSON ({error.msg}), "
            "expected a result document"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: found no text, expected a result document") from None
    found = document.get("schema") if isinstance(document, dict) else None
    if found != SCHEMA:
        raise InputError(f"{path}: schema: found {found!r}, expected {SCHEMA!r}")
    try:
        return Result.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {key}: found {first['input']!r:.60}: {first['msg']}") from None
