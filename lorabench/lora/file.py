"""An adapter on disk, as safetensors: read with numpy, torch or anything else, and run nothing.

Of each adapted table f there are ``table.{f}.A`` [used, R] and ``table.{f}.B`` [R, D], float32,
``table.{f}.rows`` [used], int32, and ``table.{f}.accumulator`` [used], float32: row ``rows[s]`` is
served as ``W[rows[s]] + A[s] @ B`` and learns on from its accumulator. Of a small table there are
``table.{f}.delta`` [V, D] and ``table.{f}.accumulator`` [V] in their place: it is served as
``W + delta``. The metadata says what tables it belongs to. Files of the format before this one,
without accumulators and deltas, are read too.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.adapter import MAX_RANK
from lorabench.errors import InputError
from lorabench.lora.writer import AdapterOwner
from lorabench.model.tables import TableLayout
from lorabench.replacing import replacing

_FORMAT = "lorabench.adapter/2"
_BEFORE = "lorabench.adapter/1"
_DTYPES = {"A": "F32", "B": "F32", "delta": "F32", "accumulator": "F32", "rows": "I32"}


@dataclass(frozen=True, eq=False)
class SavedTable:
    """The adapter of one table.

    Attributes
    ----------
    A : float32 [used, R]
        Of a plain delta, that itself.
    B : float32 [R, D] or None
        None for a plain delta.
    rows : int32 [used]
    accumulator : float32 [used]
        0 where nothing is known of it.
    """

    A: NDArray[np.float32]
    B: NDArray[np.float32] | None
    rows: NDArray[np.int32]
    accumulator: NDArray[np.float32]

    def low_rank(self, rank: int) -> "SavedTable":
        """Return it with a basis: a plain delta's best approximation of a rank."""
        if self.B is not None:
            return self
        left, values, right = np.linalg.svd(self.A, full_matrices=False)
        kept = min(rank, len(values))
        return SavedTable(
            np.ascontiguousarray(left[:, :kept] * values[:kept], np.float32),
            np.ascontiguousarray(right[:kept], np.float32),
            self.rows,
            self.accumulator,
        )

    def full_rank(self, rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return delta [V, D] and accumulators [V] of a table of so many rows."""
        moved = self.A if self.B is None else self.A @ self.B
        delta = np.zeros((rows, moved.shape[1]), np.float32)
        delta[self.rows] = moved
        sums = np.zeros(rows, np.float32)
        sums[self.rows] = self.accumulator
        return delta, sums


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
        if not rank and f not in state.plan.plain:
            continue
        A, B, rows = state.writer.arrays(f)
        parts = {"A": A, "B": B, "rows": rows} if rank else {"delta": A}
        if rank or len(A):  # a plain delta that has learned nothing is none
            parts["accumulator"] = state.writer.slot_state(f)[0]
            tensors |= {f"table.{f}.{part}": values for part, values in parts.items()}
    layout = state.plan.layout
    metadata = {"format": _FORMAT, "table_rows": json.dumps(layout.rows), "dim": str(layout.dim)}
    try:
        with replacing(path) as partial:
            save_file(tensors, partial, metadata)
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror or error}; expected a writable file with room"
        ) from error


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
            names = list(file.keys())
            dtypes = {name: str(file.get_slice(name).get_dtype()) for name in names}
            _check_metadata(path, metadata, layout)
            _check_dtypes(path, dtypes)
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a saved adapter") from None
    except (OSError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: found no adapter ({reason}), expected a saved one") from None
    return _tables(path, tensors, layout)


def _check_metadata(path: Path, metadata: dict[str, str], layout: TableLayout) -> None:
    """Hold a file's format and tables against what is expected."""
    if metadata.get("format") not in (_FORMAT, _BEFORE):
        raise InputError(f"{path}: found format {metadata.get('format')!r}, expected {_FORMAT!r}")
    try:
        rows, dim = json.loads(metadata.get("table_rows", "[]")), int(metadata.get("dim", "0"))
        found = tuple(rows) if isinstance(rows, list) else ()
        if not found or any(type(count) is not int for count in found):
            raise ValueError
    except (ValueError, RecursionError):
        raise InputError(
            f"{path}: found no adapter (table_rows {metadata.get('table_rows')!r:.60}, dim "
            f"{metadata.get('dim')!r:.20}), expected a list of numbers and a number"
        ) from None
    if found != layout.rows or dim != layout.dim:
        raise InputError(
            f"{path}: found an adapter of {len(found)} tables with {sum(found):,} rows in all and "
            f"D = {dim}, expected {len(layout.rows)} tables with {sum(layout.rows):,} rows and "
            f"D = {layout.dim}"
        )


def _check_dtypes(path: Path, dtypes: dict[str, str]) -> None:
    """Refuse tensors that numpy has no type for, or another one than they were saved with."""
    for name, dtype in dtypes.items():
        expected = _DTYPES.get(name.rpartition(".")[2])
        if expected is not None and dtype != expected:
            raise InputError(f"{path}: {name}: found dtype {dtype}, expected {expected}")
        if expected is None:
            raise InputError(f"{path}: found a tensor {name!r:.60}, expected those of an adapter")


def _tables(
    path: Path, tensors: dict[str, NDArray[Any]], layout: TableLayout
) -> dict[int, SavedTable]:
    found = {}
    for f, size in enumerate(layout.rows):
        parts = {part: tensors.pop(f"table.{f}.{part}", None) for part in _DTYPES}
        given = {part: value for part, value in parts.items() if value is not None}
        if given:
            found[f] = _table(f"{path}: table {f}", given, size, layout.dim)
    if tensors:
        raise InputError(
            f"{path}: found a tensor {min(tensors)!r:.60}, expected those of an adapter of "
            f"{len(layout.rows)} tables"
        )
    return found


def _table(where: str, given: dict[str, NDArray[Any]], size: int, dim: int) -> SavedTable:
    """Put a table's parts together, which must be consistent."""
    if "delta" in given:
        found = _plain(given, size, dim)
        expected = f"delta [{size}, {dim}] and accumulator [{size}]"
    else:
        found = _low_rank(given, size, dim)
        expected = f"A [used, R], B [R, {dim}] and distinct rows below {size}"
    if found is None or not all(np.isfinite(part).all() for part in given.values()):
        shapes = ", ".join(f"{part} {list(value.shape)}" for part, value in given.items())
        raise InputError(
            f"{where}: found {shapes} that do not fit together, expected finite {expected}"
        )
    return found


def _plain(given: dict[str, NDArray[Any]], size: int, dim: int) -> SavedTable | None:
    """Return a plain delta; None where the parts are not those of one."""
    sums = given.get("accumulator", np.zeros(size, np.float32))
    rows = np.arange(size, dtype=np.int32)
    if set(given) - {"delta", "accumulator"} or given["delta"].shape != (size, dim):
        return None
    return SavedTable(given["delta"], None, rows, sums) if _are_sums(sums, size) else None


def _low_rank(given: dict[str, NDArray[Any]], size: int, dim: int) -> SavedTable | None:
    """Return A, B and rows; None where they do not fit together."""
    A, B, rows = (given.get(part) for part in ("A", "B", "rows"))
    if A is None or B is None or rows is None or rows.ndim != 1 or B.ndim != 2:
        return None
    if A.shape != (len(rows), len(B)) or B.shape[1] != dim:
        return None
    if not 1 <= len(B) <= min(dim, MAX_RANK):
        return None
    if len(np.unique(rows)) != len(rows) or (
        len(rows) and not 0 <= rows.min() <= rows.max() < size
    ):
        return None
    sums = given.get("accumulator", np.zeros(len(rows), np.float32))
    return SavedTable(A, B, rows, sums) if _are_sums(sums, len(rows)) else None


def _are_sums(values: NDArray[Any], count: int) -> bool:
    return values.shape == (count,) and bool((values >= 0).all())


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
            state.writer.put(f, table.rows[:count], table.A[:count], table.accumulator[:count])
        elif f in state.plan.plain:
            state.writer.put_plain(f, *table.full_rank(state.plan.layout.rows[f]))
    state.writer.publish()
