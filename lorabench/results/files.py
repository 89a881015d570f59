"""Result documents on disk: written whole or not at all, read with one clear line on failure.

Raw samples go the same way. What is in a document is `lorabench.results.schema`'s to say.
"""

import codecs
import hashlib
import io
import json
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from lorabench.errors import InputError, StreamError
from lorabench.replacing import partial_name, replacing
from lorabench.results.parse import MOST_BYTES, parse
from lorabench.results.schema import SCHEMA, Result
from lorabench.results.upgrade import SCHEMA_1, upgrade

# What the names of logs begin with, so that no folder of other files is replaced.
_LOG = "mlperf_log_"

_SUITE = ".pyperf.json"

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


def check_writable(path: Path) -> None:
    """Find out before the work begins whether its result can be written; leave nothing behind.

    Raises
    ------
    InputError
        `path` is a folder, or its folder cannot be made or written in.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: found a folder, expected the name of a file to write")
        # Renaming over it would replace the device, /dev/null for one.
        if path.exists() and not path.is_file():
            raise InputError(
                f"{path}: found a device or pipe, expected the name of a file to write"
            )
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
        # A name that is too long is only noticed in use.
        partial_name(path).exists()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); expected a folder that can be written"
        ) from None


def check_apart(target: Path, read: Sequence[Path]) -> None:
    """Find out before the work begins whether what is written would replace what is read.

    Parameters
    ----------
    target : Path
        The file to be written.
    read : sequence of Path
        Documents that are read, and folders of them; raw samples lie beside a document.

    Raises
    ------
    InputError
        `target` is one of them.
    """
    if not target.exists():
        return
    for one in _files_of(read):
        if one.exists() and target.samefile(one):
            raise InputError(f"{target}: found what is read, expected another file to write")


def _files_of(read: Sequence[Path]) -> Iterator[Path]:
    for path in read:
        if path.is_dir():
            yield from (*path.glob("*.json"), *path.glob("*.npz"))
        else:
            yield path
            if path.name:
                yield path.with_suffix(".npz")


def write_result(result: Result, path: Path) -> None:
    """Write a document under a temporary name, then rename it; make its folder if need be.

    Raises
    ------
    InputError
        It cannot be written.
    pydantic.ValidationError
        It is no valid document: `model_copy` and `model_construct` check nothing.
    """
    Result.model_validate(result.model_dump(by_alias=True))
    write_bytes(path, (result.model_dump_json(indent=1, by_alias=True) + "\n").encode())


def write_raw(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """Write raw samples as ``.npz``, whole or not at all, and return the file's sha256.

    Raises
    ------
    InputError
        It cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
    data = buffer.getvalue()
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step.

    Raises
    ------
    InputError
        It cannot be written; what was there before still is.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


def put(target: Path | None, data: str | bytes) -> None:
    """Write what a command makes to a file, or to stdout.

    Text is UTF-8 in files and pipes, whatever stdout's encoding is; a terminal gets what it shows.

    Parameters
    ----------
    target : Path or None
        None for stdout.
    data : str or bytes
        What to write.

    Raises
    ------
    InputError
        The file cannot be written.
    StreamError
        Nor can stdout.
    """
    encoded = utf8(data) if isinstance(data, str) else data
    if target is not None:
        write_bytes(target, encoded)
    elif isinstance(data, str) and sys.stdout.isatty():
        print(data, end="", flush=True)  # noqa: T201
    else:
        sys.stdout.flush()  # what was printed comes first
        try:
            sys.stdout.buffer.write(encoded)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise StreamError(error) from None


