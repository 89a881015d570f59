"""An adapter's bases between two windows: the signal that is gathered, and what follows from it.

Gradients at the base parameters are summed up over a window (`lorabench.lora.spectrum`). At its end
each table's rank and basis are considered (`lorabench.lora.rank`), and where one changes the idle
side is laid out anew (`lorabench.lora.slots`), which no server notices before it is published.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.lookup import Tables
from lorabench.errors import InputError
from lorabench.lora.file import SavedTable, restore
from lorabench.lora.layout import MOST_AUTO_RANK, AdapterPlan
from lorabench.lora.rank import RankController, RankRule, Rotation
from lorabench.lora.slots import allocate_slots
from lorabench.lora.spectrum import SplitGradientSums
from lorabench.lora.writer import AdapterOwner

BasisKind = Literal["pca", "random"]

# What a seed is used for here, beside what rows, arrivals and orders are drawn by it.
_HALVES, _RANDOM_BASIS, _EVICTION = (7, 1), (7, 2), (7, 3)


@dataclass
class LearnLog:
    """What happened beside the learning itself, since a learner's last `reset`.

    It grows with windows and with changes of basis, never with samples; what is `since` an earlier
    copy is as small as what has happened in between.

    Attributes
    ----------
    peak_bytes : dict of str to int
        Bytes of all LoRA state by purpose (`AdapterPlan.breakdown`), as mapped and not only used,
        when they were most; ``noted`` is what is kept of it until a push lands.
    basis_samples : int
        Samples that went into choosing the first B.
    refused : int
        Lookups whose row had not earned a slot.
    guard_trips : int
        How often the adapter was switched off.
    diverged : bool
        Training met a NaN or an infinite value and stopped publishing.
    samples, used_bytes : list of int
        At the end of every window: samples seen so far, whatever became of them, and bytes of LoRA
        state in use.
    ranks, signal_ranks : list of tuple of int
        At the end of every window, of each table: rank from then on, and of the window's signal.
    rebases : int
        Changes of rank, basis or slots.
    rebase_loss : list of float
        Of each change of a table's basis: the share of A @ B's energy that it cost.
    """

    peak_bytes: dict[str, int]
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

    def copy(self) -> "LearnLog":
        """Return what it says now, which nothing changes any more."""
        lists: dict[str, Any] = {
            name: list(one) for name, one in vars(self).items() if isinstance(one, list)
        }
        return replace(self, **lists)

    def since(self, earlier: "LearnLog") -> "LearnLog":
        """Return what has been added to an earlier copy.

        Counts are what was counted since then, lists what was appended; what is no count, such as
        the bytes at their most, is what it is now.
        """
        added: dict[str, Any] = {}
        for name, now in vars(self).items():
            before = getattr(earlier, name)
            if isinstance(now, list):
                added[name] = now[len(before) :]
            elif _is_count(now):
                added[name] = now - before
        return replace(self, **added)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class BasisKeeper:
    """Chooses an adapter's bases, ranks and slots, and lays its idle side out for them.

    Parameters
    ----------
    tables : Tables
        Base tables.
    owner : AdapterOwner
        The adapter.
    rule : RankRule
        When a rank changes.
    kind : {"pca", "random"}
        Where B comes from; a random one stays.
    seed : int
        Of all that is drawn: the halves of the signal, a random basis, and whose slot a row may
        take.
    """

    def __init__(
        self, tables: Tables, owner: AdapterOwner, rule: RankRule, kind: BasisKind, seed: int
    ) -> None:
        self._count, self._dim = tables.count, tables.dim
        self._owner = owner
        self._rule = rule
        self._kind = kind
        self._seed = seed
        self._adapted = [f for f, rank in enumerate(owner.plan.ranks) if rank]
        self._sums = SplitGradientSums(
            self._adapted,
            tables.dim,
            [owner.plan.signal_rows[f] for f in self._adapted],
            (seed, *_HALVES),
            tables.hotness,
        )
        self.reset()

    def reset(self) -> None:
        """Begin anew with an empty adapter and an empty log, and draw what was drawn before."""
        self.log = LearnLog(peak_bytes=self._owner.plan.breakdown)
        self._sums.reset()
        draws = np.random.default_rng((self._seed, *_EVICTION))
        self._owner.writer.seed(draws.integers(2**32, size=self._count, dtype=np.uint32))
        self.start_over()

    def start_over(self) -> None:
        """Forget all signal."""
        self._sums.clear()
        self._controllers = [RankController(self._rule) for _ in self._adapted]
        self._halved = False
        self._settled = False

    @property
    def samples(self) -> int:
        """How many samples this window's signal is of."""
        return self._sums.samples

    def add(self, sparse: NDArray[np.int32], grad: NDArray[np.float32]) -> None:
        """Add a batch's gradients [B, F, D] at the base parameters to the window's signal."""
        self._sums.add(sparse, grad)

    def choose(self, seen: int) -> None:
        """Choose the first bases by the signal so far, and publish; `seen` samples were met."""
        signals = self._observe()
        rng = np.random.default_rng((self._seed, *_RANDOM_BASIS))
        bases: dict[int, NDArray[np.float64]] = {}
        for place, f in enumerate(self._adapted):
            bases[f] = self._controllers[place].first()
            if self._kind == "random":
                drawn = rng.standard_normal((self._dim, len(bases[f])))
                bases[f] = np.linalg.qr(drawn)[0].T
        # The strongest directions that there is room for: at today's ranks there always is.
        cap = max(len(basis) for basis in bases.values())
        while not self._rebase(self._begun(bases, cap), lossy=False):
            cap -= 1
        self._note(signals, seen)

    def _begun(self, bases: dict[int, NDArray[np.float64]], cap: int) -> dict[int, Rotation]:
        """Return turns to bases of at most rank `cap`, or today's, of an adapter without rows."""
        found = {}
        for f, basis in bases.items():
            rank = self._owner.plan.ranks[f]
            taken = basis[: max(cap, rank)]
            # A basis that is chosen anew has nothing to lose.
            found[f] = Rotation(taken, np.zeros((rank, len(taken))), 0.0)
        return found

    def end_window(self, decay: float, seen: int) -> None:
        """Turn the bases that the window's signal asks to, and let Adagrad's sums decay."""
        signals = self._observe()
        writer = self._owner.writer
        turns: dict[int, Rotation] = {}
        if self._kind == "pca":
            for place, f in enumerate(self._adapted):
                basis = writer.basis(f).astype(np.float64)
                turn = self._controllers[place].decide(basis, writer.gram(f))
                if turn is not None:
                    turns[f] = turn
        writer.decay(decay)
        # Once, when it is first known which rows are looked up, slots move to where they are worth
        # most; later only along with a basis.
        if turns or not self._settled:
            self._rebase(turns)
            self._settled = True
        self._note(signals, seen)

    def change_ranks(self) -> None:
        """Halve every table's rank, and double it the next time, whatever the signal says."""
        writer, most = self._owner.writer, min(MOST_AUTO_RANK, self._dim)
        turns: dict[int, Rotation] = {}
        for place, f in enumerate(self._adapted):
            basis = writer.basis(f).astype(np.float64)
            rank = min(2 * len(basis), most) if self._halved else max(1, len(basis) // 2)
            turns[f] = self._controllers[place].to_rank(basis, writer.gram(f), rank)
        self._halved = not self._halved
        self._rebase(turns)

    def resume(self, saved: dict[int, SavedTable]) -> None:
        """Take over a saved adapter, within this one's memory, and publish it.

        Raises
        ------
        InputError
            Its ranks do not fit into the budget.
        """
        plan = self._owner.plan
        saved, laid = fitted(plan, saved)
        given = {f: table.B for f, table in saved.items() if table.B is not None and plan.ranks[f]}
        self._owner.writer.begin()
        identity = np.eye(self._dim)
        bases = [given[f] if f in given else identity[:rank] for f, rank in enumerate(laid.ranks)]
        turns = [np.zeros((old, new)) for old, new in zip(plan.ranks, laid.ranks, strict=True)]
        self._relayout(laid, bases, turns)
        restore(self._owner, saved, laid.slots)

    def _observe(self) -> tuple[int, ...]:
        """End the window of the signal; ranks of its signal, 0 for tables that are not adapted."""
        found = [0] * self._count
        for place, f in enumerate(self._adapted):
            signal = self._sums.signal(place)
            self._controllers[place].observe(signal)
            found[f] = signal.significant
        self._sums.clear()
        return tuple(found)

    def _note(self, signals: tuple[int, ...], seen: int) -> None:
        self.log.samples.append(seen)
        self.log.ranks.append(self._owner.plan.ranks)
        self.log.signal_ranks.append(signals)
        self.log.used_bytes.append(self._owner.plan.used_bytes)

    def _rebase(self, turns: dict[int, Rotation], *, lossy: bool = True) -> bool:
        """Turn some tables' bases, lay the idle side out for it, and publish it, if it fits."""
        plan, writer = self._owner.plan, self._owner.writer
        ranks = list(plan.ranks)
        bases: list[NDArray[np.floating]] = []
        applied: list[NDArray[np.floating]] = []
        energy, lookup_counts = [], []
        for f, rank in enumerate(plan.ranks):
            turn = turns.get(f)
            if turn is None:
                bases.append(writer.basis(f))
                applied.append(np.eye(rank))
            else:
                bases.append(turn.basis)
                applied.append(turn.turn)
                ranks[f] = turn.rank
            lookup_counts.append(writer.slot_state(f)[2])
            energy.append(self._energy(f, ranks[f]))
        laid = allocate_slots(plan, ranks, energy, lookup_counts)
        if laid is None:  # not even the least of every table fits at these ranks: stay
            return False
        self._relayout(laid, bases, applied)
        writer.publish()
        self.log.rebases += 1
        if lossy:
            self.log.rebase_loss += [turn.loss for turn in turns.values()]
        return True

    def _relayout(
        self,
        plan: AdapterPlan,
        bases: Sequence[NDArray[np.floating]],
        turns: Sequence[NDArray[np.floating]],
    ) -> None:
        self._owner.relayout(plan, bases, turns)
        self.note_bytes()

    def note_bytes(self) -> None:
        """Log what is held now, if it is more than ever before."""
        held, noted = self._owner.plan.breakdown, self._owner.noted
        if noted is not None:
            held["noted"] = noted.nbytes
        self.log.peak_bytes = max(self.log.peak_bytes, held, key=_total)

    def _energy(self, table: int, rank: int) -> float:
        if rank == 0:
            return 0.0
        kept = self._controllers[self._adapted.index(table)].average().kept
        return float(kept.values[:rank].sum())


def _total(parts: dict[str, int]) -> int:
    return sum(parts.values())


def fitted(
    plan: AdapterPlan, saved: Mapping[int, SavedTable]
) -> tuple[dict[int, SavedTable], AdapterPlan]:
    """Fit a saved adapter into an adapter's memory.

    Parameters
    ----------
    plan : AdapterPlan
        Of that memory.
    saved : mapping of int to SavedTable
        By table.

    Returns
    -------
    tables : dict of int to SavedTable
        As they are taken over: what was a plain delta there may have slots here.
    laid : AdapterPlan
        That memory, laid out for their ranks.

    Raises
    ------
    InputError
        Their ranks do not fit into the budget.
    """
    tables = {
        f: table.low_rank(plan.ranks[f]) if plan.ranks[f] else table for f, table in saved.items()
    }
    ranks = list(plan.ranks)
    for f, table in tables.items():
        if table.B is not None and plan.ranks[f]:
            ranks[f] = len(table.B)
    none = [np.zeros(0, np.uint16)] * len(ranks)
    laid = allocate_slots(plan, ranks, [0.0] * len(ranks), none)
    if laid is None:
        raise InputError(
            f"--adapter: found ranks of up to {max(ranks)}, expected such as fit into "
            f"{plan.budget_bytes:,} bytes (--memory-budget)"
        )
    return tables, laid
