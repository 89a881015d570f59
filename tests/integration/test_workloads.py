"""generate, ingest and freshness by the installed command: killed, out of disk, fed nonsense."""

import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import COMMAND, Run

from lorabench.workload.criteo import criteo_lines
from lorabench.workload.generator import generate_blocks
from lorabench.workload.spec import load_spec
from lorabench.workload.store import Store

ROWS = 300_000


PRESETS = Path(__file__).parents[2] / "workloads"


@pytest.fixture
def run(lorabench: Run) -> Run:
    """Run the command and expect an exit code."""

    def checked(
        *arguments: object, code: int = 0, **options: object
    ) -> subprocess.CompletedProcess[str]:
        found = lorabench(*arguments, **options)
        assert found.returncode == code, found.stderr
        return found

    return checked


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


# The command with parts of a sixteenth of the usual rows: as many parts of fewer rows.
SMALL_PARTS = [
    sys.executable,
    "-c",
    "from lorabench.workload import ingest, writing; ingest._CHUNKS_A_PART = 4;"
    "writing.write_generated.__kwdefaults__['part_rows'] = 65_536;"
    "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')",
    COMMAND,
]


def small_parts(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SMALL_PARTS, *map(str, command)], capture_output=True, text=True, check=False
    )


def parts_of(folder: Path) -> int:
    """How many parts are finished; -1 before the first is begun."""
    begun = (folder / ".unfinished").exists()
    return len(list(folder.glob("part-*"))) if begun else -1


def kill_in_every_part(command: list[str], folder: Path, seed: int) -> int:
    """Kill a command somewhere in its first part, run it again and kill it in its second, and so
    on until it is done; how often it was killed.
    """
    chance = random.Random(seed)
    for part in itertools.count():
        with subprocess.Popen([*SMALL_PARTS, *command]) as process:
            while process.poll() is None and parts_of(folder) < part:
                time.sleep(0.002)
            try:
                process.wait(0.1 * chance.random())
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        if process.returncode == 0:
            return part
        assert process.returncode == -signal.SIGKILL
        if (folder / "workload.json").exists():  # killed on its way out: the workload is whole
            shutil.rmtree(folder / ".unfinished", ignore_errors=True)
            return part + 1
    raise AssertionError


@pytest.mark.slow
def test_generate_killed_at_any_point_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    common = ["generate", "criteo-kaggle", "--rows", str(ROWS), "--quiet"]
    whole = small_parts(*common, "-o", tmp_path / "whole", "--jobs", "1")
    assert whole.returncode == 0, whole.stderr
    command = [*common, "-o", str(tmp_path / "killed")]
    assert kill_in_every_part(command, tmp_path / "killed", 1) > 1
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(Store.open(tmp_path / "killed").manifest.parts) == 5


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw rows of Criteo's form."""
    path = tmp_path_factory.mktemp("raw") / "day_0"
    with path.open("wb") as file:
        for block in generate_blocks(load_spec("tiny"), 0, rows=ROWS):
            file.write(criteo_lines(block))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("ids", ["hash", "exact"])
def test_ingest_killed_at_any_point_goes_on_to_the_same_bytes(
    lines: Path, tmp_path: Path, ids: str
) -> None:
    common = ["ingest", str(lines), "--ids", ids, "--quiet"]
    whole = small_parts(*common, "-o", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    command = [*common, "-o", str(tmp_path / "killed")]
    assert kill_in_every_part(command, tmp_path / "killed", 2) > 1
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(Store.open(tmp_path / "killed").manifest.parts) > 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "none", place], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk ({mounted.stderr.decode().strip()}): make test as root")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_is_one_line_and_room_lets_it_go_on(
    refuse: Run, lines: Path, small_disk: Path
) -> None:
    folder = small_disk / "data"
    found = refuse("generate", "tiny", "--rows", str(ROWS), "-o", folder)
    assert found.returncode == 2, found.stderr
    assert "bytes free, expected at least" in found.stderr
    assert not folder.exists()

    found = small_parts("ingest", lines, "-o", folder, "-q")
    assert found.returncode == 2, found.stderr
    (line,) = found.stderr.splitlines()
    assert "No space left on device" in line
    assert "finished parts are kept: run it again to go on" in line
    found = refuse("colocate", "--data", folder)
    assert found.returncode == 2, found.stderr
    assert "found an unfinished workload" in found.stderr
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    found = small_parts("ingest", lines, "-o", folder, "-q")
    assert found.returncode == 0, found.stderr
    assert Store.open(folder).rows == ROWS


