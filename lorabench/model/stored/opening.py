"""Recognise a file or folder of tensors by its content, and open it.

One door for checkpoints that are served and for snapshots that are compared. A name's ending
decides nothing: people call the same file .pt, .pth, .bin or .ckpt. Folders of shards are put
together; what lies in them that is no tensor is named.
"""

import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from lorabench.errors import InputError
from lorabench.model.stored.arrays import open_numpy, open_safetensors, read_index
from lorabench.model.stored.distcp import METADATA, open_distributed
from lorabench.model.stored.pickles import LEGACY_MAGIC, open_pickle
from lorabench.model.stored.tensors import (
    LeftOut,
    Piece,
    Stored,
    joined,
    named,
    printable,
)
from lorabench.model.stored.torchsnapshot import MANIFEST, PARTS, open_torchsnapshot

_EXPECTED = (
    "expected tensors: a file of torch.save, safetensors or numpy.save, or a folder of "
    "torch.distributed.checkpoint, torchsnapshot or such files"
)

_OTHERS = (
    (b"\x1f\x8b", "a gzip archive", "unpack it first: gunzip FILE"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it first: unzstd FILE"),
    (b"BZh", "a bzip2 archive", "unpack it first: bunzip2 FILE"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first: unxz FILE"),
    (b"\x89HDF", "an HDF5 file", "save its arrays with numpy.save, a file a table"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself: git lfs pull"),
    (b"PAR1", "a Parquet file", "give it to --data"),
    (b"\x7fELF", "a program", "give the file that it saved"),
)
_SHARD = ".distcp"
_LARGEST_HEADER = 100_000_000  # of safetensors, by its own rule
_SUFFIXES = re.compile(r"\.(pt|pth|bin|ckpt|npy|safetensors)$")
_OFFSETS = re.compile(r"(?P<base>.+?)_(?P<row>\d+)(?:_(?P<column>\d+))?")
_WEIGHTS = re.compile(r".*(weight|bias)")


def open_stored(path: Path) -> Stored:
    """Open a file or folder of tensors; no values are read.

    Parameters
    ----------
    path : Path
        Whatever it is called.

    Raises
    ------
    InputError
        It is missing, holds no tensors in a form that is known, or is damaged.
    """
    try:
        mode = path.stat().st_mode
        if not (S_ISDIR(mode) or S_ISREG(mode)):
            raise InputError(f"{path}: found neither a file nor a folder, {_EXPECTED}")
        whole = path if S_ISDIR(mode) else _folder_of(path)
        found = _file(path) if whole is None else _folder(whole)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder; {_EXPECTED}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; {_EXPECTED}") from None
    _join_shards(found)
    return found


def _folder_of(path: Path) -> Path | None:
    """Return the folder of which a file is but a part that says nothing alone."""
    if path.name in (METADATA, MANIFEST) or path.suffix == _SHARD:
        return path.parent
    return None


def _file(path: Path) -> Stored:
    opener = _recognised(path)
    if opener is not None:
        return opener(path)
    with path.open("rb") as file:
        head = file.read(264)
    what, out = next(
        ((what, out) for magic, what, out in _OTHERS if head.startswith(magic)), ("", "")
    )
    if head[257:262] == b"ustar":
        what, out = "a tar archive", "unpack it first: tar -xf FILE"
    elif not head:
        what = "an empty file"
    elif head.startswith(b"PK"):
        what, out = _zip(path)
    elif head.startswith(b"\x80"):
        what = "a plain pickle, and reading one could run code"
        out = "save its tensors with torch.save where it can be loaded"
    what = what or f"a file that begins with {head[:8]!r}"
    raise InputError(f"{path}: found {what}, {_EXPECTED}{'; ' if out else ''}{out}")


def _zip(path: Path) -> tuple[str, str]:
    """Say what an archive is that torch.save did not write."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a damaged file of torch.save (its end is missing)", "copy it again"
    if any(name.endswith(".npy") for name in names):
        return "an archive of numpy.savez", "save each table with numpy.save, in a folder"
    return "a zip archive", "unpack it first: unzip FILE"


def _recognised(path: Path) -> Callable[[Path], Stored] | None:
    """Return what opens a file, by how it begins; None where nothing does."""
    with path.open("rb") as file:
        head = file.read(64)
    length, size = int.from_bytes(head[:8], "little"), path.stat().st_size
    if head.startswith(b"PK\x03\x04"):
        return open_pickle if _of_torch(path) else None
    if head.startswith(b"\x93NUMPY"):
        return open_numpy
    if head.startswith(b"\x80") and LEGACY_MAGIC in head:
        return lambda path: open_pickle(path, legacy=True)
    if head[8:9] == b"{" and 2 <= length <= min(_LARGEST_HEADER, size):
        return open_safetensors
    if head.lstrip()[:1] == b"{" and path.suffix == ".json":
        return _indexed
    return None


def _of_torch(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _indexed(index: Path) -> Stored:
    """Open the files that an index names, and take from each what the index says."""
    by_file = read_index(index)
    found = Stored(index, f"{len(by_file)} files with an index", {}, [], (index,))
    for file, names in by_file.items():
        one = _file(index.parent / file)
        missing = [name for name in names if printable(name) not in one.tensors]
        unread = {left.name for left in one.left_out}
        if gone := [name for name in missing if printable(name) not in unread]:
            raise InputError(
                f"{index.parent / file}: found no tensor {printable(gone[0])}, expected it there, "
                f"as {index.name} says"
            )
        for name in names:
            if printable(name) in one.tensors:
                found.tensors[printable(name)] = one.tensors[printable(name)]
        found.left_out += one.left_out
        found.files += one.files
    return found


def _folder(folder: Path) -> Stored:
    if (folder / METADATA).is_file():
        return open_distributed(folder)
    if (folder / MANIFEST).is_file():
        return open_torchsnapshot(folder)
    within = folder.resolve()
    # Its folder of shards alone is what people see, and name.
    if (within.name in PARTS or within.name.isdigit()) and (within.parent / MANIFEST).is_file():
        return open_torchsnapshot(within.parent)
    names = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
    files = [name for name in names if (folder / name).is_file()]
    if indices := [name for name in files if name.endswith(".index.json")]:
        if len(indices) > 1:
            raise InputError(
                f"{folder}: found {len(indices)} indices ({named(indices)}), expected one; name "
                "the one that is meant"
            )
        return _indexed(folder / indices[0])
    if any(name.endswith(_SHARD) for name in files):
        raise InputError(
            f"{folder}: found shards of torch.distributed.checkpoint without their {METADATA}, "
            "expected that file too; a save that was cut short has none"
        )
    return _files(folder, files, [name for name in names if name not in files])


def _files(folder: Path, names: Iterable[str], folders: list[str]) -> Stored:
    """Open every file of tensors in a folder, and take all that they hold."""
    found = Stored(folder, "", {})
    unread = []
    shards: dict[str, list[Piece]] = {}
    for name in names:
        opener = _recognised(folder / name)
        if opener is None or opener is _indexed:
            unread.append(name)
            continue
        one = opener(folder / name)
        alone = list(one.tensors) == ["table"] and not one.left_out
        for inner, tensor in one.tensors.items():
            if len(one.offsets.get(inner, ())) == len(tensor.shape) > 0:
                shards.setdefault(inner, []).append(Piece(one.offsets[inner], tensor))
                continue
            called = _SUFFIXES.sub("", name) if alone else inner
            if called in found.tensors:
                raise InputError(
                    f"{folder}: found the tensor {called} in {name} and in another file, expected "
                    "it once; give one model's files alone"
                )
            found.tensors[called] = tensor
        found.left_out += one.left_out
        found.files += one.files
    for name, pieces in shards.items():
        found.tensors[name] = joined(f"{folder}: {name}", pieces).tensor
    if not found.tensors:
        raise _nothing(folder, unread, folders)
    count = len(found.files)
    found.kind = f"a folder of {count} file{'s' if count > 1 else ''} of tensors"
    left = [(name, "no file of tensors") for name in unread]
    left += [(f"{name}/", "folders within are not read") for name in folders]
    found.left_out += [LeftOut(printable(name), why) for name, why in left]
    return found


def _nothing(folder: Path, files: list[str], folders: list[str]) -> InputError:
    """Say what a folder without tensors holds instead."""
    if files and all((match := _OFFSETS.fullmatch(name)) and match["column"] for name in files):
        return InputError(
            f"{folder}: found bare shards ({named(files)}) without {MANIFEST}, which has their "
            "shapes, expected it in that folder or the one above; give the folder that "
            "torchsnapshot's Snapshot.take was given"
        )
    seen = [printable(name) for name in (*files, *(f"{name}/" for name in folders))]
    return InputError(f"{folder}: found {named(seen) or 'an empty folder'}, {_EXPECTED}")


def _join_shards(found: Stored) -> None:
    """Put tensors together whose names end in the row and column at which they begin.

    As torchsnapshot calls its files. A number alone at the end may be part of a name: it counts as
    a row only behind ``weight`` or ``bias``.
    """
    groups: dict[str, list[tuple[str, Piece]]] = {}
    for name, tensor in found.tensors.items():
        match = _OFFSETS.fullmatch(name)
        if match is None or not tensor.shape:
            continue
        row, column = match["row"], match["column"]
        if column is None and not _WEIGHTS.fullmatch(match["base"]):
            continue
        rest = (0,) * (len(tensor.shape) - 1) if column is None else (int(column),)
        if len(rest) + 1 == len(tensor.shape):
            groups.setdefault(match["base"], []).append((name, Piece((int(row), *rest), tensor)))
    for base, group in groups.items():
        begins = any(not any(piece.offsets) for _, piece in group)
        if base in found.tensors or not (begins or _WEIGHTS.fullmatch(base)):
            continue
        try:
            whole = joined(f"{found.path}: {base}", [piece for _, piece in group])
        except InputError:
            if _WEIGHTS.fullmatch(base):
                raise
            continue  # numbers that are part of names
        for name, _ in group:
            del found.tensors[name]
        found.tensors[base] = whole.tensor
