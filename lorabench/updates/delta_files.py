"""Deltas on disk, as Parquet: what a training cluster drops and a serving cluster picks up.

A push is a file, ``delta-000123.parquet``, and the numbers of a folder have no gap. Each of its
rows is one of a table: ``step`` (int64, one value throughout), ``table`` (string, as a dictionary),
``key`` (int64, the row's number) and ``embedding`` (a list of D float32; null for an evicted row).
Read as well are lists of float16 and float64, and of uint8 with the columns ``scale`` and
``offset`` (`lorabench.updates.quantise`). Other columns are left alone. What the file is, when its
rows were taken and of which tables they are is in its metadata (`lorabench.updates.delta_header`).

Somebody else may have written the file: whatever does not hold is one line that says where. Values
that are not finite are read as they are: refusing those is the business of who serves them
(`lorabench.updates.apply`).
"""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.replacing import replacing
from lorabench.updates.delta import Delta, Encoding, Version
from lorabench.updates.delta_batch import DeltaRows, check_columns
from lorabench.updates.delta_header import KEY, Header, NamedTables, parse_header
from lorabench.updates.payload import KEY_BYTES, SCALE_AND_OFFSET_BYTES
from lorabench.updates.quantise import quantise

_NAME = re.compile(r"delta-(\d{6,})\.parquet")
# Rows in memory at once, beside those that have been read: at D = 128, 32 MiB.
_BATCH_ROWS = 65_536


def delta_name(number: int) -> str:
    """Name of a push's file."""
    return f"delta-{number:06d}.parquet"


def first_delta(folder: Path) -> Path:
    """Return the file of the first push that is to be written to a folder.

    Raises
    ------
    InputError
        There are pushes in it, or it is none.
    """
    if folder.exists():
        try:
            there = min(
                (one for one in folder.iterdir() if _NAME.fullmatch(one.name)), default=None
            )
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}; expected a folder for deltas") from None
        if there is not None:
            raise InputError(f"{there}: found it there, expected a folder without deltas")
    return folder / delta_name(0)


def write_delta(
    folder: Path, number: int, delta: Delta, tables: NamedTables, encoding: Encoding = "fp32"
) -> Path:
    """Write a push, whole or not at all; make its folder if need be.

    Parameters
    ----------
    folder : Path
        Of the pushes.
    number : int
        Of this one.
    delta : Delta
        Its rows.
    tables : NamedTables
        Of which those are.
    encoding : {"fp32", "int8"}
        Of the embeddings.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        It cannot be written, or values that are not finite were to be quantised.
    """
    import pyarrow.parquet as pq

    path = folder / delta_name(number)
    header = Header.of(tables, delta.step, delta.time_s)
    content = _content(path, delta, tables, encoding).replace_schema_metadata(
        {KEY: header.model_dump_json()}
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            pq.write_table(content, partial, row_group_size=_BATCH_ROWS, compression="zstd")
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be written ({_line(error)})") from None
    return path


def _content(path: Path, delta: Delta, tables: NamedTables, encoding: Encoding) -> Any:
    schema = _schema(tables.layout.dim, encoding)
    # One dictionary for all, so that the chunks are of one column.
    names = pa.array(tables.names, pa.string())
    parts = []
    for number, (rows, values) in enumerate(zip(delta.rows, delta.values, strict=True)):
        evicted = delta.evicted_of(number)
        try:
            columns = _embeddings(values, schema, encoding)
        except ValueError as error:
            raise InputError(f"{path}: table {tables.names[number]}: {error}") from None
        nothing = [pa.nulls(len(evicted), kind) for kind in schema.types[3:]]
        for keys, arrays in ((rows, columns), (evicted, nothing)):
            if len(keys):
                place = np.full(len(keys), number, np.int32)
                fixed = [
                    pa.array(np.full(len(keys), delta.step, np.int64)),
                    pa.DictionaryArray.from_arrays(pa.array(place), names),
                    pa.array(keys.astype(np.int64)),
                ]
                parts.append(pa.Table.from_arrays([*fixed, *arrays], schema=schema))
    return pa.concat_tables(parts) if parts else schema.empty_table()


def _schema(dim: int, encoding: Encoding) -> Any:
    value = pa.float32() if encoding == "fp32" else pa.uint8()
    extra = [] if encoding == "fp32" else [("scale", pa.float32()), ("offset", pa.float32())]
    return pa.schema(
        [
            pa.field("step", pa.int64(), nullable=False),
            pa.field("table", pa.dictionary(pa.int32(), pa.string()), nullable=False),
            pa.field("key", pa.int64(), nullable=False),
            pa.field("embedding", pa.list_(value, dim)),
            *(pa.field(name, kind) for name, kind in extra),
        ]
    )


def _embeddings(values: NDArray[np.float32], schema: Any, encoding: Encoding) -> list[Any]:
    def listed(rows: NDArray[Any]) -> Any:
        return pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(rows).ravel()), type=schema.field("embedding").type
        )

    if encoding == "fp32":
        return [listed(values)]
    found = quantise(values)
    return [listed(found.codes), pa.array(found.scale), pa.array(found.offset)]


