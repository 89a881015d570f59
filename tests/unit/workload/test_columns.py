"""Parquet and CSV by a column map: the same rows from both, and every error with its place."""

import gzip
import re
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
from lorabench.workload.source import open_source
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


def test_rows_without_labels_are_taken_in_and_told_from_rows_without_clicks(tmp_path: Path) -> None:
    lines = b"".join(b"%d,u%d\n" % (i, i % 9) for i in range(100))
    columns = ColumnMap(labelled=False, dense=("a",), sparse=("u",))
    source = ColumnsInput([text(tmp_path, b"a,u\n" + lines)], columns)
    manifest = ingest(tmp_path / "out", source, base_for(load_spec("tiny"), source, 100))
    assert manifest.notes[-1].startswith("no labels in 100 rows: nothing can be learned")
    stored = open_source(None, tmp_path / "out", 0)
    assert not stored.labelled
    assert not np.any(next(stored.blocks()).label)


PLAIN = ColumnMap(label="y", dense=("a",), sparse=("u",))


def remarks(path: Path, columns: ColumnMap = PLAIN) -> dict[str, int]:
    (found,) = read(path, columns)
    return dict(found.remarks)


def test_an_id_is_the_same_as_the_float_that_pandas_makes_of_it(tmp_path: Path) -> None:
    rows = (
        b"y,a,u\n1,1,7\n0,1,7.0\n0,1,\n1,1,7.5\n0,1,-0.0\n0,1,0\n0,1,1e+16\n0,1,10000000000000000\n"
    )
    (found,) = read(text(tmp_path, rows), PLAIN)
    ids = found.ids[0].tolist()
    assert ids[0] == ids[1]
    assert ids[2] == -1
    assert ids[4] == ids[5]
    assert ids[6] == ids[7]
    assert len(set(ids)) == 5
    words = "column u: ids written as 7.0 are the same as those written as 7"
    lost = "column u: ids above 2^53 written as floats have lost digits, and several may be one"
    assert found.remarks == {words: 3, lost: 1}


def test_hexadecimal_ids_that_look_like_floats_are_none(tmp_path: Path) -> None:
    (found,) = read(text(tmp_path, b"y,a,u\n1,1,1e3\n0,1,1000\n0,1,007\n0,1,7\n"), PLAIN)
    assert len(set(found.ids[0].tolist())) == 4
    assert not found.remarks


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_marks_of_pandas_and_hive_are_missing(tmp_path: Path, form: str) -> None:
    marks = [*MISSING_MARKS, "", " NULL "]
    table = pa.table({"y": ["1"] * len(marks), "a": marks, "u": marks})
    path = tmp_path / f"rows.{form}"
    pq.write_table(table, path) if form == "parquet" else pa.csv.write_csv(table, path)
    (found,) = read(path, PLAIN)
    assert np.isnan(found.dense).all()
    assert (found.ids == -1).all()
    assert found.remarks["column u: 'NULL' stands for a missing value"] == 2
    assert found.remarks["column a: '\\\\N' stands for a missing value"] == 1
    assert len(found.remarks) == 2 * len(MISSING_MARKS)


def test_a_map_may_name_other_marks(tmp_path: Path) -> None:
    columns = PLAIN.model_copy(update={"missing": ("-1", "?")})
    (found,) = read(text(tmp_path, b"y,a,u\n1,-1,NA\n0,?,?\n0,0.12,\n"), columns)
    assert (found.ids[0] == -1).tolist() == [False, True, True]
    np.testing.assert_array_equal(found.dense[0], np.array([np.nan, np.nan, 0.12], np.float32))


def test_decimal_commas_are_read_where_the_map_says_so(tmp_path: Path) -> None:
    path = text(tmp_path, b"y;a;u\n1;0,12;x\n0;-1,5e2;x\n0;3;x\n")
    with pytest.raises(InputError, match=r'found .0,12., expected a number .* \(decimal = ","'):
        read(path, PLAIN)
    (found,) = read(path, PLAIN.model_copy(update={"decimal": ","}))
    np.testing.assert_array_equal(found.dense[0], np.array([0.12, -150, 3], np.float32))


