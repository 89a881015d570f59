"""Which rings a batch is taken from: each its share, whoever waits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench._kernels.lookup import Tables
from lorabench.memory import Region
from lorabench.model.tables import TableLayout, TableSet
from lorabench.targets.node.replay import Replay


def replay(rings: int, batch: int) -> Replay:
    tables: Tables = TableSet.create(TableLayout((50, 50), 8)).kernels
    regions = [Region.create("ring", 1 << 18) for _ in range(rings)]
    made = Replay(
        regions, tables, np.zeros(1 << 20, np.int8), label_delay_ns=0, batch=batch, num_dense=1
    )
    made.drain = True
    return made


def fill(made: Replay, ring: int, samples: int) -> None:
    dense, sparse = np.zeros((samples, 1), np.float32), np.zeros((samples, 2), np.int32)
    assert made.rings[ring].append(ring * 10_000, 0, dense, sparse)


@pytest.mark.parametrize(("rings", "batch"), [(30, 512), (3, 4), (7, 3), (1, 5)])
def test_no_servers_samples_wait_for_ever_where_more_wait_than_a_batch_holds(
    rings: int, batch: int
) -> None:
    made = replay(rings, batch)
    for ring in range(rings):
        fill(made, ring, 1000)
    learned = np.zeros(rings, int)
    turns = rings
    for _ in range(turns):
        n = made.take(1)
        assert n == batch, "all rings hold more than their share"
        np.add.at(learned, made.sample[:n] // 10_000, 1)
    assert learned.sum() == turns * batch
    assert learned.max() - learned.min() <= batch // rings + 2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 20))
def test_every_sample_is_taken_once_and_a_servers_own_in_order(
    waiting: list[int], batch: int
) -> None:
    made = replay(len(waiting), batch)
    for ring, samples in enumerate(waiting):
        if samples:
            fill(made, ring, samples)
    taken: list[int] = []
    for _ in range(sum(waiting) * len(waiting) + len(waiting) + 1):
        n = made.take(1)
        assert n <= batch
        taken += made.sample[:n].tolist()
    wanted = [ring * 10_000 + k for ring, samples in enumerate(waiting) for k in range(samples)]
    assert sorted(taken) == wanted
    for ring in range(len(waiting)):
        mine = [sample for sample in taken if sample // 10_000 == ring]
        assert mine == sorted(mine)
