"""Recognising click logs that others have made ready, from the files' bytes, arrays and names.

Names matter where the programs that write the files find them by name: days, counts, and which
three arrays belong together. What is recognised is read in `lorabench.workload.processed`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.workload.arrays import (
    NPY_MAGIC,
    ZIP_MAGIC,
    Array,
    member_names,
    open_bare,
    open_member,
    open_npy,
    read_small,
)
from lorabench.workload.processed import Day, ProcessedRows

_ROWS = {"X_int", "X_cat", "y"}
_DAY = re.compile(r"(?P<stem>.+)_(?P<day>\d+)_(?P<step>reordered|processed)\.npz")
_TRIPLE = re.compile(
    r"(?:(?P<stem>.+)_)?(?P<part>dense|labels|sparse)(?P<how>_\w+)?\.(?P<form>npy|npz)"
)
_MULTI_HOT = "_multi_hot"
_BARE_DENSE, _BARE_COLUMNS = 13, 40
_BARE_ENDS = ("_train.bin", "_val.bin", "_test.bin", "_data.bin")
_BARE_ROW = 4 * _BARE_COLUMNS
# Of a file without a magic number: rows that must look like rows.
_BARE_LOOK = 64


def is_processed(path: Path) -> bool:
    """Whether a file or a folder is of a kind that is looked at here.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        if path.is_dir():
            return bool(_names(path))
        with path.open("rb") as file:
            head = file.read(_BARE_LOOK * _BARE_ROW)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected rows") from None
    return head.startswith((NPY_MAGIC, ZIP_MAGIC)) or _is_bare(head)


def recognise(path: Path) -> ProcessedRows:
    """Open what `is_processed`.

    Raises
    ------
    InputError
        It holds something else than rows, several sets of rows, or a set that is not whole.
    """
    if path.is_dir():
        return _folder(path)
    with path.open("rb") as file:
        head = file.read(len(NPY_MAGIC))
    if head.startswith(ZIP_MAGIC):
        return _npz(path)
    return _triples([path]) if head == NPY_MAGIC else _bare(path)


