"""The Criteo reader against a plain Python twin, on real rows and on every kind of bad line."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lorabench._kernels.ingest import hash_ids
from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.criteo import COLUMNS, criteo_lines, parse_lines, read_criteo
from lorabench.workload.spec import load_spec

CARDINALITIES = load_spec("criteo-kaggle").sparse.cardinality
NO_FIXTURE_RESET = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


MISSING = -(2**40)  # in the lists of numbers that are compared
GOOD_LINE = b"\t".join([b"1", *[b"7"] * 13, *[b"0a1b2c3d"] * 26])


def mix64_twin(value: int) -> int:
    mask = 2**64 - 1
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & mask
    value = (value ^ value >> 27) * 0x94D049BB133111EB & mask
    return value ^ value >> 31


def parse_twin(content: bytes) -> tuple[list[list[int]], tuple[int, int | None] | None]:
    """Rows before the first bad line; its number and, unless its width is wrong, its column.

    Line 0 stands for the file: it is empty.
    """
    if not content:
        return [], (0, None)
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    rows: list[list[int]] = []
    for number, line in enumerate(lines, 1):
        fields = line.split(b"\t")
        if len(fields) != 40:
            return rows, (number, None)
        fields[-1] = fields[-1].removesuffix(b"\r")
        row = []
        for column, field in enumerate(fields, 1):
            value = field_twin(column, field)
            if value is None:
                return rows, (number, column)
            row.append(value)
        rows.append(row)
    return rows, None


def field_twin(column: int, field: bytes) -> int | None:
    if column == 1:
        return int(field) if field in (b"0", b"1") else None
    if column <= 14:
        return dense_twin(field)
    if not field:
        return 0
    if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", field):
        return None
    return 1 + mix64_twin(int(field, 16)) % CARDINALITIES[column - 15]


def dense_twin(field: bytes) -> int | None:
    if not field:
        return MISSING
    # Python converts no endless digits; more than 10 that count are no int32 anyway.
    counting = field.lstrip(b"-0")
    if not re.fullmatch(rb"-?[0-9]+", field) or len(counting) > 10:
        return None
    size = int(counting or b"0")
    value = -size if field.startswith(b"-") else size
    return int(np.float32(value)) if size < 2**31 else None


def read(path: Path, **options: int) -> Block:
    return Block.concat(list(read_criteo(path, CARDINALITIES, **options)))


def as_rows(block: Block) -> list[list[int]]:
    dense = np.where(np.isnan(block.dense), MISSING, block.dense.astype(np.float64))
    return np.column_stack([block.label, dense, block.sparse]).astype(np.int64).tolist()


good_label = st.sampled_from([b"0", b"1"])
good_dense = st.one_of(
    st.just(b""),
    st.integers(-(2**31) + 1, 2**31 - 1).map(lambda value: b"%d" % value),
    st.from_regex(rb"-?0{0,12}[0-9]{1,9}", fullmatch=True),
)
good_id = st.from_regex(rb"[0-9a-fA-F]{0,8}", fullmatch=True)
odd_field = st.one_of(
    st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"").replace(b"\t", b"")),
    st.sampled_from(
        [b"-", b"+1", b"0x1f", b" 1", b"1 ", b"1_0", b"2147483648", b"-2147483648", b"123456789",
         b"9" * 5000, b"g", b"/", b":", b"@", b"`", b"G", b"1.0", b"nan", b"\r", b"\xb2"]
    ),
)  # fmt: skip
good_row = st.tuples(
    good_label,
    st.lists(good_dense, min_size=13, max_size=13),
    st.lists(good_id, min_size=26, max_size=26),
).map(lambda parts: [parts[0], *parts[1], *parts[2]])


@st.composite
def files(draw: st.DrawFn) -> bytes:
    rows = draw(st.lists(good_row, min_size=1, max_size=6))
    for _ in range(draw(st.integers(0, 2))):
        row = draw(st.sampled_from(rows))
        row[draw(st.integers(0, len(row) - 1))] = draw(odd_field)
    if draw(st.booleans()) and draw(st.booleans()):
        row = draw(st.sampled_from(rows))
        row[:] = row[: draw(st.integers(1, 39))] if draw(st.booleans()) else [*row, b"0"]
    newline = draw(st.sampled_from([b"\n", b"\r\n"]))
    return newline.join(b"\t".join(row) for row in rows) + draw(st.sampled_from([b"", newline]))


def line_with(column: int, field: bytes) -> bytes:
    fields = [b"0", *[b"7"] * 13, *[b"0a"] * 26]
    fields[column - 1] = field
    return b"\t".join(fields) + b"\n"


@NO_FIXTURE_RESET
@example(b"")  # what is left of a row that is one empty field without a newline
@example(line_with(2, b"-2147483647"))
@example(line_with(40, b"") * 2)
@example(line_with(5, b"9" * 5000))
@example(line_with(5, b"-" + b"0" * 5000 + b"7"))
@given(files())
def test_agrees_with_its_twin_on_rows_and_on_the_place_of_the_first_error(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "rows.tsv"
    path.write_bytes(content)
    rows, error = parse_twin(content)
    if error is None:
        assert as_rows(read(path)) == rows
        return
    line, column = error
    if line == 0:
        place = ": "
    else:
        place = f", line {line}: " if column is None else f", line {line}, column {column} ("
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}{place}")
    assert "found" in message
    assert "expected" in message
    assert "\n" not in message


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.integers(1, 2**31 - 2))
def test_ids_are_hashed_by_the_documented_finaliser(ids: list[int], cardinality: int) -> None:
    rows = np.empty(len(ids), np.int32)
    hash_ids(np.array(ids, np.int64), cardinality, rows)
    expected = [0 if i < 0 else 1 + mix64_twin(i) % cardinality for i in ids]
    assert rows.tolist() == expected


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.lists(
                st.one_of(st.just(np.nan), st.integers(-(2**31) + 1, 2**31 - 1)),
                min_size=13,
                max_size=13,
            ),
            st.lists(st.integers(0, 2**31 - 1), min_size=26, max_size=26),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_lines_that_are_written_read_back(
    rows: list[tuple[int, list[float], list[int]]],
) -> None:
    label, dense, sparse = zip(*rows, strict=True)
    block = Block(
        np.array(label, np.int8),
        np.zeros(len(rows), np.int64),
        np.array(dense, np.float32),
        np.array(sparse, np.int32),
    )
    raw = parse_lines(bytes(criteo_lines(block)), Path("written"), 0)
    assert raw.label.tolist() == list(label)
    np.testing.assert_array_equal(raw.dense.T, block.dense)
    expected = np.array(sparse)
    expected[expected == 0] = -1
    assert raw.ids.T.tolist() == expected.tolist()


@given(st.binary(max_size=2000))
def test_bad_lines_may_be_left_out(content: bytes) -> None:
    """Whatever the lines, the good ones are those that are good alone."""
    lines = [line for line in (GOOD_LINE + b"\n" + content).split(b"\n") if line]
    bad: list[InputError] = []
    text = b"\n".join(lines) + b"\n"
    kept = parse_lines(text, Path("x"), 0, bad.append)
    assert len(kept) + len(bad) == len(lines)
    good = [line for line in lines if parse_twin(line + b"\n")[1] is None]
    alone = parse_lines(b"".join(line + b"\n" for line in good), Path("x"), 0)
    assert np.array_equal(kept.ids, alone.ids)
    assert np.array_equal(kept.label, alone.label)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "marked.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD_LINE + b"\r\n" + GOOD_LINE)
    assert sum(map(len, read_criteo(path, CARDINALITIES))) == 2


def test_generated_rows_read_as_its_twin_reads_them(criteo_rows: Path) -> None:
    block = read(criteo_rows)
    assert as_rows(block) == parse_twin(criteo_rows.read_bytes())[0]
    assert (block.dense.dtype, block.sparse.dtype) == (np.float32, np.int32)
    assert np.isnan(block.dense).any()


def test_gzip_is_recognised_by_its_bytes_and_reads_the_same(
    criteo_rows: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "rows.tsv"  # not .gz
    packed.write_bytes(gzip.compress(criteo_rows.read_bytes()))
    assert as_rows(read(packed)) == as_rows(read(criteo_rows))


def test_every_start_and_block_size_cuts_the_same_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorabench.workload.criteo._CHUNK", 300)  # so that chunks end in mid-line
    path = tmp_path / "rows.tsv"
    path.write_bytes(b"".join(line_with(2, b"%d" % i) for i in range(50)))
    times = read(path).time_ns
    assert (np.diff(times) == times[1]).all()
    for start in (0, 1, 3, 4, 49):
        for block_rows in (1, 7, 50):
            blocks = list(read_criteo(path, CARDINALITIES, block_rows, start=start))
            assert all(len(block) == block_rows for block in blocks[:-1])
            joined = Block.concat(blocks)
            assert joined.dense[:, 0].tolist() == list(range(start, 50))
            assert joined.time_ns.tolist() == times[start:].tolist()
    assert list(read_criteo(path, CARDINALITIES, start=50)) == []


def test_line_numbers_count_from_the_files_head_across_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorabench.workload.criteo._CHUNK", 300)
    path = tmp_path / "rows.tsv"
    path.write_bytes(line_with(1, b"1") * 30 + line_with(21, b"xyz"))
    with pytest.raises(
        InputError, match=r"line 31, column 21 \(C7\): found 'xyz', expected 1 to 8"
    ):
        read(path, start=10)


@pytest.mark.parametrize(
    ("column", "field", "words"),
    [
        (1, b"2", "column 1 (label): found '2', expected 0 or 1"),
        (1, b"", "column 1 (label): found nothing, expected 0 or 1"),
        (3, b"1.5", "column 3 (I2): found '1.5', expected an integer"),
        (14, b"99999999999", "column 14 (I13): found '99999999999', expected an integer"),
        (15, b"68fd1e64f", "column 15 (C1): found '68fd1e64f', expected 1 to 8 hexadecimal"),
        (40, b"-1", "column 40 (C26): found '-1', expected 1 to 8 hexadecimal"),
    ],
)
def test_a_bad_field_is_named_with_its_place(
    tmp_path: Path, column: int, field: bytes, words: str
) -> None:
    path = tmp_path / "rows.tsv"
    path.write_bytes(line_with(1, b"1") + line_with(column, field))
    with pytest.raises(InputError) as caught:
        read(path)
    assert f"{path}, line 2, {words}" in str(caught.value)


def binary_with_newlines() -> bytes:
    return np.random.default_rng(0).bytes(20_000)


# The time of writing is part of a gzip stream; a test's name must not be.
PACKED = gzip.compress(line_with(1, b"1"), mtime=0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "found an empty file"),
        (gzip.compress(b"", mtime=0), "found an empty file"),
        (line_with(1, b"1") + b"\n" + line_with(1, b"1"), "line 2: found an empty line"),
        (b"label,I1\n", "line 1: found 1 column, expected 40"),
        (b"1\t2\t3", "line 1: found 3 columns, expected 40"),
        (binary_with_newlines(), "line 1: found binary data"),
        (b"\0" * (5 << 20), "line 1: found binary data, expected Criteo rows as text"),
        (b"x" * (5 << 20), "line 1: found over 65536 bytes without an end"),
        (gzip.compress(line_with(1, b"1") * 999, mtime=0)[:-9], "found a broken gzip stream"),
        (b"\x1f\x8b", "found a broken gzip stream"),
        (PACKED[:-8] + b"\0" * 8, "found a broken gzip stream"),
        (PACKED[:12] + b"\xff" * 40, "found a broken gzip stream"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "rows.tsv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert words in message
    assert "\n" not in message


def test_an_unreadable_path_is_an_input_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.tsv"):
        with pytest.raises(InputError, match="expected Criteo rows"):
            read(path)


def test_columns_are_named_as_criteo_names_them() -> None:
    assert (COLUMNS[0], COLUMNS[1], COLUMNS[13], COLUMNS[14], COLUMNS[39]) == (
        "label",
        "I1",
        "I13",
        "C1",
        "C26",
    )
