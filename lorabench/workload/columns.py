"""Parquet and CSV files by a column map, as input of `lorabench.workload.ingest`.

Whatever an id is, its text counts: the integer 7 of a Parquet file and the 7 of a CSV are one id. A
text becomes a number by BLAKE2b of its UTF-8 bytes, 63 bits of it, so that ids of any kind can be
hashed into tables or numbered. Only the distinct texts of a batch are hashed.
"""

import hashlib
import math
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lorabench.errors import InputError
from lorabench.workload.inputs import Input, RawBatch

_BATCH_ROWS = 65_536
_CSV_BLOCK = 8 << 20
_PARQUET_MAGIC = b"PAR1"
_LARGEST = float(np.finfo(np.float32).max)
_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}

Name = Annotated[str, Field(strict=True, min_length=1)]


class ColumnMap(BaseModel):
    """Which columns are what.

    Parameters
    ----------
    label : str
        0 and 1, or false and true.
    time : str, optional
        Timestamps, or numbers of `time_unit`; rows must be in order of it. Without it rows are
        spaced evenly.
    time_unit : {"s", "ms", "us", "ns"}
        Of times that are numbers.
    dense : tuple of str
        Numbers, kept as float32; nulls and NaN are missing.
    sparse : tuple of str
        Ids of any kind; nulls and empty texts are missing.
    delimiter : str
        Of CSV files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: Name
    time: Name | None = None
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    dense: tuple[Name, ...] = ()
    sparse: Annotated[tuple[Name, ...], Field(min_length=1)]
    delimiter: Annotated[str, Field(strict=True, min_length=1, max_length=1)] = ","

    @property
    def names(self) -> list[str]:
        """All columns, each once."""
        time = () if self.time is None else (self.time,)
        return list(dict.fromkeys((self.label, *time, *self.dense, *self.sparse)))


def load_columns(path: Path) -> ColumnMap:
    """Read a column map from a TOML file.

    Raises
    ------
    InputError
        An unreadable file, bad TOML, an unknown key or an impossible value.
    """
    try:
        document = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a column map in TOML") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: {_line(error)}; expected a column map in TOML") from error
    try:
        return ColumnMap.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(ColumnMap.model_fields)
        expected = f"one of {known}" if first["type"] == "extra_forbidden" else first["msg"]
        raise InputError(
            f"{path}: {key}: found {str(first['input'])[:60]!r}, expected {expected}"
        ) from None


class ColumnsInput(Input):
    """Parquet or CSV files, one after the other; which it is shows from the bytes.

    Parameters
    ----------
    paths : sequence of Path
        CSV may be gzipped; its first line names the columns.
    columns : ColumnMap
        Which are what.
    """

    def __init__(self, paths: Sequence[Path], columns: ColumnMap) -> None:
        self._paths = tuple(paths)
        self._columns = columns
        self.name = ", ".join(path.name for path in self._paths)
        self.identity = [*(path.name for path in self._paths), columns.model_dump(mode="json")]
        self.num_dense, self.num_sparse = len(columns.dense), len(columns.sparse)

    def batches(self, done: int, read: str, *, keep_bad: bool, jobs: int) -> Iterator[RawBatch]:  # noqa: ARG002
        """Convert batch after batch; Arrow has threads of its own."""
        total = hashlib.sha256()
        number = 0
        for path in self._paths:
            row = 1
            for batch in _batches(path, self._columns):
                made = self._convert(batch, path, row, keep_bad=keep_bad)
                row += batch.num_rows
                for part in (made.label, made.time_ns, made.dense, made.ids):
                    total.update(b"" if part is None else part.tobytes())
                number += 1
                if number == done and total.hexdigest() != read:
                    raise InputError(
                        f"{path}: up to row {row - 1}: found other rows than those taken in "
                        "before, expected the same input"
                    )
                if number > done:
                    yield RawBatch(
                        made.label, made.time_ns, made.dense, made.ids, made.bad, total.hexdigest()
                    )
        if number < done:
            raise InputError(f"{self.name}: found fewer rows than were taken in before")

    def _convert(self, batch: Any, path: Path, row: int, *, keep_bad: bool) -> RawBatch:
        columns = self._columns
        reader = _Reader(batch, path, row, keep_bad=keep_bad)
        label = reader.take(columns.label, _label, "0 or 1")
        time_ns = None if columns.time is None else reader.times(columns.time, columns.time_unit)
        dense = np.empty((len(columns.dense), batch.num_rows), np.float32)
        for values, name in zip(dense, columns.dense, strict=True):
            values[:] = reader.numbers(name)
        ids = np.array([_ids(batch.column(name)) for name in columns.sparse], np.int64)
        good = ~reader.bad
        if time_ns is not None:
            time_ns = time_ns[good]
            falls = np.flatnonzero(np.diff(time_ns) < 0)
            if len(falls):
                raise InputError(
                    f"{path}, row {row + int(np.flatnonzero(good)[falls[0] + 1])}, column "
                    f"{columns.time}: found an earlier time than the row before has, expected "
                    "rows in order of time: sort them first"
                )
        return RawBatch(
            label[good].astype(np.int8),
            time_ns,
            np.ascontiguousarray(dense[:, good]),
            np.ascontiguousarray(ids[:, good]),
            reader.errors(),
            "",
        )


class _Reader:
    """Takes columns of a batch as numbers; rows with a value that is none are bad.

    Attributes
    ----------
    bad : bool [N]
        Those rows.
    """

    def __init__(self, batch: Any, path: Path, row: int, *, keep_bad: bool) -> None:
        self._batch = batch
        self._path = path
        self._row = row
        self._keep_bad = keep_bad
        self._found: list[tuple[int, InputError]] = []
        self.bad = np.zeros(batch.num_rows, bool)

    def take(self, name: str, of: Callable[[Any], int], expected: str) -> NDArray[np.int64]:
        """Read a column; raise the first error unless bad rows are to be kept apart."""
        column = self._batch.column(name)
        try:
            return _fast(column, of)
        except (pa.ArrowException, ValueError, OverflowError):
            pass
        values = np.zeros(len(column), np.int64)
        self._one_by_one(name, of, values, expected)
        return values

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Read a column of numbers, NaN where missing."""
        column = self._batch.column(name)
        try:
            values: NDArray[np.float64] = pc.cast(column, pa.float64()).to_numpy(
                zero_copy_only=False
            )
        except pa.ArrowException:
            pass
        else:
            # Whether NaN and infinity are written out or overflowed is the same to whoever reads.
            if not (np.abs(values) > _LARGEST).any():
                return values
        values = np.zeros(len(column))
        self._one_by_one(name, _dense, values, "a number within ±3.4e38, or nothing")
        return values

    def _one_by_one(
        self, name: str, of: Callable[[Any], float], values: NDArray[Any], expected: str
    ) -> None:
        """Convert value after value, to name what is wrong."""
        for i, value in enumerate(self._batch.column(name).to_pylist()):
            try:
                values[i] = of(value)
            except (ValueError, OverflowError, TypeError):
                error = InputError(
                    f"{self._path}, row {self._row + i}, column {name}: found "
                    f"{str(value)[:60]!r}, expected {expected}"
                )
                if not self._keep_bad:
                    raise error from None
                self._found.append((i, error))
                self.bad[i] = True

    def times(self, name: str, time_unit: str) -> NDArray[np.int64]:
        """Read a column of times as ns: numbers of that unit, or what says its unit itself."""
        batch, unit = self._batch, _NS[time_unit]
        place = batch.schema.get_field_index(name)
        kind = batch.schema.field(place).type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            at = batch.column(place).cast(pa.timestamp("ns")).cast(pa.int64())
            self._batch = batch.set_column(place, name, at)
            unit = 1
        return self.take(name, lambda value: _time(value, unit), "a time")

    def errors(self) -> tuple[InputError, ...]:
        """Return the first error of each bad row, in order."""
        first_of_row = dict(reversed(self._found))
        return tuple(first_of_row[i] for i in sorted(first_of_row))


