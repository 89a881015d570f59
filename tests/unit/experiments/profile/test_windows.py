"""A window's measurements against what training did, and what happens when it diverges."""

import numpy as np
import pytest

from lorabench.experiments.profile.windows import DivergedError, MeterConfig, WindowMeter
from lorabench.lora.spectrum import Spectrum, rows_of
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.tables import TableLayout, TableSet
from lorabench.workload.block import Block
from lorabench.workload.generator import generate_blocks
from lorabench.workload.spec import WorkloadSpec, load_spec

SPEC = load_spec("tiny")


def model(spec: WorkloadSpec = SPEC) -> tuple[TableSet, DenseNet]:
    shape = DlrmShape(spec.num_dense, spec.num_sparse, spec.model.dim, (32,), (32,))
    layout = TableLayout(spec.table_rows, spec.model.dim, spec.sparse.hotness)
    tables = TableSet.create(layout)
    tables.initialise(np.random.default_rng(0))
    net = DenseNet(shape)
    net.initialise(0)
    return tables, net


def rows(n: int, spec: WorkloadSpec = SPEC) -> Block:
    return next(generate_blocks(spec, 0, rows=n, block_rows=n)).by_row()


@pytest.mark.parametrize("preset", ["tiny", "tiny-multihot"])
@pytest.mark.parametrize("optimizer", ["adagrad", "sgd"])
def test_updates_are_what_the_window_moved_the_tables_by(optimizer, preset: str) -> None:
    spec = load_spec(preset)
    tables, net = model(spec)
    block = rows(3000, spec)
    hotness = tables.kernels.hotness
    before = [table.copy() for table in tables.arrays]
    meter = WindowMeter(tables, net, MeterConfig(batch=500, optimizer=optimizer))
    window = meter.window(block)
    assert window.rows == 3000
    assert 0 < window.loss < 1
    for f, (old, new) in enumerate(zip(before, tables.arrays, strict=True)):
        delta = (new - old).astype(np.float64)
        expected = Spectrum.of(delta.T @ delta)
        found = window.tables[f].update
        np.testing.assert_allclose(found.values, expected.values, atol=1e-4 * expected.values[0])
        assert window.tables[f].touched == len(np.unique(rows_of(block.sparse, f, hotness)))


def test_the_signal_pass_moves_nothing() -> None:
    trained = []
    for samples in (64, 3000):
        tables, net = model()
        meter = WindowMeter(tables, net, MeterConfig(batch=500, signal_samples=samples))
        meter.window(rows(3000))
        trained.append(np.concatenate([table.ravel() for table in tables.arrays]))
    np.testing.assert_array_equal(*trained)


def test_a_rate_that_is_too_high_is_told() -> None:
    tables, net = model()
    config = MeterConfig(batch=500, optimizer="sgd", learning_rate=1e12)
    with pytest.raises(DivergedError, match="lower --learning-rate"):
        WindowMeter(tables, net, config).window(rows(5000))
