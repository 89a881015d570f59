"""How any command runs: checked, locked, measured, saved whatever happens, shown, gated."""

import hashlib
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting import COUNTING, LAST, CountingOptions

from lorabench.bench.command import Output
from lorabench.bench.runner import run
from lorabench.errors import GateError, InputError, MachineError
from lorabench.isolation.cleanup import run_lock
from lorabench.results import files
from lorabench.results.files import read_result
from lorabench.results.schema import Result


@pytest.fixture(autouse=True)
def forget() -> None:
    LAST.clear()


@pytest.fixture(autouse=True)
def own_lock(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORABENCH_RUN_DIR", str(tmp_path_factory.mktemp("run")))


def count(folder: Path, *, strict: bool = False, as_json: bool = False, **options: Any) -> Path:
    path = folder / "out.json"
    output = Output(str(path), as_json=as_json, strict=strict, quiet=True)
    run(COUNTING, CountingOptions(**options), output)
    return path


def test_what_was_measured_is_saved_with_its_labels_and_shown(tmp_path: Path, capsys) -> None:
    result = read_result(count(tmp_path))
    assert [metric.labels for metric in result.metrics] == [{"number": n} for n in range(3)]
    assert [metric.values for metric in result.metrics] == [[0.0], [1.0], [2.0]]
    assert (result.command, result.partial) == ("count", False)
    assert result.environment == {"cpu": "abacus", "mood": "calm"}
    assert result.notes == ["one hand was hidden"]
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["counted 3", "", f"result: {tmp_path / 'out.json'}"]
    assert printed.err == ""


def test_raw_samples_lie_beside_and_are_named_by_their_hash(tmp_path: Path) -> None:
    result = read_result(count(tmp_path))
    beside = tmp_path / "out.npz"
    assert result.raw is not None
    assert (result.raw.name, result.raw.sha256) == (
        "out.npz",
        hashlib.sha256(beside.read_bytes()).hexdigest(),
    )
    np.testing.assert_array_equal(np.load(beside)["counted"], [0, 1, 2])


def test_logs_of_others_lie_in_a_folder_beside_and_replace_earlier_ones(tmp_path: Path) -> None:
    assert read_result(count(tmp_path)).logs is None
    for said in ("one", "two"):
        result = read_result(count(tmp_path, said=said))
        written = tmp_path / "out.mlperf" / "n0" / "mlperf_log_detail.txt"
        assert written.read_text() == said
        assert result.logs is not None
        assert result.logs.name == "out.mlperf"
        digest = hashlib.sha256(said.encode()).hexdigest()
        assert result.logs.sha256 == {"n0/mlperf_log_detail.txt": digest}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "out.mlperf", "out.npz"]
    assert read_result(count(tmp_path)).logs is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "out.npz"]


def test_a_folder_of_other_things_is_not_replaced_by_logs(tmp_path: Path) -> None:
    (tmp_path / "out.mlperf").mkdir()
    (tmp_path / "out.mlperf" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"out\.mlperf: found thesis\.txt in it, expected"):
        count(tmp_path, said="one")
    assert not LAST[-1].counted
    count(tmp_path)  # without logs it is in nobody's way
    assert (tmp_path / "out.mlperf" / "thesis.txt").read_text() == "mine"


def test_ctrl_c_keeps_what_was_finished_marked_as_partial(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        count(tmp_path, stop_at=2)
    result = read_result(tmp_path / "out.json")
    assert result.partial
    assert len(result.metrics) == 2
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["counted"], [0, 1])


def test_ctrl_c_while_the_document_is_written_does_not_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Describing the machine takes a second, and whoever has waited for a run presses Ctrl-C."""
    write = files.write_result

    def interrupted(result: Result, path: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        write(result, path)

    monkeypatch.setattr(files, "write_result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        count(tmp_path)
    assert not read_result(tmp_path / "out.json").partial


def test_a_failure_keeps_what_was_finished_as_well(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="it broke"):
        count(tmp_path, fail_at=1)
    assert len(read_result(tmp_path / "out.json").metrics) == 1


def test_what_ends_before_its_time_without_failing_is_partial_too(tmp_path: Path) -> None:
    assert read_result(count(tmp_path, ends_at=1)).partial


@pytest.mark.parametrize("options", [{"stop_at": 0}, {"fail_at": 0}, {}])
def test_it_is_closed_however_it_ends_and_nothing_is_kept_of_nothing(
    options: dict[str, int], tmp_path: Path
) -> None:
    try:
        count(tmp_path, **options)
    except (KeyboardInterrupt, RuntimeError):
        assert not list(tmp_path.iterdir())
    assert LAST[-1].closed


def test_the_same_options_have_the_same_hash(tmp_path: Path) -> None:
    first = read_result(count(tmp_path))
    second = read_result(count(tmp_path))
    other = read_result(count(tmp_path, upto=4))
    assert first.config_hash == second.config_hash != other.config_hash
    assert first.id != second.id


def test_a_missed_claim_fails_a_strict_run_after_all_is_saved(tmp_path: Path, capsys) -> None:
    with pytest.raises(GateError, match=r"counting\.short missed"):
        count(tmp_path, limit=1, strict=True)
    assert read_result(tmp_path / "out.json").claims[0].verdict == "missed"
    assert "counted 3" in capsys.readouterr().out
    count(tmp_path, limit=1)  # without --strict it is only told
    count(tmp_path, strict=True)


def test_bad_options_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--upto: found 0, expected at least 1"):
        count(tmp_path, upto=0)
    assert not LAST


def test_json_stands_alone_on_stdout(tmp_path: Path, capsys) -> None:
    path = count(tmp_path, as_json=True)
    printed = capsys.readouterr()
    assert printed.out == path.read_text()
    assert "counted 3" in printed.err


@pytest.mark.parametrize("as_json", [False, True])
def test_a_preview_measures_and_writes_nothing(as_json: bool, tmp_path: Path, capsys) -> None:
    count(tmp_path, dry_run=True, as_json=as_json)
    printed = capsys.readouterr()
    assert not list(tmp_path.iterdir())
    assert not LAST[-1].counted
    if as_json:
        assert json.loads(printed.out) == {"upto": 3}
    assert "would count to 3" in (printed.err if as_json else printed.out)


@pytest.mark.parametrize("path", ["file/out.json", "folder"])
def test_a_result_that_cannot_be_written_is_told_before_anything_is_measured(
    path: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=path):
        run(COUNTING, CountingOptions(), Output(str(tmp_path / path), quiet=True))
    assert not LAST[-1].counted


def test_further_files_are_tried_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found a folder"):
        count(tmp_path, beside=tmp_path)
    assert not LAST[-1].counted


def test_the_document_may_not_be_named_like_the_samples_beside_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.npz"):
        run(COUNTING, CountingOptions(), Output(str(tmp_path / "out.npz"), quiet=True))


def test_without_a_name_a_new_file_is_written_or_none(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(COUNTING, CountingOptions(), Output(quiet=True))
    (path,) = (tmp_path / "results").glob("count-*.json")
    assert read_result(path).command == "count"
    run(replace(COUNTING, always_saved=False), CountingOptions(), Output(quiet=True))
    assert len(list((tmp_path / "results").iterdir())) == 2  # with the samples beside


def test_two_runs_that_would_measure_each_other_do_not_run_at_once(tmp_path: Path) -> None:
    with run_lock(print), pytest.raises(MachineError):
        count(tmp_path)
    assert not list(tmp_path.iterdir())
    assert LAST[-1].closed
    count(tmp_path)
    assert LAST[-1].locked
