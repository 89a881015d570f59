"""Which strategies there are, and that each learns as its name says."""

import numpy as np
import pytest

from lorabench.errors import InputError
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.tables import TableLayout, TableSet
from lorabench.strategies.base import StrategySpec, make


@pytest.mark.parametrize(
    ("name", "learns", "rank", "basis"),
    [
        ("none", False, None, "pca"),
        ("ideal", True, None, "pca"),
        ("lora", True, None, "pca"),
        ("lora-r8", True, 8, "pca"),
        ("lora-r4-random", True, 4, "random"),
    ],
)
def test_names_are_read(name, learns, rank, basis) -> None:
    arm = StrategySpec.parse(name)
    assert (arm.learns, arm.rank, arm.basis) == (learns, rank, basis)


@pytest.mark.parametrize("name", ["", "lora-", "lora-rx", "lora-random", "full", "LORA"])
def test_other_names_are_refused(name) -> None:
    with pytest.raises(InputError, match=f"--strategies: found '{name}', expected some of none"):
        StrategySpec.parse(name)


@pytest.mark.parametrize("hotness", [(), (3, 1)])
@pytest.mark.parametrize("name", ["none", "ideal", "lora", "lora-r2"])
def test_the_base_stays_and_what_is_served_moves_if_it_learns(name, hotness) -> None:
    rng = np.random.default_rng(0)
    tables = TableSet.create(TableLayout((2000, 2000), 8, hotness))
    for table in tables.arrays:
        table[:] = 0.3 * rng.standard_normal(table.shape)
    before = [table.copy() for table in tables.arrays]
    net = DenseNet(DlrmShape(2, 2, 8, (8,), (16,)))
    net.initialise(0)
    strategy = make(StrategySpec.parse(name), tables, net, 0.5)
    dense = rng.standard_normal((1024, 2)).astype(np.float32)
    sparse = rng.integers(0, 50, (1024, tables.layout.columns)).astype(np.int32)
    labels = (sparse[:, 0] % 2).astype(np.int8)
    first = strategy.predict(dense, sparse).copy()
    for _ in range(12):
        strategy.learn(dense, sparse, labels)
    last = strategy.predict(dense, sparse)
    for table, kept in zip(tables.arrays, before, strict=True):
        np.testing.assert_array_equal(table, kept)
    loss = [float((np.logaddexp(0, z) - labels * z).mean()) for z in (first, last)]
    if name == "none":
        np.testing.assert_array_equal(first, last)
    else:
        assert loss[1] < loss[0]
    strategy.close()
