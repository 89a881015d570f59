"""The runs of a comparison: read from files or folders, and paired where they took turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorabench.bench.pair import AFRESH
from lorabench.errors import InputError
from lorabench.results.files import documents_in, read_result
from lorabench.results.schema import Result
from lorabench.results.statistics import LEVEL


@dataclass(frozen=True)
class Runs:
    """What is compared.

    Parameters
    ----------
    base, head : tuple of Result
        Of pairs in the order of their blocks.
    paired : bool
        As of `lorabench.results.compare.compare`.
    level : float
        Likewise.
    notes : tuple of str
        What a reader should know, a sentence each.
    """

    base: tuple[Result, ...]
    head: tuple[Result, ...]
    paired: bool = False
    level: float = LEVEL
    notes: tuple[str, ...] = ()


def read_side(path: Path) -> list[Result]:
    """Read a document, or all of a folder: repeated runs of one command.

    Raises
    ------
    InputError
        There is none, or one cannot be read.
    """
    if not path.is_dir():
        return [read_result(path)]
    found = documents_in(path)
    if not found:
        raise InputError(f"{path}: found no result document (*.json) in it, expected some")
    return [read_result(one) for one in found]


def pair_up(base: Sequence[Result], head: Sequence[Result]) -> Runs:
    """Pair what was measured in turn: two runs, or blocks that were runs of their own."""
    blocks = [_blocks(side) for side in (base, head)]
    both = sorted(blocks[0].keys() & blocks[1].keys())
    if not both:
        return Runs(tuple(base), tuple(head))
    notes = []
    if any(number for _, number in both):
        notes.append(sentence(AFRESH))
    alone = len(base) + len(head) - 2 * len(both)
    if alone:
        notes.append(f"Blocks of one side alone have no pair and are left out: {alone}.")
    paired = [tuple(side[key] for key in both) for side in blocks]
    return Runs(paired[0], paired[1], True, level_of(paired[0]), tuple(notes))


def _blocks(runs: Sequence[Result]) -> dict[tuple[str, int], Result]:
    """Return the runs of one pair by it and the block, 0 for all of them; empty for others."""
    found = {}
    for run in runs:
        pair, block = (run.environment.get(name) for name in ("pair", "pair_block"))
        if isinstance(pair, str):
            found[pair, block if isinstance(block, int) else 0] = run
    one_pair = len({pair for pair, _ in found}) == 1
    return found if one_pair and len(found) == len(runs) else {}


def level_of(base: Sequence[Result]) -> float:
    """Return what intervals leave out on either side, from base's documents of a pair.

    Of a pair that could end at any of several looks, an interval holds for all of them.
    """
    last = base[-1]
    if last.sequential is not None and "pair_block" not in last.environment:
        return last.sequential.level
    level = last.environment.get("pair_level")
    return level if isinstance(level, float) and 0 < level < LEVEL else LEVEL


def sentence(text: str) -> str:
    """Return a note as one."""
    return f"{text[0].upper()}{text[1:]}."
