"""FBGEMM's training as an independent oracle of ours, from the same start on the same batches."""

import numpy as np
import pytest
from strategy_contract import BUDGET

from lorabench.errors import InputError
from lorabench.model import fbgemm
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.full import TrainedModel
from lorabench.model.tables import TableLayout, TableSet
from lorabench.strategies.deployment import Deployment
from lorabench.strategies.fbgemm import FbgemmIdeal
from lorabench.strategies.ideal import Ideal
from lorabench.strategies.registry import parse
from lorabench.updates.cluster import TrainingCluster

ROWS, BATCH = (700, 5, 1301), 512


def model(dim: int, hotness: tuple[int, ...], sums: float | None) -> TrainedModel:
    rng = np.random.default_rng(3)
    tables = TableSet.create(TableLayout(ROWS, dim, hotness))
    for table in tables.arrays:
        table[:] = 0.3 * rng.standard_normal(table.shape)
    net = DenseNet(DlrmShape(2, len(ROWS), dim, (8,), (16,)))
    net.initialise(0)
    given = None if sums is None else [rng.exponential(sums, n).astype(np.float32) for n in ROWS]
    return TrainedModel(tables, net, given)


def batches(layout: TableLayout, number: int):
    rng = np.random.default_rng(4)
    columns = np.repeat(ROWS, layout.hotness or 1)
    for _ in range(number):
        # Some ids often, so that many a batch and a bag has them twice.
        sparse = (columns * rng.random((BATCH, layout.columns)) ** 3).astype(np.int32)
        dense = rng.standard_normal((BATCH, 2)).astype(np.float32)
        yield dense, sparse, (sparse[:, 0] % 2).astype(np.int8)


def state(cluster: TrainingCluster) -> list[np.ndarray]:
    return [*cluster.tables.arrays, *cluster._trainer.accumulators]  # type: ignore[attr-defined]


@pytest.mark.usefixtures("with_fbgemm")
@pytest.mark.parametrize("sums", [None, 1.0], ids=["from zero", "from accumulators"])
@pytest.mark.parametrize("hotness", [(), (3, 1, 2)], ids=["one-hot", "multi-hot"])
@pytest.mark.parametrize("dim", [4, 16])
def test_fbgemm_learns_what_ours_learns(
    dim: int, hotness: tuple[int, ...], sums: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Windows end within these few batches, so that the decay of the accumulators is held to it too.
    monkeypatch.setattr("lorabench.updates.cluster.WINDOW", 3 * BATCH)
    start = model(dim, hotness, sums)
    homes = [Deployment(start, BUDGET) for _ in range(2)]
    strategies = [
        parse(name).make(home) for name, home in zip(("ideal", "ideal-fbgemm"), homes, strict=True)
    ]
    assert [type(one) for one in strategies] == [Ideal, FbgemmIdeal]
    ours, theirs = (home.clusters[0] for home in homes)
    for mine, other in zip(state(ours), state(theirs), strict=True):
        np.testing.assert_array_equal(mine, other)
    base = [array.copy() for array in state(ours)]
    for batch in batches(start.tables.layout, 10):
        for cluster in (ours, theirs):
            cluster.learn(*batch)
    for mine, other, before in zip(state(ours), state(theirs), base, strict=True):
        assert (mine != before).any(), "nothing was learned"
        np.testing.assert_allclose(mine, other, rtol=2e-4, atol=2e-5)
    dense, sparse, _ = next(batches(start.tables.layout, 1))
    served = [strategy.predict(dense, sparse) for strategy in strategies]
    np.testing.assert_allclose(*served, rtol=1e-3, atol=1e-3)
    for home in homes:
        home.close()


@pytest.mark.usefixtures("with_fbgemm")
def test_a_dim_that_fbgemm_has_no_rows_of_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^--dim: found 6, expected a multiple of 4") as caught:
        parse("ideal-fbgemm").make(Deployment(model(6, (), None), BUDGET))
    assert "\n" not in str(caught.value)


def test_where_fbgemm_is_missing_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fbgemm, "unavailable", lambda: "fbgemm-gpu-cpu is not installed")
    words = "^--strategies: found ideal-fbgemm, but fbgemm-gpu-cpu is not installed; expected the"
    with pytest.raises(InputError, match=f"{words} optional extra fbgemm"):
        parse("ideal-fbgemm")
    assert parse("ideal").kind is Ideal
