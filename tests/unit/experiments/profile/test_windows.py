"""A window's measurements against what training did, and what happens when it diverges."""

import numpy as np
import pytest

from lorabench.experiments.profile.otherwise import OTHERWISE
from lorabench.experiments.profile.windows import DivergedError, MeterConfig, WindowMeter
from lorabench.lora.spectrum import Spectrum, rows_of
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.full import FullTrainer, TrainedModel
from lorabench.model.tables import TableLayout, TableSet
from lorabench.workload.block import Block, dense_features
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
    meter = WindowMeter(
        TrainedModel(tables, net), MeterConfig(batch=500, optimizer=optimizer), spec.dense
    )
    window = meter.window(block)
    assert window.rows == 3000
    assert 0 < window.loss < 1
    for f, (old, new) in enumerate(zip(before, tables.arrays, strict=True)):
        delta = (new - old).astype(np.float64)
        expected = Spectrum.of(delta.T @ delta)
        found = window.tables[f].update
        np.testing.assert_allclose(found.values, expected.values, atol=1e-4 * expected.values[0])
        assert window.tables[f].touched == len(np.unique(rows_of(block.sparse, f, hotness)))


def test_windows_go_on_from_the_accumulators_of_pre_training() -> None:
    moved = []
    for given in (None, 1e4):
        tables, net = model()
        sums = given and [np.full(size, given, np.float32) for size in tables.layout.rows]
        meter = WindowMeter(
            TrainedModel(tables, net, sums or None), MeterConfig(batch=500), SPEC.dense
        )
        moved.append(sum(table.update.energy for table in meter.window(rows(3000)).tables))
        assert not sums or all((one == given).all() for one in sums)
    assert moved[1] < 0.1 * moved[0]


def test_one_window_shows_what_sgd_and_empty_accumulators_would_have_done() -> None:
    # One step, so that what is derived is exact.
    block = rows(500)
    spectra = {}
    for name, optimizer, begun in (
        ("adagrad", "adagrad", 3.0),
        ("sgd", "sgd", None),
        ("adagrad-emptied", "adagrad", None),
    ):
        tables, net = model()
        rng = np.random.default_rng(2)
        sums = begun and [
            (begun * rng.random(size)).astype(np.float32) for size in tables.layout.rows
        ]
        meter = WindowMeter(
            TrainedModel(tables, net, sums or None),
            MeterConfig(batch=500, optimizer=optimizer),
            SPEC.dense,
        )
        spectra[name] = meter.window(block).tables
    for name in ("sgd", "adagrad-emptied"):
        scale = None
        for derived, trained in zip(spectra["adagrad"], spectra[name], strict=True):
            found, expected = derived.otherwise[name], trained.update
            scale = scale or expected.energy / found.energy
            values = found.values * scale
            np.testing.assert_allclose(values, expected.values, atol=1e-2 * expected.values[0])
    assert not spectra["sgd"][0].otherwise
    assert set(spectra["adagrad"][0].otherwise) == set(OTHERWISE)


def test_training_goes_on_as_one_trainer_would() -> None:
    block = rows(1000)
    results = []
    for carried_over in (True, False):
        tables, net = model()
        dense = dense_features(block.dense, SPEC.dense)
        first = FullTrainer(tables, net.freeze())
        first.step(dense[:500], block.sparse[:500], block.label[:500])
        if carried_over:
            given = TrainedModel(tables, net, first.accumulators)
            WindowMeter(given, MeterConfig(batch=500), SPEC.dense).window(block.slice(500, 1000))
        else:
            first.step(dense[500:], block.sparse[500:], block.label[500:])
        results.append(np.concatenate([table.ravel() for table in tables.arrays]))
    np.testing.assert_array_equal(*results)


def test_the_signal_pass_moves_nothing() -> None:
    trained = []
    for samples in (64, 3000):
        tables, net = model()
        config = MeterConfig(batch=500, signal_samples=samples)
        meter = WindowMeter(TrainedModel(tables, net), config, SPEC.dense)
        meter.window(rows(3000))
        trained.append(np.concatenate([table.ravel() for table in tables.arrays]))
    np.testing.assert_array_equal(*trained)


def test_a_rate_that_is_too_high_is_told() -> None:
    tables, net = model()
    config = MeterConfig(batch=500, optimizer="sgd", learning_rate=1e12)
    with pytest.raises(DivergedError, match="lower --learning-rate"):
        WindowMeter(TrainedModel(tables, net), config, SPEC.dense).window(rows(5000))
