"""Touch traces on disk: which rows were touched when, and nothing else of them.

A Parquet file with the columns ``time`` (float64, s, ascending), ``table`` (int32) and ``row``
(uint64), a row of a table once within each stretch of the resolution. No labels, no values, and no
row numbers: ``row`` is the table and the number of the row encrypted with a key that is drawn for
the file and kept nowhere (`lorabench.updates.speck`). No two rows get one name, so that counts are
exact. How often each is touched remains visible, and who knows what is popular may guess which row
that is. The file's metadata hold, as JSON under ``lorabench.touch``, the format, the rows of each
table, their sum and the resolution.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.replacing import replacing
from lorabench.updates.speck import KEY_BYTES, encrypt

FORMAT = "lorabench.touch/1"
_METADATA = b"lorabench.touch"
_COLUMNS = {"time": "double", "table": "int32", "row": "uint64"}
# Touches of a row group: what the writer holds beside those of the stretch that is open.
_GROUP = 262_144
_READ = 1 << 20
# Of the resolution: a time that was rounded on its way is still its own stretch's.
_ROUNDING = 1e-6


class TouchWriter:
    """Writes a trace as rows arrive, within memory for one stretch and a row group.

    A context manager: left by an exception, or never closed, there is no file (`replacing`).

    Parameters
    ----------
    path : Path
        Where it goes; written under another name until it is closed.
    table_rows : sequence of int
        V of each table.
    hotness : sequence of int
        Columns of ids that look each table up.
    resolution_s : float
        Within which a row is touched once, in s.

    Raises
    ------
    InputError
        It cannot be written.
    """

    def __init__(
        self,
        path: Path,
        table_rows: Sequence[int],
        hotness: Sequence[int],
        resolution_s: float = 1.0,
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        self._key = secrets.token_bytes(KEY_BYTES)
        self._told = {
            "format": FORMAT,
            "table_rows": list(table_rows),
            "rows": sum(table_rows),
            "resolution_s": resolution_s,
        }
        self._resolution_ns = max(1, round(resolution_s * 1e9))
        self._tables = np.repeat(np.arange(len(table_rows), dtype=np.uint64), hotness)
        self._tick, self._open = np.iinfo(np.int64).min, np.empty(0, np.uint64)
        self._waiting: list[Any] = []
        kinds = (pa.float64(), pa.int32(), pa.uint64())
        fields = [pa.field(n, k, nullable=False) for n, k in zip(_COLUMNS, kinds, strict=True)]
        schema = pa.schema(fields, metadata={_METADATA: json.dumps(self._told)})
        self._schema = schema
        self._file = ExitStack()
        partial = self._file.enter_context(replacing(path))
        try:
            self._writer: Any = pq.ParquetWriter(str(partial), schema)
        except OSError as error:
            raise _unwritable(path, error) from None

    def add(self, time_ns: NDArray[np.int64], sparse: NDArray[np.int32]) -> None:
        """Write down who touched which rows.

        Parameters
        ----------
        time_ns : int64 [n]
            Ascending, here and from call to call.
        sparse : int32 [n, C]
            Row of each column's table.

        Raises
        ------
        ValueError
            Times go back.
        InputError
            It cannot be written.
        """
        if not len(time_ns):
            return
        ticks = time_ns // self._resolution_ns
        if ticks[0] < self._tick or (ticks[1:] < ticks[:-1]).any():
            raise ValueError("times go back, expected them in order")
        ids = (self._tables << np.uint64(32)) | sparse.astype(np.uint64)
        at = np.concatenate(
            [np.full(len(self._open), self._tick), np.repeat(ticks, sparse.shape[1])]
        )
        at, found = _each_once(at, np.concatenate([self._open, ids.ravel()]))
        self._tick = int(ticks[-1])
        over = at < self._tick
        self._open = found[~over]
        try:
            self._keep(at[over], found[over])
        except OSError as error:
            raise _unwritable(self._path, error) from None

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises
        ------
        InputError
            It cannot be written.
        """
        try:
            with self._file:
                self._keep(np.full(len(self._open), self._tick), self._open)
                self._flush()
                self._writer.close()
        except OSError as error:
            raise _unwritable(self._path, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
            return
        with suppress(OSError):
            self._writer.close()
        self._file.__exit__(kind, error, trace)

    def _keep(self, ticks: NDArray[np.int64], ids: NDArray[np.uint64]) -> None:
        """Take touches that are over, under their names and in an order that tells nothing."""
        import pyarrow as pa

        rows = encrypt(self._key, ids)
        order = np.lexsort((rows, ticks))
        columns = (
            ticks[order] * self._resolution_ns / 1e9,
            (ids[order] >> np.uint64(32)).astype(np.int32),
            rows[order],
        )
        self._waiting.append(pa.table(list(map(pa.array, columns)), schema=self._schema))
        if sum(one.num_rows for one in self._waiting) >= _GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=_GROUP)
        self._waiting = []


