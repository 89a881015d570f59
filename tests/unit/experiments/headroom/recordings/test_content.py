"""Bytes of a recording become text, however they are packed and encoded."""

import bz2
import gzip
import lzma
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.experiments.headroom.recordings.content import decode, read_text

# A mark of its own before a text is not a character of it.
TEXTS = st.text(
    st.characters(min_codepoint=0x20, codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1
).filter(lambda text: not text.startswith(("\ufeff", "BZh")))
PACKED = [bytes, gzip.compress, bz2.compress, lzma.compress]


@given(TEXTS, st.sampled_from(PACKED), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_text_comes_out_as_it_went_in(text: str, pack, encoding: str) -> None:
    assert decode(pack(text.encode(encoding)), "x") == text


def test_utf_16_is_read_in_either_order_of_bytes() -> None:
    for order in ("utf-16-le", "utf-16-be"):
        assert decode("\ufefftime,a\r\n".encode(order), "x") == "time,a\r\n"


def test_a_report_in_a_locale_of_before_unicode_is_read() -> None:
    assert "94,00" in decode("Média:  all  94,00\n".encode("latin-1"), "sar.txt")


@given(st.binary())
def test_any_bytes_are_read_or_told_in_one_line(data: bytes) -> None:
    told = ""
    try:
        decode(data, "x")
    except InputError as error:
        told = str(error)
    assert not told or re.fullmatch("x: found .*, expected .*", told)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(b"time,a\n" * 99, mtime=0)[:-9], "x: found a broken gzip file"),
        (lzma.compress(b"time,a\n" * 99)[:-9], "x: found a broken xz file"),
        (b"\x96\xd5\x75\x21rest", r"found a binary file of sadc, expected its export \(sadf -d x"),
        (b"\xff\xfe\x00", "x: found no text"),
        (b"PK\x03\x04\x14\x00\x06\x00", "x: found no text"),
    ],
)
def test_what_is_no_text_is_told(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode(data, "x")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Is a directory; expected an export of sysstat"):
        read_text(tmp_path)
