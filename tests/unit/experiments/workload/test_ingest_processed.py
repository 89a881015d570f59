"""``lorabench ingest`` from the outside: what it takes in beside raw lines, and what it refuses."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from processed_rows import Logs
from stores import write_store
from typer.testing import CliRunner, Result

from lorabench.cli import app
from lorabench.errors import InputError
from lorabench.workload.generator import generate_blocks
from lorabench.workload.spec import load_spec
from lorabench.workload.store import Store

LOGS = Logs.draw(120)


def run(*arguments: str | Path, output: Path) -> Result:
    return CliRunner().invoke(app, ["ingest", *map(str, arguments), "-o", str(output)])


def test_processed_rows_are_taken_in_as_they_are(tmp_path: Path) -> None:
    data = LOGS.write_arrays(tmp_path, (0, 50, 120))
    result = run(data, output=tmp_path / "in")
    assert result.exit_code == 0, result.output
    assert "ids are rows of the tables, as they are; none is hashed" in result.stderr
    manifest = Store.open(tmp_path / "in").manifest
    assert manifest.origin.endswith("/day_*.npy; ids as they are")
    assert manifest.spec.table_rows == tuple(LOGS.counts)
    assert result.stderr.count("none is hashed") == 1


def test_a_folder_of_parquet_is_taken_in_in_order(tmp_path: Path) -> None:
    (tmp_path / "days").mkdir()
    for day in range(12):
        table = pa.table({"y": [day % 2] * 9, "t": [1_700_000_000 + day] * 9, "id": [f"{day}"] * 9})
        pq.write_table(table, tmp_path / "days" / f"part-{day}.parquet")
    columns = tmp_path / "map.toml"
    columns.write_text('label = "y"\ntime = "t"\nsparse = ["id"]\n')
    result = run(tmp_path / "days", "--columns", columns, output=tmp_path / "in")
    assert result.exit_code == 0, (result.output, result.exception)
    assert Store.open(tmp_path / "in").rows == 108


@pytest.mark.parametrize(
    ("data", "more", "words"),
    [
        ("rows.npz", ("--ids", "exact"), "whose ids are rows of tables already"),
        ("rows.npz", ("--columns", "map.toml"), "--columns: found .*rows.npz beside it, expected"),
        ("train.tsv", ("--wrap-ids",), "--wrap-ids: found .*train.tsv beside it, expected proc"),
        ("train.tsv", ("--preset", "avazu"), "found 13 dense and 26 sparse columns"),
        ("workload", (), "found a workload folder, expected other rows: --data takes it as it is"),
        ("empty", (), "found no workload.json and no Parquet files"),
        ("absent", (), "absent: No such file or directory"),
    ],
)
def test_what_cannot_be_taken_in_is_refused_and_leaves_nothing(
    tmp_path: Path, criteo_rows: Path, data: str, more: tuple[str, ...], words: str
) -> None:
    LOGS.write_whole(tmp_path / "rows.npz")
    (tmp_path / "train.tsv").write_bytes(criteo_rows.read_bytes())
    (tmp_path / "empty").mkdir()
    tiny = load_spec("tiny")
    write_store(tmp_path / "workload", [generate_blocks(tiny, 0, rows=9)], tiny)
    result = run(tmp_path / data, *more, output=tmp_path / "in")
    assert isinstance(result.exception, InputError)
    with pytest.raises(InputError, match=words):
        raise result.exception
    assert not (tmp_path / "in").exists()


def test_two_processed_files_are_no_stream(tmp_path: Path) -> None:
    one = LOGS.write_whole(tmp_path / "a.npz")
    two = LOGS.write_whole(tmp_path / "b.npz")
    result = run(one, two, output=tmp_path / "in")
    assert "b.npz: found several processed files, expected one" in str(result.exception)