def _each_once(
    ticks: NDArray[np.int64], ids: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return each id of each tick once, by tick."""
    order = np.lexsort((ids, ticks))
    ticks, ids = ticks[order], ids[order]
    new = np.ones(len(ids), np.bool_)
    new[1:] = (ticks[1:] != ticks[:-1]) | (ids[1:] != ids[:-1])
    return ticks[new], ids[new]


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be written ({error.strerror or error})")


@dataclass(frozen=True, eq=False)
class Touches:
    """Touches as they are read.

    Attributes
    ----------
    tick : int64 [n]
        Stretches of the resolution since the first touch of the trace, ascending.
    table : int32 [n]
    row : uint64 [n]
    """

    tick: NDArray[np.int64]
    table: NDArray[np.int32]
    row: NDArray[np.uint64]


@dataclass(frozen=True)
class TouchTrace:
    """A trace that was opened; touches are read as they are asked for.

    Parameters
    ----------
    path : Path
        Where it lies.
    table_rows : tuple of int
        V of each table.
    resolution_s : float
        Within which a row is touched once, in s.
    first_s, last_s : float
        Times of its first and last touches.
    """

    path: Path
    table_rows: tuple[int, ...]
    resolution_s: float
    first_s: float
    last_s: float

    @staticmethod
    def open(path: Path) -> "TouchTrace":
        """Open a trace.

        Raises
        ------
        InputError
            There is no trace, or none with a touch in it.
        """
        file = _opened(path)
        with file:
            told = _metadata(path, file.schema_arrow)
            if not file.metadata.num_rows:
                raise InputError(f"{path}: found no touches, expected some")
            groups = range(file.metadata.num_row_groups)
            full = [n for n in groups if file.metadata.row_group(n).num_rows]
            times = [
                _read(path, partial(file.read_row_group, n, ["time"]))["time"]
                for n in (full[0], full[-1])
            ]
            first_s, last_s = times[0][0].as_py(), times[1][-1].as_py()
        if None in (first_s, last_s) or not -np.inf < first_s <= last_s < np.inf:
            raise InputError(f"{path}: found times from {first_s} to {last_s}, expected ascending")
        return TouchTrace(path, *told, first_s, last_s)

    @property
    def ticks(self) -> int:
        """Stretches of the resolution from the first touch to the last, these included."""
        return int(self._ticks(np.array([self.last_s]))[0]) + 1

    def touches(self) -> Iterator[Touches]:
        """Read them in order.

        Raises
        ------
        InputError
            A time that is no number or goes back, or a table that there is not.
        """
        last, number = -np.inf, 1
        with _opened(self.path) as file:
            batches = file.iter_batches(batch_size=_READ, columns=list(_COLUMNS))
            while (columns := _read(self.path, partial(_next_columns, batches))) is not None:
                time_s, table, row = columns
                self._check(time_s, table, last, number)
                last, number = time_s[-1], number + len(time_s)
                yield Touches(self._ticks(time_s), table, row)

    def _ticks(self, time_s: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.floor((time_s - self.first_s) / self.resolution_s + _ROUNDING).astype(np.int64)

    def _check(
        self, time_s: NDArray[np.float64], table: NDArray[np.int32], last: float, number: int
    ) -> None:
        before = np.concatenate([[last], time_s[:-1]])
        if (wrong := ~(time_s >= before) | (time_s > self.last_s)).any():
            at = int(wrong.argmax())
            raise InputError(
                f"{self.path}: row {number + at}: found the time {time_s[at]} after {before[at]}, "
                f"expected ascending times up to {self.last_s}"
            )
        if (strange := (table < 0) | (table >= len(self.table_rows))).any():
            at = int(strange.argmax())
            raise InputError(
                f"{self.path}: row {number + at}: found the table {table[at]}, expected one of 0 "
                f"to {len(self.table_rows) - 1}"
            )


def _next_columns(batches: Iterator[Any]) -> list[NDArray[Any]] | None:
    """Return the next batch; None behind the last."""
    batch = next(batches, None)
    return None if batch is None else [batch.column(name).to_numpy() for name in _COLUMNS]


def _metadata(path: Path, schema: Any) -> tuple[tuple[int, ...], float]:
    """Return rows of each table and resolution of a trace, and make sure that it is one.

    Raises
    ------
    InputError
        It is none.
    """
    found = {field.name: str(field.type) for field in schema}
    if not _COLUMNS.items() <= found.items():
        raise InputError(f"{path}: found the columns {found!s:.80}, expected {_COLUMNS}")
    try:
        told = json.loads((schema.metadata or {})[_METADATA])
        rows, resolution_s = tuple(map(int, told["table_rows"])), float(told["resolution_s"])
        known = told["format"] == FORMAT
    except (KeyError, TypeError, ValueError):
        known = False
    if not known or min(rows, default=0) < 1 or not 0 < resolution_s < np.inf:
        raise InputError(f"{path}: found no metadata of a touch trace, expected {FORMAT}")
    return rows, resolution_s


def _opened(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        path.stat()  # Arrow's own words for what is not there are many
        return pq.ParquetFile(str(path))
    except pa.ArrowException as error:
        told = " ".join(str(error).split())
        raise InputError(f"{path}: found no Parquet file ({told:.80}), expected a trace") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected a touch trace") from None


def _read(path: Path, read: Callable[[], Any]) -> Any:
    import pyarrow as pa

    try:
        return read()
    except (OSError, pa.ArrowException) as error:
        told = " ".join(str(error).split())
        raise InputError(
            f"{path}: cannot be read ({told:.80}), expected a whole touch trace"
        ) from None