def test_a_missing_label_is_no_label(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 2, column y: found 'NaN', expected 0 or 1"):
        read(text(tmp_path, b"y,a,u\n1,1,x\nNaN,1,x\n"), PLAIN)


def test_ratings_and_words_are_labels_by_a_rule(tmp_path: Path) -> None:
    path = text(tmp_path, b"y,a,u\n5.0,1,x\n3.5,1,x\n4,1,x\n")
    by_rule = PLAIN.model_copy(update={"positive": ">= 4"})
    assert read(path, by_rule)[0].label.tolist() == [1, 0, 1]
    listed = PLAIN.model_copy(update={"positive": (5, "3.5")})
    assert read(path, listed)[0].label.tolist() == [1, 1, 0]
    with pytest.raises(
        InputError, match=r"found '5.0', expected 0 or 1 \(or, in the map, positive"
    ):
        read(path, PLAIN)
    path = text(tmp_path, b"y,a,u\n5,1,x\ngood,1,x\n")
    with pytest.raises(InputError, match=r"row 2, column y: found 'good', expected a number \(pos"):
        read(path, by_rule)


def test_numbers_below_0_are_told_of_unless_the_map_knows(tmp_path: Path) -> None:
    path = text(tmp_path, b"y,a,u\n1,-2.5,x\n0,0.12,x\n")
    (words,) = remarks(path)
    assert words.startswith("column a: numbers below 0 become 0 as inputs of the model")
    said = PLAIN.model_copy(update={"transform": "standardise"})
    assert remarks(path, said) == {}
    assert ColumnsInput([path], said).transforms == ("standardise",)


def test_quoted_fields_may_hold_delimiters_and_line_ends(tmp_path: Path) -> None:
    path = text(tmp_path, b'y,a,u,title\r\n1,1,"a, ""b""","two\r\nlines"\r\n\r\n0,1,c,d\r\n')
    (found,) = read(path, PLAIN)
    assert found.label.tolist() == [1, 0]
    (words,) = found.remarks
    assert words.startswith("rows.csv: line ends within quotes, which do not end a row")
    assert found.remarks[words] == 1


def test_a_quote_left_open_is_not_an_id(tmp_path: Path) -> None:
    path = text(tmp_path, b'y,a,u\n1,1,x\n0,1,"x\n1,1,z"\n')
    with pytest.raises(InputError, match=r"row 2, column u: .* is a quote left open\?"):
        read(path, PLAIN)


def test_what_is_no_utf8_stays_apart_and_is_told_of(tmp_path: Path) -> None:
    path = text(tmp_path, "y,a,u\n1,1,é\n0,1,è\n0,1,e\n".encode("latin-1"))
    (found,) = read(path, PLAIN)
    assert len(set(found.ids[0].tolist())) == 3
    assert found.remarks == {"rows.csv: bytes that are no UTF-8, read as texts such as \\xe9": 2}
    (wide,) = read(text(tmp_path, "y,a,u\n1,1,é\n".encode("utf-16")), PLAIN)
    (plain,) = read(text(tmp_path, "y,a,u\n1,1,é\n".encode()), PLAIN)
    assert wide.ids.tolist() == plain.ids.tolist()


def test_lines_that_are_no_rows_are_numbered_as_rows_are(tmp_path: Path) -> None:
    path = text(tmp_path, b"y,a,u\n1,1\n1,1,x\n1,1,2,3\nq,1,x\n1,2,3\n1\n")
    (found,) = read(path, PLAIN, keep_bad=True)
    assert [str(error).split(", ", 1)[1] for error in found.bad] == [
        "row 1: found 2 columns, expected 3",
        "row 3: found 4 columns, expected 3",
        "row 6: found 1 columns, expected 3",
        "row 4, column y: found 'q', expected 0 or 1 (or, in the map, positive: which values are "
        "clicks)",
    ]
    assert len(found.label) == 2


def test_names_may_be_given_to_a_file_without_any(tmp_path: Path) -> None:
    named = PLAIN.model_copy(update={"header": ("u", "a", "y")})
    assert read(text(tmp_path, b"x|1|1\nz|2|0\n"), named)[0].label.tolist() == [1, 0]
    words = "; where the first line is a row, header = [...] in the map names the columns"
    with pytest.raises(InputError, match=re.escape(words)):
        read(text(tmp_path, b"x|1|1\nz|2|0\n"), PLAIN)
    with pytest.raises(
        InputError, match=r"found 2 columns .*, expected the 3 that the map's header"
    ):
        read(text(tmp_path, b"x|1\nz|2\n"), named)


def test_times_out_of_order_name_the_row_over_batches_and_files(tmp_path: Path) -> None:
    columns = ColumnMap(label="y", time="t", sparse=("u",))
    for name, at in (("a", 1714982400), ("b", 1714982399)):
        (tmp_path / name).write_text(f"y,t,u\n1,{at},x\n")
    source = ColumnsInput([tmp_path / "a", tmp_path / "b"], columns)
    with pytest.raises(InputError, match=r"b, row 1, column t: .*\(--sort sorts them\)"):
        list(source.batches(0, "", keep_bad=False, jobs=1))


def test_numbers_of_two_readings_are_asked_about(tmp_path: Path) -> None:
    columns = ColumnMap(label="y", time="t", sparse=("u",))
    path = text(tmp_path, b"y,t,u\n1,2014102100,x\n0,2014102101,x\n")
    with pytest.raises(InputError, match="column t: found 2014102100, which is 2014-10-21 00:00"):
        read(path, columns)
    said = columns.model_copy(update={"time_unit": "s"})
    (found,) = read(path, said)
    assert found.time_ns is not None
    assert found.time_ns.tolist() == [2014102100 * 10**9, 2014102101 * 10**9]


def test_lists_are_no_ids(tmp_path: Path) -> None:
    pq.write_table(pa.table({"y": [1], "a": [1], "u": [["x", "z"]]}), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="column u: found values of the type list"):
        read(tmp_path / "rows.parquet", PLAIN)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('label = "y"\nsparse = ["u", "y"]\n', "sparse: found the label 'y'"),
        ('label = "y"\nsparse = ["u", "u"]\n', "sparse: found 'u' twice"),
        ('label = "y"\nsparse = ["u"]\ntime_unit = "s"\n', "time: found none, expected the column"),
        (
            'label = "y"\nsparse = ["u"]\ntime = "t"\ntime_unit = "s"\ntime_format = "%Y"\n',
            "time_unit, time_format: found both",
        ),
        ('label = "y"\nsparse = ["u"]\npositive = "4"\n', "positive: found '4', expected a comp"),
        ('label = "y"\nsparse = ["u"]\ntransform = { v = "log1p" }\n', "transform: found 'v'"),
        ('sparse = ["u"]\n', "label: found none, expected the column of clicks; of rows that have"),
        ('label = "y"\nsparse = ["u"]\nlabelled = false\n', "labelled: found false beside a label"),
        ('label = "y"\nsparse = ["u"]\ndelimiter = ""\n', "delimiter: found ''"),
    ],
)
def test_maps_that_contradict_themselves_are_refused(
    tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "map.toml"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        load_columns(path)
    assert str(caught.value).startswith(f"{path}: {words}")
