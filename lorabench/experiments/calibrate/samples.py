"""The slices of `solo` and `solo_repeat` in a result of colocate, block by block.

They are in the raw samples beside the document (`lorabench.results.raw`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.results.files import read_result
from lorabench.results.raw import NS, RawSamples, open_raw
from lorabench.results.schema import Result
from lorabench.results.simulation import LEAST_SLICES as LEAST_BLOCK_SLICES

CONTROLS = ("solo", "solo_repeat")
LEAST_SLICES = 24
"""Fewer slices of the controls in all show too little of a machine's weather."""


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
        The slices of both controls, or of the case asked for, of every block that has enough.
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


def read(path: Path, wanted: Sequence[str] = CONTROLS) -> Recorded:
    """Read a document of colocate and the raw samples beside it, of these cases.

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
    raw = open_raw(path, result)
    # What ran once, after all rounds, has no control beside it.
    blocks = [block for block, cases in raw.blocks.items() if set(wanted) & set(cases)]
    if not blocks:
        raise InputError(
            f"{raw.path}: found no samples of {' or '.join(wanted)} by block and slice, "
            "expected such as block0/solo/slice; measure anew"
        )
    found = [_slices(raw, block, wanted) for block in blocks]
    enough = tuple(slices for slices in found if len(slices) >= LEAST_BLOCK_SLICES)
    _check(raw.path, enough, wanted)
    block_s = median(_lasted(raw, block) for block in blocks)
    return Recorded(path, result, enough, len(found) - len(enough), block_s)


def _slices(raw: RawSamples, block: int, wanted: Sequence[str]) -> tuple[Slice, ...]:
    """Return a block's slices of these cases, as far as they ran."""
    found: list[Slice] = []
    for case in wanted:
        if case not in raw.blocks[block]:
            continue
        scheduled, done, number, counted, touched = raw.columns(
            block, case, "scheduled_ns", "done_ns", "slice", "counted", "touched"
        )
        measured = counted.astype(bool) & (done > 0)
        found += [
            Slice((done - scheduled)[mine] / NS, touched[mine].astype(bool))
            for one in np.unique(number[measured])
            if (mine := measured & (number == one)).any()
        ]
    return tuple(found)


def _lasted(raw: RawSamples, block: int) -> float:
    """Return how long all cases of a block ran, s: a case's clock runs while it does."""
    total = 0
    for case in raw.blocks[block]:
        scheduled, done = raw.columns(block, case, "scheduled_ns", "done_ns")
        if len(done):
            total += int(done.max()) - int(scheduled.min())
    return total / NS


def _check(raw: Path, blocks: Sequence[Sequence[Slice]], wanted: Sequence[str]) -> None:
    slices = sum(map(len, blocks))
    least = LEAST_SLICES * len(wanted) // len(CONTROLS)
    if len(blocks) < 2 or slices < least:
        raise InputError(
            f"{raw}: found {slices} slices of {' and '.join(wanted)} in {len(blocks)} blocks "
            f"that have {LEAST_BLOCK_SLICES} or more, expected {least} in 2 or more; "
            "measure for longer"
        )
