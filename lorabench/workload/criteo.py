"""Raw Criteo rows, as the display-advertising sets are published: read as they are, in blocks.

A line is a label, 13 integers and 26 hexadecimal ids, tab-separated, without a header; an empty
field is a missing value. The file may be gzipped. Ids become table rows by hashing, so any
cardinality will do. Raw rows carry no timestamps: rows get evenly spaced ones, at the mean rate of
the Criteo Kaggle set. Nothing is sampled, sorted or cleaned here, and a bad field is an error.

Fields are parsed eight bytes at a time in 64-bit words, all fields of a chunk at once: in a
parser that is exact about what it accepts, the place of an error comes with the answer. The idea
is SWAR parsing (D. Lemire, "Quickly parsing eight digits", 2018).
"""

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.workload.block import MISSING_DENSE, MISSING_ROW, Block

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
_PAD = 8  # so that the word that ends at the first field's end lies in the buffer

_Words = NDArray[np.uint64]
_INVALID = 0x80  # marks a byte that is no digit; no digit's value has this bit
_KEEP = np.array([(1 << 8 * length) - 1 for length in range(9)], np.uint64)


def _digit_table(digits: bytes) -> bytes:
    values = bytearray([_INVALID] * 256)
    for digit in digits:
        values[digit] = int(chr(digit), 16)
    return bytes(values)


_DECIMAL = _digit_table(b"0123456789")
_HEXADECIMAL = _digit_table(b"0123456789abcdefABCDEF")


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
    divisors = np.asarray(cardinalities, np.uint64)
    gap_ns = max(1, round(1e9 / rows_per_s))
    pending: list[Block] = []
    ready = 0
    for line, chunk in _chunks(path, start):
        parsed = _parse(chunk, path, line, divisors, gap_ns)
        pending.append(parsed)
        ready += len(parsed)
        if ready >= block_rows:
            rows = Block.concat(pending)
            whole = ready - ready % block_rows
            for begin in range(0, whole, block_rows):
                yield rows.slice(begin, begin + block_rows)
            pending = [rows.slice(whole, ready)]
            ready -= whole
    if ready:
        yield Block.concat(pending)


