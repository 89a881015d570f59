"""Bad input, and runs that end before their time: one clear line, and nothing left behind."""

import gzip
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from command import COMMAND, SHORT, Run

from lorabench.results.files import read_result

ROW = "\t".join(["1", *map(str, range(13)), *(f"{n:08x}" for n in range(26))])


def lines(*changes: tuple[int, int, str]) -> str:
    """200 rows of raw Criteo, some of whose columns (line, column, both from 1) are changed."""
    rows = [ROW.split("\t") for _ in range(200)]
    for line, column, value in changes:
        rows[line - 1][column - 1] = value
    return "\n".join("\t".join(row) for row in rows) + "\n"


def refused(run: subprocess.CompletedProcess[str], *expected: str) -> None:
    """One line on stderr, behind those of the progress, that says all of `expected`; exit 2."""
    assert run.returncode == 2, run.stderr
    assert run.stdout == ""
    *progress, said = run.stderr.splitlines()
    assert len(progress) <= 2, "the model is made ready, and nothing else"
    assert all(line.startswith("lorabench: ") for line in progress), run.stderr
    for words in expected:
        assert words in said


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lines((7, 1, "2")), ["line 7", "column 1", "'2'", "0 or 1"]),
        (lines((9, 3, "1.5")), ["line 9", "column 3", "I2", "'1.5'", "integer"]),
        (lines((11, 20, "xyz")), ["line 11", "column 20", "C6", "'xyz'", "hex"]),
        (lines() + ROW + "\t9\n", ["line 201", "41", "40"]),
        ("", ["empty"]),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_column(
    refuse: Run, tmp_path: Path, content: str, expected: list[str]
) -> None:
    path, out = tmp_path / "rows.tsv", tmp_path / "out.json"
    path.write_text(content)
    refused(refuse("colocate", "--data", path, "--preset", "tiny", "-o", out), str(path), *expected)
    assert [p.name for p in tmp_path.iterdir()] == ["rows.tsv"]


def test_a_truncated_gzip_is_refused(refuse: Run, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv.gz"
    path.write_bytes(gzip.compress(lines().encode())[:-30])
    refused(refuse("colocate", "--data", path, "--preset", "tiny"), str(path), "gzip")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--preset", "nonesuch"], ["nonesuch", "tiny", "demo", "criteo-kaggle"]),
        ([], ["--preset", "--data"]),
        (["--data", "absent.tsv"], ["absent.tsv", "No such file"]),
        (["--preset", "tiny", "--conditions", "pinned,magic"], ["magic", "naive, pinned"]),
        (["--preset", "tiny", "--rounds", "0"], ["--rounds: found 0, expected at least 1"]),
        (["--preset", "tiny", "--rounds", "many"], ["--rounds", "many"]),
        (["--preset", "tiny", "--duration", "-1"], ["--duration: found -1.0"]),
        (["--preset", "tiny", "--duration", "nan"], ["--duration: found nan"]),
        (["--preset", "tiny", "--load", "0"], ["--load: found 0.0"]),
        (["--preset", "tiny", "--rank", "17"], ["--rank: found 17, expected auto or 1 to 16"]),
        (["--preset", "tiny", "--memory-budget", "1e-5"], ["budget is too small"]),
        (["--preset", "tiny", "--checkpoint", "absent.pt"], ["absent.pt"]),
        (["--preset", "tiny", "--require", "magic"], ["--require: found 'magic'"]),
        (["--nonesuch"], ["--nonesuch"]),
        (["--preset", "tiny", "-o", "out.npz"], ["out.npz", "raw samples"]),
    ],
)
def test_bad_usage_is_refused_in_one_line(
    refuse: Run, tmp_path: Path, arguments: list[str], expected: list[str]
) -> None:
    refused(refuse("colocate", *arguments, cwd=tmp_path), *expected)
    assert not list(tmp_path.rglob("*.json"))


def test_a_folder_without_a_workload_is_refused(refuse: Run, tmp_path: Path) -> None:
    refused(refuse("colocate", "--data", tmp_path), str(tmp_path), "workload.json")


