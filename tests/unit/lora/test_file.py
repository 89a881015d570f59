"""An adapter goes to disk and comes back as it was; what is no adapter does not."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lorabench.errors import InputError
from lorabench.lora.file import SavedTable, load_adapter, save_adapter
from lorabench.lora.layout import plan_adapter
from lorabench.lora.learner import Learner, LearnerConfig, Stage
from lorabench.lora.writer import Adapter, AdapterOwner
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.tables import TableLayout, TableSet

LAYOUT = TableLayout((4000, 5000, 6), 8)
BEFORE = Path(__file__).parents[2] / "data/adapter1/three-tables.safetensors"


def learner(rank: int | None = None) -> tuple[Learner, AdapterOwner]:
    tables = TableSet.create(LAYOUT)
    tables.initialise(np.random.default_rng(0))
    net = DenseNet(DlrmShape(2, 3, 8, (8,), (16,)))
    net.initialise(0)
    state = AdapterOwner(Adapter(plan_adapter(LAYOUT, rank, 1, 0.3)).handle)
    config = LearnerConfig(rank=rank, basis_samples=256)
    return Learner(tables.kernels, net, state, config), state


def trained() -> AdapterOwner:
    learns, state = learner(3)
    rng = np.random.default_rng(1)
    for _ in range(4):
        learns.begin()
        sparse = rng.integers(0, (60, 60, 6), (256, 3)).astype(np.int32)
        dense = rng.standard_normal((256, 2)).astype(np.float32)
        learns.learn(dense, sparse, (sparse[:, 0] % 2).astype(np.int8))
    assert min(state.writer.used[:2]) > 20
    assert state.plan.plain == (2,)
    return state


def test_an_adapter_comes_back_as_it_was_and_learning_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    state = trained()
    save_adapter(path, state)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]
    again, restored = learner()
    again.resume(load_adapter(path, LAYOUT))
    assert again.stage is Stage.LEARN
    assert restored.writer.rank == [3, 3, 0]
    for f in range(3):
        mine, theirs = (one.writer.slot_state(f)[0] for one in (state, restored))
        np.testing.assert_array_equal(mine, theirs)
        assert mine.all()
        for mine, theirs in zip(state.writer.arrays(f), restored.writer.arrays(f), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-7)
    assert again.begin()
    rows = np.zeros((256, 3), np.int32)
    assert again.learn(np.zeros((256, 2), np.float32), rows, np.ones(256, np.int8)) is not None


def test_what_is_no_adapter_of_these_tables_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match="no such file"):
        load_adapter(path, LAYOUT)
    path.write_bytes(b"nonsense" * 10)
    with pytest.raises(InputError, match="found no adapter"):
        load_adapter(path, LAYOUT)
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(InputError, match=r"found format None, expected 'lorabench\.adapter/2'"):
        load_adapter(path, LAYOUT)
    save_adapter(path, trained())
    with pytest.raises(InputError, match="D = 8, expected 3 tables with 9,006 rows and D = 16"):
        load_adapter(path, TableLayout(LAYOUT.rows, 16))


METADATA = {"format": "lorabench.adapter/2", "table_rows": "[4000, 5000, 6]", "dim": "8"}


@pytest.mark.parametrize("part", ["A", "B", "rows"])
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, part: str) -> None:
    path = tmp_path / "a.safetensors"
    save_adapter(path, trained())
    tensors = load_file(path)
    broken = np.ascontiguousarray(tensors[f"table.0.{part}"][:-1])
    save_file({**tensors, f"table.0.{part}": broken}, path, METADATA)
    with pytest.raises(InputError, match=r"table 0: found .* do not fit together, expected finite"):
        load_adapter(path, LAYOUT)
    lacking = {name: value for name, value in tensors.items() if name != f"table.0.{part}"}
    save_file(lacking, path, METADATA)
    with pytest.raises(InputError, match="table 0"):
        load_adapter(path, LAYOUT)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("table.0.A", np.zeros((60, 3)), "table.0.A: found dtype F64, expected F32"),
        ("table.0.A", np.zeros((60, 3), np.float16), "table.0.A: found dtype F16, expected F32"),
        ("table.0.rows", np.array(5, np.int32), r"table 0: found A \[60, 3\], .*rows \[\]"),
        ("table.0.A", np.array(1, np.float32), r"table 0: found A \[\], "),
        ("table.0.B", np.array(1, np.float32), r"table 0: found .*B \[\]"),
        ("table.2.delta", np.array(1, np.float32), r"table 2: found .*delta \[\]"),
        ("table.2.delta", np.zeros((5, 8), np.float32), r"expected finite delta \[6, 8\]"),
        ("table.2.A", np.zeros((5, 8), np.float32), "table 2: found .*do not fit together"),
        (
            "table.0.accumulator",
            np.full(60, -1, np.float32),
            "table 0: found .*do not fit together",
        ),
        ("table.0.accumulator", np.full(60, np.nan, np.float32), "do not fit together"),
        (
            "table.7.A",
            np.zeros((1, 1), np.float32),
            "found a tensor 'table.7.A', expected those of",
        ),
        ("other", np.zeros(1, np.float32), "found a tensor 'other', expected those of an adapter"),
    ],
)
def test_tensors_that_are_no_adapters_are_refused_in_one_line(
    tmp_path: Path, name: str, value: np.ndarray, message: str
) -> None:
    path = tmp_path / "a.safetensors"
    save_adapter(path, trained())
    save_file({**load_file(path), name: value}, path, METADATA)
    with pytest.raises(InputError, match=message) as refused:
        load_adapter(path, LAYOUT)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn"])
def test_dtypes_that_numpy_has_not_are_refused_by_name(tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_tensors

    path = tmp_path / "a.safetensors"
    values = torch.zeros(60, 3).to(getattr(torch, dtype))
    save_tensors({"table.0.A": values}, path, METADATA)
    short = {"bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3"}[dtype]
    with pytest.raises(InputError, match=f"table.0.A: found dtype {short}, expected F32"):
        load_adapter(path, LAYOUT)


@pytest.mark.parametrize(
    "rows",
    [
        "[1e999]",
        "[4000.0, 5000, 6]",
        "[" * 100_000,
        "[]",
        "5",
        "null",
        '["a"]',
        "[[1]]",
        "{",
        '{"a": 1}',
        "[4000, 5000]",
    ],
)
def test_metadata_that_says_nothing_of_these_tables_is_refused(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "a.safetensors"
    save_file({}, path, {**METADATA, "table_rows": rows})
    with pytest.raises(InputError, match=r"found (no adapter \(table_rows|an adapter of 2 tables)"):
        load_adapter(path, LAYOUT)


def test_a_file_of_the_format_before_small_tables_had_deltas_is_read() -> None:
    saved = load_adapter(BEFORE, LAYOUT)
    assert sorted(saved) == [0, 1]
    assert not any(table.accumulator.any() for table in saved.values())
    again, restored = learner()
    again.resume(saved)
    for f, table in saved.items():
        A, B, rows = restored.writer.arrays(f)
        assert B is not None
        np.testing.assert_array_equal(rows, table.rows)
        np.testing.assert_allclose(A @ B, table.A @ table.B, atol=1e-7)
    assert len(restored.writer.arrays(2)[0]) == 0
    # What is known of no accumulator starts as a new slot does, and not with a kick.
    assert again.begin()
    rows = np.zeros((256, 3), np.int32)
    rows[:, :2] = [table.rows[0] for table in saved.values()]
    assert again.learn(np.zeros((256, 2), np.float32), rows, np.ones(256, np.int8)) is not None
    assert restored.writer.slot_state(0)[0][0] > 0


def test_a_delta_goes_where_there_are_slots_and_an_adapter_where_there_is_a_delta() -> None:
    rng = np.random.default_rng(0)
    rows = np.arange(6, dtype=np.int32)
    delta = rng.standard_normal((6, 8)).astype(np.float32)
    plain = SavedTable(delta, None, rows, np.ones(6, np.float32))
    reduced = plain.low_rank(3)
    assert reduced.B is not None
    left, values, right = np.linalg.svd(delta)
    best = left[:, :3] * values[:3] @ right[:3]
    np.testing.assert_allclose(reduced.A @ reduced.B, best, atol=1e-5)
    np.testing.assert_allclose(reduced.B @ reduced.B.T, np.eye(3), atol=1e-5)
    some = SavedTable(reduced.A[2:4], reduced.B, rows[2:4], np.array([5, 6], np.float32))
    whole, sums = some.full_rank(6)
    np.testing.assert_allclose(whole[2:4], best[2:4], atol=1e-5)
    assert not whole[[0, 1, 4, 5]].any()
    np.testing.assert_array_equal(sums, [0, 0, 5, 6, 0, 0])
