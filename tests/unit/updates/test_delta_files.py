"""Deltas go to disk and come back; what is no delta of these tables is refused in one line."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.model.tables import TableLayout
from lorabench.updates.delta import Delta, Version
from lorabench.updates.delta_batch import DeltaRows
from lorabench.updates.delta_files import read_delta, read_deltas, write_delta
from lorabench.updates.delta_header import KEY, Header, NamedTables
from lorabench.updates.quantise import quantise

DIM = 3
TABLES = NamedTables(TableLayout((20, 9), DIM), ("user", "item"))
EMPTY = np.empty(0, np.int32)


def rows(*values: int) -> NDArray[np.int32]:
    return np.array(values, np.int32)


def values(count: int, begin: float = 0.0) -> NDArray[np.float32]:
    return (np.arange(count * DIM, dtype=np.float32) + begin).reshape(-1, DIM)


def same(found: Delta, expected: Delta) -> None:
    assert found.version == expected.version
    for mine, theirs in zip(found.rows, expected.rows, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == np.int32
    for mine, theirs in zip(found.values, expected.values, strict=True):
        np.testing.assert_array_equal(mine.view(np.uint32), theirs.view(np.uint32))
    for f in range(len(found.rows)):
        np.testing.assert_array_equal(found.evicted_of(f), expected.evicted_of(f))


@st.composite
def deltas(draw: st.DrawFn) -> Delta:
    """Rows that are kept and rows that are gone, of each table."""
    kept, gone, embeddings = [], [], []
    for size in TABLES.layout.rows:
        kinds = draw(st.lists(st.sampled_from([0, 1, 2]), min_size=size, max_size=size))
        kept.append(np.flatnonzero(np.array(kinds) == 1).astype(np.int32))
        gone.append(np.flatnonzero(np.array(kinds) == 2).astype(np.int32))
        # Of any bits: what is not finite is read as it is.
        bits = draw(arrays(np.uint32, (len(kept[-1]), DIM)))
        embeddings.append(bits.view(np.float32))
    evicted = tuple(gone) if any(len(one) for one in gone) else ()
    step, time_s = draw(st.integers(0, 2**63 - 1)), draw(st.floats(-1e12, 1e12))
    return Delta(step, time_s, tuple(kept), tuple(embeddings), evicted)


@given(deltas())
def test_a_delta_comes_back_to_the_bit(delta: Delta) -> None:
    with TemporaryDirectory() as folder:
        path = write_delta(Path(folder), 7, delta, TABLES)
        assert [entry.name for entry in Path(folder).iterdir()] == ["delta-000007.parquet"]
        same(read_delta(path, TABLES), delta)


SOME = Delta(5, 1.5, (rows(2, 4), rows(0)), (values(2), values(1, 50)), (rows(3), EMPTY))


def test_8_bits_come_back_as_they_were_quantised(tmp_path: Path) -> None:
    path = write_delta(tmp_path, 0, SOME, TABLES, "int8")
    found = read_delta(path, TABLES)
    for mine, theirs in zip(found.values, SOME.values, strict=True):
        np.testing.assert_array_equal(mine, quantise(theirs).rows())
    assert found.evicted_of(0).tolist() == [3]
    bad = Delta(5, 1.5, SOME.rows, (values(2), np.full((1, DIM), np.inf, np.float32)))
    with pytest.raises(InputError, match=r"delta-000001\.parquet: table item: row 0: found values"):
        write_delta(tmp_path, 1, bad, TABLES, "int8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["delta-000000.parquet"]


def test_pandas_reads_what_is_written(tmp_path: Path) -> None:
    frame = pd.read_parquet(write_delta(tmp_path, 0, SOME, TABLES))
    assert list(frame.columns) == ["step", "table", "key", "embedding"]
    assert frame["table"].tolist() == ["user", "user", "user", "item"]
    assert frame["key"].tolist() == [2, 4, 3, 0]
    np.testing.assert_array_equal(frame["embedding"][1], [3, 4, 5])
    assert frame["embedding"][2] is None


def test_no_names_are_those_of_the_features() -> None:
    assert NamedTables(TableLayout((2, 3), 4)).names == ("C1", "C2")
    with pytest.raises(InputError, match=r"^found the table name 'a' twice, expected each once$"):
        NamedTables(TableLayout((2, 3), 4), ("a", "a"))
    with pytest.raises(InputError, match=r"^found 1 names of tables, expected 2$"):
        NamedTables(TableLayout((2, 3), 4), ("a",))


# What follows is written as somebody else would.


def header(**changes: Any) -> dict[str, Any]:
    tables = [{"name": "user", "rows": 20, "dim": DIM}, {"name": "item", "rows": 9, "dim": DIM}]
    return {"format": "lorabench.delta/1", "step": 5, "time_s": 1.5, "tables": tables} | changes


COLUMNS: dict[str, Any] = {
    "step": [5, 5, 5, 5],
    "table": ["item", "user", "user", "user"],
    "key": [0, 4, 2, 3],
    "embedding": pa.array([[50, 51, 52], [3, 4, 5], [0, 1, 2], None], pa.list_(pa.float32())),
}


def write(folder: Path, name: str = "a.parquet", head: Any = None, **changes: Any) -> Path:
    path = folder / name
    columns = {key: value for key, value in (COLUMNS | changes).items() if value is not None}
    metadata = {KEY: json.dumps(header() if head is None else head)}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


@pytest.mark.parametrize(
    "embedding",
    [
        pa.list_(pa.float32()),
        pa.list_(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float16(), DIM),
    ],
    ids=str,
)
def test_other_lists_are_read_in_any_order(tmp_path: Path, embedding: Any) -> None:
    column = pa.array([[50, 51, 52], [3, 4, 5], [0, 1, 2], None], pa.list_(pa.float64(), DIM))
    path = write(tmp_path, embedding=column.cast(embedding), when=["now"] * 4)
    same(read_delta(path, TABLES), SOME)


def listed(*items: Any, of: Any = None) -> Any:
    return pa.array(list(items), pa.list_(of or pa.float32()))


ROW = [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"key": None}, "found no column key, expected step, key, table, embedding, each once"),
        ({"key": [0.5] * 4}, "column key: found double, expected integers"),
        ({"table": [1] * 4}, "column table: found int64, expected strings"),
        ({"embedding": [1.0] * 4}, "column embedding: found double, expected lists of 3 floats"),
        (
            {"embedding": pa.array([ROW[:2]] * 4, pa.list_(pa.float32(), 2))},
            "column embedding: found dim 2, expected 3, as served",
        ),
        ({"embedding": listed(ROW, ROW, ROW[:2], ROW)}, "row 2: found dim 2, expected 3"),
        (
            {"embedding": listed(ROW, None, [1.0, None, 2.0], ROW)},
            "row 2: found an embedding with a null in it, expected numbers",
        ),
        ({"embedding": listed(*[[1, 2, 3]] * 4, of=pa.uint8())}, "found no column scale"),
        (
            {
                "embedding": listed(None, *[[1, 2, 3]] * 3, of=pa.uint8()),
                "scale": [None, 1.0, None, 1.0],
                "offset": [0.0] * 4,
            },
            "row 2: found no scale, expected one, as its embedding is quantised",
        ),
        ({"step": [5, 5, 6, 5]}, "row 2: found step 6, expected 5 throughout, that of its meta"),
        ({"step": pa.array([5, None, 5, 5])}, "row 1: found no step, expected one"),
        ({"key": pa.array([0, 4, None, 1])}, "row 2: found no key, expected one"),
        ({"table": ["item", None, "user", "user"]}, "row 1: found no table, expected one"),
        (
            {"table": ["item", "user", "ad", "user"]},
            "row 2: found the table 'ad', expected one of user, item, those of its metadata",
        ),
        ({"key": [9, 4, 2, 3]}, "row 0: found key 9 of table item, expected 0 to 8"),
        ({"key": [0, 4, 2, -1]}, "row 3: found key -1 of table user, expected 0 to 19"),
        ({"key": [0, 4, 2, 4]}, "row 3: found key 4 of table user again, expected each once"),
        (
            {"table": ["item", "item", "user", "user"], "key": [0, 0, 4, 4]},
            "row 1: found key 0 of table item again",
        ),
        (
            {"key": pa.array([0, 4, 2, 2**64 - 1], pa.uint64())},
            "found what cannot be read (Integer value",
        ),
        ({"head": header(format="other/1")}, "lorabench.delta: format: found 'other/1'"),
        ({"head": header(step=-1)}, "lorabench.delta: step: found -1"),
        ({"head": header(time_s="now")}, "lorabench.delta: time_s: found 'now'"),
        ({"head": header(more=1)}, "lorabench.delta: more: found 1"),
        ({"head": {"format": "lorabench.delta/1"}}, "lorabench.delta: step: Field required"),
        (
            {"head": header(tables=header()["tables"] + header()["tables"][:1])},
            "lorabench.delta: found the table name 'user' twice, expected each once",
        ),
        (
            {"head": header(tables=[{"name": "ad", "rows": 1, "dim": 3}])},
            "lorabench.delta: found the table 'ad', expected one of user, item",
        ),
        (
            {"head": header(tables=[{"name": "user", "rows": 21, "dim": 3}])},
            "lorabench.delta: table user: found 21 rows of dim 3, expected 20 of dim 3, as served",
        ),
        (
            {"head": header(tables=header()["tables"][1:])},
            "row 1: found the table 'user', expected one of item, those of its metadata",
        ),
    ],
)
def test_what_is_no_delta_is_refused_by_file_and_row(
    tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(InputError) as refused:
        read_delta(path, TABLES)
    message = str(refused.value)
    assert message.startswith(f"{path}: {text}")
    assert "\n" not in message


def test_more_rows_than_the_tables_have_are_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    many = {"step": [5] * 30, "table": ["user"] * 30, "key": list(range(30))}
    table = pa.table(many | {"embedding": listed(*[ROW] * 30)})
    pq.write_table(table.replace_schema_metadata({KEY: json.dumps(header())}), path)
    with pytest.raises(InputError, match=r"found 30 rows, expected at most 29, each of its tables"):
        read_delta(path, TABLES)


def absent(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def plain(path: Path) -> None:
    pq.write_table(pa.table(COLUMNS), path)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (absent, "no such file; expected a delta as Parquet"),
        (cut, "found what cannot be read ("),
        (folder, "found a folder, expected a delta as Parquet"),
        (pipe, "found a device or pipe, expected a delta as Parquet"),
        (plain, "found no lorabench.delta in its metadata, expected a delta of lorabench.delta/1"),
    ],
)
def test_what_is_no_file_of_rows_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], text: str
) -> None:
    path = write(tmp_path)
    spoil(path)
    with pytest.raises(InputError) as refused:
        read_delta(path, TABLES)
    assert str(refused.value).startswith(f"{path}: {text}")


def read_as_rows(count: int, place: int = 0) -> None:
    """Read the columns, each row's table by its place in a dictionary of one name."""
    columns = {name: pa.array(values) for name, values in COLUMNS.items()}
    places = pa.array([0, 0, place, 0], pa.int32())
    columns["table"] = pa.DictionaryArray.from_arrays(places, pa.array(["user"]), safe=False)
    served = Header.of(TABLES, 5, 1.5)
    DeltaRows(Path("a"), served, TABLES, count).add(pa.RecordBatch.from_pydict(columns))


