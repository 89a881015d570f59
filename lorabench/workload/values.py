"""Values of a table's columns as labels, times, numbers and ids; each bad one with its place.

Whatever an id is, its text counts: the integer 7 of a Parquet file and the 7 of a CSV are one id,
and so is the 7.0 that pandas makes of it in a column in which a value is missing. A text becomes a
number by BLAKE2b of its UTF-8 bytes, 63 bits of it, so that ids of any kind can be hashed into
tables or numbered. Only the distinct texts of a batch are hashed. What is done to a value on the
way is counted, as a remark.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.workload.column_map import ColumnMap
from lorabench.workload.labels import label_rule
from lorabench.workload.times import TimeRule, ambiguity, read_times

_MISSING_ID = -1
_BAD_ID = -2
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{1,8}")
# A whole number as a float: 7.0, or 1e+16, as pandas writes large ones. Without its sign the
# exponent could be part of a hexadecimal id.
_WHOLE = re.compile(r"[+-]?\d+\.0*")
_LARGE = re.compile(r"[+-]?\d(\.\d+)?[eE]\+\d+")
_COMMA = re.compile(r"[+-]?\d+,\d+")
_EXACT_FLOATS = 2**53
_FLOATS = (float, Decimal)
_MOST_DENSE = float(np.finfo(np.float32).max)


def time_rule(columns: ColumnMap) -> TimeRule:
    """Return what a map says of its times."""
    return TimeRule(
        columns.time_unit or "s",
        columns.time_format,
        columns.time_origin,
        assumed=columns.time_unit is None,
    )


def printable(text: str) -> str:
    """Return a text of others' making without what could steer a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class ColumnReader:
    """Takes columns of N rows; rows with a value that cannot be taken are bad.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        The rows.
    numbers : int64 [N]
        Their numbers in the file, from 1.
    path : Path
        The file.
    columns : ColumnMap
        What the columns are.
    keep_bad : bool
        Collect errors; else the first one is raised.

    Attributes
    ----------
    bad : bool [N]
        Rows with an error.
    remarks : Counter
        What was done to values, and how often.
    """

    def __init__(
        self,
        batch: Any,
        numbers: NDArray[np.int64],
        path: Path,
        columns: ColumnMap,
        *,
        keep_bad: bool,
    ) -> None:
        self._batch = batch
        self._numbers = numbers
        self._path = path
        self._columns = columns
        self._marks = frozenset(columns.missing)
        self._keep_bad = keep_bad
        self._errors: dict[int, InputError] = {}
        self.bad = np.zeros(batch.num_rows, bool)
        self.remarks: Counter[str] = Counter()

    def errors(self) -> tuple[InputError, ...]:
        """Return the first error of each bad row, in order."""
        return tuple(self._errors[i] for i in sorted(self._errors))

    def labels(self) -> NDArray[np.int8]:
        """Return 1 for a click, else 0; int8 [N]. Rows that have no labels get 0."""
        name = self._columns.label
        if name is None:
            return np.zeros(len(self._numbers), np.int8)
        rule = label_rule(self._columns.positive)
        values, place = self._distinct(name)
        known = np.full(len(values), -1, np.int8)
        for k, value in enumerate(values):
            try:
                known[k] = -1 if value is None else rule.of(value)
            except ValueError:
                continue
        labels = known[place]
        bad = np.flatnonzero(labels < 0).tolist()
        self._refuse(name, dict.fromkeys(bad, rule.expected))
        return np.asarray(np.maximum(labels, 0), np.int8)

    def times(self) -> NDArray[np.int64]:
        """Return times in ns, int64 [N]."""
        name = self._columns.time
        assert name is not None
        column = self._column(name)
        if _is_text(column.type):
            column = self._without_marks(name, column)
        rule = time_rule(self._columns)
        if (why := ambiguity(column, rule)) is not None:
            raise InputError(f"{self._path}, column {printable(name)}: found {why}")
        times, bad = read_times(column, rule)
        self._refuse(name, bad)
        return times

    def dense(self, name: str) -> NDArray[np.float64]:
        """Return numbers, NaN where missing; float64 [N]."""
        column = self._column(name)
        if _is_text(column.type):
            column = self._without_marks(name, column)
            if self._columns.decimal == ",":
                column = pc.replace_substring(column, pattern=",", replacement=".")
        try:
            numbers = column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        except pa.ArrowException:
            numbers = np.array([_number(value) for value in column.to_pylist()], np.float64)
        expected = f"a number within ±{_MOST_DENSE:.2g}, or nothing"
        bad = np.flatnonzero(np.abs(numbers) > _MOST_DENSE).tolist()
        if any(_COMMA.fullmatch(str(column[i].as_py())) for i in bad[:1]):
            expected += ' (decimal = "," in the map reads decimal commas)'
        self._refuse(name, dict.fromkeys(bad, expected))
        below = int(np.count_nonzero(numbers < 0))
        if below and self._columns.said_transform(name) is None:
            self.remarks[
                f"column {printable(name)}: numbers below 0 become 0 as inputs of the model; "
                'transform = "standardise" in the map keeps them'
            ] += below
        return np.asarray(numbers)

    def ids(self, name: str) -> NDArray[np.int64]:
        """Return ids as numbers, -1 where missing; int64 [N]."""
        values, place = self._distinct(name)
        if self._columns.ids == "hex":
            return self._hexadecimal(name, values, place)
        whole = {k: text for k in _fractional(values) if (text := _whole(values[k])) is not None}
        if whole:
            counts = np.bincount(place, minlength=len(values))
            self.remarks[
                f"column {printable(name)}: ids written as 7.0 are the same as those written as 7"
            ] += int(counts[list(whole)].sum())
            rounded = [k for k, text in whole.items() if abs(int(text)) > _EXACT_FLOATS]
            if rounded:
                self.remarks[
                    f"column {printable(name)}: ids above 2^53 written as floats have lost digits, "
                    "and several may be one"
                ] += int(counts[rounded].sum())
            for k, text in whole.items():
                values[k] = text
        known = np.array([_MISSING_ID if v is None else _hashed(v) for v in values], np.int64)
        self._refuse_open_quotes(name, values, place)
        return np.asarray(known[place])

    def _hexadecimal(
        self, name: str, values: Sequence[object], place: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        known = np.array([_number_of_digits(value) for value in values], np.int64)
        ids = known[place]
        bad = np.flatnonzero(ids == _BAD_ID).tolist()
        expected = '1 to 8 hexadecimal digits, or nothing (a map with ids = "text" takes any)'
        self._refuse(name, dict.fromkeys(bad, expected))
        return np.asarray(ids)

    def _refuse_open_quotes(
        self, name: str, values: Sequence[object], place: NDArray[np.int64]
    ) -> None:
        """Refuse ids with a line end in them: a quote that is not closed swallows whole rows."""
        open_ones = [k for k, value in enumerate(values) if type(value) is str and "\n" in value]
        if not open_ones:
            return
        bad = np.flatnonzero(np.isin(place, open_ones)).tolist()
        self._refuse(name, dict.fromkeys(bad, "an id on one line: is a quote left open?"))

    def _column(self, name: str) -> Any:
        column = self._batch.column(name)
        return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column

    def _distinct(self, name: str) -> tuple[list[object], NDArray[np.int64]]:
        """Return the distinct values, None for missing ones, and which of them each row has."""
        column = self._batch.column(name)
        try:
            packed = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        except pa.ArrowException:
            raise InputError(
                f"{self._path}, column {printable(name)}: found values of the type {column.type}, "
                "expected one value a row"
            ) from None
        values: list[object] = [*packed.dictionary.to_pylist(), None]
        indices = packed.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)
        place = np.asarray(indices, np.int64)
        if not _is_text(packed.dictionary.type):
            nothing = (v is None or v == b"" or v != v for v in values)  # noqa: PLR0124 (NaN)
            return [None if n else v for n, v in zip(nothing, values, strict=True)], place
        trimmed = pc.utf8_trim_whitespace(packed.dictionary)
        marks = pa.array(["", *self._marks], trimmed.type)
        marked = pc.is_in(trimmed, value_set=marks, skip_nulls=True)
        for k in np.flatnonzero(marked.to_numpy(zero_copy_only=False)).tolist():
            values[k] = None
            if mark := trimmed[k].as_py():
                self._remark_mark(name, mark, int(np.count_nonzero(place == k)))
        return values, place

    def _without_marks(self, name: str, column: Any) -> Any:
        """Return texts without the white space round them, null where one stands for nothing."""
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
        marks = pa.array(["", *self._marks], pa.string())
        marked = pc.is_in(column, value_set=marks, skip_nulls=True)
        if not pc.any(marked).as_py():
            return column
        for count in pc.value_counts(column.filter(marked)).to_pylist():
            if count["values"]:
                self._remark_mark(name, count["values"], count["counts"])
        return pc.if_else(marked, pa.scalar(None, pa.string()), column)

    def _remark_mark(self, name: str, mark: str, rows: int) -> None:
        if rows:
            self.remarks[f"column {printable(name)}: {mark!r} stands for a missing value"] += rows

    def _refuse(self, name: str, bad: dict[int, str]) -> None:
        column = self._batch.column(name)
        for i, expected in sorted(bad.items()):
            error = InputError(
                f"{self._path}, row {self._numbers[i]}, column {printable(name)}: "
                f"found {_shown(column[i])}, expected {expected}"
            )
            if not self._keep_bad:
                raise error
            self._errors.setdefault(i, error)
            self.bad[i] = True


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _shown(value: Any) -> str:
    """Return a value as it stands in a message."""
    if not value.is_valid:
        return "nothing"
    try:
        return repr(str(value.as_py()))[:60]
    except ValueError:  # a time of nanoseconds, of which Python has none
        return repr(str(value.cast(pa.string()).as_py()))


