"""The learner end to end on drift of known rank: what it serves, what it spends, what it says."""

import mmap
import os

import numpy as np
import torch

from lorabench.lora.layout import plan_adapter
from lorabench.lora.learner import Learner, LearnerConfig, Stage
from lorabench.lora.writer import Adapter, AdapterOwner
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.tables import TableLayout, TableSet

DIM = 16
ROWS = (3000, 300)


class Node:
    """Served tables that lag behind a truth, and rows labelled by that truth."""

    def __init__(self, rank: int | None, budget: float = 0.5, **config: float) -> None:
        self.rng = np.random.default_rng(0)
        layout = TableLayout(ROWS, DIM)
        self.tables = TableSet.create(layout)
        for table in self.tables.arrays:
            table[:] = 0.5 * self.rng.standard_normal(table.shape)
        self.net = DenseNet(DlrmShape(2, 2, DIM, (16,), (32,)))
        self.net.initialise(0)
        self.net.freeze()
        with torch.no_grad():
            self.net.over_arch.layers[-1].weight.mul_(25.0)
        self.truth = [table.copy() for table in self.tables.arrays]
        self.directions = np.linalg.qr(self.rng.standard_normal((DIM, 4)))[0].T
        self.adapter = Adapter(plan_adapter(layout, rank, 1, budget))
        self.state = AdapterOwner(self.adapter.handle)
        settings = {
            "window": 16_384,
            "base_stride": 1,
            "basis_samples": 8192,
            "least_rank": 1,
            **config,
        }
        self.learner = Learner(
            self.tables.kernels,
            self.net,
            self.state,
            LearnerConfig(rank=rank, **settings),  # type: ignore[arg-type]
        )

    def drift(self, rank: int) -> None:
        """Move the truth's first table, from where it is, in `rank` directions."""
        amounts = 0.8 * self.rng.standard_normal((ROWS[0], rank))
        self.truth[0] += (amounts @ self.directions[:rank]).astype(np.float32)

    def batch(self, n: int = 2048):
        shares = [1 / np.arange(1, rows + 1) for rows in ROWS]
        sparse = np.stack(
            [
                self.rng.choice(rows, n, p=share / share.sum())
                for rows, share in zip(ROWS, shares, strict=True)
            ],
            axis=1,
        ).astype(np.int32)
        dense = self.rng.standard_normal((n, 2)).astype(np.float32)
        true = np.stack([table[sparse[:, f]] for f, table in enumerate(self.truth)], axis=1)
        with torch.no_grad():
            logits = self.net(torch.from_numpy(dense), torch.from_numpy(true)).numpy()
        labels = (self.rng.random(n) < 1 / (1 + np.exp(-logits))).astype(np.int8)
        return dense, sparse, labels

    def learn(self, batches: int) -> None:
        for _ in range(batches):
            rows = self.batch()
            assert self.learner.begin()
            self.learner.learn(*rows)

    def losses(self, n: int = 20_000) -> tuple[float, float]:
        """Log loss by the adapter and by the base."""
        dense, sparse, labels = self.batch(n)
        self.learner.begin()
        embeddings = np.zeros((n, 2, DIM), np.float32)
        self.tables.kernels.lookup(sparse, embeddings)
        with torch.no_grad():
            base = self.net(torch.from_numpy(dense), torch.from_numpy(embeddings)).numpy()
        adapted = self.learner.predict(dense, sparse)
        return tuple(  # type: ignore[return-value]
            float((np.logaddexp(0, z) - labels * z).mean()) for z in (adapted, base)
        )


def test_the_rank_follows_the_drift_and_what_is_served_gets_better() -> None:
    node = Node(None)
    node.drift(1)
    node.learn(30)
    assert node.learner.stage is Stage.LEARN
    assert node.state.writer.rank[0] == 1
    node.drift(4)
    node.learn(24)  # three windows
    assert node.state.writer.rank[0] >= 3
    adapted, base = node.losses()
    assert adapted < base - 0.02
    log = node.learner.log
    assert log.rebases > 0
    assert all(0 <= loss <= 1 for loss in log.rebase_loss)
    assert len(log.ranks) == len(log.samples) == len(log.used_bytes)


