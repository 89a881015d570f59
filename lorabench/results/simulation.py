"""Runs that are made up from a recorded one, to find out what runs like it can tell and what not.

`solo` and `solo_repeat` are the same thing twice (A/A): whatever tells them apart is the machine's
weather. From their slices come simulated blocks of three arms between which there is no difference,
two controls and a candidate; the candidate's latencies times a factor are a slowdown whose size is
known. A multiple of all latencies has the same multiple of p99, so one simulated run serves for
every factor.

What keeps the resampling honest:

- Blocks are strata: a simulated block is a recorded one, drawn with replacement, and the next one,
  so that bad minutes stay bad for all arms at once, as they were.
- Which control a slice came from is not looked at: slices ran in random order, so they may change
  places.
- No slice is in two arms of a block, nor twice in one. An arm that shares slices with another goes
  up and down with it, and drawing with replacement leaves out a part of the noise (one n-th of n
  slices): both would make the bench look better than it is. The two controls of one block fill no
  three arms of a control's length, which is why a block is made of two: of each, all arms take the
  same number of slices, half of an arm or nearly so. Both are brought to the same median, lest the
  slower one alone make up the tail. So arms are as long as recorded ones and differ by as much: on
  fresh material of the same law the spread was within 8 %, that of arms drawn with replacement 6 to
  22 % short, and that of thirds of one block, where nothing stalls, 35 % too wide.

How far the recorded run stands for the machine is a question of its own. Runs are simulated again
from recorded blocks that are themselves drawn with replacement (the bootstrap of Efron 1979, by
blocks), many times over; how much a share of runs differs between these worlds goes into its
interval. Simulating more runs does not make up for few recorded blocks: without this, intervals of
400 runs held the chance to see a slowdown in 17 to 80 % of trials instead of 95 %, with it and 16
blocks or more in 78 to 95 %.

What it does not know: a candidate that varies by itself, which a real one may; differences between
runs, days or machines; whatever the recorded run did not meet. The order of slices was also
balanced within a block, which takes a drift out that is left in here.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench.results.limit import MIN_ROUNDS
from lorabench.results.sequential import Looks
from lorabench.results.statistics import MIN_BEYOND

ARMS = 3
LEAST_SLICES = 4
"""Fewer slices of the controls in a block fill no three arms with the next block's."""

# Latencies that are held at once while quantiles are taken.
_CHUNK = 4_000_000

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]


def draw(
    slices: Sequence[int], each: int, seed: int, arms: int = ARMS, cases: int = 2
) -> tuple[Numbers, ...]:
    """Draw the slices of all arms.

    Parameters
    ----------
    slices : sequence of int
        How many slices of both controls each recorded block has, `LEAST_SLICES` or more; of two
        blocks or more.
    each : int
        How many simulated blocks to make of each recorded one.
    seed : int
        Same seed, same draws.
    arms : int
        How many, 2 or 3.
    cases : int
        From how many the slices are: an arm is as long as one of them.

    Returns
    -------
    tuple of int64 [each, arms, k]
        Of every recorded block, the slices of the arms, numbered over all recorded blocks.
    """
    rng = np.random.default_rng(seed)
    first = np.cumsum([0, *slices])
    drawn = []
    for block, there in enumerate(slices):
        other = block + 1 if block + 1 < len(slices) else block - 1
        shares = zip((block, other), _shares((there, slices[other]), arms, cases), strict=True)
        parts = [
            first[which] + _disjoint(rng, slices[which], (each, arms, share))
            for which, share in shares
        ]
        drawn.append(np.concatenate(parts, axis=2))
    return tuple(drawn)


