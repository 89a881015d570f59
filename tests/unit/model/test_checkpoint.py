"""Checkpoints: round trip, the reference's names, and what is refused."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_dlrm import ReferenceDlrm
from torch import Tensor

from lorabench.errors import InputError
from lorabench.model.checkpoint import load_checkpoint, save_checkpoint
from lorabench.model.dlrm import DenseNet, DlrmShape, InferenceNet
from lorabench.model.full import TrainedModel
from lorabench.model.tables import TableLayout, TableSet

SHAPE = DlrmShape(num_dense=4, num_sparse=3, dim=8, bottom=(6,), top=(10, 5))
LAYOUT = TableLayout((5, 17, 2), 8)


def model() -> tuple[TableSet, DenseNet]:
    tables, net = TableSet.create(LAYOUT), DenseNet(SHAPE)
    tables.initialise(np.random.default_rng(0))
    net.initialise(0)
    return tables, net


def reference_state() -> dict[str, torch.Tensor]:
    """What the reference DLRM calls its parameters: linear layers are the even ones."""
    sizes = {"bot_l": [4, 6, 8], "top_l": [8 + 6, 10, 5, 1]}
    state = {f"emb_l.{f}.weight": torch.randn(v, 8) for f, v in enumerate(LAYOUT.rows)}
    for name, widths in sizes.items():
        for i, (width, following) in enumerate(pairwise(widths)):
            state[f"{name}.{2 * i}.weight"] = torch.randn(following, width)
            state[f"{name}.{2 * i}.bias"] = torch.randn(following)
    return state


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    tables, net = model()
    save_checkpoint(tmp_path / "model.pt", TrainedModel(tables, net))
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]
    found = load_checkpoint(tmp_path / "model.pt")
    assert (found.layout, found.shape) == (LAYOUT, SHAPE)
    other, blank = TableSet.create(LAYOUT), DenseNet(SHAPE)
    found.load_into(other, blank)
    for a, b in zip(tables.arrays, other.arrays, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(net.parameters(), blank.parameters(), strict=True):
        assert torch.equal(a, b)
    assert found.load_accumulators() is None


def test_accumulators_are_saved_with_a_model_that_has_them(tmp_path: Path) -> None:
    sums = [np.arange(rows, dtype=np.float32) for rows in LAYOUT.rows]
    save_checkpoint(tmp_path / "model.pt", TrainedModel(*model(), sums))
    found = load_checkpoint(tmp_path / "model.pt").load_accumulators()
    assert found is not None
    for a, b in zip(found, sums, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.flags.writeable


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_checkpoint_of_the_reference_dlrm_is_read(tmp_path: Path, wrapped: bool) -> None:
    state = reference_state()
    torch.save({"iter": 3, "state_dict": state} if wrapped else state, tmp_path / "ref.pt")
    found = load_checkpoint(tmp_path / "ref.pt")
    assert (found.layout, found.shape) == (LAYOUT, SHAPE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("bot_l.0.bias"), "found no tensor bot_l.0.bias, expected one"),
        (lambda s: s.update({"emb_l.1.weight": torch.zeros(17, 9)}), r"found shape \[17, 9\]"),
        (lambda s: s.update({"top_l.0.weight": torch.zeros(10, 3)}), r"expected \[any, 14\]"),
        (lambda s: s.update({"top_l.4.bias": torch.zeros(1).long()}), "found torch.int64"),
        (lambda s: s.update({"emb_l.1.weight": torch.ones(17, 8).char()}), "weight_qscaleshift"),
        (lambda s: s.update({"emb_l.1.weight": torch.ones(0, 8)}), r"found shape \[0, 8\]"),
        (lambda s: s.pop("emb_l.0.weight"), "found no tensor emb_l.0.weight"),
        (lambda s: s.pop("bot_l.2.weight"), "found no tensor bot_l.2.weight, expected one"),
        (lambda s: s.update({"emb_l.1.weight": s["emb_l.1.weight"].to("meta")}), "of device meta"),
        (lambda s: s.update({"module.emb_l.1.weight": torch.ones(17, 8)}), "found both emb_l.1"),
        (lambda s: s.update({"ema.emb_l.0.weight": s["emb_l.0.weight"]}), "of 2 models"),
        (lambda s: s.update({"emb_l.1.weight_q": torch.ones(4, 8)}), "quotient-remainder"),
        (lambda s: s.update({"emb_l.1.proj.weight": torch.ones(8, 8)}), "mixed-dimension"),
        (lambda s: s.update({"inter_arch.crossnet.bias": torch.ones(8)}), "DCN or projection"),
        (lambda s: s.update({"v_W_l.0": torch.ones(5)}), "found no tensor v_W_l.1, expected one"),
        (lambda s: s.update({f"v_W_l.{f}": torch.ones(5) for f in range(3)}), r"expected \[17\]"),
        (lambda s: s["bot_l.2.bias"].__setitem__(3, torch.inf), "bot_l.2.bias: found inf in row 3"),
        (
            lambda s: s.update({"emb_l.0.accumulator": torch.zeros(5)}),
            "found no tensor emb_l.1.accumulator, expected one",
        ),
        (
            lambda s: s.update({f"emb_l.{f}.accumulator": torch.zeros(5) for f in range(3)}),
            r"emb_l.1.accumulator: found shape \[5\], expected \[17\]",
        ),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused_in_one_line(
    tmp_path: Path, change, message: str
) -> None:
    state = reference_state()
    change(state)
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(InputError, match=message) as caught:
        load_checkpoint(tmp_path / "bad.pt")
    assert "\n" not in str(caught.value)
    assert "bad.pt" in str(caught.value)


def loaded(path: Path) -> tuple[TableSet, DenseNet]:
    found = load_checkpoint(path)
    tables, net = TableSet.create(found.layout), DenseNet(found.shape)
    found.load_into(tables, net)
    return tables, net


def predicted(path: Path, dense: Tensor, ids: Tensor) -> Tensor:
    """What a server answers: rows by the kernels, then the serving form of the net."""
    tables, net = loaded(path)
    serving = InferenceNet(net.freeze(), len(dense))
    serving.dense[:] = dense
    tables.kernels.lookup(ids.int().numpy(), serving.embeddings.numpy())
    return torch.from_numpy(serving(len(dense)).copy())


ROWS = [40, 7, 300]


def examples(count: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    dense = torch.rand(count, 4, generator=generator)
    ids = [torch.randint(0, rows, (count,), generator=generator) for rows in ROWS]
    return dense, torch.stack(ids, 1)


@pytest.mark.parametrize(
    ("how", "interaction"),
    [
        ({}, "dot"),
        ({"itself": True}, "dot-itself"),
        ({"op": "cat"}, "cat"),
        ({"weighted": True}, "dot"),
    ],
)
@pytest.mark.parametrize("saved_as", ["--save-model", "DataParallel", "compiled, nested"])
def test_predictions_are_those_of_the_reference_itself(
    tmp_path: Path, how: dict[str, Any], interaction: str, saved_as: str
) -> None:
    reference = ReferenceDlrm(ROWS, 4, 8, top=(12, 6), **how)
    state: dict[str, Any] = reference.state_dict()
    if saved_as == "--save-model":
        saved = {"state_dict": state, "test_acc": np.float64(0.79), "train_loss": np.float32(0.4)}
    elif saved_as == "DataParallel":
        saved = {"state_dict": {f"module.{name}": value for name, value in state.items()}}
    else:
        saved = {"model": {"net": {f"_orig_mod.{name}": value for name, value in state.items()}}}
    torch.save(saved, tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt").shape.interaction == interaction
    dense, ids = examples()
    expected = torch.from_numpy(reference.predict(dense, ids))
    assert float((predicted(tmp_path / "a.pt", dense, ids) - expected).abs().max()) < 1e-5
    remarks = " ".join(load_checkpoint(tmp_path / "a.pt").remarks)
    assert ("v_W_l) are multiplied into them" in remarks) == ("weighted" in how)


def test_a_width_that_two_interactions_have_is_said(tmp_path: Path) -> None:
    torch.save(ReferenceDlrm([5, 6, 7], 4, 2).state_dict(), tmp_path / "a.pt")
    found = load_checkpoint(tmp_path / "a.pt")
    assert found.shape.interaction == "dot"
    assert any("--arch-interaction-op=cat, the top MLP would be" in one for one in found.remarks)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tables_of_other_precisions_are_served_as_fp32(tmp_path: Path, dtype: torch.dtype) -> None:
    state = reference_state()
    state["emb_l.1.weight"] = state["emb_l.1.weight"].to(dtype)
    torch.save(state, tmp_path / "a.pt")
    tables, _ = loaded(tmp_path / "a.pt")
    np.testing.assert_array_equal(tables.arrays[1], state["emb_l.1.weight"].float().numpy())
    name = str(dtype).removeprefix("torch.")
    (remark,) = load_checkpoint(tmp_path / "a.pt").remarks
    assert remark == f"a.pt: 1 of 3 tables are of {name}, and served as fp32"


@pytest.mark.parametrize("bad", [torch.nan, -torch.inf, 1e300])
def test_a_value_that_is_not_finite_is_found_by_table_and_row(tmp_path: Path, bad: float) -> None:
    state = reference_state()
    state["emb_l.1.weight"] = state["emb_l.1.weight"].double()
    state["emb_l.1.weight"][11, 3] = bad
    torch.save(state, tmp_path / "a.pt")
    found = load_checkpoint(tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt: emb_l\.1\.weight: found -?(nan|inf) in row 11,"):
        found.load_into(TableSet.create(found.layout), DenseNet(found.shape))
    with pytest.raises(InputError, match="in row 11"):
        found.check_values()


def test_what_is_no_part_of_a_model_is_said(tmp_path: Path) -> None:
    saved = {
        "state_dict": {**reference_state(), "users": torch.ones(4, 8)},
        "opt_state_dict": {"state": {0: {"sum": torch.ones(5, 8)}}},
    }
    torch.save(saved, tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt").remarks == (
        "a.pt: left out state_dict.users (no part of a DLRM)",
        "a.pt: left out opt_state_dict.state.0.sum (of an optimiser)",
    )


def torchrec_dlrm(names: list[str]) -> tuple[Any, Any]:
    """TorchRec's own DLRM, and what its predictions are for ids [B, F]."""
    pytest.importorskip("torchrec", reason="make install brings torchrec")
    from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor
    from torchrec.models.dlrm import DLRM

    torch.manual_seed(0)
    configs = [
        EmbeddingBagConfig(
            name=name, embedding_dim=8, num_embeddings=rows, feature_names=[f"f_{name}"]
        )
        for name, rows in zip(names, ROWS, strict=True)
    ]
    bags = EmbeddingBagCollection(tables=configs, device=torch.device("cpu"))
    model = DLRM(
        bags, dense_in_features=4, dense_arch_layer_sizes=[16, 8], over_arch_layer_sizes=[12, 6, 1]
    )

    def predict(dense: Tensor, ids: Tensor) -> Tensor:
        features = KeyedJaggedTensor(
            keys=[f"f_{name}" for name in names],
            values=ids.t().reshape(-1),
            lengths=torch.ones(ids.numel(), dtype=torch.long),
        )
        return torch.sigmoid(model(dense, features)).squeeze(1).detach()

    return model, predict


@pytest.mark.parametrize("form", ["torch.save", "distributed", "torchsnapshot"])
@pytest.mark.parametrize("names", [["t_cat_0", "t_cat_1", "t_cat_2"], ["user", "ad", "site"]])
def test_predictions_are_those_of_torchrecs_dlrm(
    tmp_path: Path, form: str, names: list[str]
) -> None:
    model, predict = torchrec_dlrm(names)
    path = tmp_path / "a"
    if form == "torch.save":
        state = {f"_dmp_wrapped_module.module.{n}": v for n, v in model.state_dict().items()}
        torch.save({"model": state}, path)
    elif form == "distributed":
        import torch.distributed.checkpoint as dcp

        with pytest.warns(UserWarning, match="single process"):
            dcp.save({"model": model.state_dict()}, checkpoint_id=path, no_dist=True)
    else:
        torchsnapshot = pytest.importorskip("torchsnapshot", reason="make install brings it")
        torchsnapshot.Snapshot.take(str(path), {"model": model})
    dense, ids = examples()
    assert float((predicted(path, dense, ids) - predict(dense, ids)).abs().max()) < 1e-5
    assumed = any("in the order of the file" in one for one in load_checkpoint(path).remarks)
    assert assumed == (names[0] == "user")
