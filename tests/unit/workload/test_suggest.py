"""Suggested maps: TOML that loads, and takes the file in as it is where its guesses are right."""

import csv
import io
import tomllib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.workload.column_map import ColumnMap, load_columns
from lorabench.workload.head import read_head
from lorabench.workload.layouts import open_rows
from lorabench.workload.suggest import suggest

FOLDERS = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


def suggested(path: Path) -> str:
    head = read_head(path)
    assert head is not None
    return suggest(head)


def loaded(path: Path) -> ColumnMap:
    toml = path.with_suffix(".toml")
    toml.write_text(suggested(path), encoding="utf-8")
    return load_columns(toml)


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "rows.csv"
    path.write_bytes(content.encode())
    return path


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
VALUES = st.sampled_from(["0", "1", "7.0", "0.5", "NaN", "", "yes", "2024-01-01", "14102100"]) | (
    st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=6)
)


@FOLDERS
@given(st.data())
def test_any_table_gives_toml_whose_columns_it_has(tmp_path: Path, data: st.DataObject) -> None:
    width = data.draw(st.integers(2, 5))
    row = st.lists(VALUES, min_size=width, max_size=width)
    label = ["label", *data.draw(st.lists(NAMES, min_size=width - 1, max_size=width - 1))]
    rows = [label, *data.draw(st.lists(row, min_size=1, max_size=6))]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    head = read_head(written(tmp_path, text.getvalue()))
    assume(head is not None)
    assert head is not None
    found = tomllib.loads(suggest(head))
    named = [found.get("label"), found.get("time"), *found["dense"], *found["sparse"]]
    assert {name for name in named if name is not None} <= set(head.names)
    if found.get("label") and found["sparse"]:
        ColumnMap.model_validate(found)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "ts,label,user,price,ctr7d\n2025-01-01T00:00:00,True,u1,3.5,0.12\n"
            "2025-01-01T00:00:01,False,u2,0.99,0.03\n",
            ColumnMap(
                label="label",
                time="ts",
                dense=("price", "ctr7d"),
                sparse=("user",),
                transform={"price": "standardise", "ctr7d": "standardise"},
            ),
        ),
        (
            "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,4.5,1112486028\n",
            ColumnMap(
                label="rating",
                positive=">= 4",
                time="timestamp",
                time_unit="s",
                sparse=("userId", "movieId"),
            ),
        ),
        (
            "click;hour;user_age;age_group\n0;14102100;31;2\n1;14102101;32;3\n",
            ColumnMap(
                label="click",
                time="hour",
                time_format="%y%m%d%H",
                dense=("user_age",),
                sparse=("age_group",),
            ),
        ),
        (
            "click;item;price\n0;a;0,12\n1;b;1\n",
            ColumnMap(
                label="click",
                dense=("price",),
                sparse=("item",),
                transform={"price": "standardise"},
                decimal=",",
            ),
        ),
        (
            "bought|when|item\nno|1.714982400e12|a\nyes|1714982401000|b\n",
            None,
        ),
        (
            "is_buy,time_ms,item\nno,1714982400000,a\nyes,1714982401000,b\n",
            None,
        ),
        (
            "id\tclicked\tseconds ago time\titem\n1\tn\t5\ta\n2\ty\t6\tb\n",
            ColumnMap(
                label="clicked",
                positive="== 'y'",
                time="seconds ago time",
                time_origin="start",
                sparse=("item",),
            ),
        ),
        (
            "1,u1,5.0\n0,u2,0.25\n1,u1,1\n",
            ColumnMap(
                label="column1",
                dense=("column3",),
                sparse=("column2",),
                transform={"column3": "standardise"},
                header=("column1", "column2", "column3"),
            ),
        ),
    ],
)
def test_what_columns_seem_to_be(tmp_path: Path, content: str, expected: ColumnMap | None) -> None:
    path = written(tmp_path, content)
    if expected is None:
        with pytest.raises(InputError, match="label: found none, expected the column of clicks"):
            loaded(path)
        return
    found = loaded(path)
    assert found.model_copy(update={"delimiter": None}) == expected
    (rows,) = open_rows([path], found).batches(0, "", keep_bad=False, jobs=1)
    assert len(rows.label) == content.count("\n") - (expected.header is None)


def test_reasons_stand_beside_guesses(tmp_path: Path) -> None:
    found = suggested(
        written(
            tmp_path,
            "id,label,timestamp,is_like,user,n,empty\n"
            "1,0,1112486028,1,7,5,NaN\n2,1,1112486027,0,7,6,\n",
        )
    )
    for words in (
        'time = "timestamp"  # not in order: add --sort',
        '"n",  # whole numbers, 5 to 6, 2 distinct: ids, or numbers?',
        '# left out: "id": another in each row, which nothing can be learned from',
        '# left out: "is_like": another label? It may be known only after the row',
        '# left out: "empty": nothing in the first rows',
        "# 'NaN': a missing value, as by default; another list: missing = [...]",
    ):
        assert words in found


def test_types_of_parquet_tell(tmp_path: Path) -> None:
    table = pa.table(
        {
            "y": [True, False],
            "at": pa.array([1714982400, 1714982401], pa.timestamp("s")),
            "tags": [["a"], ["b"]],
            "u": ["1.5", "x"],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    found = suggested(tmp_path / "rows.parquet")
    assert '# left out: "tags": list<element: string>: one value a row is read' in found
    assert loaded(tmp_path / "rows.parquet") == ColumnMap(label="y", time="at", sparse=("u",))


def test_a_known_layout_is_written_as_it_is_recognised(tmp_path: Path) -> None:
    names = ["label", *(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27))]
    row = ["1", *("5" for _ in range(13)), *("0a1b2c3d" for _ in range(26))]
    path = written(tmp_path, f"{','.join(names)}\n{','.join(row)}\n")
    found = loaded(path)
    assert (found.ids, found.sparse) == ("hex", tuple(names[14:]))
    assert "Recognised as Criteo's rows" in suggested(path)
