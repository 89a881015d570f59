"""Opening rows that others wrote, as a source: processed click logs, Parquet and CSV.

What every input gives batch by batch becomes blocks here, as `lorabench.workload.ingest` makes them
of it, but from any row on and without a copy on disk.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.column_map import load_columns
from lorabench.workload.columns import ColumnsInput
from lorabench.workload.criteo import row_gap_ns
from lorabench.workload.id_rows import GivenRows, HashedRows
from lorabench.workload.ingest import base_for
from lorabench.workload.inputs import Input
from lorabench.workload.layouts import STDIN, open_rows
from lorabench.workload.manifest import is_workload
from lorabench.workload.moments import Moments, standardised
from lorabench.workload.opened import OpenedSource, digest_of, file_digest
from lorabench.workload.parts import MANIFEST
from lorabench.workload.processed import ProcessedInput, ProcessedKind
from lorabench.workload.processed_files import in_order, is_processed, recognise
from lorabench.workload.spec import LONGEST_S, WorkloadSpec, load_spec, validated

RANKED = "processed rows of the reference DLRM or of TorchRec, whose ids are rows of tables"
"""What alone has ids that can wrap round."""

PRESET = "criteo-kaggle"
"""Whose tables and model go with rows that bring none."""

TABLE_ROWS = 1_000_000
"""Rows that ids of each feature are hashed to, where neither preset nor checkpoint say."""

LOOKED_AT_ROWS = 1 << 16
"""Of rows with times: those whose mean rate is taken for that of all."""

_WRITERS: dict[ProcessedKind, str] = {
    "dlrm-npz": "rows processed by the reference DLRM",
    "dlrm-bin": "rows in the reference DLRM's binary form",
    "torchrec-npy": "rows in TorchRec's arrays",
}


def open_processed(
    path: Path, preset: str | None, tables: tuple[int, ...] | None, *, wrap: bool
) -> OpenedSource:
    """Open processed click logs.

    Parameters
    ----------
    path : Path
        A file, or a folder of them.
    preset : str or None
        Gives the model, the rate of the rows and, where ids wrap round, the tables.
    tables : tuple of int, length F, or None
        Rows V of each table of a checkpoint.
    wrap : bool
        Take ids modulo the rows of their table.

    Raises
    ------
    InputError
        Several sets of rows, one that is not whole, damaged data, or ids beyond the tables.
    """
    source, spec = processed_input(path, load_spec(preset or PRESET), tables, wrap=wrap)
    next(source.from_row(0))
    kind = source.logs.kind
    identity = [kind, *map(file_digest, source.logs.files), repr(spec.rows_per_s)]
    if wrap:
        identity.append(repr(source.tables))
    return OpenedSource(
        spec=spec,
        digest=digest_of(*identity),
        description=f"{path}: {source.rows:,} {_WRITERS[kind]}",
        kind=kind,
        basis="measured-real",
        read=partial(blocks, source, spec, None),
        known_rows=source.rows,
        labelled=source.labelled,
        notes=(*source.notes, evenly_spaced(source.name, spec)),
    )


def processed_input(
    path: Path, preset: WorkloadSpec, tables: tuple[int, ...] | None, *, wrap: bool
) -> tuple[ProcessedInput, WorkloadSpec]:
    """Return processed click logs with tables for their ids, and the preset as they are.

    Where neither a checkpoint nor the data tell the size of the tables, all ids are looked at.

    Raises
    ------
    InputError
        As `open_processed`.
    """
    logs = recognise(path)
    if tables is None and wrap:
        tables = preset.sparse.cardinality
        if len(tables) != len(logs.hotness):
            raise InputError(
                f"--wrap-ids: found the {len(tables)} tables of {preset.name}, expected those of "
                f"{len(logs.hotness)} features: name a --preset that has them, or a --checkpoint"
            )
    source = ProcessedInput(logs, tables, wrap=wrap).with_counted_tables()
    assert source.tables is not None
    content = preset.model_dump()
    content.update(
        name=source.name,
        rows=source.rows,
        pretrain_rows=min(preset.pretrain_rows, source.rows // 2),
    )
    content["sparse"] = {
        "cardinality": source.tables,
        "missing_row": False,
        "zipf": 1.0,
        "missing": 0.0,
        "hotness": source.hotness,
    }
    content["dense"] = {
        "count": source.num_dense,
        "missing": 0.0,
        "location": 0.0,
        "scale": 1.0,
        "transform": source.transforms,
    }
    return source, validated(content, source.name)


def open_input(
    paths: Sequence[Path],
    columns: Path | None,
    preset: str | None,
    *,
    table_rows: int = TABLE_ROWS,
    ordered: bool = True,
    wrap: bool = False,
) -> tuple[Input, WorkloadSpec]:
    """Open rows to be taken in, and make the spec that goes with them.

    Parameters
    ----------
    paths : sequence of Path
        Text or Parquet, files or folders of Parquet; or processed click logs. ``-`` is stdin.
    columns : Path or None
        Map of the columns.
    preset : str or None
        Gives the model, the rate of rows without times and, if it has as many features, the tables.
    table_rows : int
        Rows that ids are hashed to where it has not.
    ordered : bool
        Refuse rows that are not in order of time.
    wrap : bool
        Take ids that are rows modulo those of their table.

    Raises
    ------
    InputError
        What is there is no set of rows, or an option says nothing of it.
    """
    for path in paths:
        if path != STDIN and is_workload(path):
            raise InputError(
                f"{path}: found a workload folder, expected other rows: --data takes it as it is"
            )
    if all(path != STDIN and is_processed(path) for path in paths):
        if columns is not None:
            raise InputError(f"--columns: found {paths[0]} beside it, expected Parquet or CSV")
        if len(paths) > 1:
            raise InputError(
                f"{paths[1]}: found several processed files, expected one, or a folder of days"
            )
        return processed_input(paths[0], load_spec(preset or PRESET), None, wrap=wrap)
    if wrap:
        raise InputError(f"--wrap-ids: found {paths[0]} beside it, expected {RANKED}")
    files = [file for path in paths for file in _files(path)]
    known = None if columns is None else load_columns(columns)
    source = open_rows(files, known, ordered=ordered)
    spec = load_spec(preset or source.preset)
    if isinstance(source, ColumnsInput):
        spec = base_for(spec, source, table_rows)
    return source, spec


def open_columns(
    path: Path, columns: Path | None, preset: str | None, tables: tuple[int, ...] | None
) -> OpenedSource | None:
    """Open Parquet or CSV, a file or a folder of Parquet files.

    Parameters
    ----------
    path : Path
        The file or folder; files are read in order of the numbers in their names.
    columns : Path or None
        Map of the columns; without it the layout must be a known one.
    preset : str or None
        Gives the model, the rate of rows without times and, if it has as many features, the tables.
    tables : tuple of int, length F, or None
        Rows V of each table of a checkpoint, to which ids are hashed.

    Returns
    -------
    OpenedSource or None
        None where these are raw Criteo lines, which are no columns.

    Raises
    ------
    InputError
        No such files, unknown columns, or bad data in the first rows.
    """
    source, spec = open_input((path,), columns, preset)
    if not isinstance(source, ColumnsInput):
        return None
    if tables is not None:
        spec = with_tables(spec, tables)
    seen = _Seen.of(source)
    spec = seen.spec(source, spec)
    files = _files(path)
    return OpenedSource(
        spec=spec,
        digest=digest_of(
            "columns",
            *map(file_digest, files),
            json.dumps(source.identity[len(files) :], sort_keys=True),
            spec.digest,
        ),
        description=f"{path}: given rows of {spec.num_dense} dense and {spec.num_sparse} sparse "
        "columns",
        kind="columns",
        basis="measured-real",
        read=partial(blocks, source, spec, seen.first_ns),
        labelled=source.labelled,
        notes=(*source.notes, *seen.notes(source, spec), *hashed_to(tables)),
    )


@dataclass
class _Seen:
    """What the first rows of an input show."""

    moments: Moments
    rows: int = 0
    first_ns: int | None = None
    last_ns: int = 0
    remarks: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, source: Input) -> "_Seen":
        """Look at the first `LOOKED_AT_ROWS` rows, and at what ends their batch."""
        seen = cls(Moments.of(source.transforms or ()))
        for batch in source.from_row(0):
            if batch.time_ns is not None and len(batch.time_ns):
                first_ns, seen.last_ns = int(batch.time_ns[0]), int(batch.time_ns[-1])
                seen.first_ns = first_ns if seen.first_ns is None else seen.first_ns
            seen.rows += len(batch.label)
            seen.moments.add(batch.dense)
            seen.remarks.update(batch.remarks)
            if seen.rows >= LOOKED_AT_ROWS:
                break
        if not seen.rows:
            raise InputError(f"{source.name}: found no row, expected at least one")
        return seen

    def spec(self, source: Input, base: WorkloadSpec) -> WorkloadSpec:
        """Return a spec with the rate of rows and what of dense columns is measured."""
        content = base.model_dump()
        if self.first_ns is not None and self.last_ns > self.first_ns:
            span_s = (self.last_ns - self.first_ns) / 1e9
            rate = float(np.clip((self.rows - 1) / span_s, 1e-3, 1e9))
            # Or the preset's length might take more than a century at this rate.
            rows = max(1, min(base.rows, int(rate * LONGEST_S)))
            content.update(
                rows_per_s=rate, rows=rows, pretrain_rows=min(base.pretrain_rows, rows // 2)
            )
        if source.transforms is not None:
            dense = standardised(base.dense, source.transforms, self.moments)
            content["dense"] = dense.model_dump()
        return validated(content, source.name)

    def notes(self, source: Input, spec: WorkloadSpec) -> tuple[str, ...]:
        """Say what was made of ids, values and times."""
        sizes = sorted(spec.sparse.cardinality)
        size = f"{sizes[0]:,}" if sizes[0] == sizes[-1] else f"{sizes[0]:,} to {sizes[-1]:,}"
        done = self.remarks.items()
        return (
            f"{source.name}: ids of a feature are hashed to {size} rows",
            *((evenly_spaced(source.name, spec),) if self.first_ns is None else ()),
            *(f"{words}: {count:,} in the first {self.rows:,} rows" for words, count in done),
        )


def _files(path: Path) -> tuple[Path, ...]:
    return _parquet_files(path) if path != STDIN and path.is_dir() else (path,)


def _parquet_files(folder: Path) -> tuple[Path, ...]:
    """Parquet files of a folder and of those in it, but of hidden ones and of their summaries."""
    found = (
        path
        for path in folder.rglob("*.parquet")
        if not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )
    paths = sorted(found, key=lambda path: in_order(str(path.relative_to(folder))))
    if not paths:
        raise InputError(
            f"{folder}: found no {MANIFEST} and no Parquet files, expected a folder written by "
            "lorabench generate or ingest, processed files of the reference DLRM or of TorchRec, "
            "or Parquet files"
        )
    return tuple(paths)


def evenly_spaced(name: str, spec: WorkloadSpec) -> str:
    """Say which times rows without any get."""
    return f"{name}: rows have no times; they are evenly spaced, {spec.rows_per_s:g} a second"


def hashed_to(tables: tuple[int, ...] | None) -> tuple[str, ...]:
    """Say what it means that ids are hashed, where that is into the tables of a checkpoint."""
    if tables is None:
        return ()
    return (
        "ids are hashed into the checkpoint's tables: they are rows that it was trained on only if "
        "its ids were hashed like that",
    )


def with_tables(spec: WorkloadSpec, tables: tuple[int, ...]) -> WorkloadSpec:
    """Return the spec a checkpoint's tables, of which row 0 is the missing value.

    Raises
    ------
    InputError
        There are not as many tables as features, or one has no row for an id.
    """
    if len(tables) != spec.num_sparse:
        raise InputError(
            f"checkpoint: found {len(tables)} tables, expected {spec.num_sparse} for the rows of "
            f"{spec.name}"
        )
    for number, rows in enumerate(tables, 1):
        if rows < 2:
            raise InputError(
                f"checkpoint: found a table of {rows} rows for C{number}, expected at least 2 "
                "(row 0 is the missing value)"
            )
    # Not model_copy: it would carry the cached digest of the old tables along.
    content = spec.model_dump()
    content["sparse"]["cardinality"] = tuple(rows - 1 for rows in tables)
    return WorkloadSpec.model_validate(content)


def blocks(
    source: Input, spec: WorkloadSpec, first_ns: int | None, start: int = 0
) -> Iterator[Block]:
    """Blocks of an input from row `start` on.

    Parameters
    ----------
    source : Input
        The rows.
    spec : WorkloadSpec
        Tables, and the rate of rows without times.
    first_ns : int or None
        Time of the first row, from which time counts; None where rows have none.
    start : int
        The first row.

    Raises
    ------
    InputError
        Bad data, or rows that are not in order of time.
    """
    number = GivenRows() if source.rows_given else HashedRows(spec)
    gap_ns, last_ns, row = row_gap_ns(spec.rows_per_s), 0, start
    for batch in source.from_row(start):
        rows = len(batch.label)
        if not rows:
            continue
        if batch.time_ns is None or first_ns is None:
            time_ns = (row + np.arange(rows, dtype=np.int64)) * gap_ns
        else:
            time_ns = batch.time_ns - first_ns
        if time_ns[0] < last_ns:
            raise InputError(
                f"{source.name}: row {row + 1}: found a time before that of the row before it, "
                "expected rows, and files, in order of time: lorabench ingest --sort puts them so"
            )
        last_ns = int(time_ns[-1])
        yield Block(batch.label, time_ns, batch.dense.T, number.rows(batch.ids).T)
        row += rows
