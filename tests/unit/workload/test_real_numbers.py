"""Real numbers in the columns of a file: kept, and made inputs of the model by their transforms."""

from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from lorabench.errors import InputError
from lorabench.workload import columns as columns_module
from lorabench.workload import ingest as ingest_module
from lorabench.workload.block import Block, dense_features
from lorabench.workload.column_map import ColumnMap
from lorabench.workload.columns import ColumnsInput
from lorabench.workload.generator import generate_blocks
from lorabench.workload.ingest import base_for, ingest
from lorabench.workload.like import fit_spec, sample_blocks
from lorabench.workload.spec import WorkloadSpec, load_spec
from lorabench.workload.store import Store

REAL = ColumnMap(
    label="y",
    dense=("rate", "temp", "n"),
    sparse=("u",),
    transform={"rate": "identity", "temp": "standardise"},
)


def real_rows(rows: int = 400) -> bytes:
    lines = (
        b"%d,%.2f,%.1f,%d,u%d\n" % (i % 2, i % 100 / 100, 20 + (i % 41 - 20) / 4, i % 9 - 1, i % 50)
        for i in range(rows)
    )
    return b"y,rate,temp,n,u\n" + b"".join(lines)


def csv_of(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_bytes(real_rows())
    return path


def test_real_numbers_are_kept_and_become_inputs_by_the_transform_of_their_column(
    tmp_path: Path,
) -> None:
    source = ColumnsInput([csv_of(tmp_path)], REAL)
    assert source.transforms == ("identity", "standardise", "log1p")
    manifest = ingest(tmp_path / "out", source, base_for(load_spec("tiny"), source, 1000))
    store = Store.open(tmp_path / "out")
    found = Block.concat(list(store.blocks()))
    rate = np.array([i % 100 / 100 for i in range(400)], np.float32)
    np.testing.assert_array_equal(found.dense[:, 0], rate)
    assert found.dense[12, 0] == np.float32(0.12)
    temp = found.dense[:, 1].astype(np.float64)
    spec = store.spec.dense
    assert spec.transform == source.transforms
    assert (spec.mean[1], spec.deviation[1]) == (
        pytest.approx(temp.mean()),
        pytest.approx(temp.std()),
    )
    features = dense_features(found.dense, spec)
    np.testing.assert_array_equal(features[:, 0], rate)
    assert (features[:, 1].mean(), features[:, 1].std()) == (
        pytest.approx(0, abs=1e-5),
        pytest.approx(1, abs=1e-5),
    )
    np.testing.assert_array_equal(features[:, 2], np.log1p(np.maximum(found.dense[:, 2], 0)))
    (note,) = manifest.notes
    assert note.startswith("column n: numbers below 0 become 0 as inputs of the model")
    assert note.endswith("(45)")


def test_moments_are_the_same_whether_or_not_a_run_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "_CHUNKS_A_PART", 1)
    monkeypatch.setattr(columns_module, "_BATCH_ROWS", 100)
    path = tmp_path / "rows.parquet"
    pq.write_table(pyarrow.csv.read_csv(csv_of(tmp_path)), path)
    source = ColumnsInput([path], REAL)
    base = base_for(load_spec("tiny"), source, 1000)
    whole = ingest(tmp_path / "whole", source, base)
    assert len(whole.parts) == 4
    write_rows, calls = ingest_module.write_rows, iter(range(9))

    def killed(*arguments: object) -> int:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return write_rows(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ingest_module, "write_rows", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(tmp_path / "out", source, base)
    assert ingest(tmp_path / "out", source, base) == whole


def test_transforms_that_the_map_leaves_to_the_preset_are_the_presets(tmp_path: Path) -> None:
    columns = REAL.model_copy(update={"transform": None})
    source = ColumnsInput([csv_of(tmp_path)], columns)
    base = base_for(load_spec("tiny"), source, 1000)
    content = base.model_dump()
    content["dense"].update(transform="standardise", mean=5.0, deviation=2.0)
    manifest = ingest(tmp_path / "out", source, type(base).model_validate(content))
    assert manifest.spec.dense.mean == (5.0, 5.0, 5.0)


def test_transforms_of_a_preset_with_other_columns_are_not_dropped_without_a_word(
    tmp_path: Path,
) -> None:
    preset = load_spec("tiny")
    content = preset.model_dump()
    content["dense"]["transform"] = "identity"
    preset = type(preset).model_validate(content)
    source = ColumnsInput([csv_of(tmp_path)], REAL.model_copy(update={"transform": None}))
    words = "tiny: found transforms of 13 dense columns, expected those of the 3 of rows.csv"
    with pytest.raises(InputError, match=words):
        base_for(preset, source, 1000)
    said = ColumnsInput([csv_of(tmp_path)], REAL)
    assert base_for(preset, said, 1000).dense.counts


def test_a_fit_to_a_sample_keeps_the_transforms_of_its_base() -> None:
    content = load_spec("tiny").model_dump()
    content["dense"]["transform"] = "identity"
    base = WorkloadSpec.model_validate(content)
    fitted = fit_spec(sample_blocks(generate_blocks(base, 0, rows=500)), base, "fitted")
    assert fitted.dense.transform == ("identity",) * 13
