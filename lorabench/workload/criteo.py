"""Raw Criteo rows, as the display-advertising sets are published: read as they are, in blocks.

A line is a label, 13 integers and 26 hexadecimal ids, tab-separated, without a header; an empty
field is a missing value. The file may be gzipped; a byte order mark and Windows line ends are
passed over. Ids become table rows by hashing, so any cardinality will do. Raw rows carry no
timestamps: rows get evenly spaced ones, at the mean rate of the Criteo Kaggle set. Nothing is
sampled, sorted or cleaned here, and a bad line is an error, unless the caller counts it.

The parser is ``kernels/ingest/criteo.h``; what is wrong with a line it refuses is found out here.
"""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.ingest import format_criteo, hash_ids, parse_criteo
from lorabench.errors import InputError
from lorabench.workload.block import MISSING_ROW, Block

NUM_DENSE = 13
NUM_SPARSE = 26

COLUMNS = (
    "label",
    *(f"I{i}" for i in range(1, NUM_DENSE + 1)),
    *(f"C{i}" for i in range(1, NUM_SPARSE + 1)),
)

NOMINAL_ROWS_PER_S = 75.79467
"""Mean rate of the Criteo Kaggle training set: 45,840,617 rows in 7 days."""

LONGEST_LINE = 64 << 10
"""Bytes; a genuine line has some 230. What is no text must not fill the memory."""

_CHUNK = 4 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

OnBad = Callable[[InputError], None]
"""Told of a bad line; it raises, or the line is left out."""


@dataclass(frozen=True, eq=False)
class RawRows:
    """N parsed lines.

    Attributes
    ----------
    label : int8 [N]
    dense : float32 [13, N]
        `MISSING_DENSE` where missing.
    ids : int64 [26, N]
        The ids as numbers, -1 where missing.
    """

    label: NDArray[np.int8]
    dense: NDArray[np.float32]
    ids: NDArray[np.int64]

    @staticmethod
    def empty(rows: int) -> "RawRows":
        """Room for so many."""
        return RawRows(
            np.empty(rows, np.int8),
            np.empty((NUM_DENSE, rows), np.float32),
            np.empty((NUM_SPARSE, rows), np.int64),
        )

    def __len__(self) -> int:
        return len(self.label)


def read_criteo(
    path: Path,
    cardinalities: Sequence[int],
    block_rows: int = 65536,
    *,
    start: int = 0,
    rows_per_s: float = NOMINAL_ROWS_PER_S,
) -> Iterator[Block]:
    """Read a raw Criteo file, plain or gzipped, in constant memory.

    Parameters
    ----------
    path : Path
        The file; whether it is gzipped shows from its first bytes, not from its name.
    cardinalities : sequence of int, length 26
        Distinct rows that the ids of each categorical feature are hashed to.
    block_rows : int
        Rows of a block; the last one may have fewer.
    start : int
        First row to hand out, counting from 0. Rows before it are skipped, not parsed.
    rows_per_s : float
        Row i gets the time ``i * round(1e9 / rows_per_s)`` ns.

    Yields
    ------
    Block
        ``sparse`` holds 1 + ``mix64(id) % cardinality``, or 0 where the id is missing; ``dense``
        has 13 columns.

    Raises
    ------
    InputError
        A file that cannot be read, is empty or no text, a broken gzip, or a bad line: the file, the
        line and the column are named.
    ValueError
        Not 26 positive cardinalities, or a block of no rows.
    """
    if len(cardinalities) != NUM_SPARSE or min(cardinalities) < 1:
        raise ValueError(f"cardinalities: expected {NUM_SPARSE} of at least 1")
    if block_rows < 1:
        raise ValueError(f"block_rows: found {block_rows}, expected at least 1")
    gap_ns = row_gap_ns(rows_per_s)

    def parsed() -> Iterator[Block]:
        for line, lines in lines_from(path, start):
            raw = parse_lines(lines, path, line)
            sparse = np.empty((NUM_SPARSE, len(raw)), np.int32)
            for rows, ids, cardinality in zip(sparse, raw.ids, cardinalities, strict=True):
                hash_ids(ids, cardinality, rows)
            time_ns = np.arange(line, line + len(raw), dtype=np.int64) * gap_ns
            yield Block(raw.label, time_ns, raw.dense.T, sparse.T)

    yield from _in_blocks(parsed(), block_rows)


def _in_blocks(parts: Iterator[Block], block_rows: int) -> Iterator[Block]:
    """Cut rows into blocks of one length; the last may have fewer."""
    pending: list[Block] = []
    ready = 0
    for part in parts:
        pending.append(part)
        ready += len(part)
        if ready >= block_rows:
            joined = Block.concat(pending)
            whole = ready - ready % block_rows
            for begin in range(0, whole, block_rows):
                yield joined.slice(begin, begin + block_rows)
            pending = [joined.slice(whole, ready)]
            ready -= whole
    if ready:
        yield Block.concat(pending)


def row_gap_ns(rows_per_s: float) -> int:
    """Nanoseconds between two rows of data without timestamps."""
    return max(1, round(1e9 / rows_per_s))


