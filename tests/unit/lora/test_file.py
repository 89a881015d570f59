"""An adapter goes to disk and comes back as it was; what is no adapter does not."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lorabench.errors import InputError
from lorabench.lora.file import load_adapter, save_adapter
from lorabench.lora.layout import plan_adapter
from lorabench.lora.learner import Learner, LearnerConfig, Stage
from lorabench.lora.writer import Adapter, AdapterOwner
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.tables import TableLayout, TableSet

LAYOUT = TableLayout((4000, 5000), 8)


def learner(rank: int | None = None) -> tuple[Learner, AdapterOwner]:
    tables = TableSet.create(LAYOUT)
    tables.initialise(np.random.default_rng(0))
    net = DenseNet(DlrmShape(2, 2, 8, (8,), (16,)))
    net.initialise(0)
    state = AdapterOwner(Adapter(plan_adapter(LAYOUT, rank, 1, 0.3)).handle)
    config = LearnerConfig(rank=rank, basis_samples=256)
    return Learner(tables.kernels, net, state, config), state


def trained() -> AdapterOwner:
    learns, state = learner(3)
    rng = np.random.default_rng(1)
    for _ in range(4):
        learns.begin()
        sparse = rng.integers(0, 60, (256, 2)).astype(np.int32)
        dense = rng.standard_normal((256, 2)).astype(np.float32)
        learns.learn(dense, sparse, (sparse[:, 0] % 2).astype(np.int8))
    assert min(state.writer.used) > 20
    return state


def test_an_adapter_comes_back_as_it_was_and_learning_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    state = trained()
    save_adapter(path, state)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]
    again, restored = learner()
    again.resume(load_adapter(path, LAYOUT))
    assert again.stage is Stage.LEARN
    assert restored.writer.rank == [3, 3]
    for f in range(2):
        for mine, theirs in zip(state.writer.arrays(f), restored.writer.arrays(f), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-7)
    assert again.begin()
    rows = np.zeros((256, 2), np.int32)
    assert again.learn(np.zeros((256, 2), np.float32), rows, np.ones(256, np.int8)) is not None


def test_what_is_no_adapter_of_these_tables_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match="no such file"):
        load_adapter(path, LAYOUT)
    path.write_bytes(b"nonsense" * 10)
    with pytest.raises(InputError, match="found no adapter"):
        load_adapter(path, LAYOUT)
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(InputError, match=r"found format None, expected 'lorabench\.adapter/1'"):
        load_adapter(path, LAYOUT)
    save_adapter(path, trained())
    with pytest.raises(InputError, match="D = 8, expected 2 tables with 9,000 rows and D = 16"):
        load_adapter(path, TableLayout(LAYOUT.rows, 16))


@pytest.mark.parametrize("part", ["A", "B", "rows"])
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, part: str) -> None:
    path = tmp_path / "a.safetensors"
    save_adapter(path, trained())
    tensors = load_file(path)
    metadata = {"format": "lorabench.adapter/1", "table_rows": "[4000, 5000]", "dim": "8"}
    for broken in (tensors[f"table.0.{part}"][:-1], tensors[f"table.0.{part}"].astype(np.float64)):
        save_file({**tensors, f"table.0.{part}": np.ascontiguousarray(broken)}, path, metadata)
        with pytest.raises(InputError, match="table 0: found A, B and rows that do not fit"):
            load_adapter(path, LAYOUT)
    lacking = {name: value for name, value in tensors.items() if name != f"table.0.{part}"}
    save_file(lacking, path, metadata)
    with pytest.raises(InputError, match="table 0"):
        load_adapter(path, LAYOUT)
