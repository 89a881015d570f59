"""Deltas and touch traces by the installed command: what one run records, the next one replays."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from command import Run

from lorabench.strategies import registry
from lorabench.updates.delta_files import delta_name

TIMES = """
[seconds_per_sample]
cluster = 1e-5
[seconds_per_byte]
encode = 1e-10
apply = 1e-10
"""
HEADER = b"lorabench.delta"


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """Learning and pushing take times that are given, so that two runs are alike to the bit."""
    times = tmp_path_factory.mktemp("given") / "times.toml"
    times.write_text(TIMES)
    return (
        *("freshness", "--preset", "tiny", "--rows", 8000, "--windows", 2, "--seeds", 1),
        *("--emt-bytes", "10GB", "--compute-model", times, "-q", "--json"),
    )


@pytest.fixture(scope="module")
def recorded(
    lorabench: Run, common: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a run that recorded its deltas and its touches."""
    folder = tmp_path_factory.mktemp("recorded")
    found = lorabench(
        *(*common, "--strategies", "none,delta", "--push-interval", 1.5),
        *("--save-deltas", folder / "deltas", "--save-touch-trace", folder / "touch.parquet"),
        *("-o", folder / "run.json"),
    )
    assert found.returncode == 0, found.stderr
    return folder


def areas(result: dict[str, Any], strategy: str) -> list[float]:
    (found,) = (
        one["y"] for one in result["series"] if (one["name"], one["condition"]) == ("auc", strategy)
    )
    return found


def metric(result: dict[str, Any], name: str, strategy: str) -> list[float]:
    return next(
        one["values"]
        for one in result["metrics"]
        if (one["name"], one["condition"]) == (name, strategy)
    )


def test_recorded_deltas_are_served_as_they_were(
    lorabench: Run, common: tuple[object, ...], recorded: Path, tmp_path: Path
) -> None:
    found = lorabench(
        *(*common, "--strategies", "none,deltas", "--deltas", recorded / "deltas"),
        *("-o", tmp_path / "again.json"),
    )
    assert found.returncode == 0, found.stderr
    again, first = json.loads(found.stdout), json.loads((recorded / "run.json").read_text())
    assert areas(again, "deltas") == areas(first, "delta") != areas(first, "none")
    assert areas(again, "none") == areas(first, "none")
    for name in ("pushes", "pushed_bytes", "push_s"):
        assert metric(again, name, "deltas") == metric(first, name, "delta")
    assert metric(again, "pushes", "deltas")[0] >= 3


def test_costs_are_reckoned_from_a_saved_touch_trace(
    lorabench: Run, recorded: Path, tmp_path: Path
) -> None:
    found = lorabench(
        *("freshness", "--cost-only", "--touch-trace", recorded / "touch.parquet"),
        *("--push-interval", 1.5, "--dim", 16, "-q", "--json", "-o", tmp_path / "cost.json"),
    )
    assert found.returncode == 0, found.stderr
    touched = json.loads(found.stdout)["config"]["touched"]
    first = json.loads((recorded / "run.json").read_text())
    (known,) = (one for one in json.loads(found.stdout)["series"] if one["name"] == "touched_share")
    at = dict(zip(known["x"], known["y"], strict=True))
    assert touched["of"] == "trace"
    # A push had the rows of a second and a half, or of a little more.
    assert at[1.0] < metric(first, "push_share", "delta")[0] < at[2.0]


def changed(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / delta_name(1)
        table = pq.read_table(path)
        header = json.loads(table.schema.metadata[HEADER])
        change(header)
        pq.write_table(table.replace_schema_metadata({HEADER: json.dumps(header)}), path)

    return apply


def twice(folder: Path) -> None:
    path = folder / delta_name(1)
    table = pq.read_table(path)
    rows = table.take([0, *range(table.num_rows - 1)])
    pq.write_table(rows.replace_schema_metadata(table.schema.metadata), path)


@pytest.fixture
def with_deltas(refuse: Run, common: tuple[object, ...], recorded: Path, tmp_path: Path):
    """Ask for the recorded deltas after something was done to them."""

    def asked(spoil: Callable[[Path], object], more: tuple[object, ...]) -> Any:
        folder, out = tmp_path / "bad", tmp_path / "r.json"
        shutil.copytree(recorded / "deltas", folder)
        spoil(folder)
        found = refuse(*common, *more, "--strategies", "deltas", "--deltas", folder, "-o", out)
        assert not out.exists()
        return found

    return asked


@pytest.mark.parametrize(
    ("spoil", "more", "expected"),
    [
        (
            lambda folder: shutil.copy(folder / delta_name(0), folder / delta_name(1)),
            (),
            "it is stale",
        ),
        (
            changed(lambda header: header["tables"].append(header["tables"][0])),
            (),
            "found the table name 'C1' twice, expected each once",
        ),
        (lambda folder: None, ("--dim", 8), "of dim 16, expected 151 of dim 8, as served"),
        (lambda folder: (folder / delta_name(1)).unlink(), (), f"expected {delta_name(1)}"),
        (twice, (), "again, expected each once"),
    ],
    ids=["stale", "table twice", "other tables", "missing", "row twice"],
)
def test_bad_deltas_are_refused_before_anything_is_replayed(
    spoil, more, expected, with_deltas
) -> None:
    found = with_deltas(spoil, more)
    assert found.returncode == 2, found.stderr
    assert expected in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_deltas_are_not_mixed_with_others(
    refuse: Run, common: tuple[object, ...], recorded: Path
) -> None:
    deltas = ("--save-deltas", recorded / "deltas")
    found = refuse(*common, "--strategies", "delta", "--push-interval", 1, *deltas)
    assert found.returncode == 2
    assert f"{delta_name(0)}: found it there, expected a folder without deltas" in found.stderr


def test_a_push_interval_that_the_replay_does_not_last_is_refused(refuse: Run) -> None:
    found = refuse("freshness", "--preset", "tiny", "--strategies", "none,full")
    assert found.returncode == 2
    assert "--push-interval: found 600 s, expected less than the 40 s of the stream" in found.stderr


def test_a_strategy_that_does_not_import_is_one_line(
    refuse: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lorabench.strategies]\nbroken = no_such_module:It\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._entries.cache_clear()
    try:
        found = refuse("freshness", "--preset", "tiny", "--strategies", "none,broken")
    finally:
        monkeypatch.undo()
        registry._entries.cache_clear()
    assert found.returncode == 2
    assert len(found.stderr.splitlines()) == 1
    assert "found 'broken', registered as no_such_module:It by foreign 1.0" in found.stderr
