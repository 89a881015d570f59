"""Parquet and CSV files by a column map, as input of `lorabench.workload.ingest`.

Files are read batch by batch by Arrow; what a value becomes is in `lorabench.workload.values`. Rows
keep the numbers that they have in their file, lines that are no rows included.
"""

import codecs
import gzip
import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.workload.column_map import ColumnMap
from lorabench.workload.criteo import opened
from lorabench.workload.head import Head, read_head
from lorabench.workload.inputs import Input, RawBatch
from lorabench.workload.values import ColumnReader, printable

_BATCH_ROWS = 65_536
# Of which a quarter is asked for at a time (`_Counted.read`).
_CSV_BLOCK = 32 << 20
_EMPTY_LINES = re.compile(rb"(?<=\n)\r?\n")


class ColumnsInput(Input):
    """Parquet or CSV files, one after the other; which it is shows from the bytes.

    Parameters
    ----------
    paths : sequence of Path
        CSV may be gzipped.
    columns : ColumnMap
        Which are what.
    ordered : bool
        Refuse rows that are not in order of time; else whoever reads them sorts.
    notes : tuple of str
        What was recognised, for the user.
    preset : str
        Whose tables and model go with the rows, where no other is asked for.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        columns: ColumnMap,
        *,
        ordered: bool = True,
        notes: tuple[str, ...] = (),
        preset: str = "criteo-kaggle",
    ) -> None:
        self._paths = tuple(paths)
        self._columns = columns
        self._ordered = ordered
        self.transforms = columns.transforms
        self.timed = columns.time is not None
        self.labelled = columns.labelled
        self.notes = notes
        self.preset = preset
        self.name = ", ".join(path.name for path in self._paths)
        self.identity = [*(path.name for path in self._paths), columns.model_dump(mode="json")]
        self.num_dense, self.num_sparse = len(columns.dense), len(columns.sparse)

    @property
    def columns(self) -> ColumnMap:
        """Which columns are what."""
        return self._columns

    def batches(self, done: int, read: str, *, keep_bad: bool, jobs: int) -> Iterator[RawBatch]:  # noqa: ARG002
        """Convert batch after batch; Arrow has threads of its own."""
        total = hashlib.sha256()
        number = 0
        last_ns: int | None = None
        for path in self._paths:
            for rows in _rows(path, self._columns, keep_bad=keep_bad):
                made, last_ns = self._convert(rows, path, last_ns, keep_bad=keep_bad)
                for part in (made.label, made.time_ns, made.dense, made.ids):
                    total.update(b"" if part is None else part.tobytes())
                number += 1
                if number == done and total.hexdigest() != read:
                    up_to = f" up to row {rows.numbers[-1]}:" if len(rows.numbers) else ""
                    raise InputError(
                        f"{path}:{up_to} found other rows than those taken in before, "
                        "expected the same input"
                    )
                if number > done:
                    yield RawBatch(
                        made.label,
                        made.time_ns,
                        made.dense,
                        made.ids,
                        made.bad,
                        total.hexdigest(),
                        made.remarks,
                    )
        if number < done:
            raise InputError(f"{self.name}: found fewer rows than were taken in before")

    def _convert(
        self, rows: "_Rows", path: Path, last_ns: int | None, *, keep_bad: bool
    ) -> tuple[RawBatch, int | None]:
        columns = self._columns
        reader = ColumnReader(rows.batch, rows.numbers, path, columns, keep_bad=keep_bad)
        label = reader.labels()
        time_ns = None if columns.time is None else reader.times()
        dense = _stacked([reader.dense(name) for name in columns.dense], rows, np.float32)
        ids = _stacked([reader.ids(name) for name in columns.sparse], rows, np.int64)
        good = ~reader.bad
        if time_ns is not None:
            time_ns = time_ns[good]
            if self._ordered and len(time_ns):
                self._check_order(path, rows.numbers[good], time_ns, last_ns)
                last_ns = int(time_ns[-1])
        made = RawBatch(
            label[good],
            time_ns,
            np.ascontiguousarray(dense[:, good]),
            np.ascontiguousarray(ids[:, good]),
            (*rows.bad, *reader.errors()),
            "",
            reader.remarks + rows.remarks,
        )
        return made, last_ns

    def _check_order(
        self,
        path: Path,
        numbers: NDArray[np.int64],
        time_ns: NDArray[np.int64],
        last_ns: int | None,
    ) -> None:
        before = np.concatenate([[time_ns[0] if last_ns is None else last_ns], time_ns[:-1]])
        falls = np.flatnonzero(time_ns < before)
        if len(falls):
            assert self._columns.time is not None
            raise InputError(
                f"{path}, row {numbers[falls[0]]}, column {printable(self._columns.time)}: found "
                "an earlier time than the row before has, expected rows, and files, in order of "
                "time (--sort sorts them)"
            )


def _stacked(columns: list[NDArray[Any]], rows: "_Rows", dtype: Any) -> NDArray[Any]:
    return np.array(columns, dtype).reshape(len(columns), rows.batch.num_rows)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of a file as they were read.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        N rows, the columns of the map.
    numbers : int64 [N]
        Of the rows in the file, from 1.
    bad : tuple of InputError
        Lines among them, or before them, that are no rows.
    remarks : Counter
        What was noticed.
    """

    batch: Any
    numbers: NDArray[np.int64]
    bad: tuple[InputError, ...] = ()
    remarks: Counter[str] = field(default_factory=Counter)


