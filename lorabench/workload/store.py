"""A workload on disk: a folder with one Arrow IPC file, mapped into memory, and its provenance.

``rows.arrow`` has one record batch a block; ``workload.json`` says what the rows are, how they came
about and which bytes they are. The layout is private to lorabench; other programs read the Arrow
file as they like. Rows are written once and never changed.
"""

import hashlib
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lorabench.errors import InputError
from lorabench.workload.block import MISSING_DENSE, Block
from lorabench.workload.spec import WorkloadSpec

MANIFEST = "workload.json"
ROWS = "rows.arrow"

Provenance = Literal["generated", "criteo-tsv"]


class Manifest(BaseModel):
    """What ``workload.json`` says.

    Parameters
    ----------
    schema_id : str
        Version of this document; its key in the file is ``schema``.
    kind : {"generated", "criteo-tsv"}
        How the rows came about.
    seed : int or None
        Seed of generated rows.
    rows : int
        Number of rows.
    size_bytes : int
        Size of the Arrow file in bytes.
    sha256 : str
        SHA-256 (hex) of the Arrow file.
    spec : WorkloadSpec
        The spec.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_id: Annotated[
        Literal["lorabench.workload/1"],
        Field(validation_alias="schema", serialization_alias="schema"),
    ] = "lorabench.workload/1"
    kind: Provenance
    seed: int | None
    rows: Annotated[int, Field(gt=0)]
    size_bytes: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    spec: WorkloadSpec


@dataclass(frozen=True)
class StoreInfo:
    """What was written.

    Parameters
    ----------
    folder : Path
        The store.
    rows : int
        Number of rows.
    size_bytes : int
        Size of the Arrow file in bytes.
    digest : str
        SHA-256 (hex) of the Arrow file.
    """

    folder: Path
    rows: int
    size_bytes: int
    digest: str


def check_target(folder: Path) -> None:
    """Make sure that a store can be written to `folder`, before any work is put into it.

    Raises
    ------
    InputError
        It exists and is no empty folder, or its parent is no folder.
    """
    try:
        if folder.is_dir():
            if any(folder.iterdir()):
                raise InputError(f"{folder}: found a folder with content, expected none or empty")
        elif folder.exists() or folder.is_symlink():
            raise InputError(f"{folder}: found a file, expected no such path or an empty folder")
        elif not folder.absolute().parent.is_dir():
            raise InputError(f"{folder}: found no folder {folder.parent}, expected one to write to")
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; expected a writable folder") from error


def write_store(
    folder: Path,
    blocks: Iterable[Block],
    spec: WorkloadSpec,
    *,
    seed: int | None,
    kind: Provenance,
) -> StoreInfo:
    """Write blocks to a new store: all of it, or nothing.

    Everything goes to a temporary sibling folder first, which is renamed at the end and removed on
    any error, an interrupt included.

    Parameters
    ----------
    folder : Path
        Where to; it may exist if it is empty.
    blocks : iterable of Block
        The rows, consumed one block at a time.
    spec : WorkloadSpec
        Their spec.
    seed : int or None
        Seed of generated rows.
    kind : {"generated", "criteo-tsv"}
        How the rows came about.

    Raises
    ------
    InputError
        The folder is taken or cannot be written to, or there are no rows.
    """
    check_target(folder)
    folder = folder.absolute()
    partial = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        partial.mkdir()
        rows = _write_rows(partial / ROWS, blocks, spec)
        if rows == 0:
            raise InputError(f"{folder}: found no rows to write, expected at least one")
        manifest = Manifest(
            kind=kind,
            seed=seed,
            rows=rows,
            size_bytes=(partial / ROWS).stat().st_size,
            sha256=_sha256(partial / ROWS),
            spec=spec,
        )
        content = manifest.model_dump_json(by_alias=True, indent=2)
        (partial / MANIFEST).write_text(content + "\n", encoding="utf-8")
        partial.rename(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: {error.strerror or error}; expected a writable path"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return StoreInfo(folder, rows, manifest.size_bytes, manifest.sha256)


def row_bytes(spec: WorkloadSpec) -> int:
    """Bytes a stored row takes, validity bitmaps counted generously."""
    return 1 + 8 + 4 * (spec.num_dense + spec.num_sparse) + (spec.num_dense + 7) // 8 + 1


@dataclass(frozen=True)
class Store:
    """An opened store; rows are read from the mapped file as they are asked for.

    Reading checks that every id lies in its table, but not the checksum: that would read the whole
    file before the first row.

    Parameters
    ----------
    folder : Path
        Where it lies.
    manifest : Manifest
        What it holds.
    """

    folder: Path
    manifest: Manifest

    @staticmethod
    def open(folder: Path) -> "Store":
        """Open a store; the schema, the file's size and its row count are checked at once.

        Raises
        ------
        InputError
            No store, a foreign or a truncated one.
        """
        store = Store(folder, _read_manifest(folder))
        with store._reader() as reader:
            expected = _schema(store.spec)
            if not reader.schema.equals(expected):
                raise InputError(
                    f"{folder / ROWS}: found columns {_names(reader.schema)}, "
                    f"expected those of its spec: {_names(expected)}"
                )
            found = sum(batch.num_rows for batch in store._batches(reader))
            if found != store.rows:
                raise InputError(
                    f"{folder / ROWS}: found {found} rows, expected {store.rows} by {MANIFEST}"
                )
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
        """SHA-256 (hex) of the Arrow file, as recorded when it was written."""
        return self.manifest.sha256

    @property
    def kind(self) -> Provenance:
        """How the rows came about."""
        return self.manifest.kind

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """Blocks from row `start` on; whole batches before it are not read.

        Raises
        ------
        InputError
            The file is damaged, or became unreadable since it was opened.
        """
        with self._reader() as reader:
            first = 0
            # A batch is a view: skipping one reads nothing.
            for number, batch in enumerate(self._batches(reader), 1):
                stop = first + batch.num_rows
                if stop > start:
                    block = self._checked_block(number, batch)
                    yield block.slice(max(0, start - first), batch.num_rows)
                first = stop

    def _checked_block(self, number: int, batch: Any) -> Block:
        where = f"{self.folder / ROWS}, batch {number}"
        try:
            block = _block(batch, self.spec)
        except pa.ArrowException as error:
            raise InputError(f"{where}: {error}; expected the rows that were written") from error
        # As unsigned, a negative id is a very large one.
        strays = block.sparse.view(np.uint32).max(axis=0, initial=0) >= np.array(
            self.spec.table_rows
        )
        if strays.any():
            f = int(strays.argmax())
            top = self.spec.table_rows[f] - 1
            row = next(int(r) for r in block.sparse[:, f] if not 0 <= r <= top)
            raise InputError(f"{where}: column c{f + 1}: found {row}, expected a row in 0 to {top}")
        return block

    def _reader(self) -> Any:
        path = self.folder / ROWS
        try:
            size = path.stat().st_size
            if size != self.manifest.size_bytes:
                raise InputError(
                    f"{path}: found {size} bytes, expected {self.manifest.size_bytes} "
                    f"by {MANIFEST}: truncated or replaced"
                )
            return pa.ipc.open_file(pa.memory_map(str(path)))
        except OSError as error:
            raise InputError(
                f"{path}: {error.strerror or error}; expected the store's rows"
            ) from error
        except pa.ArrowException as error:
            raise InputError(f"{path}: found no Arrow file ({error}), expected one") from error

    def _batches(self, reader: Any) -> Iterator[Any]:
        for number in range(reader.num_record_batches):
            try:
                batch = reader.get_batch(number)
            except (OSError, pa.ArrowException) as error:
                raise InputError(
                    f"{self.folder / ROWS}, batch {number + 1}: {error}; "
                    "expected the rows that were written"
                ) from error
            yield batch


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"{folder}: found no {MANIFEST}, expected a folder written by lorabench generate"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a workload's manifest") from error
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "document"
        raise InputError(
            f"{path}: {key}: {first['msg']}; expected a manifest of lorabench.workload/1"
        ) from None


def _schema(spec: WorkloadSpec) -> Any:
    return pa.schema(
        [
            pa.field("label", pa.int8(), nullable=False),
            pa.field("time", pa.timestamp("ns"), nullable=False),
            *(pa.field(f"i{i}", pa.int32()) for i in range(1, spec.num_dense + 1)),
            *(pa.field(f"c{i}", pa.int32(), nullable=False) for i in range(1, spec.num_sparse + 1)),
        ]
    )


def _names(schema: Any) -> str:
    try:
        return f"{len(schema.names)} ({', '.join(schema.names[:3])}, ...)"
    except UnicodeDecodeError:  # a damaged file
        return "whose names are no text"


def _write_rows(path: Path, blocks: Iterable[Block], spec: WorkloadSpec) -> int:
    schema = _schema(spec)
    rows = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for block in blocks:
            writer.write_batch(_batch(block, schema))
            rows += len(block)
    return rows


def _batch(block: Block, schema: Any) -> Any:
    dense = np.ascontiguousarray(block.dense.T)
    sparse = np.ascontiguousarray(block.sparse.T)
    columns = [
        pa.array(block.label, pa.int8()),
        pa.array(block.time_ns).cast(pa.timestamp("ns")),
        *(pa.array(column, mask=column == MISSING_DENSE) for column in dense),
        *(pa.array(column) for column in sparse),
    ]
    return pa.record_batch(columns, schema=schema)


def _block(batch: Any, spec: WorkloadSpec) -> Block:
    dense = np.empty((batch.num_rows, spec.num_dense), np.int32)
    for i in range(spec.num_dense):
        dense[:, i] = batch.column(2 + i).fill_null(MISSING_DENSE).to_numpy()
    sparse = np.empty((batch.num_rows, spec.num_sparse), np.int32)
    for i in range(spec.num_sparse):
        sparse[:, i] = batch.column(2 + spec.num_dense + i).to_numpy()
    time_ns: NDArray[np.int64] = batch.column(1).cast(pa.int64()).to_numpy()
    return Block(batch.column(0).to_numpy(), time_ns, dense, sparse)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
