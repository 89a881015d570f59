"""Trained embedding tables on disk, as production keeps them: read a part at a time, run nothing.

Opened by `lorabench.model.stored`, whatever form they are in. Two snapshots of one model may call
their tables differently, by the wrapper that saved them; `pair` finds which belong together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.model.stored.opening import open_stored
from lorabench.model.stored.roles import find_tables, natural, unwrapped
from lorabench.model.stored.summary import digest, said
from lorabench.model.stored.tensors import LeftOut, StoredTensor, named


class Snapshot:
    """Tables of one file or folder; `open_snapshot` makes it.

    Attributes
    ----------
    path : Path
    kind : str
        What it was recognised as.
    digest : str
        As of `lorabench.model.stored.summary`.
    names : list of str
        Of the tables, without what all names begin with and wrappers put into them; numbers in
        order of their size.
    left_out : tuple of LeftOut
        What else lies there.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        sha256: str,
        tables: Mapping[str, StoredTensor],
        left_out: tuple[LeftOut, ...],
    ) -> None:
        self.path = path
        self.kind = kind
        self.digest = sha256
        self.left_out = left_out
        short = _short(list(tables))
        self._found = {short[name]: name for name in tables}
        self._tables = {short[name]: table for name, table in tables.items()}
        self.names = sorted(self._tables, key=natural)

    def found_as(self, name: str) -> str:
        """Return a table's name as it stands there."""
        return self._found[name]

    def shape(self, name: str) -> tuple[int, int]:
        """V and D of a table."""
        rows, dim = self._tables[name].shape
        return rows, dim

    def form(self, name: str) -> str:
        """Return how a table's values lie there: their dtype, or how they are quantised."""
        return self._tables[name].form

    def read(self, name: str, begin: int, end: int) -> NDArray[np.float64]:
        """Rows `begin` to `end` of a table, float64 [end - begin, D].

        Raises
        ------
        InputError
            A value is not finite.
        """
        part: NDArray[np.float64] = self._tables[name].rows(begin, end).double().numpy()
        finite = np.isfinite(part)
        if not finite.all():
            row = int(np.flatnonzero(~finite.all(axis=1))[0])
            value = part[row][~finite[row]][0]
            raise InputError(
                f"{self.path}: {self.found_as(name)}: found {value} in row {begin + row}, expected "
                "finite numbers; take a snapshot from before training diverged"
            )
        return part

    def as_document(self) -> dict[str, object]:
        """Return what a result says of it."""
        return {
            "file": self.path.name,
            "sha256": self.digest,
            "kind": self.kind,
            "left_out": said(self.left_out),
        }


def open_snapshot(path: Path) -> Snapshot:
    """Open a file or folder of tables; no values are read.

    Raises
    ------
    InputError
        It is missing, of no known form, damaged, or holds no table.
    """
    stored = open_stored(path)
    found = find_tables(stored)
    if not found.tables:
        reasons = "; ".join(said(found.left_out)[:3])
        raise InputError(
            f"{path}: found no two-dimensional floating-point tensor that is a table ({reasons}), "
            "expected embedding tables"
        )
    return Snapshot(path, stored.kind, digest(stored), found.tables, tuple(found.left_out))


@dataclass(frozen=True)
class Pairing:
    """Which tables of two snapshots belong together.

    Parameters
    ----------
    pairs : tuple of (str, str, str)
        What to call it, its name in the older snapshot and in the newer.
    alone : tuple of LeftOut
        Tables of one of them alone.
    notes : tuple of str
        What was assumed.
    """

    pairs: tuple[tuple[str, str, str], ...]
    alone: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def pair(before: Snapshot, after: Snapshot) -> Pairing:
    """Find the tables that two snapshots have in common.

    Raises
    ------
    InputError
        They have none, or such of different D.
    """
    pairs = [(name, name, name) for name in before.names if name in after.names]
    pairs += _by_endings(
        [name for name in before.names if name not in after.names],
        [name for name in after.names if name not in before.names],
    )
    notes: list[str] = []
    if not pairs and len(before.names) == len(after.names) == 1:
        old, new = before.names[0], after.names[0]
        pairs = [(old, old, new)]
        notes.append(f"{old} and {new} were taken for one table: each is the only one there")
    if not pairs:
        raise InputError(
            f"{after.path}: found other tables than {before.path} has ({named(after.names)}), "
            f"expected some of the same: {named(before.names)}"
        )
    for _, old, new in pairs:
        dims = before.shape(old)[1], after.shape(new)[1]
        if dims[0] != dims[1]:
            raise InputError(
                f"{after.path}: {after.found_as(new)}: found dim {dims[1]}, expected {dims[0]} as "
                f"of {before.found_as(old)} in {before.path}"
            )
    olds, news = {old for _, old, _ in pairs}, {new for _, _, new in pairs}
    alone = [
        *(LeftOut(n, f"{before.path.name} alone has it") for n in before.names if n not in olds),
        *(LeftOut(n, f"{after.path.name} alone has it") for n in after.names if n not in news),
    ]
    return Pairing(tuple(pairs), tuple(alone), tuple(notes))


def _by_endings(olds: list[str], news: list[str]) -> list[tuple[str, str, str]]:
    """Pair names of which one ends in the other, where that leaves no choice."""

    def alike(one: str, other: str) -> bool:
        return f".{one}".endswith(f".{other}") or f".{other}".endswith(f".{one}")

    found = []
    for old in olds:
        fitting = [new for new in news if alike(old, new)]
        if len(fitting) == 1 and sum(alike(one, fitting[0]) for one in olds) == 1:
            found.append((min(old, fitting[0], key=len), old, fitting[0]))
    return found


def _short(names: list[str]) -> dict[str, str]:
    """Return names without wrappers and without what all of them begin and end with.

    The reference's own (``emb_l.0.weight``) stay as they are.
    """
    parts = {name: unwrapped(name).split(".") or [name] for name in names}
    if len({tuple(split) for split in parts.values()}) < len(names):
        return {name: name for name in names}
    columns = list(zip(*(p[:-1] for p in parts.values()), strict=False))
    shared = len(list(takewhile(lambda column: len(set(column)) == 1, columns)))
    found = {}
    for name, split in parts.items():
        begin = min(shared, len(split) - 1)
        # A part of the reference's name, or the last word but ``weight``, says which table it is.
        if "emb_l" in split:
            begin = split.index("emb_l")
        elif split[-1] == "weight" and begin == len(split) - 1:
            begin = max(0, begin - 1)
        found[name] = ".".join(split[begin:])
    return found