def utf8(text: str) -> bytes:
    """Encode a text that names files, whose names may be text elsewhere only, or nowhere.

    Parameters
    ----------
    text : str
        Any, with bytes that Python could not read as text (PEP 383).
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        name = text.encode("utf-8", "surrogateescape")
        return name.decode("utf-8", "backslashreplace").encode()


def print_json(text: str) -> None:
    """Print JSON on stdout, with escapes for what is beyond ASCII where that is not UTF-8.

    Parameters
    ----------
    text : str
        A document; only its strings hold such letters.
    """
    encoding = sys.stdout.encoding or "utf-8"
    if not (text.isascii() or codecs.lookup(encoding).name.startswith("utf")):
        text = _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
    print(text)  # noqa: T201


def check_folder(path: Path) -> None:
    """Find out before the work begins whether a folder of logs can be written; leave nothing.

    Raises
    ------
    InputError
        Something else is there, a folder with other files in it for one, or it cannot be made.
    """
    if path.is_dir() and not path.is_symlink():
        try:
            foreign = _foreign(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        if foreign:
            raise InputError(
                f"{path}: found {foreign[0].name} in it, expected a folder of logs alone "
                f"({_LOG}*), or none; it would be replaced"
            )
    elif path.exists() or path.is_symlink():
        raise InputError(f"{path}: found a file, expected a folder of logs, or nothing")
    check_writable(path.with_name(f"{path.name}.part"))


def write_folder(path: Path, contents: Mapping[str, bytes]) -> dict[str, str]:
    """Replace a folder of logs by another, whole or not at all, and return the files' sha256.

    Raises
    ------
    InputError
        It cannot be written; what was there before still is.
    """
    partial, old = partial_name(path), partial_name(path.with_name(f"{path.name}.old"))
    try:
        for name, data in contents.items():
            write_bytes(partial / name, data)
        check_folder(path)
        if path.exists():
            path.rename(old)
        partial.rename(path)
    except OSError as error:
        if old.exists() and not path.exists():
            old.rename(path)
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}


def remove_logs(path: Path) -> None:
    """Take a folder of logs away that a run before has left; one with other files in it stays.

    Raises
    ------
    InputError
        It cannot be taken away.
    """
    if not path.is_dir() or path.is_symlink():
        return
    old = partial_name(path)
    try:
        if not _foreign(path):
            # Out of the way in one step: nobody is to find half of it.
            path.rename(old)
            shutil.rmtree(old)
    except OSError as error:
        raise InputError(f"{path}: cannot be removed ({error.strerror})") from None


def _foreign(folder: Path) -> list[Path]:
    """List what lies in a folder and is neither a log nor a folder."""
    return [one for one in folder.rglob("*") if not (one.is_dir() or one.name.startswith(_LOG))]


def newest_result(pattern: str = "*.json", folder: Path = Path("results")) -> Path:
    """Return the newest document that was written without ``-o``: names end in a time and sort.

    Raises
    ------
    InputError
        There is none.
    """
    found = [
        (stamp[0], path)
        for path in folder.glob(pattern)
        if (stamp := re.search(r"\d{8}T\d{6}-[0-9a-f]{6}$", path.stem))
    ]
    if not found:
        raise InputError(f"{folder}/: found no {pattern} of a run, expected one; name a result")
    return max(found)[1]


def documents_in(folder: Path) -> list[Path]:
    """Return the files in a folder that may be result documents, by name.

    Suites for pyperf are none, which `kernels` writes beside its result.

    Raises
    ------
    InputError
        The folder cannot be read.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.name.endswith(".json"))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None
    return [path for path in found if not path.name.endswith(_SUITE)]


def read_bounded(path: Path, most: int, expected: str) -> bytes:
    """Read a file that somebody else may have written.

    Parameters
    ----------
    path : Path
        It; a device, a pipe or a folder is not even opened, since reading one may never end.
    most : int
        Bytes that it may have.
    expected : str
        What it should be, for the message.

    Raises
    ------
    InputError
        It is missing, no regular file, or larger.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "a device or pipe"
            raise InputError(f"{path}: found {kind}, expected {expected}")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected {expected}") from None
    except ValueError:  # of what cannot be a name
        raise InputError(f"{path}: found no name of a file, expected {expected}") from None
    if len(data) > most:
        raise InputError(
            f"{path}: found more than {most:,} bytes, the most that is read; expected {expected}"
        )
    return data


def read_result(path: Path) -> Result:
    """Read and validate a document.

    Raises
    ------
    InputError
        It is missing, no JSON, of another schema, does not validate, or is larger than any
        document is.
    """
    data = read_bounded(path, MOST_BYTES, "a result document")
    try:
        document = parse(data)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: line {error.lineno}, column {error.colno}: found no JSON ({error.msg}), "
            "expected a result document"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: found no text, expected a result document") from None
    except ValueError as error:
        raise InputError(f"{path}: found no usable JSON ({error})") from None
    found = document.get("schema") if isinstance(document, dict) else None
    if found not in (SCHEMA, SCHEMA_1):
        raise InputError(f"{path}: schema: found {found!r:.60}, expected {SCHEMA!r}")
    try:
        return Result.model_validate(upgrade(document))
    except ValidationError as error:
        raise InputError(f"{path}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """Put the first thing that is wrong into words."""
    details = error.errors(include_url=False)
    first = details[0]
    key = " ".join(".".join(map(str, first["loc"])).split())
    key = f"{key:.100}"
    if first["type"] == "missing":
        text = f"{key}: found nothing, expected a value"
    elif first["type"] == "extra_forbidden":
        text = f"{key}: found a key that {SCHEMA} does not have"
    else:
        text = f"{key}: found {first['input']!r:.60}: {first['msg']}"
    return text if len(details) == 1 else f"{text} (and {len(details) - 1} more)"
