"""The beginning of a file: its delimiter, header and first rows, as people have them."""

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.workload.head import DELIMITERS, Head, read_head

FOLDERS = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.text(st.characters(codec="ascii", min_codepoint=97, max_codepoint=122), min_size=1)
FIELDS = WORDS | st.integers(0, 99).map(str) | st.sampled_from(["", "a,b", "x;y|z", 'say "so"'])


def looked_at(tmp_path: Path, content: bytes, delimiter: str | None = None) -> Head | None:
    path = tmp_path / "rows"
    path.write_bytes(content)
    return read_head(path, delimiter)


@FOLDERS
@given(
    st.sampled_from(DELIMITERS),
    st.lists(WORDS.map("n{}".format), min_size=3, max_size=6, unique=True),
    st.data(),
)
def test_written_tables_are_recognised(
    tmp_path: Path, delimiter: str, names: list[str], data: st.DataObject
) -> None:
    # A number in each row, as every row has a label.
    row = st.lists(FIELDS, min_size=len(names) - 1, max_size=len(names) - 1).map(
        lambda r: ["1", *r]
    )
    rows = data.draw(st.lists(row, min_size=3, max_size=8))
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    headed = data.draw(st.booleans())
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerows([names, *rows] if headed else rows)
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    content = text.getvalue().encode(encoding)
    head = looked_at(tmp_path, gzip.compress(content) if data.draw(st.booleans()) else content)
    assert head is not None
    assert (head.delimiter, head.header) == (delimiter, headed)
    assert list(head.rows) == [tuple(field or None for field in one) for one in rows]
    assert len(head.names) == len(names)
    assert not headed or head.names == tuple(names)


@FOLDERS
@given(st.binary(max_size=300), st.sampled_from([None, ",", "\t"]))
def test_any_bytes_are_a_table_or_none_or_one_line(
    tmp_path: Path, content: bytes, delimiter: str | None
) -> None:
    problem, head = "", None
    try:
        head = looked_at(tmp_path, content, delimiter)
    except InputError as error:
        problem = str(error)
    assert "\n" not in problem
    assert head is None or all(len(row) == len(head.names) for row in head.rows)


@pytest.mark.parametrize(
    ("first", "header"),
    [
        ("label,user", True),
        (",label,user", True),  # pandas' index
        ("0,1,2", True),  # pandas' names of columns without any
        ("Label,1,2", True),
        ("0,1", False),
        ("1,u1", False),
        ("true,u1", False),
        ("u1,1.5", False),
        ("2024-01-01 10:00,x", False),
        ("u1,NaN", False),
        ("x,x", False),
    ],
)
def test_a_header_has_what_no_row_would(tmp_path: Path, first: str, header: bool) -> None:
    width = first.count(",") + 1
    rows = "".join(f"{','.join(['5'] * width)}\n" for _ in range(3))
    head = looked_at(tmp_path, f"{first}\n{rows}".encode())
    assert head is not None
    assert head.header == header


def test_some_lines_may_be_bad_ones(tmp_path: Path) -> None:
    head = looked_at(tmp_path, b"a;b;c\n" + b"1;2,5;3\n" * 9 + b"1,2\n")
    assert head is not None
    assert (head.delimiter, len(head.rows)) == (";", 9)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"word\nother\n", b"a\0b,c\n1,2\n"])
def test_what_is_no_table_is_none(tmp_path: Path, content: bytes) -> None:
    assert looked_at(tmp_path, content) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04....", "found a zip archive: unpack it first; expected Parquet, or text"),
        (b"\x28\xb5\x2f\xfd....", "found zstd: decompress it first"),
        (b"ARROW1\0\0", "found an Arrow file: write it as Parquet"),
        (b"PAR1" + b"x" * 99, "expected a Parquet or CSV file"),
        (gzip.compress(b"a,b\n" * 99, mtime=0)[:-9], "found a broken gzip stream"),
    ],
)
def test_foreign_files_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        looked_at(tmp_path, content)