def _batches(path: Path, columns: ColumnMap) -> Iterator[Any]:
    import pyarrow.parquet as pq
    from pyarrow import csv

    try:
        with path.open("rb") as file:
            parquet = file.read(4) == _PARQUET_MAGIC
        if parquet:
            with pq.ParquetFile(path) as opened:
                _check_names(path, opened.schema_arrow.names, columns)
                yield from opened.iter_batches(_BATCH_ROWS, columns=columns.names)
            return
        parse = csv.ParseOptions(delimiter=columns.delimiter)
        with csv.open_csv(path, parse_options=parse) as head:
            names = head.schema.names
        _check_names(path, names, columns)
        convert = csv.ConvertOptions(
            include_columns=columns.names,
            column_types={name: pa.string() for name in columns.names},
            null_values=[""],
            strings_can_be_null=True,
        )
        read = csv.ReadOptions(block_size=_CSV_BLOCK, use_threads=True)
        with csv.open_csv(path, read, parse, convert) as reader:
            yield from reader
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: found column names that are no UTF-8, expected text") from error
    except (pa.ArrowException, OSError) as error:
        reason = getattr(error, "strerror", None) or _line(error)
        raise InputError(f"{path}: {reason}; expected a Parquet or CSV file") from error


def _check_names(path: Path, found: Sequence[str], columns: ColumnMap) -> None:
    missing = [name for name in columns.names if found.count(name) != 1]
    if missing:
        raise InputError(
            f"{path}: found the columns {', '.join(found)[:200]}, "
            f"expected, each once, {', '.join(missing)}"
        )


def _fast(column: Any, of: Callable[[Any], int]) -> NDArray[np.int64]:
    """Convert by the distinct values, of which counts and labels have few."""
    packed = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
    distinct = np.array([of(value) for value in packed.dictionary.to_pylist()], np.int64)
    place = packed.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)
    if packed.indices.null_count or packed.dictionary.null_count:
        distinct = np.append(distinct, of(None))
    return np.asarray(distinct[place], np.int64)


def _ids(column: Any) -> NDArray[np.int64]:
    packed = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
    hashes = [_id(value) for value in packed.dictionary.to_pylist()]
    place = packed.indices.fill_null(len(hashes)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*hashes, -1], np.int64)[place], np.int64)


def _id(value: object) -> int:
    if value is None or value == "" or value != value:  # noqa: PLR0124 (NaN)
        return -1
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool):
        value = int(value)
    text = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def _label(value: object) -> int:
    known = {"0": 0, "1": 1, "false": 0, "true": 1, "0.0": 0, "1.0": 1}
    try:
        return known[str(value).strip().lower()]
    except KeyError:
        raise ValueError from None


def _dense(value: Any) -> float:
    if value is None or value == "":
        return math.nan
    number = float(value)
    if abs(number) > _LARGEST:
        raise ValueError
    return number


def _time(value: Any, unit: int) -> int:
    if value is None or value == "":
        raise ValueError
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return int(np.datetime64(value.strip().removesuffix("Z"), "ns").astype(np.int64))
    if isinstance(value, (int, float)):
        at = value * unit
        if not abs(at) < 2**62:
            raise ValueError
        return int(at)
    raise ValueError


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