def read_delta(path: Path, tables: NamedTables) -> Delta:
    """Read a push, a batch of its rows at a time.

    Parameters
    ----------
    path : Path
        The file.
    tables : NamedTables
        Those that are served; each table of the file has to be one of them.

    Returns
    -------
    Delta
        Rows ascending, whatever their order in the file.

    Raises
    ------
    InputError
        It is missing, no Parquet file, or no delta of these tables; a row has another step, an
        unknown table, a key out of range or one that was there before, or another dim.
    """
    with _opened(path) as file:
        header = parse_header(path, file.metadata.metadata, tables)
        columns = check_columns(path, file.schema_arrow, tables.layout.dim)
        most = sum(table.rows for table in header.tables)
        if file.metadata.num_rows > most:
            raise InputError(
                f"{path}: found {file.metadata.num_rows} rows, expected at most {most}, "
                "each of its tables' once"
            )
        rows = DeltaRows(path, header, tables, file.metadata.num_rows)
        # Asked for all row groups at once, Arrow keeps what it has read of each.
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns):
                rows.add(batch)
    return rows.delta()


@dataclass(frozen=True)
class PushFile:
    """A push on disk whose header has been looked at.

    Attributes
    ----------
    path : Path
    version : Version
        Which state of training its rows are of.
    row_bytes : int
        Of a row on a link: its key and its values as they are encoded.
    """

    path: Path
    version: Version
    row_bytes: int

    def size(self, delta: Delta) -> int:
        """Return the bytes of its rows on a link; of an evicted one there is the key alone."""
        return delta.count * self.row_bytes + delta.evicted_count * KEY_BYTES


def read_deltas(folder: Path, tables: NamedTables, after: Version | None = None) -> Iterator[Delta]:
    """Read the pushes of a folder in their order, one at a time.

    The arguments and errors are those of `push_files`, and of `read_delta`.
    """
    return (read_delta(one.path, tables) for one in push_files(folder, tables, after))


def push_files(folder: Path, tables: NamedTables, after: Version | None = None) -> list[PushFile]:
    """List the pushes of a folder in their order.

    All headers are looked at before the first push is read, so that nothing has been applied when
    the last of them turns out to be stale.

    Parameters
    ----------
    folder : Path
        With files that `write_delta` names; others are left alone.
    tables : NamedTables
        Those that are served.
    after : Version, optional
        What is served already.

    Returns
    -------
    list of PushFile

    Raises
    ------
    InputError
        There is none, a number is missing between two others, a push does not follow the one
        before it or what is served (`Version.follows`), or a header or column is not what it
        should be.
    """
    found = []
    last, where = after, "what is served"
    for path in _numbered(folder):
        with _opened(path) as file:
            header = parse_header(path, file.metadata.metadata, tables)
            columns = check_columns(path, file.schema_arrow, tables.layout.dim)
            kind = file.schema_arrow.field("embedding").type.value_type
        if last is not None and not header.version.follows(last):
            raise InputError(
                f"{path}: found step {header.step} of {header.time_s:.10g} s, expected one after "
                f"step {last.step} of {last.time_s:.10g} s, that of {where}: it is stale"
            )
        last, where = header.version, path.name
        values = tables.layout.dim * kind.bit_width // 8
        scaled = SCALE_AND_OFFSET_BYTES if "scale" in columns else 0
        found.append(PushFile(path, header.version, KEY_BYTES + scaled + values))
    return found


def _numbered(folder: Path) -> list[Path]:
    """List a folder's pushes by their number."""
    try:
        found = sorted(
            (int(match[1]), path)
            for path in folder.iterdir()
            if (match := _NAME.fullmatch(path.name))
        )
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None
    if not found:
        raise InputError(f"{folder}: found no delta-*.parquet, expected a folder of deltas")
    for (number, before), (following, path) in itertools.pairwise(found):
        if following != number + 1:
            raise InputError(
                f"{path}: found it after {before.name}, expected {delta_name(number + 1)}: the "
                "rows of a push that is missing would be too old"
            )
    return [path for _, path in found]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    try:
        # A pipe would be waited for.
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "a device or pipe"
            raise InputError(f"{path}: found {kind}, expected a delta as Parquet")
        with pq.ParquetFile(path) as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a delta as Parquet") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: found what cannot be read ({_line(error)}), expected a delta as Parquet"
        ) from None


def _line(error: BaseException) -> str:
    """Put what Arrow or the system says into one line."""
    return " ".join((getattr(error, "strerror", None) or str(error)).split())[:200]