def _is_bare(head: bytes) -> bool:
    """Whether these are rows of int32: a label of 0 or 1, counts, and ids that are rows."""
    rows = np.frombuffer(head, "<i4", len(head) // _BARE_ROW * _BARE_COLUMNS)
    rows = rows.reshape(-1, _BARE_COLUMNS)
    return len(rows) > 0 and bool(
        np.isin(rows[:, 0], (0, 1)).all() and (rows[:, 1 + _BARE_DENSE :] >= 0).all()
    )


def _names(folder: Path) -> list[Path]:
    """Files of a folder that may be rows, in order of their days."""
    return sorted(
        (
            path
            for path in folder.iterdir()
            if _TRIPLE.fullmatch(path.name)
            or _DAY.fullmatch(path.name)
            or path.name.endswith(("_processed.npz", *_BARE_ENDS))
        ),
        key=lambda path: in_order(path.name),
    )


def in_order(name: str) -> list[tuple[int, str]]:
    """Sort key by which day_2 comes before day_10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _folder(folder: Path) -> ProcessedRows:
    names = _names(folder)
    days: dict[str, list[Path]] = {"reordered": [], "processed": []}
    triples, alone = [], []
    for path in names:
        if match := _DAY.fullmatch(path.name):
            days[match["step"]].append(path)
        elif _TRIPLE.fullmatch(path.name):
            triples.append(path)
        else:
            alone.append([path])
    sets = [one for one in (*alone, days["reordered"], triples) if one]
    notes: tuple[str, ...] = ()
    if not sets:
        sets = [days["processed"]]
    elif days["processed"]:
        notes = (
            f"left out {len(days['processed'])} files like {days['processed'][0].name}: the same "
            "rows before they were put together or shuffled",
        )
    if len(sets) != 1:
        found = ", ".join(one[0].name for one in sets[:5])
        raise InputError(
            f"{folder}: found several sets of rows ({found}), expected one: give the file that is "
            "meant"
        )
    (chosen,) = sets
    if chosen is triples:
        layout = _triples(chosen)
    elif chosen[0].suffix == ".bin":
        layout = _bare(chosen[0])
    else:
        layout = _reference(chosen)
    return replace(layout, notes=(*layout.notes, *notes))


def _npz(path: Path) -> ProcessedRows:
    members = set(member_names(path))
    if members >= _ROWS:
        return _reference([path])
    if members and all(name.isdigit() for name in members):
        return _triples([path])
    listed = ", ".join(sorted(members)[:8]) or "no array"
    why = ""
    if "X_cat_t" in members:
        why = ": its ids are not numbered yet; data_utils.py makes ..._processed.npz of it"
    elif members <= {"counts", "total_per_file", "unique"}:
        why = ": it belongs to rows, which are in other files; give these, or their folder"
    raise InputError(f"{path}: found the arrays {listed}, expected X_int, X_cat and y{why}")


def _reference(paths: Sequence[Path]) -> ProcessedRows:
    """Open processed files of the reference DLRM."""
    matches = [_DAY.fullmatch(path.name) for path in paths]
    stems = {match["stem"] for match in matches if match}
    if len(stems) > 1:
        raise InputError(
            f"{paths[0].parent}: found days of {' and of '.join(sorted(stems))}, expected those "
            "of one data set: give a file"
        )
    days = []
    for path in paths:
        missing = _ROWS - set(member_names(path))
        if missing:
            raise InputError(f"{path}: found no array {min(missing)}, expected X_int, X_cat and y")
        label, dense, sparse = (open_member(path, name) for name in ("y", "X_int", "X_cat"))
        days.append(Day(label, dense, (sparse,)))
    first = paths[0]
    counts, source = _beside(first, "fea_count", "counts")
    if "counts" in member_names(first):
        counts, source = read_small(first, "counts"), first
    notes = _days_told(paths, days) if matches[0] else ()
    name = first.name if len(paths) == 1 else f"{first.parent.name}/{first.name} and so on"
    return ProcessedRows(
        "dlrm-npz", name, tuple(days), _counted(counts, source), str(source), notes
    )


def _days_told(paths: Sequence[Path], days: Sequence[Day]) -> tuple[str, ...]:
    """Hold the rows of each day against the count beside them; say which days there are."""
    numbers = [int(match["day"]) for path in paths if (match := _DAY.fullmatch(path.name))]
    totals, source = _beside(paths[0], "day_count", "total_per_file")
    for path, number, day in zip(paths, numbers, days, strict=True):
        if totals is not None and number < len(totals) and len(day) != totals[number]:
            raise InputError(
                f"{path}: found {len(day):,} rows, expected {int(totals[number]):,} by {source}: "
                "it is of another data set, or not whole"
            )
    missing = sorted(set(range(max(numbers))) - set(numbers)) if len(paths) > 1 else []
    if missing:
        return (f"days {', '.join(map(str, missing))} are not there",)
    return ()


def _beside(path: Path, what: str, member: str) -> tuple[NDArray[Any] | None, Path | None]:
    """Read the counts that the reference keeps in a file beside its rows."""
    match = _DAY.fullmatch(path.name)
    stem = match["stem"] if match else path.stem
    likely = [path.with_name(f"{one}_{what}.npz") for one in (stem, stem.removesuffix("_day"))]
    found = [one for one in likely if one.exists()] or sorted(path.parent.glob(f"*_{what}.npz"))
    if not found or (len(found) > 1 and not likely[0].exists() and not likely[1].exists()):
        return None, None
    return read_small(found[0], member), found[0]


def _counted(counts: NDArray[Any] | None, source: Path | None) -> tuple[int, ...] | None:
    if counts is None:
        return None
    if counts.dtype.kind not in "iu" or (counts < 1).any():
        raise InputError(
            f"{source}: counts: found {counts[:5].tolist()}, expected positive integers"
        )
    return tuple(map(int, counts))


def _bare(path: Path) -> ProcessedRows:
    array = open_bare(path, _BARE_COLUMNS)
    counts, source = _beside(path, "fea_count", "counts")
    day = Day(array, array, (), packed=_BARE_DENSE)
    return ProcessedRows("dlrm-bin", path.name, (day,), _counted(counts, source), str(source))


def _triples(paths: Sequence[Path]) -> ProcessedRows:
    """Open TorchRec's arrays: all of a folder, or the three that one file belongs to."""
    alone = paths[0] if len(paths) == 1 else None
    if alone is not None and not _TRIPLE.fullmatch(alone.name):
        raise InputError(
            f"{alone}: found an array alone, expected NAME_dense.npy, NAME_sparse.npy and "
            "NAME_labels.npy, as TorchRec's preprocessing writes them"
        )
    folder = paths[0].parent
    stems: dict[str, dict[str, list[Path]]] = {}
    for path in _names(folder):
        if match := _TRIPLE.fullmatch(path.name):
            parts = stems.setdefault(match["stem"] or "", {})
            parts.setdefault(match["part"], []).append(path)
    if alone is not None:
        match = _TRIPLE.fullmatch(alone.name)
        assert match is not None
        parts = stems[match["stem"] or ""]
        stems = {match["stem"] or "": parts | {match["part"]: [alone]}}
    if len({re.sub(r"\d+$", "", stem) for stem in stems}) > 1:
        raise InputError(
            f"{folder}: found arrays of {' and of '.join(sorted(stems)[:4])}, expected those of "
            "one data set: give a file"
        )
    days = tuple(_triple(folder, stem, parts) for stem, parts in stems.items())
    name = paths[0].name if alone else f"{folder.name}/{_prefix(next(iter(stems)))}*.npy"
    return ProcessedRows("torchrec-npy", name, days)


def _prefix(stem: str) -> str:
    return re.sub(r"\d+$", "", f"{stem}_" if stem and not stem[-1].isdigit() else stem)


def _triple(folder: Path, stem: str, parts: dict[str, list[Path]]) -> Day:
    opened: dict[str, tuple[Array, ...]] = {}
    for part in ("labels", "dense", "sparse"):
        found = parts.get(part, [])
        name = f"{stem}_{part}.npy" if stem else f"{part}.npy"
        if not found:
            raise InputError(f"{folder}: found no {name}, expected it beside the others of {stem}")
        if len(found) > 1:
            listed = " and ".join(path.name for path in found)
            raise InputError(f"{folder}: found {listed}, expected one: give the file that is meant")
        (path,) = found
        if path.suffix == ".npy":
            opened[part] = (open_npy(path),)
            continue
        features = sorted((name for name in member_names(path) if name.isdigit()), key=int)
        if part != "sparse" or not features:
            raise InputError(
                f"{path}: found no arrays 0.npy, 1.npy, ..., expected one for each feature"
            )
        opened[part] = tuple(open_member(path, feature) for feature in features)
    (label,), (dense,) = opened["labels"], opened["dense"]
    return Day(label, dense, opened["sparse"])
