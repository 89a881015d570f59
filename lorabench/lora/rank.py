r"""The rank of an adapter, and the turns of its basis, from the signal spectrum.

Every window gives each table a signal matrix S and its noise floor (`lorabench.lora.spectrum`),
taken at the base parameters and so of everything that the adapter has to hold, learned or not.
Both are averaged exponentially, with weight `_WEIGHT` for the newest: noise falls, and what is gone
is forgotten within three windows. On the average:

Growth, at once.
    If more than r directions are needed for the target share of the signal above the floor, the
    strongest directions orthogonal to B join it. A @ B does not change.
Shrinking, after `dwell` windows.
    If the target plus a margin needs only q < r directions in each of `dwell` windows, counted down
    to `_LOW_FLOOR` of the floor, B keeps the q leading right singular vectors of A @ B: the best
    approximation of rank q (Eckart and Young 1936).
A turn at the same rank.
    If B holds less than `_STALE` of what the r strongest directions would, those replace it, and A
    is projected on them.

The hysteresis is in the two floors, the margin and the dwell: noise that crosses one threshold does
not cross the other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench.lora.spectrum import Signal, Spectrum

Matrix = NDArray[np.float64]

_WEIGHT = 0.75
_LOW_FLOOR = 0.85
_STALE = 0.7
_TRACE = 1e-12


@dataclass(frozen=True)
class RankRule:
    """When the rank changes.

    Parameters
    ----------
    share : float
        Of the signal's energy that B is to hold.
    margin : float
        Above that, before B shrinks.
    dwell : int
        Windows in a row that must agree before B shrinks.
    least, most : int
        Bounds of the rank; equal where it is fixed.
    """

    share: float = 0.9
    margin: float = 0.05
    dwell: int = 2
    least: int = 1
    most: int = 16


@dataclass(frozen=True, eq=False)
class Rotation:
    """A change of basis.

    Attributes
    ----------
    basis : float64 [r', D]
        The new B, orthonormal.
    turn : float64 [r, r']
        What A is multiplied by.
    loss : float
        Share of the energy of A @ B that is lost.
    """

    basis: Matrix
    turn: Matrix
    loss: float

    @property
    def rank(self) -> int:
        """The new rank."""
        return len(self.basis)


class RankController:
    """Decides for one table, window after window.

    Parameters
    ----------
    rule : RankRule
        When to change.
    """

    def __init__(self, rule: RankRule) -> None:
        self._rule = rule
        self._moment: NDArray[np.float32] | None = None
        self._noise = 0.0  # variance of the floor's scale
        self._total = 0.0
        self._rows = 0
        self._smaller = 0

    def observe(self, signal: Signal) -> None:
        """Take note of a window."""
        # A trace of order, lest directions without any signal be forgotten.
        values = signal.values + _TRACE * np.arange(len(signal.values), 0, -1)
        moment = ((signal.directions.T * values) @ signal.directions).astype(np.float32)
        weight = _WEIGHT if self._moment is not None else 1.0
        floor = signal.floor if np.isfinite(signal.floor) else 0.0
        before = self._moment if self._moment is not None else np.zeros_like(moment)
        self._moment = weight * moment + (1 - weight) * before
        self._noise = weight**2 * floor**2 + (1 - weight) ** 2 * self._noise
        self._total = weight * signal.total + (1 - weight) * self._total
        self._rows = signal.rows

    def average(self) -> Signal:
        """Compute the averaged signal. It is not kept: D x D in fp32 is all that is."""
        if self._moment is None:
            raise RuntimeError("no window has been observed")
        spectrum = Spectrum.of(self._moment.astype(np.float64))
        floor = float(np.sqrt(self._noise)) if self._noise > 0 else np.inf
        return Signal(spectrum.values, spectrum.directions, floor, self._rows, self._total)

    def first(self) -> Matrix:
        """Basis [r, D] to begin with: the directions of most signal, above the floor or not."""
        rule, average = self._rule, self.average()
        return average.directions[: self._bounded(average.kept.rank(rule.share))]

    def decide(self, basis: Matrix, gram: Matrix) -> Rotation | None:
        """Return how the basis is to turn after the window that was observed, if it is.

        Parameters
        ----------
        basis : float64 [r, D]
            B.
        gram : float64 [r, r]
            A.T @ A.
        """
        average = self.average()
        wanted = self._bounded(average.kept.rank(self._rule.share))
        if wanted > len(basis):
            self._smaller = 0
            return _grown(average, basis, wanted)
        return self._shrunk(average, basis, gram) or self._turned(average, basis, gram)

    def to_rank(self, basis: Matrix, gram: Matrix, rank: int) -> Rotation:
        """Turn to a given rank, 1 to D, whatever the signal says; arguments as of `decide`."""
        if rank > len(basis):
            return _grown(self.average(), basis, rank)
        return shrunk(basis, gram, rank)

    def _bounded(self, rank: int) -> int:
        return min(max(rank, self._rule.least), self._rule.most)

    def _shrunk(self, average: Signal, basis: Matrix, gram: Matrix) -> Rotation | None:
        rule = self._rule
        low = np.where(average.values > _LOW_FLOOR * average.floor, average.values, 0.0)
        share = min(rule.share + rule.margin, 1.0)
        wanted = self._bounded(Spectrum(low, average.directions).rank(share))
        if wanted >= len(basis):
            self._smaller = 0
            return None
        self._smaller += 1
        if self._smaller < rule.dwell:
            return None
        self._smaller = 0
        return shrunk(basis, gram, wanted)

    def _turned(self, average: Signal, basis: Matrix, gram: Matrix) -> Rotation | None:
        kept = average.kept
        count = min(int((kept.values > 0).sum()), len(basis))
        best = float(kept.values[:count].sum())
        inside = float((np.square(basis @ kept.directions.T) @ kept.values).sum())
        if inside >= _STALE * best:
            return None
        # The strongest directions, and what of B is not among them, as much as there is room for.
        strong = kept.directions[:count]
        rest = basis - basis @ strong.T @ strong
        _, _, others = np.linalg.svd(rest)
        turned = np.concatenate([strong, others[: len(basis) - count]])
        turn = basis @ turned.T
        total = float(np.trace(gram))
        held = float(np.trace(turn.T @ gram @ turn))
        return Rotation(turned, turn, max(0.0, 1 - held / total) if total > 0 else 0.0)


def _grown(average: Signal, basis: Matrix, rank: int) -> Rotation:
    beside = np.eye(basis.shape[1]) - basis.T @ basis
    moment = (average.directions.T * average.values) @ average.directions
    rest = Spectrum.of(beside @ moment @ beside)
    grown = np.concatenate([basis, rest.directions[: rank - len(basis)]])
    return Rotation(grown, np.eye(len(basis), rank), 0.0)


def shrunk(basis: Matrix, gram: Matrix, rank: int) -> Rotation:
    """Turn to the best approximation of A @ B of a lower rank (Eckart and Young 1936).

    Parameters
    ----------
    basis : float64 [r, D]
        Orthonormal.
    gram : float64 [r, r]
        A.T @ A.
    rank : int
        Below r.
    """
    inner = Spectrum.of(gram)
    turn = inner.directions[:rank].T
    lost = float(inner.values[rank:].sum()) / inner.energy if inner.energy > 0 else 0.0
    return Rotation(turn.T @ basis, turn, lost)
