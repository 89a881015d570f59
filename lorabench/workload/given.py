"""Opening rows that others wrote, as a source: processed click logs, whose ids are rows of tables.

What every input gives batch by batch becomes blocks here, as `lorabench.workload.ingest` makes them
of it, but from any row on and without a copy on disk.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.criteo import row_gap_ns
from lorabench.workload.id_rows import GivenRows, HashedRows
from lorabench.workload.inputs import Input
from lorabench.workload.opened import OpenedSource, digest_of, file_digest
from lorabench.workload.processed import ProcessedInput, ProcessedKind
from lorabench.workload.processed_files import recognise
from lorabench.workload.spec import WorkloadSpec, load_spec, validated

PRESET = "criteo-kaggle"
"""Whose tables and model go with rows that bring none."""

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
        notes=source.notes,
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
