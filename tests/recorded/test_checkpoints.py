"""Checkpoints and snapshots as people have them (wild/, after public reports)."""

from pathlib import Path

import numpy as np
import pytest
import recorded
import torch

from lorabench.model.checkpoint import load_checkpoint
from lorabench.model.snapshot import open_snapshot, pair

if recorded.missing():
    pytest.skip(recorded.missing(), allow_module_level=True)


@pytest.mark.parametrize(
    ("name", "remarks"),
    [
        ("npscalar.pt", []),
        ("dp_half.pt", ["26 of 26 tables are of float16, and served as fp32"]),
        ("torchrec.pt", ["the top MLP's columns are put into the order of the reference's pairs"]),
    ],
)
def test_a_models_checkpoint_is_read(data_dir: Path, name: str, remarks: list[str]) -> None:
    found = load_checkpoint(data_dir / "wild" / name)
    found.check_values()
    assert found.layout.rows[:3] == (1460, 583, 100)
    assert (found.shape.bottom_sizes, found.shape.top_sizes) == ((13, 64, 16), (367, 64, 1))
    assert list(found.remarks) == [f"{name}: {remark}" for remark in remarks]


@pytest.mark.parametrize(
    ("old", "new", "table", "rows"),
    [
        ("old.pt", "new_grown.pt", "emb_l.0.weight", (1000, 1050)),
        ("nested_old.pt", "nested_new.pt", "user", (1000, 1000)),
        ("pref_old.pt", "pref_new.pt", "emb_l.0.weight", (1000, 1000)),
        ("int8_old.pt", "int8_new.pt", "emb_l.0.weight", (20, 20)),
        ("npscalar.pt", "dp_half.pt", "emb_l.0.weight", (1460, 1460)),
    ],
)
def test_two_snapshots_have_a_table_in_common(
    data_dir: Path, old: str, new: str, table: str, rows: tuple[int, int]
) -> None:
    before, after = (open_snapshot(data_dir / "wild" / name) for name in (old, new))
    name, *both = pair(before, after).pairs[0]
    assert name == table
    shapes = [side.shape(one) for side, one in zip((before, after), both, strict=True)]
    assert tuple(shape[0] for shape in shapes) == rows
    assert not pair(before, after).alone


def test_an_int8_table_is_what_its_scales_make_of_it(data_dir: Path) -> None:
    found = open_snapshot(data_dir / "wild" / "int8_old.pt")
    held = torch.load(data_dir / "wild" / "int8_old.pt")
    values = held["emb_l.0.weight"].double() * held["emb_l.0.scale"].double()
    np.testing.assert_allclose(found.read("emb_l.0.weight", 0, 20), values.numpy(), rtol=1e-6)
    assert not found.left_out
