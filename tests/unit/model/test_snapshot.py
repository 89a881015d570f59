"""Snapshots of tables: what they are called, and which of two belong together."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lorabench.errors import InputError
from lorabench.model.snapshot import Snapshot, open_snapshot, pair

TABLE = torch.arange(12, dtype=torch.float32).reshape(4, 3)


def snapshot(path: Path, *names: str, table: torch.Tensor = TABLE) -> Snapshot:
    torch.save(dict.fromkeys(names, table), path)
    return open_snapshot(path)


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (
            [f"emb_l.{f}.weight" for f in (10, 2, 0)],
            [f"emb_l.{f}.weight" for f in (0, 2, 10)],
        ),
        (["module.emb_l.0.weight"], ["emb_l.0.weight"]),
        (
            [f"model.sparse_arch.ebc.embedding_bags.t_cat_{f}.weight" for f in (10, 9)],
            ["t_cat_9.weight", "t_cat_10.weight"],
        ),
        (["model.emb.user", "model.emb.item"], ["item", "user"]),
        (["model.emb.user.weight"], ["user.weight"]),
        (["a.module.emb", "a.emb"], ["a.emb", "a.module.emb"]),
    ],
)
def test_names_are_short_and_in_the_order_of_their_numbers(
    tmp_path: Path, names: list[str], short: list[str]
) -> None:
    found = snapshot(tmp_path / "a.pt", *names)
    assert found.names == short
    assert {found.found_as(name) for name in short} == set(names)
    np.testing.assert_array_equal(found.read(short[0], 1, 3), TABLE[1:3])
    assert found.shape(short[0]) == (4, 3)


@pytest.mark.parametrize(
    ("olds", "news", "pairs"),
    [
        (["emb_l.0.weight"], ["module.emb_l.0.weight"], [("emb_l.0.weight",) * 3]),
        (
            ["net.emb.user", "net.emb.item"],
            ["state.emb.user", "state.emb.item", "state.emb.shop"],
            [("item",) * 3, ("user",) * 3],
        ),
        (
            ["net.a.user.weight", "net.b.item.weight"],
            ["x.net.a.user.weight"],
            [("user.weight", "a.user.weight", "user.weight")],
        ),
        (["users"], ["people"], [("users", "users", "people")]),
    ],
)
def test_tables_are_paired_whatever_stands_before_their_names(
    tmp_path: Path, olds: list[str], news: list[str], pairs: list[tuple[str, str, str]]
) -> None:
    before, after = snapshot(tmp_path / "a.pt", *olds), snapshot(tmp_path / "b.pt", *news)
    found = pair(before, after)
    assert list(found.pairs) == pairs
    assert len(found.alone) == len(olds) + len(news) - 2 * len(pairs)
    assert len(found.notes) == (olds == ["users"])


def test_tables_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    before = snapshot(tmp_path / "a.pt", "emb.a", "emb.b")
    other = snapshot(tmp_path / "b.pt", "emb.c", "emb.d")
    with pytest.raises(InputError, match=r"b\.pt: found other tables than \S+a\.pt has \(c, d\)"):
        pair(before, other)
    wide = snapshot(tmp_path / "c.pt", "emb.a", "emb.b", table=torch.ones(4, 5))
    with pytest.raises(InputError, match=r"c\.pt: emb\.a: found dim 5, expected 3 as of emb\.a"):
        pair(before, wide)


def test_what_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", np.ones((4, 3), np.int64))
    torch.save({"a": torch.ones(3)}, tmp_path / "flat.pt")
    for name, why in (("i.npy", "of dtype int64"), ("flat.pt", "a vector")):
        with pytest.raises(InputError, match=rf"{name}: found no two-dimensional .*{why}"):
            open_snapshot(tmp_path / name)


def test_a_value_that_is_not_finite_is_found_by_file_table_and_row(tmp_path: Path) -> None:
    bad = TABLE.clone()
    bad[2, 1] = torch.nan
    found = snapshot(tmp_path / "a.pt", "module.users", table=bad)
    with pytest.raises(InputError, match=r"a\.pt: module\.users: found nan in row 2, expected"):
        found.read("users", 1, 4)


def test_the_digest_tells_contents_and_shards_apart(tmp_path: Path) -> None:
    for name, scale in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        for part in range(2):
            np.save(tmp_path / name / f"t{part}.npy", TABLE.numpy() * scale)
    digests = [open_snapshot(tmp_path / name).digest for name in "ab"]
    assert digests[0] != digests[1]
    assert digests[0] == open_snapshot(tmp_path / "a").digest