def test_jobs_and_formats_make_no_difference_to_the_rows(run: Run, tmp_path: Path) -> None:
    for name, more in {
        "one": ("--jobs", "1"),
        "two": ("--jobs", "2"),
        "parquet": ("--format", "parquet"),
    }.items():
        run("generate", "demo", "--rows", "150000", "-q", "-o", tmp_path / name, *more)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    for ours, theirs in zip(
        Store.open(tmp_path / "one").blocks(),
        Store.open(tmp_path / "parquet").blocks(),
        strict=True,
    ):
        assert (ours.sparse == theirs.sparse).all()
        np.testing.assert_array_equal(ours.dense, theirs.dense)  # NaN is where NaN is


def test_raw_lines_go_out_and_come_back_in(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "lines"
    run("generate", "tiny", "--format", "criteo-tsv", "--rows", "2000", "-q", "-o", out)
    with (out / "part-00000.tsv").open("rb") as lines:
        run("ingest", "-", "-o", tmp_path / "back", "--ids", "exact", "-q", stdin=lines)
    manifest = Store.open(tmp_path / "back").manifest
    assert (manifest.rows, manifest.kind) == (2000, "ingested")


def test_the_manifest_goes_to_stdout_and_what_is_said_to_stderr(run: Run, tmp_path: Path) -> None:
    found = run("generate", "tiny", "--rows", "1000", "-o", tmp_path / "new", "--json")
    manifest = json.loads(found.stdout)
    assert manifest["rows"] == 1000
    assert 0.5 < manifest["ceiling"]["auc"] < 1
    assert "on disk" in found.stderr
    assert "the best possible AUC" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("generate", "tiny", "--scale", "2"), "--scale: found 2, expected"),
        (("generate", "tiny", "--minutes", "-1"), "--minutes: found -1, expected"),
        (("generate", "tiny", "--minutes", "1", "--rows", "5"), "found both"),
        (("generate", "tiny", "--jobs", "0"), "--jobs: found 0, expected"),
        (("generate", "mlperf-dlrm-v2", "--rows", "9", "--format", "criteo-tsv"), "214 ids"),
        (("ingest", "/absent"), "/absent: No such file or directory"),
        (("ingest", "/absent", "--columns", "/map.toml"), "/absent: No such file or directory"),
        (("ingest", "/absent", "--skip-bad", "-1"), "--skip-bad: found -1"),
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(
    refuse: Run, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    found = refuse(*arguments, "-o", tmp_path / "new")
    assert found.returncode == 2, found.stderr
    (line,) = found.stderr.splitlines()
    assert words in line
    assert not (tmp_path / "new").exists()


SHAPE = """
[[drift.phase]]
start_s = 0.0
shared_taste = 60.0
rank = 3
"""


def by_window(result: dict[str, Any], name: str = "auc") -> dict[str, list[float]]:
    """Return a figure of each strategy, window by window."""
    return {one["condition"]: one["y"] for one in result["series"] if one["name"] == name}


def test_a_frozen_model_ages_and_the_ceiling_stays(run: Run, tmp_path: Path) -> None:
    spec = tmp_path / "drifting.toml"
    preset = (PRESETS / "tiny.toml").read_text(encoding="utf-8")
    spec.write_text(preset.replace("strength = 1.35", "strength = 3.0") + SHAPE)
    found = run(
        *("freshness", "--preset", spec, "--strategies", "none", "--windows", "4"),
        *("--seeds", "1", "-o", tmp_path / "r.json", "--json"),
    )
    result = json.loads(found.stdout)
    assert result == json.loads((tmp_path / "r.json").read_text())
    areas = by_window(result)
    assert areas["none"][0] > areas["none"][-1] + 0.02
    assert min(areas["ceiling"]) > max(areas["none"])
    assert "ceiling AUC" in found.stderr
    # Stored rows are the same rows.
    run("generate", spec, "-q", "-o", tmp_path / "stored")
    again = run(
        *("freshness", "--data", tmp_path / "stored", "--strategies", "none", "--windows", "4"),
        *("-o", tmp_path / "s.json", "--json"),
    )
    stored = by_window(json.loads(again.stdout))
    assert stored["ceiling"] == pytest.approx(areas["ceiling"])


def test_freshness_of_raw_rows_has_no_ceiling(
    run: Run, refuse: Run, tmp_path: Path, criteo_rows: Path
) -> None:
    data = ("freshness", "--data", criteo_rows, "--preset", "tiny")
    found = run(*data, "--windows", "3", "--json", "-o", tmp_path / "r.json")
    metrics = json.loads(found.stdout)["metrics"]
    assert {m["labels"]["strategy"] for m in metrics} == {"none", "lora", "ideal"}
    found = refuse(*data, "--windows", "9")
    assert found.returncode == 2
    assert "expected at least 2304 for 9 windows" in found.stderr


def test_strategies_are_replayed_on_the_same_rows(run: Run, refuse: Run, tmp_path: Path) -> None:
    spec = tmp_path / "drifting.toml"
    preset = (PRESETS / "tiny.toml").read_text(encoding="utf-8")
    spec.write_text(preset.replace("strength = 1.35", "strength = 3.0") + SHAPE)
    found = run(
        *("freshness", "--preset", spec, "--windows", "4", "--tune", "--tune-rows", "4000"),
        *("--seeds", "1"),
        *("--strategies", "none,lora,lora-r2-random,ideal", "--memory-budget", "0.2"),
        *("-o", tmp_path / "r.json", "--json"),
    )
    result = json.loads(found.stdout)
    areas = by_window(result)
    assert list(areas) == ["none", "lora", "lora-r2-random", "ideal", "ceiling"]
    assert areas["ideal"][-1] > areas["none"][-1]
    assert set(result["config"]["tuning"]) == {"lora", "lora-r2-random", "ideal"}
    recovered = {m["condition"] for m in result["metrics"] if m["name"] == "gap_recovered"}
    assert recovered == {"lora", "lora-r2-random"}
    fractions = [m["values"][0] for m in result["metrics"] if m["name"] == "lora_fraction"]
    assert len(fractions) == 2
    assert all(0 < fraction <= 0.2 for fraction in fractions)
    assert "share of the AUC gap" in found.stderr
    saved = tmp_path / "a.safetensors"
    common = ("freshness", "--preset", spec, "--strategies", "lora", "--rows", "30000", "-q")
    run(*common, "--save-adapter", saved, "-o", tmp_path / "cold.json")
    run(*common, "--adapter", saved, "-o", tmp_path / "warm.json")
    cold, warm = (
        by_window(json.loads((tmp_path / name).read_text())) for name in ("cold.json", "warm.json")
    )
    assert cold != warm
    refused = refuse(*common[:-1], "--adapter", tmp_path / "cold.json")
    assert refused.returncode == 2
    assert "found no adapter" in refused.stderr
    refused = refuse(*common[:-1], "--adapter", saved, "--seeds", "2")
    assert refused.returncode == 2
    assert "--adapter: found --seeds 2 beside it" in refused.stderr
    refused = refuse("freshness", "--preset", "tiny", "--strategies", "none,later")
    assert refused.returncode == 2
    assert "--strategies: found 'later'" in refused.stderr
