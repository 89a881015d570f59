"""LoRA learning on labelled batches: what the co-located trainer does, whoever brings the batches.

Base tables and dense net are frozen; the adapter's A moves with every batch, B only between
windows. While it warms up nothing is served from the adapter: gradients at the base parameters
give the first signal spectrum, and that gives B. From then on every batch is learned in the
adapter's idle side and published; one batch in a few is looked at by the base as well, for the
quality guard and for the next window's signal; what is done with that at the end of a window, is in
`lorabench.lora.basis`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.lookup import Tables
from lorabench.lora.basis import BasisKeeper, BasisKind, LearnLog
from lorabench.lora.file import SavedTable
from lorabench.lora.guard import QualityGuard, log_loss
from lorabench.lora.layout import AUTO_RANK, MOST_AUTO_RANK
from lorabench.lora.rank import RankRule
from lorabench.lora.rebase import Snapshot
from lorabench.lora.writer import AdapterOwner
from lorabench.model.dlrm import DenseNet
from lorabench.model.gradients import embedding_gradients

# The accumulators' medians change slowly; a look every so many batches keeps them off the profile.
_MEDIAN_BATCHES = 64

LEARNING_RATE = 0.3
"""Of row-wise Adagrad on A, whose accumulator is a sum over the R directions and not their mean."""

PLAIN_SHARE = 1 / 8
"""Learning rate of small tables' plain deltas, as a share of A's.

Theirs is of accumulators that are means over the D directions, as is usual for whole tables. Twice
as much gains a little in the long run and starts below the base tables on short streams.
"""

ACCUMULATOR_DECAY = 0.5
"""Of Adagrad's sums, from window to window."""

PRIOR_STEPS = 32
"""A new slot's accumulator is at least what so many steps with a usual gradient add up to."""

WINDOW = 131_072
"""Samples of a training window."""


@dataclass(frozen=True)
class LearnerConfig:
    """How to learn.

    Parameters
    ----------
    rank : int or None
        R of all tables; None lets the signal decide.
    least_rank : int
        What the signal cannot push the rank below. Its energy makes little of directions in which
        the loss is flat, and an adapter gains by them all the same (``docs/freshness.md``).
    learning_rate, epsilon : float
        Row-wise Adagrad on A.
    plain_share : float
        Learning rate of the plain deltas of small tables, as a share of `learning_rate`.
    accumulator_decay : float
        What Adagrad's sums are multiplied by at the end of a window, above 0 and at most 1: below 1
        steps do not die out on a stream that drifts.
    basis_samples : int
        Labelled samples from whose gradients the first B is taken.
    window : int
        Samples between two looks at rank and basis.
    base_stride : int
        One batch in this many is looked at by the base as well.
    guard_window : int
        Samples so looked at in one window of the quality guard, and the samples that a tripped
        guard lets pass before learning starts anew.
    basis : {"pca", "random"}
        Where B comes from; a random one stays.
    seed : int
        Of all that is drawn: the same rows in the same batches are learned in the same way.
    """

    rank: int | None = None
    least_rank: int = AUTO_RANK
    learning_rate: float = LEARNING_RATE
    epsilon: float = 1e-8
    plain_share: float = PLAIN_SHARE
    accumulator_decay: float = ACCUMULATOR_DECAY
    basis_samples: int = 4096
    window: int = WINDOW
    base_stride: int = 4
    guard_window: int = 4096
    basis: BasisKind = "pca"
    seed: int = 0


class Stage(Enum):
    """What is done with a batch."""

    BASIS = "basis"
    LEARN = "learn"
    OFF = "off"
    DIVERGED = "diverged"


@dataclass(frozen=True, eq=False)
class _Batch:
    """Labelled samples, and of some tables the base vectors that were gathered already."""

    dense: NDArray[np.float32]
    sparse: NDArray[np.int32]
    labels: NDArray[np.int8]
    base: NDArray[np.float32] | None


