"""What the beginning of a file shows: Parquet or text, its delimiter, its header, its first rows.

Text is looked at as people have it: plain or gzipped, with a byte order mark, Windows line ends,
quoted fields; UTF-16, as PowerShell writes it. Of the delimiters that split the first lines into as
many fields each, the one that makes most is taken (Python's ``csv.Sniffer`` takes a letter that is
frequent enough for one, and needs quotes or luck to tell a header). Nothing is decided here about
what the columns are.
"""

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from lorabench.errors import InputError
from lorabench.workload.column_map import MISSING_MARKS
from lorabench.workload.criteo import opened

DELIMITERS = (",", "\t", ";", "|", "\x01")
"""Those that are recognised; the last is Hive's."""

DELIMITER_WORDS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "pipe", "\x01": "Ctrl-A"}

LABEL_NAMES = ("label", "click", "clicked", "is_click", "target")
"""Names that no value is; without regard to case."""

_HEAD_BYTES = 256 << 10
_HEAD_ROWS = 1000
# Of the first lines that must have as many fields: some may be bad ones.
_REGULAR, _MOSTLY = 0.8, 0.5
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_PARQUET_MAGIC = b"PAR1"
_FOREIGN = {
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"\x28\xb5\x2f\xfd": "zstd: decompress it first",
    b"BZh": "bzip2: decompress it first",
    b"\xfd7zXZ\x00": "xz: decompress it first",
    b"ARROW1": "an Arrow file: write it as Parquet",
    b"\x89HDF\r\n": "an HDF5 file: write it as Parquet",
}


@dataclass(frozen=True)
class Head:
    """The beginning of a file of rows.

    Parameters
    ----------
    path : Path
        The file.
    form : {"parquet", "csv"}
        Which shows from the bytes.
    names : tuple of str
        Of the columns: by the header, else column1, column2, ...
    rows : tuple of tuple of (str or None)
        The first rows as text, the header not among them; None where there is nothing.
    first : tuple of str
        Fields of a text's first line, whatever it is.
    delimiter : str
        Of text; empty for Parquet.
    header : bool
        Whether the first line names the columns.
    encoding : str
        Of text.
    kinds : dict
        Type of each column of a Parquet file.
    """

    path: Path
    form: str
    names: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    first: tuple[str, ...] = ()
    delimiter: str = ""
    header: bool = True
    encoding: str = "utf-8"
    kinds: dict[str, str] | None = None

    def column(self, name: str) -> list[str]:
        """Return what a column has in the first rows, in order; missing values left out."""
        place = self.names.index(name)
        return [value for row in self.rows if (value := row[place]) is not None]

    def words(self) -> str:
        """Say what was recognised, in a few words."""
        if self.form == "parquet":
            return "Parquet"
        split = f"{DELIMITER_WORDS.get(self.delimiter, repr(self.delimiter))}-separated"
        return f"{split}, {'with' if self.header else 'without'} a header"


def read_head(path: Path, delimiter: str | None = None) -> Head | None:
    """Look at the beginning of a file.

    Parameters
    ----------
    path : Path
        The file.
    delimiter : str, optional
        Of text; recognised by default.

    Returns
    -------
    Head or None
        None where it is no table: empty, binary, or lines of one field.

    Raises
    ------
    InputError
        It cannot be read, or has a form that is not read here.
    """
    try:
        with opened(path) as file:
            content = _read(file, _HEAD_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: found a broken gzip stream ({error}), expected a complete one"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected a file of rows") from error
    if content.startswith(_PARQUET_MAGIC):
        return _parquet_head(path)
    foreign = next((words for magic, words in _FOREIGN.items() if content.startswith(magic)), None)
    if foreign is not None:
        raise InputError(f"{path}: found {foreign}; expected Parquet, or text, plain or gzipped")
    return _text_head(path, content, delimiter)


def _read(file: BinaryIO, size: int) -> bytes:
    """Read so many bytes, or all: a stream may give less at a time."""
    pieces: list[bytes] = []
    while size > 0 and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _text_head(path: Path, content: bytes, delimiter: str | None) -> Head | None:
    encoding = "utf-16" if content.startswith(_UTF16) else "utf-8"
    if encoding == "utf-8" and b"\0" in content:
        return None
    whole = len(content) < _HEAD_BYTES
    text = content[: len(content) & ~1].decode(encoding, "backslashreplace").removeprefix("\ufeff")
    pieces = text.split("\n") if whole else text.split("\n")[:-1]
    lines = [f"{piece}\n" for piece in pieces if piece.strip("\r")][: _HEAD_ROWS + 1]
    split = _split(lines, DELIMITERS if delimiter is None else (delimiter,))
    if split is None:
        return None
    found, records = split
    header = _is_header(records)
    names = tuple(records[0]) if header else tuple(f"column{i + 1}" for i in range(len(records[0])))
    return Head(
        path,
        "csv",
        names,
        tuple(
            tuple(field or None for field in record)
            for record in records[header:]
            if len(record) == len(names)
        ),
        tuple(records[0]),
        found,
        header,
        encoding,
    )


def _split(lines: Sequence[str], delimiters: Sequence[str]) -> tuple[str, list[list[str]]] | None:
    """Return the delimiter and the records; the first is one of as many fields as most."""
    best: tuple[tuple[bool, int], str, list[list[str]]] | None = None
    for delimiter in delimiters:
        try:
            records = [record for record in csv.reader(lines, delimiter=delimiter) if record]
        except csv.Error:
            continue
        if not records:
            continue
        width = len(records[0])
        share = Counter(map(len, records))[width] / len(records)
        if len(delimiters) == 1:  # as it was said
            return delimiter, records
        rank = share >= _REGULAR, width
        if width > 1 and share >= _MOSTLY and (best is None or rank > best[0]):
            best = rank, delimiter, records
    return None if best is None else best[1:]


_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{4}-\d\d.*")


def _is_header(records: Sequence[Sequence[str]]) -> bool:
    """Whether the first record names the columns: texts that no row would have there.

    pandas numbers columns without names from 0, and names its index, if at all, by nothing.
    """
    first = [field.strip() for field in records[0]]
    if len(first) > 2 and first == [str(i) for i in range(len(first))]:
        return True
    if any(field.lower() in LABEL_NAMES for field in first):
        return True  # whatever else there is: others' names may be numbers
    if len(set(first)) != len(first) or first.count("") > 1:
        return False
    return not any(
        _NUMBER.fullmatch(field)
        or _DATE.fullmatch(field)
        or field in MISSING_MARKS
        or field.lower() in ("true", "false")
        for field in first
    )


def _parquet_head(path: Path) -> Head:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as opened_file:
            schema = opened_file.schema_arrow
            names = tuple(schema.names)
            batch = next(opened_file.iter_batches(_HEAD_ROWS), None)
            columns = [] if batch is None else [column.to_pylist() for column in batch.columns]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: found column names that are no UTF-8, expected text") from error
    except (pa.ArrowException, OSError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path}: {reason}; expected a Parquet or CSV file") from error
    rows = tuple(tuple(_text(value) for value in row) for row in zip(*columns, strict=True))
    kinds = {name: str(schema.field(i).type) for i, name in enumerate(names)}
    return Head(path, "parquet", names, rows, kinds=kinds)


def _text(value: object) -> str | None:
    if value is None or value != value:  # noqa: PLR0124 (NaN)
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