def test_state_never_exceeds_the_budget() -> None:
    node = Node(None, budget=0.2)
    limit = 0.2 * node.tables.layout.table_bytes
    mapped = sum(
        -(-os.fstat(region.fd).st_size // mmap.PAGESIZE) * mmap.PAGESIZE
        for region in (node.adapter.sides, node.adapter.pins)
    )
    node.drift(2)
    for _ in range(40):
        node.learn(1)
        private, shared = node.state.writer.state_bytes
        assert shared <= node.state.plan.room_bytes
        assert private + mapped + node.state.plan.breakdown["spectra"] <= limit
    log = node.learner.log
    assert log.rebases > 0
    assert log.peak_bytes["sides"] + log.peak_bytes["pins"] == mapped
    assert max(log.used_bytes) <= sum(log.peak_bytes.values()) <= limit


def test_a_fixed_rank_is_kept_and_a_random_basis_never_turns() -> None:
    node = Node(3)
    node.drift(1)
    node.learn(30)
    assert node.state.writer.rank[0] == 3
    random = Node(3, basis="random")  # type: ignore[arg-type]
    random.drift(1)
    random.learn(5)
    before = random.state.writer.basis(0)
    random.learn(25)
    np.testing.assert_array_equal(random.state.writer.basis(0), before)


def test_a_loss_that_is_not_finite_stops_publishing_and_the_last_epoch_stays() -> None:
    node = Node(None)
    node.drift(1)
    node.learn(10)
    epoch = node.state.writer.epoch
    dense, sparse, labels = node.batch()
    dense[5] = np.nan
    node.learner.begin()
    assert node.learner.learn(dense, sparse, labels) is None
    assert node.learner.stage is Stage.DIVERGED
    node.learn(3)
    assert node.state.writer.epoch == epoch
    assert node.learner.log.diverged


def test_a_rank_halved_for_measuring_leaves_the_best_approximation_and_comes_back() -> None:
    node = Node(4, budget=0.4)
    node.drift(4)
    assert node.learner.begin()
    assert not node.learner.change_ranks()
    node.learn(6)

    def served() -> np.ndarray:
        """A @ B of the first table, 0 in rows without a slot."""
        assert node.learner.begin()
        every = np.arange(ROWS[0], dtype=np.int32)
        sparse = np.stack([every, every % ROWS[1]], axis=1)
        found = np.empty((len(every), 2, DIM), np.float32)
        node.state.writer.lookup(node.tables.kernels, sparse, found)
        return found[:, 0] - node.tables.arrays[0]

    before = served()
    assert node.learner.begin()
    assert node.learner.change_ranks()
    assert node.state.writer.rank == [2, 2]
    halved = served()
    kept = np.abs(halved).sum(axis=1) > 0
    left, values, right = np.linalg.svd(before.astype(np.float64), full_matrices=False)
    best = (left[:, :2] * values[:2]) @ right[:2]
    assert values[2] > 0.01 * values[0]
    np.testing.assert_allclose(halved[kept], best[kept], atol=2e-5)
    assert node.learner.change_ranks()
    assert node.state.writer.rank == [4, 4]
    after = served()
    still = np.abs(after).sum(axis=1) > 0
    assert still.sum() > 0.5 * kept.sum()
    np.testing.assert_allclose(after[still], halved[still], atol=1e-6)
    assert node.learner.log.rebases == 3


def test_the_rank_does_not_fall_below_its_bound() -> None:
    node = Node(None, least_rank=4)
    node.drift(1)
    node.learn(40)
    assert node.learner.log.signal_ranks[-1][0] < 4
    assert node.state.writer.rank[0] == 4


def test_accumulators_decay_at_the_end_of_a_window() -> None:
    def typical(decay: float) -> float:
        node = Node(2, accumulator_decay=decay)
        node.drift(2)
        node.learn(4 + 4 * 8)
        return float(np.median(node.state.writer.slot_state(0)[0]))

    assert typical(0.25) < 0.5 * typical(1.0)


def test_a_push_that_knows_what_the_adapter_knew_changes_nothing_that_is_served() -> None:
    node = Node(3, budget=2.0)  # every row can have a slot, and keeps it
    node.drift(2)
    node.learn(6)
    assert node.learner.stage is Stage.LEARN
    terms = [(rows, A @ B) for A, B, rows in map(node.state.writer.arrays, range(2))]
    snapshot = node.learner.note()
    held = node.state.plan.breakdown
    assert node.learner.log.peak_bytes == {**held, "noted": snapshot.nbytes}
    node.learn(1)
    dense, sparse, _ = node.batch()
    node.learner.begin()
    before = node.learner.predict(dense, sparse)
    for table, (rows, term) in zip(node.tables.arrays, terms, strict=True):
        table[rows] += term
    assert node.learner.rebase(snapshot, [rows for rows, _ in terms])
    node.learner.begin()
    np.testing.assert_allclose(node.learner.predict(dense, sparse), before, rtol=1e-4, atol=1e-4)
    A, _, _ = node.state.writer.arrays(0)
    assert 0 < np.square(A).sum() < np.square(terms[0][1]).sum()
    node.learn(1)


def test_a_push_takes_nothing_from_an_adapter_that_the_guard_made_begin_anew() -> None:
    node = Node(3, guard_window=4096)
    node.drift(2)
    node.learn(6)
    snapshot = node.learner.note()
    assert node.learner.begin()
    node.learner._switch_off()
    node.learn(2 + 4 + 2)  # passed by, a basis chosen, and learning again
    assert node.learner.stage is Stage.LEARN
    every = [np.arange(rows, dtype=np.int32) for rows in ROWS]
    node.learner.begin()
    assert not node.learner.rebase(snapshot, every)
    again = node.learner.note()
    assert node.learner.rebase(again, every)
    assert not any(A.any() for A, _, _ in map(node.state.writer.arrays, range(2)))