def spec_with(folder: Path, old: str, new: str) -> Path:
    preset = Path(__file__).parents[2] / "workloads" / "tiny.toml"
    text = preset.read_text()
    assert old in text
    path = folder / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_a_spec_with_a_negative_cardinality_is_refused(refuse: Run, tmp_path: Path) -> None:
    path = spec_with(tmp_path, "cardinality = [", "cardinality = [-5, ")
    refused(refuse("colocate", "--preset", path), str(path), "cardinality", "-5")


def test_tables_larger_than_memory_are_refused_with_both_numbers(
    refuse: Run, tmp_path: Path
) -> None:
    text = (Path(__file__).parents[2] / "workloads" / "criteo-kaggle.toml").read_text()
    path = tmp_path / "huge.toml"
    path.write_text(text.replace("dim = 16", "dim = 65536"))
    run = refuse("colocate", "--preset", path)
    refused(run, "GiB available", "expected at least")


@pytest.mark.parametrize("where", ["a folder", "under a file"])
def test_an_unwritable_output_is_refused_before_anything_is_measured(
    refuse: Run, environment: dict[str, str], tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").write_text("kept")
    out = tmp_path if where == "a folder" else tmp_path / "file" / "out.json"
    cache = Path(environment["XDG_CACHE_HOME"])
    before = set(cache.rglob("*.pt"))
    refused(refuse("colocate", "--preset", "demo", "-o", out), str(out))
    assert set(cache.rglob("*.pt")) == before, "no model was trained first"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_required_condition_that_the_machine_lacks_exits_with_3(refuse: Run) -> None:
    run = refuse("colocate", "--preset", "tiny", "--require", "rdt")
    assert run.returncode == 3
    assert run.stderr.startswith("lorabench: rdt is required: ")
    assert len(run.stderr.splitlines()) == 1


@pytest.fixture
def running(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A long run that is in its second block."""
    arguments = dict(zip(SHORT[::2], SHORT[1::2], strict=True)) | {"--rounds": 500}
    process = subprocess.Popen(
        [
            *(COMMAND, "colocate", "-v", "-o", tmp_path / "out.json"),
            *(str(word) for pair in arguments.items() for word in pair),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "block 2 of" in line:
            break
    else:
        pytest.fail("it ended before its second block")
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The parent's children: a server and a trainer."""
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 2
    return children


def gone(processes: list[psutil.Process], within_s: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    return all(p.status() == psutil.STATUS_ZOMBIE for p in alive if p.is_running())


@pytest.mark.slow
def test_a_killed_conductor_leaves_no_process_and_no_memory(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    children = family(running)
    held = {str(child.pid): Path(f"/proc/{child.pid}/maps").read_text() for child in children}
    assert all("memfd:lorabench-tables" in maps for maps in held.values())
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert gone(children, 2.0)
    for pid in held:
        maps = Path(f"/proc/{pid}/maps")
        assert not maps.exists() or "lorabench" not in maps.read_text()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_interrupted_run_saves_its_finished_rounds_and_says_so(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    children = family(running)
    # As a terminal that closes: to all of them at once.
    for child in children:
        child.send_signal(signal.SIGHUP)
    running.send_signal(signal.SIGHUP)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    kept = f"what was finished is in {tmp_path / 'out.json'}"
    assert errors.splitlines()[-1] == f"lorabench: interrupted by SIGHUP; {kept}"
    assert "Traceback" not in errors
    assert gone(children, 2.0)
    result = read_result(tmp_path / "out.json")
    assert result.partial
    assert len(result.rounds) >= 1
    assert all(r.order for r in result.rounds)


@pytest.mark.slow
def test_a_server_that_is_killed_ends_the_run_in_one_line(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    children = family(running)
    os.kill(children[0].pid, signal.SIGKILL)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    last = errors.splitlines()[-1]
    kept = f"what was finished is in {tmp_path / 'out.json'}"
    assert last == f"lorabench: server 0 ended by SIGKILL before its time; {kept}"
    assert "Traceback" not in errors
    assert gone(children, 2.0)
    assert read_result(tmp_path / "out.json").partial