def mix64(ids: _Words) -> _Words:
    """Finalise a 64-bit hash: splitmix64's, Stafford's variant 13.

    A bijection, so that distinct ids collide only through the modulus that follows it.

    Parameters
    ----------
    ids : uint64 array

    Returns
    -------
    uint64 array of the same shape
    """
    ids = (ids ^ (ids >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    ids = (ids ^ (ids >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ids ^ (ids >> np.uint64(31))


def _chunks(path: Path, start: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines, each chunk with its first line's number (from 0), from line `start` on."""
    line = 0
    rest = b""
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if compressed else raw
            while True:
                piece = file.read(_CHUNK)
                if not piece:
                    break
                whole, newline, rest_of_piece = piece.rpartition(b"\n")
                if len(rest) + (len(whole) if newline else len(piece)) > LONGEST_LINE:
                    _check_line_length(path, line, rest, piece)
                if not newline:
                    rest += piece
                    continue
                chunk, rest = rest + whole + newline, rest_of_piece
                lines = chunk.count(b"\n")
                if line + lines > start:
                    skip = max(0, start - line)
                    yield line + skip, _skip_lines(chunk, skip)
                line += lines
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: after line {line}: found a broken gzip stream ({error}), "
            "expected a complete one"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected Criteo rows") from error
    if rest and line >= start:
        yield line, rest + b"\n"
    if not rest and line == 0:
        raise InputError(f"{path}: found an empty file, expected Criteo rows")


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


def _parse(chunk: bytes, path: Path, line: int, divisors: _Words, gap_ns: int) -> Block:
    """Parse whole lines, of which the first has number `line`."""
    padded = b"\0" * _PAD + chunk
    text = np.frombuffer(padded, np.uint8)
    stops = np.flatnonzero((text == ord("\t")) | (text == ord("\n")))
    last_fields = np.flatnonzero(text[stops] == ord("\n"))
    widths = np.diff(last_fields, prepend=-1)
    wrong = np.flatnonzero(widths != len(COLUMNS))
    # Lines before one of wrong width go first: an error in them is the file's first.
    rows = int(wrong[0]) if len(wrong) else len(widths)
    stops = stops[: rows * len(COLUMNS)]
    starts = np.concatenate([[_PAD], stops[:-1] + 1])[: len(stops)].reshape(rows, len(COLUMNS))
    ends = stops.reshape(rows, len(COLUMNS))
    ends[:, -1] -= (text[ends[:, -1] - 1] == ord("\r")) & (ends[:, -1] > starts[:, -1])

    cut = 1 + NUM_DENSE
    label, bad_label = _labels(text, starts[:, 0], ends[:, 0])
    dense, bad_dense = _integers(padded, starts[:, 1:cut], ends[:, 1:cut])
    ids, bad_ids = _hexadecimals(padded, starts[:, cut:], ends[:, cut:])
    if bad_label.any() or bad_dense.any() or bad_ids.any():
        bad = np.column_stack([bad_label, bad_dense, bad_ids])
        row, column = divmod(int(bad.argmax()), len(COLUMNS))
        field = padded[starts[row, column] : ends[row, column]]
        raise _bad_field(path, line + row, column, field)
    if len(wrong):
        raise _bad_width(path, line + rows, chunk.split(b"\n", rows + 1)[rows], int(widths[rows]))

    sparse = (mix64(ids) % divisors).astype(np.int32) + 1
    sparse[starts[:, cut:] == ends[:, cut:]] = MISSING_ROW
    time_ns = np.arange(line, line + rows, dtype=np.int64) * gap_ns
    return Block(label, time_ns, dense, sparse)


def _labels(
    text: NDArray[np.uint8], starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    digits = text[starts] - np.uint8(ord("0"))  # wraps round below "0", and so exceeds 1
    return digits.astype(np.int8), (ends - starts != 1) | (digits > 1)


def _hexadecimals(
    padded: bytes, starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> tuple[_Words, NDArray[np.bool_]]:
    lengths = ends - starts
    words, bad = _words_of_digits(padded.translate(_HEXADECIMAL), ends, lengths)
    words = (words | words >> np.uint64(4)) & np.uint64(0x00FF00FF00FF00FF)
    words = (words | words >> np.uint64(8)) & np.uint64(0x0000FFFF0000FFFF)
    words = (words | words >> np.uint64(16)) & np.uint64(0x00000000FFFFFFFF)
    return words, bad | (lengths > 8)


def _integers(
    padded: bytes, starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    lengths = ends - starts
    negative = (np.frombuffer(padded, np.uint8)[starts] == ord("-")) & (lengths > 0)
    digits = lengths - negative
    words, bad = _words_of_digits(padded.translate(_DECIMAL), ends, digits)
    low = np.uint64(0x00FF00FF00FF00FF)
    words = (words >> np.uint64(8) & low) * np.uint64(10) + (words & low)
    low = np.uint64(0x0000FFFF0000FFFF)
    words = (words >> np.uint64(16) & low) * np.uint64(100) + (words & low)
    words = (words >> np.uint64(32)) * np.uint64(10000) + (words & np.uint64(0xFFFFFFFF))
    values = words.astype(np.int32)
    np.negative(values, out=values, where=negative)
    bad |= negative & (digits == 0)
    values[lengths == 0] = MISSING_DENSE
    for row, column in np.argwhere(digits > 8):  # rare: more digits than fit into a word
        value = _long_integer(padded[starts[row, column] : ends[row, column]])
        bad[row, column] = value is None
        values[row, column] = value or 0
    return values, bad


def _long_integer(field: bytes) -> int | None:
    # Python refuses to convert endless digits; what has over 20 is no int32 unless zero-padded.
    match = re.fullmatch(rb"(-?)0*([0-9]{1,20})", field)
    if match is None:
        return None
    value = int(match[1] + match[2])
    return value if abs(value) < 2**31 else None


def _words_of_digits(
    values: bytes, ends: NDArray[np.intp], lengths: NDArray[np.intp]
) -> tuple[_Words, NDArray[np.bool_]]:
    """Load the last up to 8 digits of each field, one a byte, the last one lowest."""
    every_word = np.ndarray((len(values) - 7,), ">u8", values, strides=(1,))
    words = every_word[ends - 8].astype(np.uint64)
    words &= _KEEP[np.minimum(lengths, 8)]
    return words, (words & np.uint64(0x8080808080808080)) != 0


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
