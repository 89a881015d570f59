"""Parquet and CSV by a column map: the same rows from both, and every error with its place."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.column_map import MISSING_MARKS, ColumnMap, load_columns
from lorabench.workload.columns import ColumnsInput
from lorabench.workload.ingest import base_for, ingest
from lorabench.workload.inputs import RawBatch
from lorabench.workload.spec import load_spec
from lorabench.workload.store import Store

MAP = ColumnMap(label="y", time="t", time_origin="start", dense=("a",), sparse=("u", "v"))
HEAD = b"y,t,a,u,v\n"
FOLDERS = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path, columns: ColumnMap = MAP, *, keep_bad: bool = False) -> list[RawBatch]:
    return list(ColumnsInput([path], columns).batches(0, "", keep_bad=keep_bad, jobs=1))


def text(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    return path


@FOLDERS
@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.integers(0, 2**30),
            st.none() | st.integers(-(2**31) + 1, 2**31 - 1),
            st.none()
            | st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1),
            st.integers(0, 2**60),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_parquet_and_csv_give_the_same_rows(
    tmp_path: Path, rows: list[tuple[bool, int, int | None, str | None, int]]
) -> None:
    rows = sorted(rows, key=lambda row: row[1])
    y, t, a, u, v = zip(*rows, strict=True)
    table = pa.table(
        {
            "v": pa.array(v, pa.int64()),
            "y": pa.array([int(one) for one in y]),
            "t": t,
            "a": pa.array(a, pa.int64()),
            "u": pa.array(u, pa.string()),
            "unused": [0] * len(rows),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    pa.csv.write_csv(table, tmp_path / "rows.csv")
    (one,), (other,) = read(tmp_path / "rows.parquet"), read(tmp_path / "rows.csv")
    for name in ("label", "time_ns", "dense", "ids"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.read == other.read
    assert one.label.tolist() == list(y)
    assert one.time_ns is not None
    assert one.time_ns.tolist() == [second * 10**9 for second in t]
    expected = np.array([np.nan if value is None else value for value in a], np.float32)
    np.testing.assert_array_equal(one.dense[0], expected)
    missing = [value is None or value.strip() in MISSING_MARKS for value in u]
    assert ((one.ids[0] == -1) == np.array(missing)).all()
    assert len(set(one.ids[1].tolist())) == len(set(v))


@FOLDERS
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_rows_or_one_line_of_error(
    tmp_path: Path, content: bytes, headed: bool
) -> None:
    problem = ""
    try:
        read(text(tmp_path, (HEAD if headed else b"") + content))
    except InputError as error:
        problem = str(error)
    assert "\n" not in problem


def test_values_of_other_kinds(tmp_path: Path) -> None:
    when = np.array(["2024-01-01T00:00:00.5", "2024-01-02"], "datetime64[ns]")
    table = pa.table(
        {
            "y": [False, True],
            "t": pa.array(when),
            "a": [1.9, float("nan")],
            "u": pa.array(["x", "y"]).dictionary_encode(),
            "v": [7.0, 8.0],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    (found,) = read(tmp_path / "rows.parquet")
    assert found.label.tolist() == [0, 1]
    assert found.time_ns is not None
    assert found.time_ns.tolist() == when.astype(np.int64).tolist()
    np.testing.assert_array_equal(found.dense[0], np.array([1.9, np.nan], np.float32))
    (same,) = read(
        text(
            tmp_path,
            b"\xef\xbb\xbfy,t,a,u,v\r\nfalse,2024-01-01T00:00:00.5,1.9,x,7\r\n"
            b"true,2024-01-02,,y,8\r\n",
        )
    )
    np.testing.assert_array_equal(same.ids, found.ids)
    assert same.time_ns is not None
    np.testing.assert_array_equal(same.time_ns, found.time_ns)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "found no table (an empty or binary file, or one column), expected Parquet"),
        (b"y,t,a,u\n1,2,3,4\n", "found the columns y, t, a, u, expected, each once, v"),
        (HEAD + b"2,1,1,x,y\n", "row 1, column y: found '2', expected 0 or 1"),
        (HEAD + b"1,1,1,x,y\n1,2,q,x,y\n", "row 2, column a: found 'q', expected a number"),
        (HEAD + b"1,1,1e39,x,y\n", "row 1, column a: found '1e39', expected a number within"),
        (HEAD + b"1,1,inf,x,y\n", "row 1, column a: found 'inf'"),
        (HEAD + b"1,soon,1,x,y\n", "row 1, column t: found 'soon', expected a time"),
        (HEAD + b"1,5,1,x,y\n1,4,1,x,y\n", "row 2, column t: found an earlier time than the row"),
        (HEAD + b"1,1,1,x,y\n1,1\n", "row 2: found 2 columns, expected 5"),
        (b"PAR1" + b"x" * 100, "expected a Parquet or CSV file"),
        (gzip.compress(HEAD + b"1,1,1,x,y\n" * 99, mtime=0)[:-9], "found a broken gzip stream"),
    ],
)
def test_errors_name_file_row_and_column(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / ("rows.csv.gz" if content[:2] == b"\x1f\x8b" else "rows.csv")
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_bad_rows_may_be_left_out(tmp_path: Path) -> None:
    (found,) = read(text(tmp_path, HEAD + b"1,1,q,x,y\n0,2,1,x,y\n3,z,1,x,y\n"), keep_bad=True)
    assert found.label.tolist() == [0]
    assert [str(error).split(", ")[1] for error in found.bad] == ["row 1", "row 3"]


def test_a_map_is_read_and_its_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(
        'label = "y"\ntime = "t"\ntime_origin = "start"\ndense = ["a"]\nsparse = ["u", "v"]\n'
    )
    assert load_columns(path) == MAP
    for content, words in (
        ("label =", "expected a column map in TOML"),
        ('label = "y"\nsparse = []\n', "sparse: found"),
        ('label = "y"\nsparse = ["u"]\nspare = 1\n', "spare: found '1', expected one of label"),
    ):
        path.write_text(content)
        with pytest.raises(InputError) as caught:
            load_columns(path)
        assert words in str(caught.value)


def test_taken_in_they_are_a_workload_with_their_own_columns(tmp_path: Path) -> None:
    lines = b"".join(b"%d,%d,%d,u%d,%d\n" % (i % 2, i, i % 7, i % 50, i % 9) for i in range(500))
    source = ColumnsInput([text(tmp_path, HEAD + lines)], MAP)
    base = base_for(load_spec("tiny"), source, 1000)
    manifest = ingest(tmp_path / "out", source, base, ids="exact")
    assert manifest.spec.sparse.cardinality == (50, 9)
    assert manifest.spec.rows_per_s == pytest.approx(1.0)
    found = Block.concat(list(Store.open(tmp_path / "out").blocks()))
    assert found.sparse[:, 0].tolist() == [1 + i % 50 for i in range(500)]
    assert found.dense[:, 0].tolist() == [i % 7 for i in range(500)]
