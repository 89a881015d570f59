"""Checkpoints: round trip, the reference's names, and what is refused."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from lorabench.errors import InputError
from lorabench.model.checkpoint import load_checkpoint, save_checkpoint
from lorabench.model.dlrm import DenseNet, DlrmShape
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
        (lambda s: s.update({"top_l.4.bias": torch.zeros(1).double()}), "torch.float64"),
        (lambda s: s.clear(), "found no tensor emb_l.0.weight"),
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


class Payload:
    """Unpickles to a call: a checkpoint that would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must not run",)


def test_what_is_no_checkpoint_of_plain_tensors_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.save({"emb_l.0.weight": Payload()}, tmp_path / "code.pt")
    (tmp_path / "text.pt").write_text("not a checkpoint\n")
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")
    whole = tmp_path / "whole.pt"
    torch.save(reference_state(), whole)
    (tmp_path / "cut.pt").write_bytes(whole.read_bytes()[:-200])
    for name in ("code", "text", "empty", "list", "cut", "absent"):
        with pytest.raises(InputError, match="expected") as caught:
            load_checkpoint(tmp_path / f"{name}.pt")
        assert "\n" not in str(caught.value)
    assert "must not run" not in capfd.readouterr().out
