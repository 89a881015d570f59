"""``lorabench ingest`` from the outside: files as people have them, with a map and without."""

import gzip
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lorabench.cli import app
from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.criteo import COLUMNS
from lorabench.workload.store import Store


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["ingest", *map(str, arguments)])


def taken_in(folder: Path) -> Block:
    return Block.concat(list(Store.open(folder).blocks()))


def written(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


RATINGS = (
    "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,5,1112484676\n2,32,4,1112484819\n"
)


def test_a_suggested_map_takes_the_file_in_as_it_is(tmp_path: Path) -> None:
    rows = written(tmp_path / "ratings.csv", RATINGS)
    result = run(rows, "--suggest-columns")
    assert (result.exit_code, result.stderr) == (0, "")
    columns = written(tmp_path / "map.toml", result.stdout)
    result = run(rows, "--columns", columns, "-o", tmp_path / "out")
    assert isinstance(result.exception, InputError)
    assert "found an earlier time than the row before has" in str(result.exception)
    assert not (tmp_path / "out").exists()
    result = run(rows, "--columns", columns, "--sort", "--ids", "exact", "-o", tmp_path / "out")
    assert result.exit_code == 0
    found = taken_in(tmp_path / "out")
    assert found.label.tolist() == [1, 1, 0]
    assert (found.time_ns // 10**9).tolist() == [0, 143, 1351]
    assert found.sparse.tolist() == [[1, 1], [2, 2], [1, 3]]


def test_the_refusal_of_unknown_columns_names_a_command_that_works(tmp_path: Path) -> None:
    rows = written(tmp_path / "rows of mine.csv", RATINGS)
    result = run(rows, "-o", tmp_path / "out")
    assert isinstance(result.exception, InputError)
    message = str(result.exception)
    assert "found the columns userId, movieId, rating, timestamp (comma-separated" in message
    command = message[message.index("lorabench ingest") : message.index(" > map.toml")]
    suggested = run(*shlex.split(command)[2:]).stdout.splitlines()
    assert 'label = "rating"  # numbers, 3.5 to 5, 3 distinct' in suggested
    assert 'positive = ">= 4"  # which values are clicks: a guess' in suggested


def test_criteo_under_a_header_is_what_it_is_raw(tmp_path: Path) -> None:
    rows = [["0", *["5"] * 13, *["68fd1e64"] * 26], ["1", *[""] * 13, *["80e26c9b"] * 26]]
    raw = written(tmp_path / "raw", "".join("\t".join(row) + "\n" for row in rows))
    headed = tmp_path / "rows.csv.gz"
    headed.write_bytes(
        gzip.compress("".join(",".join(row) + "\n" for row in [COLUMNS, *rows]).encode("utf-8-sig"))
    )
    result = run(headed, "--preset", "tiny", "-o", tmp_path / "headed")
    assert result.exit_code == 0, result.exception
    assert "rows.csv.gz: recognised as Criteo's rows" in result.stderr
    assert run(raw, "--preset", "tiny", "-o", tmp_path / "plain").exit_code == 0
    one, other = taken_in(tmp_path / "headed"), taken_in(tmp_path / "plain")
    for name in ("label", "time_ns", "dense", "sparse"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


DAYS = ("y,price,user\n" + "1,0.12,7\n" * 2, "y,price,user\n1,-3,7.0\n1,NULL,\n")


def test_what_was_done_to_values_is_said_and_kept(tmp_path: Path) -> None:
    days = [written(tmp_path / f"{i}.csv", day) for i, day in enumerate(DAYS)]
    columns = written(tmp_path / "map.toml", 'label = "y"\ndense = ["price"]\nsparse = ["user"]\n')
    common = (*days, "--columns", columns, "--ids", "exact")
    result = run(*common, "-o", tmp_path / "out", "--json")
    notes = json.loads(result.stdout)["notes"]
    assert notes == [
        "column price: 'NULL' stands for a missing value (1)",
        "column price: numbers below 0 become 0 as inputs of the model; transform = "
        '"standardise" in the map keeps them (1)',
        "column user: ids written as 7.0 are the same as those written as 7 (1)",
        "nothing but clicks in 4 rows: nothing can be learned from them or judged on them",
    ]
    assert result.stderr.splitlines()[-4:] == notes
    assert Store.open(tmp_path / "out").spec.sparse.cardinality == (1,)
    dense = taken_in(tmp_path / "out").dense[:, 0]
    np.testing.assert_array_equal(dense, np.array([0.12, 0.12, -3, np.nan], np.float32))
    quiet = run(*common, "-o", tmp_path / "quiet", "-q")
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_zones_are_read_without_a_word(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    rows = written(
        tmp_path / "rows.csv",
        "label,ts,user\n1,2025-01-01T01:00:00+01:00,a\n0,2025-01-01T00:00:01Z,b\n",
    )
    columns = written(tmp_path / "map.toml", 'label = "label"\ntime = "ts"\nsparse = ["user"]\n')
    result = run(rows, "--columns", columns, "-q", "-o", tmp_path / "out")
    assert (result.exit_code, result.output, len(recwarn)) == (0, "", 0)
    assert taken_in(tmp_path / "out").time_ns.tolist() == [0, 10**9]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--output: found none, expected a new folder for the workload (-o DIR)"),
        (("--suggest-columns", "-o", "x"), "--suggest-columns: found --output beside it"),
        (("--suggest-columns", "--columns", "x"), "--suggest-columns: found --columns beside it"),
        (("--suggest-columns", "/dev/null"), "--suggest-columns: found several files beside it"),
        (("-o", "out", "--sort"), "--sort: found rows without times (raw)"),
    ],
)
def test_bad_usage_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("raw").write_text("\t".join(["1"] * 40) + "\n")
    result = run("raw", *arguments)
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)
    assert [entry.name for entry in tmp_path.iterdir()] == ["raw"]


def test_nothing_to_suggest_for_is_said(tmp_path: Path) -> None:
    result = run(written(tmp_path / "words.txt", "one\ntwo\n"), "--suggest-columns")
    assert isinstance(result.exception, InputError)
    assert "found no table" in str(result.exception)
