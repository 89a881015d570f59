"""A workload on disk: a folder of part files and a manifest that makes them one.

``part-00000.arrow`` and so on hold the rows, as Arrow IPC (mapped into memory) or Parquet;
``workload.json`` says what the rows are, how they came about and which bytes they are. Rows are
written once and never changed. With the format ``criteo-tsv`` the parts are raw Criteo lines for
other programs, whose ids are the tables' rows; they have no times, so that read back their rows are
evenly spaced. How a folder is written, and how a killed run goes on,
is in `lorabench.workload.parts`.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.workload.block import MISSING_ROW, Block
from lorabench.workload.criteo import (
    NUM_DENSE,
    NUM_SPARSE,
    criteo_lines,
    lines_from,
    parse_lines,
    row_gap_ns,
)
from lorabench.workload.manifest import (
    SCHEMA,
    Format,
    Manifest,
    SchemaId,
    read_manifest,
)
from lorabench.workload.parts import MANIFEST, Part, check_part
from lorabench.workload.spec import WorkloadSpec

_READ_ROWS = 65_536
# Rows of a Parquet row group: large enough for its column chunks to compress and scan well.
_GROUP_ROWS = 262_144


def row_bytes(spec: WorkloadSpec, form: Format) -> int:
    """Bytes that a stored row takes at most: what Parquet saves depends on the data."""
    if form == "criteo-tsv":
        # A label, counts of up to 5 digits as a rule, ids of 8, and as many tabs.
        return 2 + 6 * spec.num_dense + 9 * spec.num_columns
    return 1 + 8 + 4 * (spec.num_dense + spec.num_columns) + (spec.num_dense + 7) // 8 + 1


def check_format(spec: WorkloadSpec, form: Format) -> None:
    """Make sure that a spec's rows can be written in a format.

    Raises
    ------
    InputError
        Raw Criteo lines have 13 integers and 26 ids.
    """
    if form == "criteo-tsv" and (spec.num_dense, spec.num_columns) != (NUM_DENSE, NUM_SPARSE):
        raise InputError(
            f"--format criteo-tsv: found {spec.num_dense} integers and {spec.num_columns} ids a "
            f"row in {spec.name}, expected {NUM_DENSE} and {NUM_SPARSE}"
        )


def write_rows(path: Path, blocks: Iterable[Block], spec: WorkloadSpec, form: Format) -> int:
    """Write one part; returns its rows.

    Raises
    ------
    OSError
        The disk is full, or the path cannot be written to.
    """
    if form == "criteo-tsv":
        return _write_lines(path, blocks)
    return (
        _write_parquet(path, blocks, spec)
        if form == "parquet"
        else _write_arrow(path, blocks, spec)
    )


def _write_lines(path: Path, blocks: Iterable[Block]) -> int:
    rows = 0
    with path.open("wb") as file:
        for block in blocks:
            file.write(criteo_lines(block))
            rows += len(block)
    return rows


def _write_arrow(path: Path, blocks: Iterable[Block], spec: WorkloadSpec) -> int:
    schema = _schema(spec)
    rows = 0
    with pa.OSFile(os.fsencode(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for block in blocks:
            writer.write_batch(_batch(block, schema))
            rows += len(block)
    return rows


def _write_parquet(path: Path, blocks: Iterable[Block], spec: WorkloadSpec) -> int:
    import pyarrow.parquet as pq

    schema = _schema(spec)
    rows = 0
    waiting: list[Any] = []
    with pa.OSFile(os.fsencode(path), "wb") as file, pq.ParquetWriter(file, schema) as writer:
        for block in blocks:
            waiting.append(_batch(block, schema))
            rows += len(block)
            if sum(batch.num_rows for batch in waiting) >= _GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(waiting), row_group_size=_GROUP_ROWS)
                waiting = []
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting), row_group_size=_GROUP_ROWS)
    return rows


@dataclass(frozen=True)
class Store:
    """An opened store; rows are read as they are asked for.

    A part's checksum is verified when it is first read, and every id must lie in its table.

    Parameters
    ----------
    folder : Path
        Where it lies.
    manifest : Manifest
        What it holds.
    """

    folder: Path
    manifest: Manifest
    _verified: set[str] = field(default_factory=set, compare=False, repr=False)

    @staticmethod
    def open(folder: Path, only: str | None = None) -> "Store":
        """Open a store; that every part is there, whole and of the right columns is checked.

        Parameters
        ----------
        folder : Path
            Where it lies.
        only : str, optional
            Open this part alone.

        Raises
        ------
        InputError
            No store, an unfinished or a foreign one, a part missing or truncated.
        """
        store = Store(folder, read_manifest(folder))
        manifest = store.manifest
        if manifest.rows != sum(part.rows for part in manifest.parts):
            raise InputError(
                f"{folder / MANIFEST}: found {manifest.rows} rows, expected the sum of its parts, "
                f"{sum(part.rows for part in manifest.parts)}"
            )
        if only is not None:
            parts = tuple(part for part in manifest.parts if part.name == only)
            manifest = manifest.model_copy(
                update={"parts": parts, "rows": sum(part.rows for part in parts)}
            )
            store = Store(folder, manifest)
        expected = _schema(store.spec, manifest.schema_id)
        for part in manifest.parts:
            store._check_size(part)
            if manifest.format == "criteo-tsv":  # their rows are counted when they are read
                continue
            schema, rows = store._look(part)
            path = folder / part.name
            if not schema.equals(expected):
                raise InputError(
                    f"{path}: found columns {_names(schema)}, "
                    f"expected those of its spec: {_names(expected)}"
                )
            if rows != part.rows:
                raise InputError(f"{path}: found {rows} rows, expected {part.rows} by {MANIFEST}")
        return store

    @property
    def spec(self) -> WorkloadSpec:
        """The spec."""
        return self.manifest.spec

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.manifest.rows

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the parts' checksums."""
        sums = "".join(part.sha256 for part in self.manifest.parts)
        return hashlib.sha256(sums.encode()).hexdigest()

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """Blocks from row `start` on; whole parts before it are not read.

        Raises
        ------
        InputError
            A part is damaged, or became unreadable since the store was opened.
        """
        first = 0
        for part in self.manifest.parts:
            stop = first + part.rows
            if stop > start:
                if part.name not in self._verified:
                    check_part(self.folder, part)
                    self._verified.add(part.name)
                yield from self._blocks_of(part, first, start)
            first = stop

    def _blocks_of(self, part: Part, first: int, start: int) -> Iterator[Block]:
        """Blocks of a part that begins at row `first`, from row `start` on."""
        if self.manifest.format == "criteo-tsv":
            yield from self._lines_of(part, first, start)
            return
        for number, batch in enumerate(self._batches(part), 1):
            rows = batch.num_rows
            if first + rows > start:
                where = f"{self.folder / part.name}, batch {number}"
                try:
                    block = _block(batch, self.spec)
                except pa.ArrowException as error:
                    raise InputError(
                        f"{where}: {_line(error)}; expected the rows that were written"
                    ) from error
                yield self._checked(block, where).slice(max(0, start - first), rows)
            first += rows

    def _lines_of(self, part: Part, first: int, start: int) -> Iterator[Block]:
        path, gap_ns = self.folder / part.name, row_gap_ns(self.spec.rows_per_s)
        for line, lines in lines_from(path, max(0, start - first)):
            raw = parse_lines(lines, path, line)
            # An id that is missing has the row for that, and every other is its row.
            sparse = np.where(raw.ids < 0, MISSING_ROW, raw.ids).astype(np.uint32).view(np.int32)
            row = first + line + np.arange(len(raw), dtype=np.int64)
            block = Block(raw.label, row * gap_ns, raw.dense.T, sparse.T)
            yield self._checked(block, f"{path}, line {line + 1} and on")

    def _checked(self, block: Block, where: str) -> Block:
        # As unsigned, a negative id is a very large one.
        tops = np.repeat(np.array(self.spec.table_rows), self.spec.sparse.hotness)
        strays = block.sparse.view(np.uint32).max(axis=0, initial=0) >= tops
        if strays.any():
            c = int(strays.argmax())
            row = next(int(r) for r in block.sparse[:, c] if not 0 <= r < tops[c])
            name = _sparse_names(self.spec)[c]
            raise InputError(
                f"{where}: column {name}: found {row}, expected a row in 0 to {tops[c] - 1}"
            )
        return block

    def _check_size(self, part: Part) -> None:
        path = self.folder / part.name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise InputError(
                f"{path}: {error.strerror or error}; expected a part of the workload"
            ) from error
        if size != part.size_bytes:
            raise InputError(
                f"{path}: found {size} bytes, expected {part.size_bytes} "
                f"by {MANIFEST}: truncated or replaced"
            )

    def _look(self, part: Part) -> tuple[Any, int]:
        """Return the schema and the rows that a part says it has."""
        if self.manifest.format == "parquet":
            with self._opened_parquet(part) as file:
                return file.schema_arrow, file.metadata.num_rows
        with self._opened_arrow(part) as reader:
            batches = (self._arrow_batch(part, reader, n) for n in range(reader.num_record_batches))
            return reader.schema, sum(batch.num_rows for batch in batches)

    def _batches(self, part: Part) -> Iterator[Any]:
        if self.manifest.format == "parquet":
            with self._opened_parquet(part) as file:
                yield from file.iter_batches(batch_size=_READ_ROWS)
        else:
            with self._opened_arrow(part) as reader:
                for number in range(reader.num_record_batches):
                    yield self._arrow_batch(part, reader, number)

    def _arrow_batch(self, part: Part, reader: Any, number: int) -> Any:
        try:
            return reader.get_batch(number)
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{self.folder / part.name}, batch {number + 1}: {_line(error)}; "
                "expected the rows that were written"
            ) from error

    def _opened_arrow(self, part: Part) -> Any:
        path = self.folder / part.name
        return _opened(path, "Arrow", lambda: pa.ipc.open_file(pa.memory_map(os.fsencode(path))))

    def _opened_parquet(self, part: Part) -> Any:
        import pyarrow.parquet as pq

        path = self.folder / part.name
        return _opened(path, "Parquet", lambda: pq.ParquetFile(pa.OSFile(os.fsencode(path))))


