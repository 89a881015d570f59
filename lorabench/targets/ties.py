"""Recorded arrivals that share a stamp: whether queries came at once, or stamps were cut.

Access logs and public traces often give whole seconds. Replayed as they stand, all queries of a
second come in one burst that nobody sent, and their latency is that of a queue. Cut stamps show
themselves: they lie on a grid, and its step is no shorter than the mean gap, be it over the whole
recording or where queries are dense. Real batches do not: their moments lie on no grid, or on one
that is far finer than the gaps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NS = 1_000_000_000

# Stamps may be rounded copies of a step that is none of their unit, such as a third of a second
# in ms: how far off, of a step, and of the way.
_OFF_STEP, _OFF_WAY = 0.01, 0.002
# Gaps beyond so many steps tell little of the step.
_NEAR_STEPS = 16
# Of the near gaps that must be multiples of the step, and of all that must be one step.
_ON_GRID, _ONE_STEP = 0.9, 0.1
# Of all arrivals, below which ties are chance: a step as long as the mean gap ties most.
_FEW = 0.05


@dataclass(frozen=True)
class Ties:
    """Arrivals that have the stamp of another.

    Attributes
    ----------
    arrivals : int
        In all, N.
    tied : int
        That share their stamp.
    mean_gap_ns : float
        Between arrivals.
    step_ns : float or None
        Of the grid that those stamps lie on; None where they lie on none.
    per_step : float
        Arrivals that come in a step where queries are dense: as many as a tied one has in the step
        behind its own. 0 without a grid.
    """

    arrivals: int
    tied: int
    mean_gap_ns: float
    step_ns: float | None
    per_step: float

    @property
    def coarse(self) -> bool:
        """Whether stamps are coarser than the gaps between arrivals, so that ties are no bursts."""
        if self.step_ns is None or self.tied < _FEW * self.arrivals:
            return False
        return self.step_ns > self.mean_gap_ns or self.per_step >= 1

    def describe(self) -> str:
        """Say how many there are, on what steps."""
        on = "" if self.step_ns is None else f" on steps of {self.step_ns / _NS:g} s"
        return (
            f"{self.tied:,} of {self.arrivals:,} arrivals at the moment of another{on}, "
            f"with a mean gap of {self.mean_gap_ns / _NS:.3g} s"
        )


def find_ties(stamps: NDArray[np.int64]) -> Ties:
    """Look for arrivals that share a stamp, and for the grid that such stamps lie on.

    Parameters
    ----------
    stamps : int64 [N]
        In ns, never falling; N is at least 2.
    """
    moments, counts = np.unique(stamps, return_counts=True)
    several = counts > 1
    tied = int(counts[several].sum())
    gap = float(stamps[-1] - stamps[0]) / (len(stamps) - 1)
    if not tied:
        return Ties(len(stamps), 0, gap, None, 0.0)
    shared, among = moments[several], counts[several].astype(np.float64)
    gaps = np.diff(shared).astype(np.float64)
    # Where all stamps lie on no grid, those that are shared may: the others may come from a clock
    # that was read exactly.
    step = _step(np.diff(moments).astype(np.float64)) or _step(gaps)
    per_step = 0.0
    if step is not None:
        following = _steps_off(gaps, step) == 1
        per_step = float((among[:-1] * among[1:])[following].sum() / tied)
    return Ties(len(stamps), tied, gap, step, per_step)


def spread(
    stamps: NDArray[np.int64], ties: Ties, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give arrivals on the grid of those that are tied a moment within their step.

    Parameters
    ----------
    stamps : int64 [N]
        In ns, never falling.
    ties : Ties
        Of these. Where they lie on no grid, the step is the largest that all stamps are whole
        multiples of.
    rng : numpy.random.Generator
        Where the moments come from: uniform within the step that begins at the stamp.

    Returns
    -------
    stamps : int64 [N]
        Rising.
    order : int64 [N]
        Which of the given ones each is.
    """
    moments, place, counts = np.unique(stamps, return_inverse=True, return_counts=True)
    step = ties.step_ns
    if step is None:
        step = float(np.gcd.reduce(np.diff(moments))) if len(moments) > 1 else 1.0
    shared = moments[counts > 1]
    if not len(shared):
        return stamps, np.arange(len(stamps))
    nearest = shared[np.clip(np.searchsorted(shared, moments, "right") - 1, 0, None)]
    on_grid = (_steps_off(np.abs(moments - nearest).astype(np.float64), step) >= 0)[place]
    within = np.where(on_grid, (rng.random(len(stamps)) * step).astype(np.int64), 0)
    moved = stamps + within
    order = np.argsort(moved, kind="stable")
    return moved[order], order


def _step(gaps: NDArray[np.float64]) -> float | None:
    """Return the step of a grid that gaps [G] in ns lie on; None if they lie on none."""
    if not len(gaps):
        return None
    lengths, counts = np.unique(gaps, return_counts=True)
    common = float(lengths[np.argmax(counts)])
    near = gaps[gaps <= _NEAR_STEPS * common]
    steps = _steps_off(near, common)
    single = np.abs(gaps - common) <= 2 * _OFF_STEP * common
    if 2 * len(near) < len(gaps) or single.mean() < _ONE_STEP or (steps > 0).mean() < _ON_GRID:
        return None
    whole = steps > 0
    return float(near[whole].sum() / steps[whole].sum())


def _steps_off(ways: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    """Return how many steps each way in ns is long; -1 where that is no whole number."""
    steps = np.rint(ways / step)
    whole = np.abs(ways - steps * step) <= _OFF_STEP * step + _OFF_WAY * ways
    return np.where(whole, steps, -1).astype(np.int64)