@pytest.mark.parametrize("place", [1, -1])
def test_a_place_outside_the_tables_dictionary_is_refused(place: int) -> None:
    """A reader hands on what a damaged file says; numpy would count -1 from the end."""
    with pytest.raises(
        InputError, match=rf"^a: row 2: found place {place} among the names of tables, expected 0$"
    ):
        read_as_rows(4, place)


def test_less_than_no_rows_are_refused() -> None:
    with pytest.raises(InputError, match=r"^a: found -3 rows by its metadata, expected 0 or more$"):
        read_as_rows(-3)


@given(st.data())
def test_a_damaged_file_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = write_delta(Path(folder), 0, SOME, TABLES)
        damaged = bytearray(path.read_bytes())
        for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
            damaged[at] = data.draw(st.integers(0, 255))
        path.write_bytes(damaged)
        try:
            read_delta(path, TABLES)
        except InputError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 - or it was read


def quiet(step: int, time_s: float) -> Delta:
    return Delta(step, time_s, (EMPTY, EMPTY), (values(0), values(0)))


def test_the_pushes_of_a_folder_come_in_order_quiet_ones_too(tmp_path: Path) -> None:
    # By number, not by name: 1,000,000 has a digit more.
    written = [SOME, quiet(5, 2.0), quiet(8, 3.0)]
    for number, delta in enumerate(written, 999_998):
        write_delta(tmp_path, number, delta, TABLES)
    (tmp_path / "notes.txt").touch()
    for found, expected in zip(read_deltas(tmp_path, TABLES), written, strict=True):
        same(found, expected)
    with pytest.raises(
        InputError, match=r"delta-999998\.parquet: found step 5 of 1.5 s, expected "
    ):
        read_deltas(tmp_path, TABLES, after=Version(5, 1.5))
    assert len(list(read_deltas(tmp_path, TABLES, after=Version(4, 1.5)))) == 3