def _line(error: BaseException) -> str:
    """Put what Arrow says into one line."""
    return " ".join(str(error).split())


def _opened(path: Path, what: str, opened: Callable[[], Any]) -> Any:
    try:
        return opened()
    except pa.ArrowException as error:
        raise InputError(f"{path}: found no {what} file ({_line(error)}), expected one") from error
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror or _line(error)}; expected the workload's rows"
        ) from error


def _sparse_names(spec: WorkloadSpec) -> list[str]:
    """Return column names c1, c2, ...; of a multi-hot feature c3_1, c3_2, ..."""
    return [
        f"c{f}" if hotness == 1 else f"c{f}_{h}"
        for f, hotness in enumerate(spec.sparse.hotness, 1)
        for h in range(1, hotness + 1)
    ]


def _schema(spec: WorkloadSpec, schema_id: SchemaId = SCHEMA) -> Any:
    number = pa.int32() if schema_id == "lorabench.workload/2" else pa.float32()
    return pa.schema(
        [
            pa.field("label", pa.int8(), nullable=False),
            pa.field("time", pa.timestamp("ns"), nullable=False),
            *(pa.field(f"i{i}", number) for i in range(1, spec.num_dense + 1)),
            *(pa.field(name, pa.int32(), nullable=False) for name in _sparse_names(spec)),
        ]
    )


