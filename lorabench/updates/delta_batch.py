"""Rows of a delta as they come out of a file, a batch at a time: each is checked, then sorted.

What a message calls a row is its number within the file, from 0, as pandas counts them.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.updates.delta import Delta
from lorabench.updates.delta_header import Header, NamedTables
from lorabench.updates.quantise import QuantisedRows

_INTEGERS = ("step", "key")
_SCALES = ("scale", "offset")


def check_columns(path: Path, schema: Any, dim: int) -> list[str]:
    """Return the columns that are read of a file; refuse it where they are not what they should be.

    Raises
    ------
    InputError
        One is missing, there twice, or of another type or dim.
    """
    needed = [*_INTEGERS, "table", "embedding"]
    _check_there(path, schema, needed)
    for name in _INTEGERS:
        if not pa.types.is_integer(schema.field(name).type):
            raise _other_type(path, schema, name, "integers")
    kind = schema.field("table").type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise _other_type(path, schema, "table", "strings")
    kind = schema.field("embedding").type
    fixed = pa.types.is_fixed_size_list(kind)
    listed = fixed or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    quantised = listed and kind.value_type == pa.uint8()
    if not (quantised or (listed and pa.types.is_floating(kind.value_type))):
        raise _other_type(path, schema, "embedding", f"lists of {dim} floats or uint8")
    if fixed and kind.list_size != dim:
        raise InputError(
            f"{path}: column embedding: found dim {kind.list_size}, expected {dim}, as served"
        )
    if quantised:
        needed += _SCALES
        _check_there(path, schema, needed)
        for name in _SCALES:
            if not pa.types.is_floating(schema.field(name).type):
                raise _other_type(path, schema, name, "floats")
    return needed


def _check_there(path: Path, schema: Any, needed: list[str]) -> None:
    for name in needed:
        count = len(schema.get_all_field_indices(name))
        if count != 1:
            found = "no column" if not count else f"{count} columns"
            raise InputError(
                f"{path}: found {found} {name}, expected {', '.join(needed)}, each once"
            )


def _other_type(path: Path, schema: Any, name: str, expected: str) -> InputError:
    found = " ".join(str(schema.field(name).type).split())
    return InputError(f"{path}: column {name}: found {found:.80}, expected {expected}")


def _up_to(count: int) -> str:
    """Return which places there are among so many."""
    return "no rows" if not count else "0" if count == 1 else f"0 to {count - 1}"


class DeltaRows:
    """The rows of a file so far.

    Parameters
    ----------
    path : Path
        Of the file, for messages.
    header : Header
        What it says of itself.
    tables : NamedTables
        Those that are served.
    count : int
        Rows that there will be, by the file's metadata.

    Raises
    ------
    InputError
        They are fewer than none.
    """

    def __init__(self, path: Path, header: Header, tables: NamedTables, count: int) -> None:
        if count < 0:
            raise InputError(f"{path}: found {count} rows by its metadata, expected 0 or more")
        self._path = path
        self._header = header
        self._dim = tables.layout.dim
        self._names = tables.names
        self._sizes = np.array(tables.layout.rows, np.int64)
        numbers = tables.numbers
        self._numbers = {table.name: numbers[table.name] for table in header.tables}
        self._count = 0
        # Of all rows, in the file's order: table, key, and whether it is kept; and of those that
        # are kept, the embedding. What is not filled takes no memory.
        self._table = np.empty(count, np.int32)
        self._key = np.empty(count, np.int64)
        self._kept = np.empty(count, np.bool_)
        self._values = np.empty((count, self._dim), np.float32)
        self._filled = 0

    def add(self, batch: Any) -> None:
        """Take a batch of the file's rows, the next.

        Raises
        ------
        InputError
            One of them is not what it should be.
        """
        end = self._count + batch.num_rows
        if end > len(self._key):
            raise self._other_count(end)
        columns = {name: batch.column(name) for name in batch.schema.names}
        for name in ("step", "table", "key"):
            self._refuse(columns[name].is_null().to_numpy(False), f"found no {name}, expected one")
        step = columns["step"].cast(pa.int64()).to_numpy()
        self._refuse(
            step != self._header.step,
            "found step {}",
            f"expected {self._header.step} throughout, that of its metadata",
            step,
        )
        table = self._tables(columns["table"])
        key = columns["key"].cast(pa.int64()).to_numpy()
        self._check_keys(table, key)
        kept = columns["embedding"].is_valid().to_numpy(False)
        values = self._embeddings(columns, kept)
        self._values[self._filled : self._filled + len(values)] = values
        self._filled += len(values)
        for whole, part in ((self._table, table), (self._key, key), (self._kept, kept)):
            whole[self._count : end] = part
        self._count = end

    def _other_count(self, found: int) -> InputError:
        return InputError(
            f"{self._path}: found {found} rows, expected {len(self._key)} by its metadata"
        )

    def _refuse(
        self, bad: NDArray[np.bool_], found: str, expected: str = "", values: Any = None
    ) -> None:
        """Refuse the file where a row of the batch is bad; `found` has room for its value."""
        if not bad.any():
            return
        row = int(bad.argmax())
        text = found if values is None else f"{found.format(values[row])}, {expected}"
        raise InputError(f"{self._path}: row {self._count + row}: {text}")

    def _tables(self, column: Any) -> NDArray[np.int32]:
        """Return the number of each row's table."""
        packed = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        names = packed.dictionary.to_pylist()
        places = packed.indices.to_numpy()
        # None for a null among a dictionary's values, which no null of the column has shown.
        numbers = np.array([self._numbers.get(name, -1) for name in names], np.int32)
        # Arrow hands on places that a damaged file has wrong.
        self._refuse(
            (places < 0) | (places >= len(names)),
            "found place {} among the names of tables",
            f"expected {_up_to(len(names))}",
            places,
        )
        table = np.asarray(numbers[places], np.int32)
        known = f"expected one of {', '.join(self._numbers):.200}, those of its metadata"
        bad = table < 0
        if bad.any():
            self._refuse(bad, "found the table {!r:.60}", known, [names[place] for place in places])
        return table

    def _check_keys(self, table: NDArray[np.int32], key: NDArray[np.int64]) -> None:
        bad = (key < 0) | (key >= self._sizes[table])
        if bad.any():
            row = int(bad.argmax())
            name, last = self._names[table[row]], self._sizes[table[row]] - 1
            self._refuse(bad, f"found key {{}} of table {name}", f"expected 0 to {last}", key)

    def _embeddings(self, columns: dict[str, Any], kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return those of the rows that are kept, float32 [n, D]."""
        column = columns["embedding"]
        lengths = pc.fill_null(pc.list_value_length(column), self._dim).to_numpy(False)
        self._refuse(
            lengths != self._dim, "found dim {}", f"expected {self._dim}, as served", lengths
        )
        flat = column.drop_null().flatten()
        if flat.null_count:
            gaps = np.zeros(len(kept), bool)
            holes = flat.is_null().to_numpy(False).reshape(-1, self._dim).any(axis=1)
            gaps[np.flatnonzero(kept)[holes]] = True
            self._refuse(gaps, "found an embedding with a null in it, expected numbers")
        values = flat.to_numpy(False).reshape(-1, self._dim)
        if flat.type != pa.uint8():
            # Values that float32 does not hold are infinite then, and refused by who serves them.
            with np.errstate(over="ignore"):
                return np.ascontiguousarray(values, np.float32)
        scale, offset = (self._scale(columns[name], name, kept) for name in _SCALES)
        return QuantisedRows(np.ascontiguousarray(values), scale, offset).rows()

    def _scale(self, column: Any, name: str, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        absent = column.is_null().to_numpy(False) & kept
        self._refuse(absent, f"found no {name}, expected one, as its embedding is quantised")
        with np.errstate(over="ignore"):
            found: NDArray[np.float32] = column.to_numpy(False)[kept].astype(np.float32)
        return found

    def delta(self) -> Delta:
        """Return all rows that came, sorted.

        Raises
        ------
        InputError
            A key of a table is there twice, or there are fewer rows than there should be.
        """
        if self._count != len(self._key):
            raise self._other_count(self._count)
        # A row's place among those that have an embedding.
        place = np.cumsum(self._kept) - 1
        order = np.lexsort((self._key, self._table))
        table, key, kept = self._table[order], self._key[order], self._kept[order]
        again = np.flatnonzero((table[1:] == table[:-1]) & (key[1:] == key[:-1])) + 1
        if len(again):
            # The sort is stable: of equal keys the later row comes later.
            at = again[order[again].argmin()]
            raise InputError(
                f"{self._path}: row {order[at]}: found key {key[at]} of table "
                f"{self._names[table[at]]} again, expected each once"
            )
        cuts = np.searchsorted(table, np.arange(len(self._names) + 1))
        spans = [slice(begin, end) for begin, end in itertools.pairwise(cuts)]
        rows = tuple(key[span][kept[span]].astype(np.int32) for span in spans)
        gone = tuple(key[span][~kept[span]].astype(np.int32) for span in spans)
        return Delta(
            self._header.step,
            self._header.time_s,
            rows,
            tuple(self._values_at(place[order[span]][kept[span]]) for span in spans),
            gone if any(len(one) for one in gone) else (),
        )

    def _values_at(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return embeddings float32 [n, D]; those that lie in a row are not copied."""
        if len(places) and (np.diff(places) == 1).all():
            return self._values[places[0] : places[-1] + 1]
        return np.asarray(self._values[places])