def _rows(path: Path, columns: ColumnMap, *, keep_bad: bool) -> Iterator[_Rows]:
    head = read_head(path, columns.delimiter)
    if head is None:
        raise InputError(
            f"{path}: found no table (an empty or binary file, or one column), expected Parquet, "
            "or text of a row a line"
        )
    names = names_of(head, columns)
    try:
        if head.form == "parquet":
            yield from _parquet_rows(path, columns)
        else:
            yield from _CsvRows(head, names, columns, keep_bad=keep_bad).read()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: found no {error.encoding}, expected text") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: found a broken gzip stream ({error}), expected a complete one"
        ) from error
    except (pa.ArrowException, OSError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path}: {printable(reason)}; expected a Parquet or CSV file") from error


def names_of(head: Head, columns: ColumnMap) -> tuple[str, ...]:
    """Return the names of a file's columns, the map's among them.

    Raises
    ------
    InputError
        It has others.
    """
    names = head.first if head.form == "csv" else head.names
    if columns.header is not None and head.form == "csv":
        names = columns.header
        if len(names) != len(head.names):
            raise InputError(
                f"{head.path}: found {len(head.names)} columns ({head.words()}), expected the "
                f"{len(names)} that the map's header names"
            )
    missing = [name for name in columns.names if names.count(name) != 1]
    if missing:
        hint = ""
        if head.form == "csv" and not head.header and columns.header is None:
            hint = "; where the first line is a row, header = [...] in the map names the columns"
        raise InputError(
            f"{head.path}: found the columns {listed(names)}, "
            f"expected, each once, {', '.join(map(printable, missing))}{hint}"
        )
    return names


def listed(names: Sequence[str]) -> str:
    """Name columns in a message."""
    text = printable(", ".join(names))
    return text if len(text) <= 300 else f"{text[:290]} ... ({len(names)} in all)"


def _parquet_rows(path: Path, columns: ColumnMap) -> Iterator[_Rows]:
    import pyarrow.parquet as pq

    row = 1
    with pq.ParquetFile(path) as opened_file:
        for batch in opened_file.iter_batches(_BATCH_ROWS, columns=columns.names):
            yield _Rows(batch, np.arange(row, row + batch.num_rows, dtype=np.int64))
            row += batch.num_rows