def _names(schema: Any) -> str:
    try:
        return f"{len(schema.names)} ({', '.join(schema.names[:3])}, ...)"
    except UnicodeDecodeError:  # a damaged file
        return "whose names are no text"


def _batch(block: Block, schema: Any) -> Any:
    dense = np.ascontiguousarray(block.dense.T)
    sparse = np.ascontiguousarray(block.sparse.T)
    columns = [
        pa.array(block.label, pa.int8()),
        pa.array(block.time_ns).cast(pa.timestamp("ns")),
        *(pa.array(column, mask=np.isnan(column)) for column in dense),
        *(pa.array(column) for column in sparse),
    ]
    return pa.record_batch(columns, schema=schema)


def _block(batch: Any, spec: WorkloadSpec) -> Block:
    dense = np.empty((spec.num_dense, batch.num_rows), np.float32)
    for i in range(spec.num_dense):
        column = batch.column(2 + i)  # int32 in a folder of lorabench.workload/2
        dense[i] = column.to_numpy(zero_copy_only=False)  # nulls become NaN
    sparse = np.empty((spec.num_columns, batch.num_rows), np.int32)
    for i in range(spec.num_columns):
        sparse[i] = batch.column(2 + spec.num_dense + i).to_numpy()
    time_ns: NDArray[np.int64] = batch.column(1).cast(pa.int64()).to_numpy()
    return Block(batch.column(0).to_numpy(), time_ns, dense.T, sparse.T)
