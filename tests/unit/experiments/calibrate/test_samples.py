"""Raw samples are taken for what they are, or refused in one line that says why."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import colocate_samples as samples
import numpy as np
import pytest

from lorabench.errors import InputError
from lorabench.experiments.calibrate.samples import read

SMALL = replace(samples.CALM, queries=50)


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    """Write a document whose raw samples are these, or those of calm weather with changes."""

    def written(changes=None, *, command: str = "colocate", **weather) -> Path:
        found = samples.arrays(replace(SMALL, **weather))
        if changes is not None:
            changes(found)
        return samples.write(tmp_path / "run.json", found, command)

    return written


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path.parent))
    return text.removeprefix(f"{path.parent}/")


def test_slices_of_both_controls_are_read_block_by_block(recorded) -> None:
    found = read(recorded(blocks=5, slices=3))
    assert [len(block) for block in found.blocks] == [6] * 5
    assert found.left_out == 0


def test_a_latency_runs_from_the_scheduled_arrival_of_what_counts_and_was_served(recorded) -> None:
    arrays = samples.arrays(replace(SMALL, stalls=2.0))

    def lose_one(found) -> None:
        found |= arrays
        found["block0/solo/done_ns"][[10, 20]] = 0  # both are counted

    (first, *_), *_ = read(recorded(lose_one)).blocks
    mine = (arrays["block0/solo/slice"] == 0) & arrays["block0/solo/counted"]
    mine &= arrays["block0/solo/done_ns"] > 0
    latency = (arrays["block0/solo/done_ns"] - arrays["block0/solo/scheduled_ns"])[mine]
    assert len(latency) == SMALL.queries - SMALL.queries // 10 - 2
    assert first.latency_s == pytest.approx(latency / 1e9)
    assert np.array_equal(first.touched, arrays["block0/solo/touched"][mine])


def test_a_block_lasts_as_long_as_its_cases_together(recorded) -> None:
    alone = read(recorded(cases=samples.CONTROLS)).block_s
    more = read(recorded(cases=(*samples.CONTROLS, "sham", "pinned"))).block_s
    slices = 2 * SMALL.slices
    assert alone == pytest.approx(slices * SMALL.queries / SMALL.qps, rel=0.3)
    assert more == pytest.approx(2 * alone, rel=0.3)


def test_a_block_without_enough_slices_is_left_out(recorded) -> None:
    def cut(found) -> None:
        for case in samples.CONTROLS:
            first = found[f"block2/{case}/slice"] == 0
            for name in filter(lambda name: name.startswith(f"block2/{case}/"), found):
                found[name] = found[name][first]
        for name in [name for name in found if name.startswith("block3/solo_repeat/")]:
            del found[name]

    found = read(recorded(cut, blocks=8))
    assert (len(found.blocks), found.left_out) == (7, 1)
    assert [len(block) for block in found.blocks] == [8, 8, 4, 8, 8, 8, 8]


def test_too_few_slices_are_refused(recorded) -> None:
    text = refused(recorded(blocks=2, slices=4))
    assert text == (
        "run.npz: found 16 slices of solo and solo_repeat in 2 blocks that have 4 or more, "
        "expected 24 in 2 or more; measure for longer"
    )
    assert "in 1 blocks" in refused(recorded(blocks=1, slices=20))


def test_a_result_of_another_command_is_refused(recorded) -> None:
    text = refused(recorded(command="headroom"))
    assert text == (
        "run.json: found a result of lorabench headroom, expected one of lorabench colocate"
    )


def test_a_result_without_raw_samples_is_refused(recorded) -> None:
    path = recorded()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"raw": None}))
    assert refused(path).startswith("run.json: raw: found no raw samples named, expected the .npz")


def test_missing_files_are_named(recorded) -> None:
    path = recorded()
    path.with_suffix(".npz").unlink()
    assert refused(path).startswith("run.npz: No such file or directory; expected the raw samples")
    path.unlink()
    assert refused(path) == "run.json: No such file or directory; expected a result document"


def test_samples_of_another_run_are_refused(recorded) -> None:
    path = recorded(seed=1)
    other = path.with_suffix(".npz").read_bytes()
    path = recorded(seed=2)
    path.with_suffix(".npz").write_bytes(other)
    text = refused(path)
    assert text.startswith("run.npz: found sha256 ")
    assert text.endswith("these are the samples of another run")


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04 half of one"])
def test_what_is_no_npz_is_refused(recorded, data: bytes) -> None:
    path = recorded()
    path.with_suffix(".npz").write_bytes(data)
    document = json.loads(path.read_text())
    document["raw"]["sha256"] = samples.sha256(data)
    path.write_text(json.dumps(document))
    assert refused(path).startswith("run.npz: found no raw samples (")


def test_samples_by_round_or_without_a_control_are_refused(recorded) -> None:
    def older(found) -> None:
        for name in list(found):
            found[name.replace("block", "round")] = found.pop(name)

    for path in (recorded(older), recorded(cases=("sham",))):
        assert refused(path) == (
            "run.npz: found no samples of solo or solo_repeat by block and slice, expected such as "
            "block0/solo/slice; measure anew"
        )


def test_what_ran_once_after_all_blocks_is_no_block(recorded) -> None:
    def also(found) -> None:
        for name in [name for name in found if name.startswith("block0/solo/")]:
            found[f"block6/solo_all/{name.rpartition('/')[2]}"] = found[name]

    with_it, without = read(recorded(also)), read(recorded())
    assert (with_it.left_out, with_it.block_s) == (0, without.block_s)


@pytest.mark.parametrize("column", ["scheduled_ns", "done_ns", "slice", "counted", "touched"])
def test_a_column_that_is_missing_or_short_is_named(recorded, column: str) -> None:
    def lose(found) -> None:
        del found[f"block1/solo/{column}"]

    def cut(found) -> None:
        found[f"block1/solo/{column}"] = found[f"block1/solo/{column}"][1:]

    text = refused(recorded(lose))
    assert text == f"run.npz: found no block1/solo/{column}, expected it; measure anew"
    text = refused(recorded(cut))
    assert text == ("run.npz: block1/solo: found columns of unlike lengths, expected one of each")