class _CsvRows:
    """Rows of a text; lines that are none are counted, and so are line ends within quotes.

    One thread parses: only then are lines that are no rows met in order, and numbered.
    """

    def __init__(
        self, head: Head, names: tuple[str, ...], columns: ColumnMap, *, keep_bad: bool
    ) -> None:
        self._head = head
        self._names = names
        self._columns = columns
        self._keep_bad = keep_bad
        self._headed = columns.header is None
        self._unfit: list[tuple[int, InputError]] = []  # by number of the row

    def read(self) -> Iterator[_Rows]:
        """Read the file to its end."""
        from pyarrow import csv

        columns, path = self._columns, self._head.path
        parse = csv.ParseOptions(
            delimiter=self._head.delimiter,
            newlines_in_values=True,
            invalid_row_handler=self._note_unfit,
        )
        convert = csv.ConvertOptions(
            include_columns=columns.names,
            column_types={name: pa.string() for name in self._names},
            null_values=[""],
            strings_can_be_null=True,
        )
        options = csv.ReadOptions(
            block_size=_CSV_BLOCK,
            use_threads=False,
            column_names=None if self._headed else list(self._names),
        )
        row = 1
        with opened(path) as file:
            counted = _Counted(file, self._head.encoding)
            with csv.open_csv(counted, options, parse, convert) as reader:
                waiting: _Rows | None = None
                for batch in reader:
                    if waiting is not None:
                        yield waiting
                    waiting = self._numbered(batch, row)
                    row += batch.num_rows + len(waiting.bad)
            yield self._with_rest(waiting, row, counted)

    def _note_unfit(self, row: Any) -> str:
        number = row.number - self._headed
        widths = f"found {row.actual_columns} columns, expected {row.expected_columns}"
        self._unfit.append((number, InputError(f"{self._head.path}, row {number}: {widths}")))
        return "skip"

    def _numbered(self, batch: Any, row: int) -> _Rows:
        """Give rows their numbers; a line that is none takes one, too, and is an error."""
        end, bad = row + batch.num_rows, []
        while self._unfit and self._unfit[0][0] < end:
            number, error = self._unfit.pop(0)
            if not self._keep_bad:
                raise error
            bad.append((number, error))
            end += 1
        numbers = np.arange(row, end, dtype=np.int64)
        if bad:
            numbers = np.setdiff1d(numbers, [number for number, _ in bad])
        return _Rows(batch, numbers, tuple(error for _, error in bad))

    def _with_rest(self, last: _Rows | None, row: int, counted: "_Counted") -> _Rows:
        """Add to the last rows what is known at the end only: later lines, and open quotes."""
        if self._unfit and not self._keep_bad:
            raise self._unfit[0][1]
        if last is None:
            names = self._columns.names
            nothing = pa.record_batch([pa.array([], pa.string()) for _ in names], names)
            last = _Rows(nothing, np.empty(0, np.int64))
        remarks: Counter[str] = Counter()
        name = printable(self._head.path.name)
        within = counted.lines - self._headed - (row - 1) - len(self._unfit)
        if within > 0:
            remarks[
                f"{name}: line ends within quotes, which do not end a row (a quote that is not "
                "closed swallows rows)"
            ] = within
        if counted.undecodable and self._head.encoding == "utf-8":
            remarks[f"{name}: bytes that are no UTF-8, read as texts such as \\xe9"] = (
                counted.undecodable
            )
        bad = (*last.bad, *(error for _, error in self._unfit))
        return replace(last, bad=bad, remarks=remarks)


class _Counted:
    r"""A file for Arrow to read: its lines are counted, empty ones apart, and it is made UTF-8.

    Bytes that are none become ``\xNN``, so that what differs still does, and are counted.
    """

    closed = False

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        made = codecs.getincrementaldecoder(encoding)
        self._decoder = made("backslashreplace" if encoding == "utf-8" else "strict")
        self._tail = b"\n"
        self._lines = 0
        self._grown = 0

    @property
    def lines(self) -> int:
        """How many there are, once all are read; the last may have no end."""
        return self._lines + (not self._tail.endswith(b"\n"))

    @property
    def undecodable(self) -> int:
        """How many bytes were no UTF-8, once all are read: each became four."""
        return self._grown // 3

    def read(self, size: int) -> bytes:
        """Read on: at most so many bytes, whatever becomes of them."""
        raw = self._file.read(max(1, size // 4))
        piece = self._decoder.decode(raw, final=not raw).encode()
        self._grown += len(piece) - len(raw)
        self._lines += piece.count(b"\n")
        text = self._tail + piece
        if b"\n\n" in text or b"\n\r\n" in text:
            empty = (match.end() for match in _EMPTY_LINES.finditer(text))
            self._lines -= sum(end > len(self._tail) for end in empty)
        self._tail = text[-2:]
        # Nothing would be the end of the file: the first byte of a character waits for the next.
        return piece if piece or not raw else self.read(size)

    def readable(self) -> bool:
        """Arrow asks."""
        return True

    def close(self) -> None:
        """Leave that to whoever opened the file."""
