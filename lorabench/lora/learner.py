"""LoRA learning on labelled batches: what the co-located trainer does, whoever brings the batches.

Base tables and dense net are frozen; the adapter's A moves with every batch, B only between
windows. While it warms up nothing is served from the adapter: gradients at the base parameters
give the first signal spectrum, and that gives B. From then on every batch is learned in the
adapter's idle side and published; one batch in a few is looked at by the base as well, for the
quality guard and for the next window's signal. At the end of a window each table's rank and basis
are considered (`lorabench.lora.rank`), and where one changes the idle side is laid out anew
(`lorabench.lora.slots`), which no server notices before it is published.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lorabench._hotpath import Tables
from lorabench.errors import InputError
from lorabench.lora.adapter import AUTO_RANK, MOST_AUTO_RANK, AdapterOwner, AdapterPlan
from lorabench.lora.file import SavedTable, restore
from lorabench.lora.guard import QualityGuard, log_loss
from lorabench.lora.rank import RankController, RankRule, Rotation
from lorabench.lora.slots import allocate_slots
from lorabench.lora.spectrum import SplitGradientSums
from lorabench.model.dlrm import DenseNet
from lorabench.model.gradients import embedding_gradients

# The accumulators' medians change slowly; a look every so many batches keeps them off the profile.
_MEDIAN_BATCHES = 64

LEARNING_RATE = 0.3
"""Of row-wise Adagrad on A, whose accumulator is a sum over the R directions and not their mean."""

ACCUMULATOR_DECAY = 0.5
"""Of Adagrad's sums, from window to window."""

WINDOW = 131_072
"""Samples of a training window."""

