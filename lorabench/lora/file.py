"""An adapter on disk, as safetensors: read with numpy, torch or anything else, and run nothing.

Of each adapted table f there are ``table.{f}.A`` [used, R] and ``table.{f}.B`` [R, D], float32, and
``table.{f}.rows`` [used], int32: row ``rows[s]`` is served as ``W[rows[s]] + A[s] @ B``. The
metadata says what tables it belongs to.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.lora.writer import AdapterOwner
from lorabench.model.tables import TableLayout

_FORMAT = "lorabench.adapter/1"


@dataclass(frozen=True, eq=False)
class SavedTable:
    """The adapter of one table.

    Attributes
    ----------
    A : float32 [used, R]
    B : float32 [R, D]
    rows : int32 [used]
    """

    A: NDArray[np.float32]
    B: NDArray[np.float32]
    rows: NDArray[np.int32]


def save_adapter(path: Path, state: AdapterOwner) -> None:
    """Write what is published, whole or not at all.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    from safetensors.numpy import save_file

    tensors: dict[str, NDArray[Any]] = {}
    for f, rank in enumerate(state.writer.rank):
        if rank:
            A, B, rows = state.writer.arrays(f)
            tensors |= {f"table.{f}.A": A, f"table.{f}.B": B, f"table.{f}.rows": rows}
    layout = state.plan.layout
    metadata = {"format": _FORMAT, "table_rows": json.dumps(layout.rows), "dim": str(layout.dim)}
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, partial, metadata)
        partial.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror or error}; expected a writable file with room"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def load_adapter(path: Path, layout: TableLayout) -> dict[int, SavedTable]:
    """Read an adapter and check that it belongs to `layout`.

    Returns
    -------
    dict of int to SavedTable
        By table.

    Raises
    ------
    InputError
        No such file, damaged, or of other tables.
    """
    from safetensors import SafetensorError, safe_open

    try:
        path.stat()
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        rows, dim = json.loads(metadata.get("table_rows", "[]")), int(metadata.get("dim", "0"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a saved adapter") from None
    except (OSError, SafetensorError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: found no adapter ({reason}), expected a saved one") from None
    if metadata.get("format") != _FORMAT:
        raise InputError(f"{path}: found format {metadata.get('format')!r}, expected {_FORMAT!r}")
    if tuple(rows) != layout.rows or dim != layout.dim:
        raise InputError(
            f"{path}: found an adapter of {len(rows)} tables with {sum(rows):,} rows in all and "
            f"D = {dim}, expected {len(layout.rows)} tables with {sum(layout.rows):,} rows and "
            f"D = {layout.dim}"
        )
    return _tables(path, tensors, layout)


def _tables(
    path: Path, tensors: dict[str, NDArray[Any]], layout: TableLayout
) -> dict[int, SavedTable]:
    found = {}
    for f, size in enumerate(layout.rows):
        A, B, rows = (tensors.get(f"table.{f}.{part}") for part in ("A", "B", "rows"))
        if A is None and B is None and rows is None:
            continue
        if (
            A is None
            or B is None
            or rows is None
            or [A.dtype.name, B.dtype.name, rows.dtype.name] != ["float32", "float32", "int32"]
            or A.shape != (len(rows), len(B))
            or B.shape != (len(B), layout.dim)
            or not 1 <= len(B) <= layout.dim
            or len(np.unique(rows)) != len(rows)
            or (len(rows) and not 0 <= rows.min() <= rows.max() < size)
            or not (np.isfinite(A).all() and np.isfinite(B).all())
        ):
            raise InputError(
                f"{path}: table {f}: found A, B and rows that do not fit together, expected finite "
                f"A [used, R], B [R, {layout.dim}] and distinct rows below {size}"
            )
        found[f] = SavedTable(
            np.ascontiguousarray(A, np.float32),
            np.ascontiguousarray(B, np.float32),
            np.ascontiguousarray(rows, np.int32),
        )
    return found


def restore(state: AdapterOwner, saved: dict[int, SavedTable], slots: Sequence[int]) -> None:
    """Fill an empty adapter and publish it.

    Parameters
    ----------
    state : AdapterOwner
        Laid out for the ranks of `saved` already, and begun.
    saved : dict of int to SavedTable
        Tables without a slot in `state` are left out.
    slots : sequence of int
        Most rows to take of each table: the first ones.
    """
    for f, table in saved.items():
        if state.plan.ranks[f]:
            count = min(slots[f], len(table.rows))
            state.writer.put(f, table.rows[:count], table.A[:count])
    state.writer.publish()