def _shares(slices: tuple[int, int], arms: int, cases: int) -> tuple[int, int]:
    """Return how many slices of two blocks go into an arm of a case's length."""
    block, other = slices
    length = (block + other) // (2 * cases)
    mine = min(-(-length // 2), block // arms)
    return mine, min(length - mine, other // arms)


def _disjoint(rng: np.random.Generator, slices: int, shape: tuple[int, int, int]) -> Numbers:
    """Return numbers of slices, int64 [count, arms, share], in each row every one at most once."""
    count, arms, share = shape
    shuffled = rng.random((count, slices)).argsort(axis=1)
    return shuffled[:, : arms * share].reshape(shape)


def log_ratios(
    drawn: Sequence[Numbers], blocks: Sequence[Sequence[Values]], q: float = 0.99
) -> Values:
    """Return the logarithm of the candidate's quantile over the controls', where nothing differs.

    Parameters
    ----------
    drawn : sequence of int64 [each, 3, k]
        As of `draw`.
    blocks : sequence of sequence of float [N]
        Latencies of the slices of both controls, of every recorded block; positive.
    q : float
        Which quantile: an order statistic of all latencies of an arm.

    Returns
    -------
    float64 [recorded blocks, each]
        log q(candidate) - (log q(control) + log q(other control)) / 2; NaN where too few latencies
        lie beyond it in an arm.
    """
    logs = log_quantiles(drawn, [one for block in blocks for one in _levelled(block)], q)
    found: Values = logs[:, :, 0] - logs[:, :, 1:].mean(axis=2)
    return found


def log_quantiles(drawn: Sequence[Numbers], slices: Sequence[Values], q: float) -> Values:
    """Return the logarithm of every arm's quantile, an order statistic of all its latencies.

    Parameters
    ----------
    drawn : sequence of int64 [each, arms, k]
        Which slices the arms of simulated blocks are made of.
    slices : sequence of float [N]
        Latencies of every slice; positive.
    q : float
        Which quantile.

    Returns
    -------
    float64 [len(drawn), each, arms]
        NaN where too few latencies lie beyond it.
    """
    counts = np.array([len(one) for one in slices])
    longest = max(arms.shape[2] for arms in drawn)
    tails = _tails(slices, int(_beyond(np.array(longest * counts.max()), q)) + 1)
    return np.array(
        [
            np.concatenate([_of_arms(arms, counts, tails, q) for arms in _chunks(block, tails)])
            for block in drawn
        ]
    )


def _of_arms(arms: Numbers, counts: Numbers, tails: Values, q: float) -> Values:
    """Return the log quantile of each arm, float64 [n, arms]."""
    beyond = _beyond(counts[arms].sum(axis=2), q)
    values = tails[arms].reshape(*arms.shape[:2], -1)
    # The value with `beyond` above it, in rising order.
    places = values.shape[2] - 1 - beyond
    values.partition(np.unique(places), axis=2)
    quantiles = np.take_along_axis(values, places[:, :, None], axis=2)[:, :, 0]
    found: Values = np.log(np.where(beyond >= MIN_BEYOND, quantiles, np.nan))
    return found


def _levelled(block: Sequence[Values]) -> list[Values]:
    """Return a block's slices as multiples of their common median."""
    level = np.median(joined) if len(joined := np.concatenate(block)) else 1.0
    return [one / level for one in block]


def _beyond(n: Numbers, q: float) -> Numbers:
    """Return how many of `n` samples lie beyond their quantile, as `statistics.quantile` has it."""
    return n - np.ceil(np.round(q * n, 9)).astype(np.int64)


def _tails(slices: Sequence[Values], most: int) -> Values:
    """Return the largest of each slice, float64 [slices, most]: no arm's quantile is below them."""
    tails = np.full((len(slices), max(1, min(most, max(map(len, slices))))), -np.inf)
    for row, one in zip(tails, slices, strict=True):
        largest = np.sort(one)[::-1][: len(row)]
        row[: len(largest)] = largest
    return tails


def _chunks(arms: Numbers, tails: Values) -> Iterator[Numbers]:
    step = max(1, _CHUNK // (arms.shape[1] * arms.shape[2] * tails.shape[1]))
    for begin in range(0, len(arms), step):
        yield arms[begin : begin + step]


def make_runs(ratios: Values, runs: int, blocks: int, seed: int) -> Values:
    """Return runs of simulated blocks, float64 [runs, blocks].

    Parameters
    ----------
    ratios : float64 [recorded blocks, each]
        As of `log_ratios`.
    runs, blocks : int
        How many, and of how many blocks each.
    seed : int
        Same seed, same runs.
    """
    rng = np.random.default_rng(seed)
    recorded, each = ratios.shape
    which = rng.integers(recorded, size=(runs, blocks))
    return ratios[which, rng.integers(each, size=(runs, blocks))]


def make_worlds(
    ratios: Values, worlds: int, runs: int, blocks: int, seed: int, *, stretch: int = 1
) -> Values:
    """Return runs of several worlds, each of its own draw of recorded blocks.

    Parameters
    ----------
    ratios, blocks, seed
        As of `make_runs`.
    worlds, runs : int
        How many, and runs of each.
    stretch : int
        How many neighbours are drawn together, where they are not independent (the circular block
        bootstrap: Politis and Romano 1992).

    Returns
    -------
    float64 [worlds, runs, blocks]
    """
    rng = np.random.default_rng(seed)
    recorded, each = ratios.shape
    begins = rng.integers(recorded, size=(worlds, math.ceil(recorded / stretch)))
    stretches = (begins[:, :, None] + np.arange(stretch)) % recorded
    world = stretches.reshape(worlds, -1)[:, :recorded]
    drawn = rng.integers(recorded, size=(worlds, runs * blocks))
    which = np.take_along_axis(world, drawn, axis=1).reshape(worlds, runs, blocks)
    found: Values = ratios[which, rng.integers(each, size=which.shape)]
    return found


@dataclass(frozen=True)
class Intervals:
    """Bounds of every run's interval at every look, as logarithms of a ratio.

    Parameters
    ----------
    blocks : tuple of int
        After how many blocks each look is.
    low, high : float64 [runs, looks]
        NaN where too few blocks have a value.
    """

    blocks: tuple[int, ...]
    low: Values
    high: Values


def intervals(logs: Values, looks: Looks) -> Intervals:
    """Return each run's t intervals, as of `lorabench.results.statistics.mean`, all at once.

    Parameters
    ----------
    logs : float64 [runs, blocks]
        Values; NaN where a block has none.
    looks : Looks
        When a run looks, and at which level.
    """
    from scipy.special import stdtrit

    there = ~np.isnan(logs)
    values = np.where(there, logs, 0.0)
    at = np.array(looks.blocks) - 1
    count, total, squares = (each.cumsum(axis=1)[:, at] for each in (there, values, values**2))
    n = np.where(count >= MIN_ROUNDS, count, np.nan)
    centre = total / n
    variance = np.maximum(squares - n * centre**2, 0.0) / (n - 1)
    half = stdtrit(n - 1, 1 - looks.level) * np.sqrt(variance / n)
    return Intervals(looks.blocks, centre - half, centre + half)


@dataclass(frozen=True)
class Question:
    """What is asked of simulated runs: whether they end with this verdict.

    Parameters
    ----------
    verdict : str
        Its name.
    ratio : float
        The true ratio of candidate and controls.
    bound : float
        What the interval is held against.
    above : bool
        It lies above the bound; otherwise at most at it.
    """

    verdict: str
    ratio: float
    bound: float
    above: bool

    def decided(self, found: Intervals) -> Values:
        """Return after how many blocks each run's interval says so first; infinity for never."""
        bound = math.log(self.bound) - math.log(self.ratio)
        says = found.low > bound if self.above else found.high <= bound
        return np.where(says.any(axis=1), np.array(found.blocks)[says.argmax(axis=1)], np.inf)


def least_seen(found: Intervals, share: float) -> float | None:
    """Return the smallest ratio above 1 that this share of runs sees: an interval above 1.

    None where they see none, however large.
    """
    # What a run's ratio must exceed for one of its intervals to lie above 1.
    needed = np.sort(-np.where(np.isnan(found.low), -np.inf, found.low).max(axis=1))
    place = needed[math.ceil(round(share * len(needed), 9)) - 1]
    return float(np.exp(place)) if np.isfinite(place) else None