class Learner:
    """Learns one adapter.

    Parameters
    ----------
    tables : Tables
        Base tables.
    net : DenseNet
        Frozen here.
    owner : AdapterOwner
        The adapter.
    config : LearnerConfig
        How to learn.
    """

    def __init__(
        self, tables: Tables, net: DenseNet, owner: AdapterOwner, config: LearnerConfig
    ) -> None:
        self._tables = tables
        self._net = net.freeze()
        self._owner = owner
        self._config = config
        most = min(MOST_AUTO_RANK, tables.dim)
        least = min(config.least_rank, most)
        if config.rank is not None:
            least = most = config.rank
        rule = RankRule(least=least, most=most)
        self._bases = BasisKeeper(tables, owner, rule, config.basis, config.seed)
        self._lookups_a_sample = _lookups_a_sample(owner)
        # The kernel's accumulators are sums.
        self._plain_rate = config.plain_share * config.learning_rate * math.sqrt(tables.dim)
        self.reset()

    @property
    def log(self) -> LearnLog:
        """A copy of what happened beside the learning itself, since the last `reset`."""
        return self._bases.log.copy()

    def reset(self) -> None:
        """Begin anew with an empty adapter and an empty log, and draw what was drawn before."""
        self._bases.reset()
        self._seen = 0
        self._energy = np.zeros(self._tables.count)
        self._looked_at = 0
        self._largest_batch = 0
        self.start_over()

    def start_over(self) -> None:
        """Begin anew with choosing a basis; the adapter must be empty."""
        self.stage = Stage.BASIS
        self._bases.start_over()
        self._guard = QualityGuard(self._config.guard_window)
        self._medians = np.zeros(self._tables.count, np.float32)
        self._batches = 0
        self._passed = 0
        self._in_window = 0

    def resume(self, saved: dict[int, SavedTable]) -> None:
        """Go on from a saved adapter instead of choosing a basis; only at the start.

        Ranks and bases are the saved ones, within this adapter's memory: a table gets as many rows
        as it has slots for, and one that is not adapted here is left out.

        Raises
        ------
        InputError
            Its ranks do not fit into the budget.
        """
        self._bases.resume(saved)
        self.stage = Stage.LEARN

    def begin(self) -> bool:
        """Make the idle side ready to be read and written.

        Returns
        -------
        bool
            False while a server still reads it: try again later.
        """
        writer = self._owner.writer
        if not writer.begin():
            return False
        if self._in_window >= self._config.window and self.stage is Stage.LEARN:
            self._bases.end_window(self._config.accumulator_decay, self._seen)
            self._in_window = 0
            return writer.begin()
        return True

    def change_ranks(self) -> bool:
        """Halve every table's rank, and double it the next time, whatever the signal says.

        For measuring what a change of rank costs those who are being served; right after `begin`,
        which is due again afterwards.

        Returns
        -------
        bool
            False where there is no basis yet to turn.
        """
        if self.stage is not Stage.LEARN:
            return False
        self._bases.change_ranks()
        return True

    def note(self) -> Snapshot:
        """Note what the adapter holds when a push takes its rows; a note before it ends."""
        found = self._owner.note()
        self._bases.note_bytes()
        return found

    def rebase(self, snapshot: Snapshot, landed: Sequence[NDArray[np.int32]]) -> bool:
        """Leave of the adapter only what is newer than the rows that landed, and publish it.

        Right after `begin`, which is due again afterwards, and along with the rows. Arguments as
        of `AdapterOwner.rebase`. Returns whether there was anything to rebase: there is not before
        a basis is chosen, nor after the guard has tripped.
        """
        return self._owner.rebase(snapshot, landed)

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the logits [B] of the adapted model as it is being trained; after `begin`."""
        import torch

        with torch.inference_mode():
            embeddings = torch.from_numpy(self._look_up(sparse))
            logits: NDArray[np.float32] = self._net(torch.from_numpy(dense), embeddings).numpy()
        return logits

    @property
    def looks_up(self) -> bool:
        """Whether a batch's rows will be looked up, and not only counted."""
        return self.stage in (Stage.BASIS, Stage.LEARN)

    def learn(
        self,
        dense: NDArray[np.float32],
        sparse: NDArray[np.int32],
        labels: NDArray[np.int8],
        base: NDArray[np.float32] | None = None,
    ) -> int | None:
        """Learn from a batch; after `begin`.

        Parameters
        ----------
        dense : float32 [B, num_dense]
        sparse : int32 [B, C]
        labels : int8 [B]
        base : float32 [B, K, D], optional
            Pooled base vectors of the tables that are worth it (``Tables.reusable_features``), so
            that their rows need not be read.

        Returns
        -------
        int or None
            Epoch that includes the batch; None where it was used otherwise, or not at all.
        """
        self._seen += len(labels)
        self._largest_batch = max(self._largest_batch, len(labels))
        if self.stage is Stage.DIVERGED:
            return None
        if self.stage is Stage.OFF:
            self._passed += len(labels)
            if self._passed >= self._config.guard_window:
                self.start_over()
            return None
        batch = _Batch(dense, sparse, labels, base)
        if self.stage is Stage.BASIS:
            self._gather(batch)
            return None
        return self._step(batch)

    def _gather(self, batch: _Batch) -> None:
        logits, grad = self._at_base(batch)
        if not _finite(logits, grad):
            self._diverge()
            return
        self._bases.add(batch.sparse, grad)
        self._bases.log.basis_samples += len(batch.labels)
        if self._bases.samples >= self._config.basis_samples:
            self._bases.choose(self._seen)
            self._in_window = 0
            self.stage = Stage.LEARN

    def _step(self, batch: _Batch) -> int | None:
        embeddings = self._look_up(batch.sparse, batch.base)
        logits, grad = embedding_gradients(self._net, batch.dense, embeddings, batch.labels)
        if not _finite(logits, grad):
            self._diverge()
            return None
        # Prequential: A has not moved for these samples yet.
        if self._batches % self._config.base_stride == 0 and self._is_worse(batch, logits):
            self._switch_off()
            return None
        writer = self._owner.writer
        if self._batches % _MEDIAN_BATCHES == 0:
            self._medians = self._owner.medians()
        self._batches += 1
        self._in_window += len(batch.labels)
        self._bases.log.refused += writer.learn(
            self._tables,
            batch.sparse,
            grad,
            learning_rate=self._config.learning_rate,
            epsilon=self._config.epsilon,
            plain_rate=self._plain_rate,
            initial_accumulator=np.maximum(self._medians, self._floor()),
        )
        self._owner.follow()
        return writer.publish()

    def _floor(self) -> NDArray[np.float32]:
        """Least accumulator of a new slot, by table, float32 [F].

        From 0 the first step of a row has the learning rate's length whatever its gradient, and
        the adapter starts out below the base tables. As if the row had been met `PRIOR_STEPS`
        times, each time with the gradient energy of a lookup at the base parameters, it moves in
        proportion to its gradient. A row of a small table is looked up many times in every batch,
        and each of those steps is of so many lookups: of the largest batch so far, since the first
        that it is met in may be a small one.
        """
        usual = self._energy / max(1, self._looked_at)
        lookups = np.maximum(1.0, self._largest_batch * self._lookups_a_sample)
        return np.asarray(PRIOR_STEPS * lookups * usual, np.float32)

    def _is_worse(self, batch: _Batch, logits: NDArray[np.float32]) -> bool:
        """Look at a batch by the base: for the signal, and for the guard; whether that trips."""
        plain, at_base = self._at_base(batch)
        self._bases.add(batch.sparse, at_base)
        target = batch.labels.astype(np.float32)
        return self._guard.observe(log_loss(plain, target), log_loss(logits, target))

    def _look_up(
        self, sparse: NDArray[np.int32], base: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        embeddings = np.empty((len(sparse), self._tables.count, self._tables.dim), np.float32)
        self._owner.writer.lookup(self._tables, sparse, embeddings, base=base)
        return embeddings

    def _at_base(self, batch: _Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return logits and gradients at the base parameters."""
        shape = len(batch.sparse), self._tables.count, self._tables.dim
        embeddings = np.empty(shape, np.float32)
        self._tables.lookup(batch.sparse, embeddings, base=batch.base)
        logits, grad = embedding_gradients(self._net, batch.dense, embeddings, batch.labels)
        if _finite(logits, grad):
            self._energy += np.einsum("bfd,bfd->f", grad, grad)
            self._looked_at += len(grad)
        return logits, grad

    def _diverge(self) -> None:
        # The idle side is never published: servers go on with the last good epoch.
        self.stage = Stage.DIVERGED
        self._bases.log.diverged = True

    def _switch_off(self) -> None:
        self._owner.clear()
        self._owner.writer.publish()
        self._bases.log.guard_trips += 1
        self._passed = 0
        self.stage = Stage.OFF


def _lookups_a_sample(owner: AdapterOwner) -> NDArray[np.float64]:
    """Return how often a sample looks a usual row of a small table up, [F]; 0 for others."""
    layout = owner.plan.layout
    found = np.zeros(len(layout.rows))
    for f in owner.plan.plain:
        found[f] = (layout.hotness[f] if layout.hotness else 1) / layout.rows[f]
    return found


def _finite(logits: NDArray[np.float32], grad: NDArray[np.float32]) -> bool:
    return math.isfinite(float(logits.sum())) and math.isfinite(float(grad.sum()))
