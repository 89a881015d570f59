"""What ``lorabench colocate`` can serve: raw rows, stored ones, a checkpoint of the user's own."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command import SHORT, Run

from lorabench.results.files import read_result

pytestmark = pytest.mark.slow


def test_gzipped_raw_rows_are_served(lorabench: Run, tmp_path: Path, criteo_rows: Path) -> None:
    zipped = tmp_path / "rows.bin"
    with criteo_rows.open("rb") as source, gzip.open(zipped, "wb") as target:
        shutil.copyfileobj(source, target)
    path = tmp_path / "out.json"
    run = lorabench("colocate", *SHORT, "--data", zipped, "-o", path)
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    assert result.config["workload"]["kind"] == "criteo-tsv"
    assert {claim.basis for claim in result.claims} == {"measured-real"}
    assert result.rounds[-1].wraps > 0


def checkpoint_of(shape: dict[str, list[int]], rows: list[int]) -> dict[str, torch.Tensor]:
    """Random tables and MLPs by the names of the DLRM reference implementation."""
    state = {f"emb_l.{f}.weight": torch.randn(v, 8) / 10 for f, v in enumerate(rows)}
    for name, widths in shape.items():
        for i in range(len(widths) - 1):
            state[f"{name}.{2 * i}.weight"] = torch.randn(widths[i + 1], widths[i]) / 10
            state[f"{name}.{2 * i}.bias"] = torch.zeros(widths[i + 1])
    return state


def test_generated_rows_and_a_checkpoint_of_the_users_own_are_served_alike_on_every_run(
    lorabench: Run, refuse: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "rows"
    made = lorabench("generate", "tiny", "-o", folder, "--rows", 5000)
    assert made.returncode == 0, made.stderr
    spec = json.loads((folder / "workload.json").read_text())["spec"]
    rows = [cardinality + 1 for cardinality in spec["sparse"]["cardinality"]]
    # Another dim and other MLPs than the workload's spec, and --arch-interaction-itself: the
    # checkpoint's count. Saved as the reference program does, in half precision.
    state = checkpoint_of({"bot_l": [13, 20, 8], "top_l": [8 + 28 * 27 // 2, 30, 1]}, rows)
    state["emb_l.0.weight"] = state["emb_l.0.weight"].half()
    checkpoint = tmp_path / "model.ckpt"

    def save() -> None:
        saved = {f"module.{name}": value for name, value in state.items()}
        torch.save({"state_dict": saved, "test_acc": np.float64(0.5)}, checkpoint)

    save()
    data = ("--data", folder, "--checkpoint", checkpoint)
    digests = []
    for name in "ab":
        path = tmp_path / f"{name}.json"
        more = ("--memory-budget", 0.2, "--seed", 5, "--json", "-o", path)
        run = lorabench("colocate", *SHORT[2:], *data, *more)
        assert run.returncode == 0, run.stderr
        result = read_result(path)
        assert result.config["workload"]["kind"] == "store"
        assert result.config["model"]["origin"] == "the given checkpoint"
        assert result.config["model"]["checkpoint"]["interaction"] == "dot-itself"
        said = "model.ckpt: 1 of 26 tables are of float16, and served as fp32"
        assert said in result.notes
        assert said in run.stderr
        digests.append([r.schedule_sha256 for r in result.rounds])
        assert json.loads(run.stdout) == json.loads(path.read_text())
        assert "latency from scheduled arrival" in run.stderr
    assert digests[0] == digests[1]
    state["emb_l.3.weight"] = torch.randn(rows[3] + 1, 8)
    save()
    for dry in ((), ("--dry-run",)):
        run = refuse("colocate", *data, *dry)
        assert run.returncode == 2
        assert f"emb_l.3.weight: found {rows[3] + 1} rows, expected {rows[3]}" in run.stderr


def test_a_checkpoint_that_cannot_be_served_is_refused_in_one_line(
    refuse: Run, tmp_path: Path
) -> None:
    state = checkpoint_of({"bot_l": [13, 20, 8], "top_l": [8 + 3, 30, 1]}, [5, 9])
    bad = {**state, "emb_l.1.weight": state["emb_l.1.weight"].clone()}
    bad["emb_l.1.weight"][7, 3] = torch.nan
    contents = {
        "module.pt": (torch.nn.Linear(2, 2), "found a pickled torch.nn.modules.linear.Linear"),
        "nan.pt": (bad, "nan.pt: emb_l.1.weight: found nan in row 7"),
        "qr.pt": ({**state, "emb_l.2.weight_q": torch.ones(3, 8)}, "(--qr-flag)"),
        "width.pt": ({**state, "top_l.0.weight": torch.ones(30, 12)}, "--arch-interaction-op=cat"),
    }
    for name, (content, expected) in contents.items():
        torch.save(content, tmp_path / name)
        run = refuse("colocate", "--dry-run", "--checkpoint", tmp_path / name)
        assert run.returncode == 2, run.stderr
        (line,) = run.stderr.splitlines()
        assert expected in line
        assert "expected" in line
    torch.save(state, tmp_path / "good.pt")
    looked = refuse("colocate", "--dry-run", "--checkpoint", tmp_path / "good.pt")
    assert looked.returncode == 0, looked.stderr
    assert "2 tables of dim 8 (5 to 9 rows)" in " ".join(looked.stdout.split())
    assert "checkpoint: all values are finite" in looked.stdout
