"""Pre-training: that it learns."""

import numpy as np

from lorabench.model.dlrm import DenseNet, DlrmShape, InferenceNet
from lorabench.model.pretrain import pretrain
from lorabench.model.tables import TableLayout, TableSet
from lorabench.results.quality import normalized_entropy
from lorabench.workload.block import dense_features
from lorabench.workload.generator import generate_blocks
from lorabench.workload.spec import load_spec


def trained(rows: int) -> tuple[TableSet, DenseNet, list[float]]:
    spec = load_spec("tiny")
    block = next(generate_blocks(spec, 0, rows=rows, block_rows=rows)).by_row()
    shape = DlrmShape(
        spec.num_dense, spec.num_sparse, spec.model.dim, spec.model.bottom, spec.model.top
    )
    tables = TableSet.create(TableLayout(spec.table_rows, spec.model.dim))
    tables.initialise(np.random.default_rng(0))
    net = DenseNet(shape)
    net.initialise(0)
    told: list[float] = []
    pretrain(
        tables,
        net,
        dense_features(block.dense, spec.dense),
        block.sparse,
        block.label,
        progress=told.append,
    )
    return tables, net, told


def test_a_pre_trained_model_predicts_unseen_rows_better_than_the_click_rate() -> None:
    tables, net, told = trained(20_000)
    assert told == sorted(told)
    assert told[-1] == 1.0
    fresh = next(generate_blocks(load_spec("tiny"), 0, start=30_000, rows=5_000)).by_row()
    serving = InferenceNet(net.freeze(), len(fresh))
    serving.dense.numpy()[:] = dense_features(fresh.dense, load_spec("tiny").dense)
    tables.kernels.lookup(fresh.sparse, serving.embeddings.numpy())
    entropy = normalized_entropy(fresh.label, serving(len(fresh)).copy())
    assert entropy is not None
    assert entropy < 0.97
