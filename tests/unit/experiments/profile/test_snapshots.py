"""The difference of two snapshots: common rows, new ones, other widths, what is said."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lorabench.bench.experiment import Findings
from lorabench.errors import InputError
from lorabench.experiments.profile.options import ProfileOptions
from lorabench.experiments.profile.snapshots import SnapshotProfile

Tables = dict[str, torch.Tensor]
RNG = np.random.default_rng(0)


def tables(rows: int, dim: int) -> torch.Tensor:
    return torch.from_numpy(RNG.standard_normal((rows, dim))).float()


def compared(
    tmp_path: Path, old: dict[str, torch.Tensor], new: dict[str, torch.Tensor]
) -> Findings:
    torch.save(old, tmp_path / "old.pt")
    torch.save(new, tmp_path / "new.pt")
    profile = SnapshotProfile(ProfileOptions(old=tmp_path / "old.pt", new=tmp_path / "new.pt"))
    assert profile.findings() is None
    profile.measure(SimpleNamespace(stage=lambda text, done: None))  # type: ignore[arg-type]
    found = profile.findings()
    assert found is not None
    return found


def values(found: Findings) -> dict[tuple[str, str], float | None]:
    return {(m.name, m.condition): m.estimate for m in found.table.metrics()}


def test_common_rows_are_compared_and_new_ones_summarised_apart(tmp_path: Path) -> None:
    old = tables(1000, 64)
    new = torch.cat([old, tables(50, 2) @ tables(2, 64)])
    new[:100] += tables(100, 3) @ tables(3, 64)
    found = compared(tmp_path, {"emb_l.0.weight": old}, {"module.emb_l.0.weight": new})
    told = values(found)
    assert told["rows_changed", "emb_l.0.weight"] == 100
    assert told["rows_new", "emb_l.0.weight"] == 50
    assert told["rank_at_95", "emb_l.0.weight"] == 3
    assert told["rank_at_95", "emb_l.0.weight, new rows"] == 2
    assert told["table_bytes", "emb_l.0.weight"] == 1050 * 64 * 4
    (claim,) = found.claims
    assert claim.verdict == "met"
    (note,) = found.notes
    assert note.startswith("emb_l.0.weight from 1,000 to 1,050 rows: rows are compared by their")
    assert found.config["tables"] == {"emb_l.0.weight": ["emb_l.0.weight", "module.emb_l.0.weight"]}


def test_a_table_that_shrank_is_compared_and_said(tmp_path: Path) -> None:
    old = tables(120, 20)
    found = compared(tmp_path, {"users": old}, {"users": old[:100] + 1})
    assert values(found)["rows_changed", "users"] == 100
    assert not any(name == "rows_new" for name, _ in values(found))
    (note,) = found.notes
    assert "from 120 to 100 rows" in note
    assert "numbered anew" in note


def test_every_width_has_its_verdict_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    old = {
        "emb.a": tables(50, 20),
        "emb.b": tables(50, 40).half(),
        "emb.gone": tables(9, 20),
        "mlp.weight": tables(8, 20),
    }
    new = {name: value * 1.5 for name, value in old.items() if name != "emb.gone"}
    found = compared(tmp_path, old, {**new, "extra": tables(9, 20)})
    assert [claim.target for claim in found.claims] == [1, 2]
    assert found.notes == [
        "both snapshots: left out mlp.weight (of a dense layer)",
        "new.pt: left out extra (not called a table, as others there are)",
        "left out gone (old.pt alone has it)",
        "b: values are of float16, and their rounding counts as change",
    ]


def test_rows_that_are_new_are_looked_at_too(tmp_path: Path) -> None:
    new = tables(12, 20)
    new[11, 2] = torch.inf
    with pytest.raises(InputError, match=r"new\.pt: users: found inf in row 11"):
        compared(tmp_path, {"users": new[:10].clone()}, {"users": new})