BasisKind = Literal["pca", "random"]


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
    """

    rank: int | None = None
    least_rank: int = AUTO_RANK
    learning_rate: float = LEARNING_RATE
    epsilon: float = 1e-8
    accumulator_decay: float = ACCUMULATOR_DECAY
    basis_samples: int = 4096
    window: int = WINDOW
    base_stride: int = 4
    guard_window: int = 4096
    basis: BasisKind = "pca"


class Stage(Enum):
    """What is done with a batch."""

    BASIS = "basis"
    LEARN = "learn"
    OFF = "off"
    DIVERGED = "diverged"


@dataclass
class LearnLog:
    """What happened beside the learning itself.

    Attributes
    ----------
    most : dict of str to int
        Bytes of all LoRA state by purpose, allocated and not only used, when they were most.
    basis_samples : int
        Samples that went into choosing the first B.
    refused : int
        Lookups whose row had not earned a slot.
    guard_trips : int
        How often the adapter was switched off.
    diverged : bool
        Training met a NaN or an infinite value and stopped publishing.
    samples, used_bytes : list of int
        At the end of every window: samples seen so far, and bytes of LoRA state in use.
    ranks, signal_ranks : list of tuple of int
        At the end of every window, of each table: rank from then on, and of the window's signal.
    rebases : int
        Changes of rank, basis or slots.
    rebase_loss : list of float
        Of each change of a table's basis: the share of A @ B's energy that it cost.
    """

    most: dict[str, int]
    basis_samples: int = 0
    refused: int = 0
    guard_trips: int = 0
    diverged: bool = False
    samples: list[int] = field(default_factory=list)
    used_bytes: list[int] = field(default_factory=list)
    ranks: list[tuple[int, ...]] = field(default_factory=list)
    signal_ranks: list[tuple[int, ...]] = field(default_factory=list)
    rebases: int = 0
    rebase_loss: list[float] = field(default_factory=list)


class Learner:
    """Learns one adapter.

    Parameters
    ----------
    tables : Tables
        Base tables.
    net : DenseNet
        Frozen here.
    state : AdapterOwner
        The adapter.
    config : LearnerConfig
        How to learn.
    """

    def __init__(
        self, tables: Tables, net: DenseNet, state: AdapterOwner, config: LearnerConfig
    ) -> None:
        self._tables = tables
        self._net = net.freeze()
        self._state = state
        self._config = config
        self._adapted = [f for f, rank in enumerate(state.plan.ranks) if rank]
        self._halves = SplitGradientSums(
            self._adapted,
            tables.dim,
            [state.plan.signal_rows[f] for f in self._adapted],
            hotness=tables.hotness,
        )
        most = min(MOST_AUTO_RANK, tables.dim)
        rank = config.rank
        least = min(config.least_rank, most)
        self._rule = (
            RankRule(least=least, most=most) if rank is None else RankRule(least=rank, most=rank)
        )
        self.reset()

    def reset(self) -> None:
        """Begin anew with an empty adapter and an empty log."""
        self.log = LearnLog(most=self._state.plan.breakdown)
        self.start_over()

    def start_over(self) -> None:
        """Begin anew with choosing a basis; the adapter must be empty."""
        self.stage = Stage.BASIS
        self._halves.clear()
        self._controllers = [RankController(self._rule) for _ in self._adapted]
        self._guard = QualityGuard(self._config.guard_window)
        self._medians = np.zeros(self._tables.count, np.float32)
        self._batches = 0
        self._passed = 0
        self._in_window = 0
        self._seen = 0
        self._halved = False

    def resume(self, saved: dict[int, SavedTable]) -> None:
        """Go on from a saved adapter instead of choosing a basis; only at the start.

        Ranks and bases are the saved ones, within this adapter's memory: a table gets as many rows
        as it has slots for, and one that is not adapted here is left out.

        Raises
        ------
        InputError
            Its ranks do not fit into the budget.
        """
        plan, writer = self._state.plan, self._state.writer
        ranks = [
            (len(saved[f].B) if f in saved else rank) if rank else 0
            for f, rank in enumerate(plan.ranks)
        ]
        none = [np.zeros(0, np.uint16)] * len(ranks)
        laid = allocate_slots(plan, ranks, [0.0] * len(ranks), none)
        if laid is None:
            raise InputError(
                f"--adapter: found ranks of up to {max(ranks)}, expected such as fit into "
                f"{plan.budget_bytes:,} bytes (--memory-budget)"
            )
        writer.begin()
        identity = np.eye(self._tables.dim)
        bases = [saved[f].B if f in saved else identity[:rank] for f, rank in enumerate(ranks)]
        turns = [np.zeros((old, new)) for old, new in zip(plan.ranks, ranks, strict=True)]
        self._relayout(laid, bases, turns)
        restore(self._state, saved, laid.slots)
        self.stage = Stage.LEARN

    def begin(self) -> bool:
        """Make the idle side ready to be read and written.

        Returns
        -------
        bool
            False while a server still reads it: try again later.
        """
        writer = self._state.writer
        if not writer.begin():
            return False
        if self._in_window >= self._config.window and self.stage is Stage.LEARN:
            self._end_window()
            return writer.begin()
        return True

    def rerank(self) -> bool:
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
        writer, most = self._state.writer, min(MOST_AUTO_RANK, self._tables.dim)
        turns: dict[int, Rotation] = {}
        for place, f in enumerate(self._adapted):
            basis = writer.basis(f).astype(np.float64)
            rank = min(2 * len(basis), most) if self._halved else max(1, len(basis) // 2)
            turns[f] = self._controllers[place].to_rank(basis, writer.gram(f), rank)
        self._halved = not self._halved
        self._rebase(turns)
        return True

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits [B] of the adapted model as it is being trained; after `begin`."""
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
            Pooled base vectors of the tables that are worth it (``Tables.kept``), so that their
            rows need not be read.

        Returns
        -------
        int or None
            Epoch that includes the batch; None where it was used otherwise, or not at all.
        """
        self._seen += len(labels)
        if self.stage is Stage.DIVERGED:
            return None
        if self.stage is Stage.OFF:
            self._passed += len(labels)
            if self._passed >= self._config.guard_window:
                self.start_over()
            return None
        if self.stage is Stage.BASIS:
            self._gather(dense, sparse, labels, base)
            return None
        return self._step(dense, sparse, labels, base)

    def _gather(
        self,
        dense: NDArray[np.float32],
        sparse: NDArray[np.int32],
        labels: NDArray[np.int8],
        base: NDArray[np.float32] | None,
    ) -> None:
        logits, grad = self._at_base(dense, sparse, labels, base)
        if not _finite(logits, grad):
            self._diverge()
            return
        self._halves.add(sparse, grad)
        self.log.basis_samples += len(labels)
        if self._halves.samples >= self._config.basis_samples:
            self._first_basis()

    def _step(
        self,
        dense: NDArray[np.float32],
        sparse: NDArray[np.int32],
        labels: NDArray[np.int8],
        base: NDArray[np.float32] | None,
    ) -> int | None:
        logits, grad = embedding_gradients(self._net, dense, self._look_up(sparse, base), labels)
        if not _finite(logits, grad):
            self._diverge()
            return None
        if self._batches % self._config.base_stride == 0:
            # Prequential: A has not moved for these samples yet.
            plain, at_base = self._at_base(dense, sparse, labels, base)
            self._halves.add(sparse, at_base)
            target = labels.astype(np.float32)
            if self._guard.observe(log_loss(plain, target), log_loss(logits, target)):
                self._switch_off()
                return None
        writer = self._state.writer
        if self._batches % _MEDIAN_BATCHES == 0:
            self._medians = self._state.medians()
        self._batches += 1
        self._in_window += len(labels)
        self.log.refused += writer.learn(
            self._tables,
            sparse,
            grad,
            learning_rate=self._config.learning_rate,
            epsilon=self._config.epsilon,
            initial_accumulator=self._medians,
        )
        return writer.publish()

    def _look_up(
        self, sparse: NDArray[np.int32], base: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        embeddings = np.empty((len(sparse), self._tables.count, self._tables.dim), np.float32)
        self._state.writer.lookup(self._tables, sparse, embeddings, base=base)
        return embeddings

    def _at_base(
        self,
        dense: NDArray[np.float32],
        sparse: NDArray[np.int32],
        labels: NDArray[np.int8],
        base: NDArray[np.float32] | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        embeddings = np.empty((len(sparse), self._tables.count, self._tables.dim), np.float32)
        self._tables.lookup(sparse, embeddings, base=base)
        return embedding_gradients(self._net, dense, embeddings, labels)

    def _diverge(self) -> None:
        # The idle side is never published: servers go on with the last good epoch.
        self.stage = Stage.DIVERGED
        self.log.diverged = True

    def _switch_off(self) -> None:
        self._state.writer.clear()
        self._state.writer.publish()
        self.log.guard_trips += 1
        self._passed = 0
        self.stage = Stage.OFF

    def _first_basis(self) -> None:
        signals = self._observe()
        rng = np.random.default_rng(0)
        turns: dict[int, Rotation] = {}
        for place, f in enumerate(self._adapted):
            basis = self._controllers[place].first()
            if self._config.basis == "random":
                drawn = rng.standard_normal((self._tables.dim, len(basis)))
                basis = np.linalg.qr(drawn)[0].T
            turns[f] = Rotation(basis, np.zeros((self._state.plan.ranks[f], len(basis))), 0.0)
        self._rebase(turns)
        self._note(signals)
        self.stage = Stage.LEARN

    def _end_window(self) -> None:
        signals = self._observe()
        writer = self._state.writer
        turns: dict[int, Rotation] = {}
        if self._config.basis == "pca":
            for place, f in enumerate(self._adapted):
                basis = writer.basis(f).astype(np.float64)
                turn = self._controllers[place].decide(basis, writer.gram(f))
                if turn is not None:
                    turns[f] = turn
        writer.decay(self._config.accumulator_decay)
        # Once, when it is first known which rows are looked up, slots move to where they are worth
        # most; later only along with a basis.
        first = len(self.log.samples) == 1
        if turns or first:
            self._rebase(turns)
        self._note(signals)

    def _observe(self) -> tuple[int, ...]:
        """End the window of the signal; ranks of its signal, 0 for tables that are not adapted."""
        found = [0] * self._tables.count
        for place, f in enumerate(self._adapted):
            signal = self._halves.signal(place)
            self._controllers[place].observe(signal)
            found[f] = signal.significant
        self._halves.clear()
        self._in_window = 0
        return tuple(found)

    def _note(self, signals: tuple[int, ...]) -> None:
        self.log.samples.append(self._seen)
        self.log.ranks.append(self._state.plan.ranks)
        self.log.signal_ranks.append(signals)
        self.log.used_bytes.append(self._state.plan.used_bytes)

    def _rebase(self, turns: dict[int, Rotation]) -> None:
        """Turn some tables' bases, lay the idle side out for it, and publish it."""
        plan, writer = self._state.plan, self._state.writer
        ranks = list(plan.ranks)
        bases: list[NDArray[np.floating]] = []
        applied: list[NDArray[np.floating]] = []
        energy, heat = [], []
        for f, rank in enumerate(plan.ranks):
            turn = turns.get(f)
            if turn is None:
                bases.append(writer.basis(f))
                applied.append(np.eye(rank))
            else:
                bases.append(turn.basis)
                applied.append(turn.turn)
                ranks[f] = turn.rank
            heat.append(writer.slot_state(f)[2])
            energy.append(self._energy(f, ranks[f]))
        laid = allocate_slots(plan, ranks, energy, heat)
        if laid is None:  # not even the least of every table fits at these ranks: stay
            return
        self._relayout(laid, bases, applied)
        writer.publish()
        self.log.rebases += 1
        # A basis that is chosen anew has nothing to lose.
        if self.stage is not Stage.BASIS:
            self.log.rebase_loss += [turn.loss for turn in turns.values()]

    def _relayout(
        self,
        plan: AdapterPlan,
        bases: Sequence[NDArray[np.floating]],
        turns: Sequence[NDArray[np.floating]],
    ) -> None:
        self._state.relayout(plan, bases, turns)
        self.log.most = max(self.log.most, plan.breakdown, key=_total)

    def _energy(self, table: int, rank: int) -> float:
        if rank == 0:
            return 0.0
        kept = self._controllers[self._adapted.index(table)].average().kept
        return float(kept.values[:rank].sum())


def _total(parts: dict[str, int]) -> int:
    return sum(parts.values())


def _finite(logits: NDArray[np.float32], grad: NDArray[np.float32]) -> bool:
    return math.isfinite(float(logits.sum())) and math.isfinite(float(grad.sum()))