def line_chunks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Read a file, or stdin for the path ``-``, in whole lines, some 4 MB at a time.

    Where the chunks are cut depends on the text alone, not on how it is stored or arrives.

    Yields
    ------
    line : int
        Number of the chunk's first line, from 0.
    lines : bytes
        They end with a line feed; empty where a single line is longer than what was read.

    Raises
    ------
    InputError
        An unreadable or empty file, an endless line, a broken gzip stream.
    """
    line = 0
    rest = b""
    try:
        with opened(path) as file:
            first = True
            while piece := file.read(_CHUNK):
                if first:
                    piece, first = piece.removeprefix(_BYTE_ORDER_MARK), False
                whole, newline, rest_of_piece = piece.rpartition(b"\n")
                if len(rest) + (len(whole) if newline else len(piece)) > LONGEST_LINE:
                    _check_line_length(path, line, rest, piece)
                if not newline:
                    rest += piece
                    yield line, b""
                    continue
                lines, rest = rest + whole + newline, rest_of_piece
                yield line, lines
                line += lines.count(b"\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: after line {line}: found a broken gzip stream ({error}), "
            "expected a complete one"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected Criteo rows") from error
    if rest:
        if len(rest) > LONGEST_LINE:
            _check_line_length(path, line, rest, b"")
        yield line, rest + b"\n"
    elif line == 0:
        raise InputError(f"{path}: found an empty file, expected Criteo rows")


def parse_lines(lines: bytes, path: Path, line: int, on_bad: OnBad | None = None) -> RawRows:
    """Parse whole lines.

    Parameters
    ----------
    lines : bytes
        They end with a line feed.
    path, line
        Where they are from, for errors: the file, and the number of the first line, from 0.
    on_bad : callable, optional
        Told of a bad line, which is then left out. Default: raise.

    Raises
    ------
    InputError
        A bad line.
    """
    room = lines.count(b"\n")
    out = RawRows.empty(room)
    text = np.frombuffer(lines, np.uint8)
    rows, used, column = parse_criteo(text, out.label, out.dense, out.ids)
    if column < 0:
        return out
    kept = [_head(out, rows)]
    done = rows
    while column >= 0:
        end = lines.index(b"\n", used)
        error = _bad_line(path, line + done, lines[used:end], column)
        if on_bad is None:
            raise error
        on_bad(error)
        done += 1
        text = text[end + 1 :]
        lines = lines[end + 1 :]
        out = RawRows.empty(room - done)
        rows, used, column = parse_criteo(text, out.label, out.dense, out.ids)
        kept.append(_head(out, rows))
        done += rows
    return RawRows(
        np.concatenate([part.label for part in kept]),
        np.concatenate([part.dense for part in kept], axis=1),
        np.concatenate([part.ids for part in kept], axis=1),
    )


def criteo_lines(block: Block) -> bytearray:
    """Write a block as raw Criteo lines; a table row becomes an id of 8 hexadecimal digits.

    Ids stay below 2^31, because the reference DLRM's ``data_utils.py`` makes them int32.

    Parameters
    ----------
    block : Block
        With 13 integers within int32 and 26 ids a row.

    Raises
    ------
    ValueError
        A dense value is no such integer: these lines have no place for it.
    """
    ids = np.ascontiguousarray(block.sparse.T).astype(np.int64)
    ids[ids == MISSING_ROW] = -1
    dense = np.ascontiguousarray(block.dense.T)
    there = dense[~np.isnan(dense)]
    if ((there != np.trunc(there)) | (abs(there) > 2**31)).any():
        raise ValueError("dense: found values that are no int32, expected integers")
    return format_criteo(np.ascontiguousarray(block.label), dense, ids)


def _head(rows: RawRows, count: int) -> RawRows:
    return RawRows(rows.label[:count], rows.dense[:, :count], rows.ids[:, :count])


def lines_from(path: Path, start: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines from number `start` on, as `line_chunks` gives them."""
    for line, lines in line_chunks(path):
        count = lines.count(b"\n")
        if line + count > start:
            skip = max(0, start - line)
            yield line + skip, _skip_lines(lines, skip)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, or stdin for the path ``-``; one that is gzipped is unpacked."""
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    with path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        # Typeshed does not let GzipFile be a BinaryIO.
        yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if compressed else raw


def _check_line_length(path: Path, line: int, rest: bytes, piece: bytes) -> None:
    begun = rest + piece.partition(b"\n")[0]
    if len(begun) > LONGEST_LINE:
        found = "binary data" if _is_binary(begun) else f"over {LONGEST_LINE} bytes without an end"
        raise InputError(f"{path}, line {line + 1}: found {found}, expected Criteo rows as text")


def _skip_lines(chunk: bytes, count: int) -> bytes:
    if count == 0:
        return chunk
    ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n"))
    return chunk[ends[count - 1] + 1 :]


def _bad_line(path: Path, line: int, content: bytes, column: int) -> InputError:
    fields = content.removesuffix(b"\r").split(b"\t")
    if len(fields) != len(COLUMNS):
        return _bad_width(path, line, content, len(fields))
    return _bad_field(path, line, column, fields[column])


def _bad_field(path: Path, line: int, column: int, field: bytes) -> InputError:
    if column == 0:
        expected = "0 or 1"
    elif column <= NUM_DENSE:
        expected = "an integer within ±2147483647, or nothing"
    else:
        expected = "1 to 8 hexadecimal digits, or nothing"
    return InputError(
        f"{path}, line {line + 1}, column {column + 1} ({COLUMNS[column]}): "
        f"found {_brief(field)}, expected {expected}"
    )


def _bad_width(path: Path, line: int, content: bytes, width: int) -> InputError:
    if not content.strip():
        found = "an empty line"
    elif _is_binary(content):
        found = "binary data"
    else:
        found = f"{width} column{'s' if width > 1 else ''}"
    return InputError(
        f"{path}, line {line + 1}: found {found}, expected {len(COLUMNS)} tab-separated columns "
        f"(label, I1 to I{NUM_DENSE}, C1 to C{NUM_SPARSE})"
    )


def _is_binary(content: bytes) -> bool:
    try:
        return "\0" in content.decode("utf-8")
    except UnicodeDecodeError:
        return True


def _brief(field: bytes) -> str:
    if not field:
        return "nothing"
    text = repr(field.decode("utf-8", "backslashreplace"))
    return text if len(text) <= 60 else f"{text[:57]}..."
