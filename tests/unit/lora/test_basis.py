"""What a learner draws and what it writes down, from reset to reset."""

import pickle
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lorabench.lora.layout import plan_adapter
from lorabench.lora.learner import Learner, LearnerConfig
from lorabench.lora.writer import Adapter, AdapterOwner
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.tables import TableLayout, TableSet

DIM = 8
ROWS = (3000, 2000)
BATCH = 1024
CONFIG = LearnerConfig(rank=2, basis_samples=2048, window=4096, base_stride=2, guard_window=2048)


class Node:
    """Small tables with more rows than slots, and a stream whose labels hang on one of the rows."""

    def __init__(self, config: LearnerConfig, budget: float = 0.2) -> None:
        rng = np.random.default_rng(0)
        layout = TableLayout(ROWS, DIM)
        self.tables = TableSet.create(layout)
        for table in self.tables.arrays:
            table[:] = 0.3 * rng.standard_normal(table.shape)
        net = DenseNet(DlrmShape(2, 2, DIM, (8,), (16,)))
        net.initialise(0)
        self.owner = AdapterOwner(Adapter(plan_adapter(layout, config.rank, 1, budget)).handle)
        self.learner = Learner(self.tables.kernels, net, self.owner, config)
        self.begin()

    def begin(self) -> None:
        """Begin with the stream's first row."""
        self.rng = np.random.default_rng(1)

    def learn(self, batches: int) -> None:
        for _ in range(batches):
            # Most rows are rare, and which are not moves on.
            popular = self.rng.integers(0, 200, (BATCH, 2))
            rare = self.rng.integers(0, ROWS, (BATCH, 2))
            sparse = np.where(self.rng.random((BATCH, 2)) < 0.5, popular, rare).astype(np.int32)
            dense = self.rng.standard_normal((BATCH, 2)).astype(np.float32)
            assert self.learner.begin()
            self.learner.learn(dense, sparse, (sparse[:, 0] % 2).astype(np.int8))

    @property
    def served(self) -> list[np.ndarray]:
        """A, B and rows of every table."""
        return [part for table in range(2) for part in self.owner.writer.arrays(table)]


def test_samples_are_counted_on_when_the_guard_lets_learning_start_anew() -> None:
    node = Node(replace(CONFIG, learning_rate=30.0))
    node.learn(40)
    log = node.learner.log
    assert log.guard_trips > 1
    assert all(one < other for one, other in pairwise(log.samples))
    assert log.samples[-1] > 36 * BATCH
    node.owner.reset()
    node.learner.reset()
    node.learn(2)
    assert node.learner.log.samples == [2 * BATCH]


def test_slots_are_given_anew_at_the_end_of_the_first_window_after_every_start() -> None:
    node = Node(replace(CONFIG, basis="random"))
    node.learn(7)
    assert node.learner.log.rebases == 2
    node.learn(40)
    before = node.learner.log
    assert before.rebases == 2
    assert node.learner.begin()
    node.owner.writer.clear()
    node.owner.writer.publish()
    node.learner.start_over()
    node.learn(7)
    after = node.learner.log.since(before)
    assert len(after.samples) == 2
    assert after.rebases == 2


def test_a_log_is_a_copy_and_what_is_since_an_earlier_one_stays_small() -> None:
    node = Node(CONFIG)
    node.learn(8)
    first = node.learner.log
    kept = deepcopy(first)
    node.learn(60)
    second = node.learner.log
    assert first == kept
    assert second.refused > first.refused > 0
    part = second.since(first)
    assert part.samples == second.samples[len(first.samples) :] != []
    assert part.refused == second.refused - first.refused
    assert part.peak_bytes == second.peak_bytes
    node.learn(4)
    last = node.learner.log.since(second)
    assert len(last.samples) == 1
    assert len(pickle.dumps(last)) <= len(pickle.dumps(first))


@pytest.mark.parametrize("basis", ["pca", "random"])
def test_a_seed_decides_all_that_is_learned_and_a_reset_draws_the_same_again(basis) -> None:
    def learned(node: Node) -> bytes:
        node.learn(24)
        assert len(node.learner.log.samples) > 4
        return b"".join(part.tobytes() for part in node.served)

    config = replace(CONFIG, basis=basis)
    node = Node(replace(config, seed=3))
    first = learned(node)
    assert learned(Node(replace(config, seed=3))) == first
    assert learned(Node(replace(config, seed=4))) != first
    node.begin()
    node.owner.reset()
    node.learner.reset()
    assert learned(node) == first


def test_a_seed_decides_the_halves_the_random_basis_and_the_evictions_each() -> None:
    def basis(seed: int, **config: Any) -> bytes:
        node = Node(replace(CONFIG, seed=seed, **config))
        node.learn(3)
        return node.owner.writer.basis(0).tobytes()

    def adapted(seed: int) -> list[int]:
        # An adapter that stays 0 does not depend on its basis, nor on a signal within a window.
        node = Node(replace(CONFIG, learning_rate=0.0, window=1 << 20, seed=seed))
        node.learn(24)
        return node.owner.writer.arrays(0)[2].tolist()

    assert basis(0) != basis(1)
    assert basis(0, basis="random") != basis(1, basis="random")
    assert adapted(0) == adapted(0) != adapted(1)


@pytest.mark.parametrize("budget", [0.08, 0.1, 0.12, 0.3, 1.0])
def test_the_first_basis_has_as_many_directions_as_there_is_room_for(budget: float) -> None:
    # Signal in every direction asks for the largest rank, of which a small budget has no room.
    node = Node(LearnerConfig(basis_samples=2048, least_rank=8), budget=budget)
    start = node.owner.plan
    node.learn(4)
    plan = node.owner.plan
    assert node.learner.log.rebases == 1
    adapted = [f for f, rank in enumerate(start.ranks) if rank]
    assert [f for f, slots in enumerate(plan.slots) if slots] == adapted
    assert all(plan.ranks[f] >= start.ranks[f] for f in adapted)
    assert plan.fits
    for table in adapted:
        basis = node.owner.writer.basis(table)
        np.testing.assert_allclose(basis @ basis.T, np.eye(plan.ranks[table]), atol=1e-5)
        assert node.owner.writer.used[table] > 0
