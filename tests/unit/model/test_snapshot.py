"""Snapshots of tables in every format, whole and damaged."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lorabench.errors import InputError
from lorabench.model.snapshot import open_snapshot

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", TABLE)
    tensors = {"emb_l.0.weight": torch.from_numpy(TABLE), "bot_l.0.weight": torch.ones(2, 2)}
    torch.save({"state_dict": tensors}, tmp_path / "a.pt")
    save_file({"users": torch.from_numpy(TABLE).bfloat16()}, tmp_path / "a.safetensors")
    for name, table in (("a.npy", "table"), ("a.pt", "emb_l.0.weight"), ("a.safetensors", "users")):
        snapshot = open_snapshot(tmp_path / name)
        assert snapshot.names == [table]
        assert snapshot.shape(table) == (4, 3)
        np.testing.assert_array_equal(snapshot.read(table, 1, 3), TABLE[1:3])


def test_reference_tables_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    tensors = {f"emb_l.{f}.weight": torch.ones(2, 2) for f in (10, 2, 0)}
    torch.save(tensors, tmp_path / "a.pt")
    names = open_snapshot(tmp_path / "a.pt").names
    assert names == ["emb_l.0.weight", "emb_l.2.weight", "emb_l.10.weight"]


@pytest.mark.parametrize("suffix", [".pt", ".npy", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"nonsense" * 100])
def test_damaged_files_are_one_clear_line(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\{suffix}: found no readable .* expected plain"):
        open_snapshot(path)


def test_what_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.pt: no such file"):
        open_snapshot(tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"ends in '.csv', expected one of .npy"):
        open_snapshot(tmp_path / "x.csv")
    np.save(tmp_path / "i.npy", np.arange(4))
    with pytest.raises(InputError, match="int64"):
        open_snapshot(tmp_path / "i.npy")
    torch.save({"a": torch.ones(3)}, tmp_path / "flat.pt")
    with pytest.raises(InputError, match="no two-dimensional"):
        open_snapshot(tmp_path / "flat.pt")
