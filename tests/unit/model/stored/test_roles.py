"""What is a table, what is not, and what a quantised one holds."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lorabench.errors import InputError
from lorabench.model.stored.dlrm import find_parts
from lorabench.model.stored.opening import open_stored
from lorabench.model.stored.roles import Roles, find_tables
from lorabench.model.stored.tensors import Stored, StoredTensor, plain, printable

TABLE = torch.linspace(-1, 1, 160).reshape(20, 8)


def roles(tmp_path: Path, **tensors: Tensor) -> Roles:
    torch.save(tensors, tmp_path / "a.pt")
    return find_tables(open_stored(tmp_path / "a.pt"))


@pytest.mark.parametrize(
    ("tensors", "tables", "reasons"),
    [
        ({"users": TABLE, "items": TABLE}, {"users", "items"}, set()),
        (
            {"emb_l.0.weight": TABLE, "bot_l.0.weight": TABLE, "other": TABLE},
            {"emb_l.0.weight"},
            {"of a dense layer", "not called a table, as others there are"},
        ),
        (
            {
                "model.sparse_arch.ebc.embedding_bags.t_cat_0.weight": TABLE,
                "model.dense_arch.model._mlp.0._linear.weight": TABLE,
                "model.dense_arch.model._mlp.0._linear.bias": torch.ones(20),
                "model.over_arch.model.1.weight": TABLE,
            },
            {"model.sparse_arch.ebc.embedding_bags.t_cat_0.weight"},
            {"of a dense layer"},
        ),
        (
            {"a.weight": TABLE, "b.weight": TABLE, "b.bias": torch.ones(20)},
            {"a.weight"},
            {"of a dense layer", "a vector"},
        ),
        (
            {"users": TABLE, "optimizer.state.0.sum": TABLE, "users.momentum1": TABLE},
            {"users"},
            {"of an optimiser"},
        ),
        (
            {"emb_l.0.weight": TABLE, "emb_l.1.weight_q": TABLE, "emb_l.1.weight_r": TABLE},
            {"emb_l.0.weight"},
            {"half of a quotient-remainder embedding, whose rows are made of two"},
        ),
        (
            {"users": TABLE, "ids": TABLE.long(), "cube": torch.ones(2, 2, 2)},
            {"users"},
            {"of dtype int64", "of shape [2, 2, 2]"},
        ),
        (
            {"users": TABLE, "void": torch.ones(3, 2, device="meta")},
            {"users"},
            {"of device meta: a shape without values"},
        ),
    ],
)
def test_tables_are_told_from_all_else_and_the_rest_is_said(
    tmp_path: Path, tensors: dict[str, Tensor], tables: set[str], reasons: set[str]
) -> None:
    found = roles(tmp_path, **tensors)
    assert set(found.tables) == tables
    assert {one.name for one in found.left_out} == set(tensors) - tables
    assert {one.why for one in found.left_out} == reasons


def test_bytes_without_scales_are_no_table(tmp_path: Path) -> None:
    found = roles(tmp_path, users=TABLE, items=torch.ones(4, 12, dtype=torch.uint8))
    assert set(found.tables) == {"users"}
    assert "uint8 without weight_qscale or weight_qscaleshift beside it" in found.left_out[0].why


Q = (TABLE * 100).round().to(torch.int8)
U = (TABLE * 100 + 128).round().to(torch.uint8)
SCALES = torch.linspace(0.01, 0.03, 20)
SHIFTS = torch.linspace(-1.5, -0.5, 20)
HALVES = torch.stack([SCALES, SHIFTS], 1).half()


@pytest.mark.parametrize(
    ("name", "stored", "beside", "values"),
    [
        ("emb_l.0.weight", Q, {"emb_l.0.scale": SCALES[:, None]}, Q * SCALES[:, None]),
        ("users", Q, {"users_scale": SCALES}, Q * SCALES[:, None]),
        ("t.weight", Q, {"t.weight_scale": torch.tensor(0.5)}, Q * 0.5),
        (
            "t.weight",
            U,
            {"t.scales": SCALES, "t.zero_points": SHIFTS.mul(10).round().int()},
            (U.float() - SHIFTS.mul(10).round()[:, None]) * SCALES[:, None],
        ),
        (
            "embedding_bags.t.weight",
            U,
            {"embedding_bags.t.weight_qscaleshift": HALVES},
            U * HALVES[:, :1].float() + HALVES[:, 1:].float(),
        ),
        (
            "embedding_bags.t.weight",
            U,
            {"embedding_bags.t.weight_qscaleshift": HALVES.view(torch.uint8)},
            U * HALVES[:, :1].float() + HALVES[:, 1:].float(),
        ),
        (
            "embedding_bags.t.weight",
            U,
            {
                "embedding_bags.t.weight_qscale": HALVES[:, :1].clone(),
                "embedding_bags.t.weight_qbias": HALVES[:, 1:].clone().view(torch.uint8),
            },
            U * HALVES[:, :1].float() + HALVES[:, 1:].float(),
        ),
    ],
)
def test_tables_that_were_quantised_by_rows_are_dequantised(
    tmp_path: Path, name: str, stored: Tensor, beside: dict[str, Tensor], values: Tensor
) -> None:
    found = roles(tmp_path, **{name: stored, **beside})
    assert found.left_out == []
    assert list(found.tables) == [name]
    table = found.tables[name]
    assert table.form in ("row-wise int8", "row-wise uint8")
    torch.testing.assert_close(table.whole(), values)
    torch.testing.assert_close(table.rows(3, 9), values[3:9])


def test_fbgemms_own_rows_are_read(tmp_path: Path) -> None:
    pytest.importorskip("fbgemm_gpu", reason="the extra fbgemm is not installed")
    fused = torch.ops.fbgemm.FloatToFused8BitRowwiseQuantized(TABLE)
    tensors = {
        "embedding_bags.t.weight": fused[:, :8].clone(),
        "embedding_bags.t.weight_qscaleshift": fused[:, 8:].clone(),
    }
    found = roles(tmp_path, **tensors).tables["embedding_bags.t.weight"].whole()
    torch.testing.assert_close(found, torch.ops.fbgemm.Fused8BitRowwiseQuantizedToFloat(fused))


def test_scales_that_do_not_fit_are_said(tmp_path: Path) -> None:
    tensors = {"users": TABLE, "t.weight": Q, "t.scale": torch.ones(19)}
    found = roles(tmp_path, **tensors)
    assert set(found.tables) == {"users"}
    (left,) = found.left_out
    assert left.name == "t.weight"
    assert left.why == "its scales have shape [19], expected 1 for each of 20 rows"


WORDS = [
    *("module", "state_dict", "emb_l", "emb", "users", "embedding_bags", "t_cat_1", "weight"),
    *("weight_qscaleshift", "scale", "zero_point", "bot_l", "top_l", "bias", "0", "2", "v_W_l"),
    *("optim", "momentum1", "dense_arch", "over_arch", "weight_q", "_orig_mod", "proj"),
]
SHAPES = [(), (4,), (4, 2), (4, 1), (2, 4), (0, 2), (2, 2, 2)]
DTYPES = [torch.float32, torch.float16, torch.int8, torch.uint8, torch.int64]


def stored_tensors() -> st.SearchStrategy[StoredTensor]:
    def make(shape: tuple[int, ...], dtype: torch.dtype) -> StoredTensor:
        tensor = plain(torch.ones(shape, dtype=dtype))
        assert isinstance(tensor, StoredTensor)
        return tensor

    return st.builds(make, st.sampled_from(SHAPES), st.sampled_from(DTYPES))


NAMES = st.lists(st.sampled_from(WORDS) | st.text(max_size=3), min_size=1, max_size=4).map(
    lambda words: printable(".".join(words))
)


@settings(max_examples=50)
@given(st.dictionaries(NAMES, stored_tensors(), max_size=12))
def test_every_tensor_is_a_table_or_its_scales_or_said_to_be_left_out(
    tensors: dict[str, StoredTensor],
) -> None:
    found = find_tables(Stored(Path("a"), "a file", tensors))
    left = [one.name for one in found.left_out]
    assert len(set(left)) == len(left)
    assert not set(left) & set(found.tables)
    for table in found.tables.values():
        assert len(table.shape) == 2
        assert table.whole().is_floating_point()
    quantised = [name for name in found.tables if found.tables[name].stored_as]
    for name in set(tensors) - set(found.tables) - set(left):
        assert quantised or any(one.why.startswith("its scales") for one in found.left_out), name


@settings(max_examples=50)
@given(st.dictionaries(NAMES, stored_tensors(), max_size=12))
def test_a_dlrm_is_found_or_refused_in_one_line(tensors: dict[str, StoredTensor]) -> None:
    said = ""
    try:
        find_parts(Stored(Path("a"), "a file", tensors))
    except InputError as error:
        said = str(error)
    assert said.isprintable(), said
