"""``lorabench generate`` from the outside."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lorabench.cli import app
from lorabench.errors import InputError
from lorabench.workload.source import open_source
from lorabench.workload.split import split_pretrain
from lorabench.workload.store import Store


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["generate", *map(str, arguments)])


def test_writes_a_store_and_says_what_it_takes_and_holds(tmp_path: Path) -> None:
    result = run("tiny", "-o", tmp_path / "out", "--rows", "500", "--seed", "7")
    assert result.exit_code == 0
    first, second, third = result.stderr.splitlines()  # no terminal, no progress bar
    assert first.startswith("tiny: 500 rows, 84.0 kB on disk (")
    assert first.endswith("to serve it: tables of 3.2 MB in memory")
    assert second.startswith(f"{tmp_path / 'out'}: 500 rows in 1 parts, ")
    assert third.startswith("click rate 0.")
    assert result.stdout == ""  # which is for documents
    store = Store.open(tmp_path / "out")
    assert (store.rows, store.spec.rows, store.manifest.seed) == (500, 500, 7)


def test_what_it_writes_can_be_served(tmp_path: Path) -> None:
    run("tiny", "-o", tmp_path / "out", "--rows", "500")
    source = open_source(None, tmp_path / "out", 0)
    assert split_pretrain(source)[1] == 250


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run("tiny", "-o", tmp_path / name, "--rows", "300", "--seed", seed)
    a, b, c = ((tmp_path / name / "part-00000.arrow").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_quiet_says_nothing(tmp_path: Path) -> None:
    result = run("tiny", "-o", tmp_path / "out", "--rows", "100", "-q")
    assert (result.exit_code, result.output) == (0, "")


def test_takes_a_spec_file(tmp_path: Path) -> None:
    preset = Path(__file__).parents[4] / "workloads" / "tiny.toml"
    spec = tmp_path / "mine.toml"
    spec.write_text(preset.read_text().replace('name = "tiny"', 'name = "mine"'))
    assert run(spec, "-o", tmp_path / "out", "--rows", "100").exit_code == 0
    assert Store.open(tmp_path / "out").spec.name == "mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("no-such",), "unknown preset 'no-such'"),
        (("tiny", "--rows", "0"), "--rows: found 0"),
        (("tiny", "--rows", str(10**16)), "expected at least 3170980, so that"),
        (("tiny", "--seed", "-1"), "--seed: found -1"),
        (("tiny", "--rows", "9", "--minutes", "1"), "--rows, --minutes: found both"),
        (("tiny", "--minutes", "-1"), "--minutes: found -1, expected a number above 0"),
        (("tiny", "--like", "a.tsv", "--scale", "0.5"), "--like, --scale: found both"),
        (("tiny", "--format", "csv"), "--format: found 'csv', expected one of arrow, parquet,"),
        (("tiny", "--jobs", "0"), "--jobs: found 0, expected at least 1"),
    ],
)
def test_bad_usage_is_an_input_error_and_leaves_nothing(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = run(*arguments, "-o", tmp_path / "out")
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_too_small_is_refused_with_both_numbers(tmp_path: Path) -> None:
    result = run("tiny", "-o", tmp_path / "out", "--rows", str(10**12))
    assert isinstance(result.exception, InputError)
    assert re.search(
        rf"found [0-9,]+ bytes free, expected at least {168 * 10**12:,} ", str(result.exception)
    )
    assert list(tmp_path.iterdir()) == []
