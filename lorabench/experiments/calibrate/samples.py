"""The slices of `solo` and `solo_repeat` in a result of colocate, block by block.

They are in the raw samples beside the document, whose hash it has: other samples are refused.
"""

import hashlib
import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.results.files import read_result
from lorabench.results.schema import Result
from lorabench.results.simulation import LEAST_SLICES as LEAST_BLOCK_SLICES

CONTROLS = ("solo", "solo_repeat")
LEAST_SLICES = 24
"""Fewer slices of the controls in all show too little of a machine's weather."""

_NAME = re.compile(r"block(\d+)/(.+)/(\w+)")
_NS = 1e9

# Blocks by number, their cases by name, these cases' columns by name.
_Blocks = Mapping[int, Mapping[str, Mapping[str, str]]]


@dataclass(frozen=True, eq=False)
class Slice:
    """The measured queries of one slice of a control.

    Parameters
    ----------
    latency_s : float64 [N]
        From scheduled arrival to finished prediction.
    touched : bool [N]
        A stall of the host touched it.
    """

    latency_s: NDArray[np.float64]
    touched: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Recorded:
    """What runs are made up from.

    Parameters
    ----------
    path : Path
        The document.
    result : Result
        It.
    blocks : tuple of tuple of Slice
        The slices of both controls of every block that has enough.
    left_out : int
        Blocks that have not.
    block_s : float
        How long the cases of a block ran, all together, in the median block.
    """

    path: Path
    result: Result
    blocks: tuple[tuple[Slice, ...], ...]
    left_out: int
    block_s: float


def read(path: Path) -> Recorded:
    """Read a document of colocate and the raw samples beside it.

    Raises
    ------
    InputError
        It is no document of colocate, its samples are missing, or those of another run, or too few.
    """
    result = read_result(path)
    if result.command != "colocate":
        raise InputError(
            f"{path}: found a result of lorabench {result.command}, expected one of lorabench "
            "colocate"
        )
    raw, data = _raw(path, result)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            named = _named(arrays.files)
            if not named:
                raise InputError(
                    f"{raw}: found no samples of {' or '.join(CONTROLS)} by block and slice, "
                    "expected such as block0/solo/slice; measure anew"
                )
            found = [_slices(raw, arrays, cases) for _, cases in sorted(named.items())]
            block_s = median(_lasted(raw, arrays, cases) for cases in named.values())
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{raw}: found no raw samples ({error}), expected .npz") from None
    blocks = tuple(block for block in found if len(block) >= LEAST_BLOCK_SLICES)
    _check(raw, blocks)
    return Recorded(path, result, blocks, len(found) - len(blocks), block_s)


def _raw(path: Path, result: Result) -> tuple[Path, bytes]:
    """Return where the raw samples are, and their bytes."""
    if result.raw is None:
        raise InputError(
            f"{path}: raw: found no raw samples named, expected the .npz that lorabench colocate "
            "writes beside its result"
        )
    raw = path.parent / Path(result.raw.name).name
    try:
        data = raw.read_bytes()
    except OSError as error:
        raise InputError(f"{raw}: {error.strerror}; expected the raw samples of {path}") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != result.raw.sha256:
        raise InputError(
            f"{raw}: found sha256 {digest[:12]}…, expected {result.raw.sha256[:12]}…, as {path} "
            "has it: these are the samples of another run"
        )
    return raw, data


def _named(names: Sequence[str]) -> _Blocks:
    """Return the full names of all columns, by block and case."""
    named: dict[int, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for name in names:
        if parts := _NAME.fullmatch(name):
            named[int(parts[1])][parts[2]][parts[3]] = name
    # What ran once, after all rounds, has no control beside it.
    return {block: cases for block, cases in named.items() if set(CONTROLS) & set(cases)}


def _slices(
    raw: Path, arrays: Mapping[str, NDArray[np.generic]], cases: Mapping[str, Mapping[str, str]]
) -> tuple[Slice, ...]:
    """Return a block's slices of both controls."""
    found: list[Slice] = []
    for control in CONTROLS:
        columns = _columns(
            raw, arrays, cases.get(control, {}), "scheduled_ns", "done_ns", "slice", "counted",
            "touched",
        )  # fmt: skip
        scheduled, done, number, counted, touched = columns
        measured = counted.astype(bool) & (done > 0)
        found += [
            Slice((done - scheduled)[mine] / _NS, touched[mine].astype(bool))
            for one in np.unique(number[measured])
            if (mine := measured & (number == one)).any()
        ]
    return tuple(found)


def _lasted(
    raw: Path, arrays: Mapping[str, NDArray[np.generic]], cases: Mapping[str, Mapping[str, str]]
) -> float:
    """Return how long all cases of a block ran, s: a case's clock runs while it does."""
    total = 0
    for names in cases.values():
        scheduled, done = _columns(raw, arrays, names, "scheduled_ns", "done_ns")
        if len(done):
            total += int(done.max()) - int(scheduled.min())
    return total / _NS


def _columns(
    raw: Path,
    arrays: Mapping[str, NDArray[np.generic]],
    names: Mapping[str, str],
    *wanted: str,
) -> list[NDArray[np.int64]]:
    """Return columns of one case; of a control that did not run in a block, empty ones."""
    if not names:
        return [np.zeros(0, np.int64) for _ in wanted]
    for name in wanted:
        if name not in names:
            case = next(iter(names.values())).rpartition("/")[0]
            raise InputError(f"{raw}: found no {case}/{name}, expected it; measure anew")
    found = [arrays[names[name]].astype(np.int64) for name in wanted]
    if len({one.shape for one in found}) > 1 or found[0].ndim != 1:
        case = names[wanted[0]].rpartition("/")[0]
        raise InputError(f"{raw}: {case}: found columns of unlike lengths, expected one of each")
    return found


def _check(raw: Path, blocks: Sequence[Sequence[Slice]]) -> None:
    slices = sum(map(len, blocks))
    if len(blocks) < 2 or slices < LEAST_SLICES:
        raise InputError(
            f"{raw}: found {slices} slices of {' and '.join(CONTROLS)} in {len(blocks)} blocks "
            f"that have {LEAST_BLOCK_SLICES} or more, expected {LEAST_SLICES} in 2 or more; "
            "measure for longer"
        )
