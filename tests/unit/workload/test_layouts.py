"""Known layouts need no map and are the same rows as raw lines; what has no label is refused."""

import gzip
import io
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.workload.column_map import ColumnMap
from lorabench.workload.columns import ColumnsInput
from lorabench.workload.criteo import COLUMNS
from lorabench.workload.inputs import CriteoInput, Input, RawBatch
from lorabench.workload.layouts import open_rows

FOLDERS = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
AVAZU = (
    "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,"
    "device_id,device_ip,device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21"
)
AVAZU_ROW = (
    "10000169349117863715,1,14102100,1005,0,1fbe01fe,f3845767,28905ebd,ecad2386,7801e8d9,07d7df22,"
    "a99f214a,96809ac8,711ee120,1,0,15704,320,50,1722,0,35,100084,79"
)


def all_of(source: Input) -> RawBatch:
    (found,) = source.batches(0, "", keep_bad=False, jobs=1)
    return found


def raw(tmp_path: Path, rows: list[list[str]]) -> RawBatch:
    path = tmp_path / "raw.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in rows))
    return all_of(CriteoInput([path]))


def assert_same(one: RawBatch, other: RawBatch) -> None:
    for name in ("label", "dense", "ids"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def drawn(chance: Random) -> list[list[str]]:
    """Rows as they are in raw lines, now and then with nothing in a field."""
    return [
        [
            chance.choice("01"),
            *(chance.choice(["", str(chance.randrange(9999))]) for _ in range(13)),
            *(chance.choice(["", f"{chance.randrange(2**32):08x}"]) for _ in range(26)),
        ]
        for _ in range(20)
    ]


@FOLDERS
@given(st.integers(0, 2**32), st.sampled_from(",\t;|"), st.booleans(), st.booleans())
def test_criteo_under_other_headers_and_delimiters_is_the_same_rows(
    tmp_path: Path, seed: int, delimiter: str, headed: bool, numbered: bool
) -> None:
    chance = Random(seed)
    rows, names = drawn(chance), ["Label", *COLUMNS[1:]]
    floats = chance.random() < 0.5  # as pandas writes counts of which some are missing
    table = [
        [row[0], *(f"{v}.0" if floats and v else v for v in row[1:14]), *row[14:]] for row in rows
    ]
    if numbered:
        names = ["Id", *names]
        table = [[str(10**6 + i), *row] for i, row in enumerate(table)]
    if headed:
        places = chance.sample(range(len(names)), len(names))
        names, *table = ([row[i] for i in places] for row in (names, *table))
    path = tmp_path / "rows.csv"
    lines = [names, *table] if headed else table
    path.write_text("".join(delimiter.join(row) + "\r\n" for row in lines))
    source = open_rows([path])
    assert_same(all_of(source), raw(tmp_path, rows))
    if isinstance(source, ColumnsInput):
        assert "recognised as Criteo's rows" in source.notes[0]
        assert ("columns left out" in " ".join(source.notes)) == numbered
    else:
        assert (delimiter, headed, numbered, floats) == ("\t", False, False, False)


@pytest.mark.parametrize(
    ("dense", "sparse"), [("I{}", "C{}"), ("int_{}", "cat_{}"), ("integer_feature_{}", "c_{}")]
)
@pytest.mark.parametrize("first", [0, 1])
def test_families_of_names_are_criteos(tmp_path: Path, dense: str, sparse: str, first: int) -> None:
    names = [
        *(dense.format(i + first) for i in range(13)),
        *(sparse.format(i + first) for i in range(26)),
        "click",
    ]
    path = tmp_path / "rows.csv"
    path.write_text(",".join(names) + "\n" + ",".join(["7"] * 39 + ["1"]) + "\n")
    assert all_of(open_rows([path])).label.tolist() == [1]


def test_parquet_of_those_names_is_recognised(tmp_path: Path) -> None:
    columns = {name: [1, 0] if name == "label" else [5, None] for name in COLUMNS}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    found = all_of(open_rows([tmp_path / "rows.parquet"]))
    assert found.label.tolist() == [1, 0]
    assert (found.ids[:, 1] == -1).all()


def test_raw_lines_stay_with_their_own_reader(tmp_path: Path) -> None:
    path = tmp_path / "day_0.gz"
    path.write_bytes(gzip.compress(b"1" + b"\t" * 39 + b"\n"))
    assert isinstance(open_rows([path]), CriteoInput)
    assert isinstance(open_rows([Path("-")]), CriteoInput)


def test_one_number_with_a_point_is_a_mistake_in_a_raw_line_and_a_column_of_them_is_pandas(
    tmp_path: Path,
) -> None:
    rows = [["1", *map(str, range(13)), *(f"{n:08x}" for n in range(26))] for _ in range(9)]
    rows[6][2] = "1.5"
    path = tmp_path / "rows.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in rows))
    assert isinstance(open_rows([path]), CriteoInput)
    for row in rows:
        row[2] = "1.0"
    path.write_text("".join("\t".join(row) + "\n" for row in rows))
    assert isinstance(open_rows([path]), ColumnsInput)


def test_raw_lines_with_hives_marks_are_the_same_rows(tmp_path: Path) -> None:
    rows = drawn(Random(1))
    path = tmp_path / "hive"
    path.write_text("".join("\t".join(v or r"\N" for v in row) + "\n" for row in rows))
    found = all_of(open_rows([path]))
    assert_same(found, raw(tmp_path, rows))
    assert "column C1: '\\\\N' stands for a missing value" in found.remarks


def test_avazu_keeps_its_time(tmp_path: Path) -> None:
    path = tmp_path / "train"
    path.write_text(f"{AVAZU}\n{AVAZU_ROW}\n")
    source = open_rows([path])
    found = all_of(source)
    assert found.time_ns is not None
    assert found.time_ns.tolist() == [np.datetime64("2014-10-21T00", "ns").astype(int)]
    assert (found.label.tolist(), len(found.ids), source.preset) == ([1], 22, "avazu")
    assert source.notes == (
        "train: recognised as Avazu's rows (comma-separated, with a header)",
        "columns left out: id",
    )


def rows_of(count: int, before: int = 0) -> str:
    values = ["5"] * 13 + ["68fd1e64"] * 26
    return "".join("\t".join([*([str(i + 7)] * before), *values]) + "\n" for i in range(count))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (rows_of(3), "found 39 columns and no label, as in the contest's test file"),
        (rows_of(3).replace("\t", ","), "found 39 columns and no label"),
        (rows_of(3, 1), "found 40 columns and no label"),
        (",".join(COLUMNS[1:]) + "\n" + ",".join(["5"] * 39), "Criteo's columns without a label"),
        (AVAZU.replace("click,", "") + "\n" + "1," * 22 + "1", "Avazu's columns without click"),
    ],
)
def test_without_a_label_rows_are_refused_for_that(
    tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "test.txt"
    path.write_text(content)
    with pytest.raises(InputError, match="expected a label in each row") as caught:
        open_rows([path])
    assert words in str(caught.value)


def test_other_columns_are_shown_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("ts;label;us\x1ber\n1;0;a\n")
    with pytest.raises(InputError) as caught:
        open_rows([path])
    assert str(caught.value) == (
        f"{path}: found the columns ts, label, us\\x1ber (semicolon-separated, with a header), "
        "expected Criteo's or Avazu's, or --columns MAP.toml, which says what they are: "
        f"lorabench ingest {path} --suggest-columns > map.toml writes one to start from"
    )


def test_what_a_map_leaves_out_is_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("y,u,spare,other\n1,a,b,c\n")
    source = open_rows([path, path], ColumnMap(label="y", sparse=("u",)))
    assert source.notes == ("columns left out: spare, other",)


def test_stdin_goes_with_raw_lines_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(InputError, match="found stdin beside --columns"):
        open_rows([Path("-")], ColumnMap(label="y", sparse=("u",)))
