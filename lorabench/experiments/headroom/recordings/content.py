"""From the bytes of a recording to its text: what it is packed by, and how it is encoded."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorabench.errors import InputError

FORMATS = (
    "an export of sysstat (sadf -d or -j, sar, mpstat), of Prometheus (CSV or JSON: busy shares, "
    "shares of modes, node_cpu_seconds_total or cores in use) or kubectl top with times"
)

MOST_BYTES = 2 << 30
"""Of text, once it is unpacked."""

_PIECE = 1 << 20

_PACKED = (
    (b"\x1f\x8b", "gzip", gzip.open),
    (b"BZh", "bzip2", bz2.open),
    (b"\xfd7zXZ\x00", "xz", lzma.open),
)

# Four bytes before two: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# What sadc writes begins so, in either order of bytes.
_SADC = (b"\x96\xd5", b"\xd5\x96")


def read_text(path: Path) -> str:
    """Read a file as text; gzip, bzip2 and xz are unpacked.

    Raises
    ------
    InputError
        It cannot be read, is packed and broken, or is no text: the file, what was found and what
        was expected.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected {FORMATS}") from None
    return decode(data, str(path))


def decode(data: bytes, name: str) -> str:
    """Return the text of the bytes of a file that is called `name`.

    Raises
    ------
    InputError
        As `read_text`.
    """
    for magic, how, opened in _PACKED:
        if data.startswith(magic):
            data = _unpacked(data, name, how, opened)
            break
    if data.startswith(_SADC):
        raise InputError(
            f"{name}: found a binary file of sadc, expected its export (sadf -d {name} -- -u ALL)"
        )
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding)
            except UnicodeDecodeError:
                raise _no_text(name) from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # Reports of sar in a locale of before Unicode: only the word for the average is beyond
        # ASCII there, and that line is passed over.
        text = data.decode("latin-1")
        if any(0x7F <= byte < 0xA0 for byte in data):
            raise _no_text(name) from None
    if any(mark in text for mark in "\x00\x01\x02\x03\x04\x05\x06\x0e\x0f"):
        raise _no_text(name)
    return text


def _no_text(name: str) -> InputError:
    return InputError(f"{name}: found no text, expected {FORMATS}")


def _unpacked(data: bytes, name: str, how: str, opened: Callable[..., Any]) -> bytes:
    pieces, size = [], 0
    try:
        with opened(io.BytesIO(data)) as file:
            while piece := file.read(_PIECE):
                pieces.append(piece)
                size += len(piece)
                if size > MOST_BYTES:
                    raise InputError(
                        f"{name}: found more than {MOST_BYTES >> 30} GiB once it is unpacked, "
                        "expected less: export a part of the time"
                    )
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise InputError(
            f"{name}: found a broken {how} file ({error}), expected a complete one"
        ) from None
    return b"".join(pieces)
