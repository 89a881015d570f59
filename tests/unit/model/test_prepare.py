"""Getting a model ready: pre-trained once, cached, bounded, and never wrong for its key."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lorabench.model import prepare as module
from lorabench.model.checkpoint import load_checkpoint, save_checkpoint
from lorabench.model.prepare import Prepared, cache_folder, prepare
from lorabench.workload.source import open_source


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def made(seed: int = 0, *, accumulators: bool = False) -> tuple[Prepared, list[str]]:
    stages: list[str] = []
    source = open_source("tiny", None, seed)
    prepared = prepare(
        source, None, seed, lambda text, _done: stages.append(text), accumulators=accumulators
    )
    return prepared, stages


def test_a_second_run_starts_from_the_cached_model_bit_for_bit() -> None:
    first, stages = made()
    assert "pre-training" in stages
    second, stages = made()
    assert "pre-training" not in stages
    for a, b in zip(first.tables.arrays, second.tables.arrays, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True):
        assert (a == b).all()
    assert first.pretrain_rows == second.pretrain_rows == 20_000


def test_the_same_rows_by_another_transform_are_another_model() -> None:
    source = open_source("tiny", None, 0)
    content = source.spec.model_dump()
    origins = set()
    for transform in ("log1p", "standardise", "standardise"):
        content["dense"].update(transform=transform, mean=3.0, deviation=20.0 + len(origins))
        other = replace(source, spec=type(source.spec).model_validate(content))
        assert other.digest == source.digest
        origins.add(prepare(other, None, 0, lambda _text, _done: None).origin)
    assert len(origins) == 3


def test_accumulators_of_pre_training_are_kept_for_who_asks_for_them() -> None:
    first, _ = made(accumulators=True)
    second, stages = made(accumulators=True)
    assert "pre-training" not in stages
    assert first.accumulators is not None
    assert second.accumulators is not None
    for a, b, table in zip(
        first.accumulators, second.accumulators, first.tables.arrays, strict=True
    ):
        np.testing.assert_array_equal(a, b)
        assert a.shape == table.shape[:1]
        assert a.max() > 0
    assert made()[0].accumulators is None


def test_a_users_checkpoint_may_have_none(tmp_path: Path) -> None:
    source = open_source("tiny", None, 0)
    prepared, _ = made()
    for sums in (None, [np.ones(rows, np.float32) for rows in prepared.tables.layout.rows]):
        save_checkpoint(tmp_path / "own.pt", replace(prepared.model, accumulators=sums))
        given = load_checkpoint(tmp_path / "own.pt")
        served = prepare(source, given, 0, lambda _text, _done: None, accumulators=True)
        assert served.pretrain_rows == 0
        assert (served.accumulators is None) == (sums is None)


def test_without_a_home_the_model_is_not_cached_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")

    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    prepared, stages = made()
    assert "pre-training" in stages
    assert "not cached (there is no home folder; set XDG_CACHE_HOME)" in prepared.origin


def test_a_cache_that_cannot_be_written_or_read_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    prepared, _ = made()
    assert "not cached (" in prepared.origin


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="only root mounts a file system: run the tests as root, with unshare(1)",
)
def test_a_model_is_read_from_a_home_that_is_read_only(tmp_path: Path) -> None:
    made()
    program = (
        "from lorabench.model.prepare import prepare\n"
        "from lorabench.workload.source import open_source\n"
        "print(prepare(open_source('tiny', None, 0), None, 0, lambda *_: None).origin)"
    )
    shell = (
        f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path} && "
        f'exec {sys.executable} -c "{program}"'
    )
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-c", shell], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert ", cached in " in run.stdout


def test_another_seed_is_another_model() -> None:
    first, _ = made(0)
    second, stages = made(1)
    assert "pre-training" in stages
    assert not np.array_equal(first.tables.arrays[0], second.tables.arrays[0])
    assert len(list(cache_folder().glob("*.pt"))) == 2


def test_a_cached_model_that_was_cut_short_is_made_anew() -> None:
    first, _ = made()
    (cached,) = cache_folder().glob("*.pt")
    cached.write_bytes(cached.read_bytes()[:1000])
    second, stages = made()
    assert "pre-training" in stages
    np.testing.assert_array_equal(first.tables.arrays[3], second.tables.arrays[3])


def test_the_cache_is_bounded_and_the_least_recently_used_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made(0)
    size = next(cache_folder().glob("*.pt")).stat().st_size
    monkeypatch.setattr(module, "_CACHE_BYTES", int(2.5 * size))
    (oldest,) = cache_folder().glob("*.pt")
    made(1)
    assert oldest.exists()
    made(2)
    assert not oldest.exists()
    assert len(list(cache_folder().glob("*.pt"))) == 2


def test_the_stream_begins_with_the_first_row_that_the_model_has_not_seen() -> None:
    source = open_source("tiny", None, 0)
    prepared, _ = made()
    assert prepared.serving_start == 20_000
    served = prepared.stream(source).take(5)
    fresh = next(iter(source.blocks(20_000)))
    np.testing.assert_array_equal(served.sparse, fresh.sparse[:5])