def _number(value: object) -> float:
    """Return a number, infinity where there is none."""
    if value is None:
        return np.nan
    text = str(value)
    try:
        return np.inf if "_" in text else float(text)  # which Python takes for a digit separator
    except ValueError:
        return np.inf


def _number_of_digits(value: object) -> int:
    if value is None:
        return _MISSING_ID
    text = str(value)
    return int(text, 16) if _HEXADECIMAL.fullmatch(text) else _BAD_ID


def _fractional(values: Sequence[object]) -> list[int]:
    """Return which values may be whole numbers written as floats."""
    return [
        k
        for k, value in enumerate(values)
        if (("." in value or "+" in value) if type(value) is str else isinstance(value, _FLOATS))
    ]


def _whole(value: object) -> str | None:
    """Return the integer that a float is, as text; None where it is none."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    text = str(value)
    if "." in text and _WHOLE.fullmatch(text):
        whole = text[: text.index(".")]
        return "0" if whole in ("-0", "+0") else whole
    if "+" in text and _LARGE.fullmatch(text) and float(text).is_integer():
        return str(int(float(text)))
    return None


def _hashed(value: object) -> int:
    if type(value) is str:
        text = value.encode("utf-8", "surrogatepass")
    elif isinstance(value, bytes):
        text = value
    else:
        text = str(int(value) if isinstance(value, bool) else value).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