def test_a_stale_push_or_a_missing_one_is_refused_before_any_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r": found no delta-\*\.parquet, expected a folder of"):
        read_deltas(tmp_path, TABLES)
    with pytest.raises(InputError, match=r"nowhere: cannot be read \(No such file or directory\)$"):
        read_deltas(tmp_path / "nowhere", TABLES)
    write_delta(tmp_path, 1, SOME, TABLES)
    write_delta(tmp_path, 2, quiet(4, 2.0), TABLES)
    with pytest.raises(
        InputError,
        match=r"delta-000002\.parquet: found step 4 of 2 s, expected one after step 5 of 1\.5 s, "
        r"that of delta-000001\.parquet: it is stale$",
    ):
        read_deltas(tmp_path, TABLES)
    write_delta(tmp_path, 4, quiet(9, 2.0), TABLES)
    (tmp_path / "delta-000002.parquet").unlink()
    with pytest.raises(
        InputError,
        match=r"delta-000004\.parquet: found it after delta-000001\.parquet, expected "
        r"delta-000002\.parquet",
    ):
        read_deltas(tmp_path, TABLES)


def test_the_example_of_the_docs_reads_and_writes_deltas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[3] / "docs/freshness.md").read_text(encoding="utf-8")
    section = text.split("\n## Deltas on disk\n")[1].split("\n## ")[0]
    writing, reading = re.findall("```python\n(.*?)```", section, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(writing, {})
    tables = NamedTables(TableLayout((1000, 50), 4), ("user", "item"))
    (found,) = read_deltas(tmp_path, tables)
    assert [one.tolist() for one in found.rows] == [[7], [2]]
    assert [found.evicted_of(f).tolist() for f in range(2)] == [[8], []]
    exec(reading, {})
    assert capsys.readouterr().out.split()[-7:] == ["item", "1", "1", "user", "2", "1", "600.0"]
