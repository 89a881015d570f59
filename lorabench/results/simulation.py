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
  slower one alone make up the tail. So arms are as long as recorded ones and differ by as much.

What it does not know: a candidate that varies by itself, which a real one may; differences between
runs, days or machines; whatever the recorded run did not meet. The order of slices was also
balanced within a block, which takes a drift out that is left in here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench.results.limit import MIN_ROUNDS, Limit, claim
from lorabench.results.schema import Claim
from lorabench.results.sequential import ALPHA
from lorabench.results.statistics import MIN_BEYOND, Estimate

ARMS = 3
LEAST_SLICES = 4
"""Fewer slices of the controls in a block fill no three arms with the next block's."""

# Latencies that are held at once while quantiles are taken.
_CHUNK = 4_000_000

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Draws:
    """Which slices each arm of each simulated block is made of.

    Parameters
    ----------
    runs, blocks : int
        Simulated runs, and blocks of each.
    parts : tuple of (int64 [n], int64 [n, 3, k])
        Simulated blocks whose arms have `k` slices each: their places, run after run, and the
        slices of their arms, numbered over all recorded blocks.
    """

    runs: int
    blocks: int
    parts: tuple[tuple[Numbers, Numbers], ...]


def draw(slices: Sequence[int], runs: int, blocks: int, seed: int) -> Draws:
    """Draw the slices of all arms.

    Parameters
    ----------
    slices : sequence of int
        How many slices of both controls each recorded block has, `LEAST_SLICES` or more; of two
        blocks or more.
    runs, blocks : int
        Simulated runs, and blocks of each.
    seed : int
        Same seed, same draws.
    """
    rng = np.random.default_rng(seed)
    first = np.cumsum([0, *slices])
    drawn = rng.integers(len(slices), size=runs * blocks)
    parts = []
    for block, there in enumerate(slices):
        where = np.flatnonzero(drawn == block)
        other = block + 1 if block + 1 < len(slices) else block - 1
        shares = zip((block, other), _shares(there, slices[other]), strict=True)
        arms = [
            first[which] + _disjoint(rng, slices[which], share, len(where))
            for which, share in shares
        ]
        parts.append((where, np.concatenate(arms, axis=2)))
    return Draws(runs, blocks, tuple(parts))


def _shares(block: int, other: int) -> tuple[int, int]:
    """Return how many slices of two blocks go into an arm of a control's length."""
    length = (block + other) // 4
    mine = min(-(-length // 2), block // ARMS)
    return mine, min(length - mine, other // ARMS)


def _disjoint(rng: np.random.Generator, slices: int, share: int, count: int) -> Numbers:
    """Return numbers of slices, int64 [count, 3, share], in each row every one at most once."""
    shuffled = rng.random((count, slices)).argsort(axis=1)
    return shuffled[:, : ARMS * share].reshape(count, ARMS, share)


def log_ratios(draws: Draws, blocks: Sequence[Sequence[Values]], q: float = 0.99) -> Values:
    """Return the logarithm of the candidate's quantile over the controls', where nothing differs.

    Parameters
    ----------
    draws : Draws
        As of `draw`.
    blocks : sequence of sequence of float [N]
        Latencies of the slices of both controls, of every recorded block; positive.
    q : float
        Which quantile: an order statistic of all latencies of an arm.

    Returns
    -------
    float64 [runs, blocks]
        log q(candidate) - (log q(control) + log q(other control)) / 2; NaN where too few latencies
        lie beyond it in an arm.
    """
    slices = [one for block in blocks for one in _levelled(block)]
    counts = np.array([len(one) for one in slices])
    longest = max((arms.shape[2] for _, arms in draws.parts), default=1)
    tails = _tails(slices, int(_beyond(np.array(longest * counts.max()), q)) + 1)
    found = np.full(draws.runs * draws.blocks, np.nan)
    for where, arms in _chunks(draws, tails.shape[1]):
        beyond = _beyond(counts[arms].sum(axis=2), q)
        values = tails[arms].reshape(len(arms), ARMS, -1)
        # The value with `beyond` above it, in rising order.
        places = values.shape[2] - 1 - beyond
        values.partition(np.unique(places), axis=2)
        quantiles = np.take_along_axis(values, places[:, :, None], axis=2)[:, :, 0]
        logs = np.log(np.where(beyond >= MIN_BEYOND, quantiles, np.nan))
        found[where] = logs[:, 0] - logs[:, 1:].mean(axis=1)
    return found.reshape(draws.runs, draws.blocks)


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


def _chunks(draws: Draws, width: int) -> Iterator[tuple[Numbers, Numbers]]:
    for where, arms in draws.parts:
        step = max(1, _CHUNK // max(1, ARMS * arms.shape[2] * width))
        for begin in range(0, len(where), step):
            yield where[begin : begin + step], arms[begin : begin + step]


@dataclass(frozen=True)
class Intervals:
    """Bounds of every run's interval after every number of blocks, as logarithms of a ratio.

    Parameters
    ----------
    low, high : float64 [runs, blocks]
        NaN where too few blocks have a value.
    """

    low: Values
    high: Values


def intervals(logs: Values, level: float) -> Intervals:
    """Return each run's t intervals, as of `lorabench.results.sequential.interval`.

    Parameters
    ----------
    logs : float64 [runs, blocks]
        Values; NaN where a block has none.
    level : float
        What is left out on either side.
    """
    from scipy.special import stdtrit

    there = ~np.isnan(logs)
    values = np.where(there, logs, 0.0)
    n = np.where(there.cumsum(axis=1) >= MIN_ROUNDS, there.cumsum(axis=1), np.nan)
    centre = values.cumsum(axis=1) / n
    variance = np.maximum((values**2).cumsum(axis=1) - n * centre**2, 0.0) / (n - 1)
    half = stdtrit(n - 1, 1 - level) * np.sqrt(variance / n)
    return Intervals(centre - half, centre + half)


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

    def decided(self, found: Intervals) -> NDArray[np.bool_]:
        """Return in which runs, after how many blocks, the interval says so."""
        bound = math.log(self.bound) - math.log(self.ratio)
        return found.low > bound if self.above else found.high <= bound


def first_look(decided: NDArray[np.bool_], looks: Sequence[int]) -> Values:
    """Return after how many blocks each run's first look decides; infinity where none does."""
    blocks = np.array(looks)
    seen = decided[:, blocks - 1]
    return np.where(seen.any(axis=1), blocks[seen.argmax(axis=1)], np.inf)


def least_seen(found: Intervals, looks: Sequence[int], share: float) -> float | None:
    """Return the smallest ratio above 1 that this share of runs sees: an interval above 1.

    None where they see none, however large.
    """
    low = found.low[:, np.array(looks) - 1]
    # What a run's ratio must exceed for one of its intervals to lie above 1.
    needed = np.sort(-np.where(np.isnan(low), -np.inf, low).max(axis=1))
    place = needed[math.ceil(round(share * len(needed), 9)) - 1]
    return float(np.exp(place)) if np.isfinite(place) else None


def share(successes: int, n: int, miss: float = 0.05) -> Estimate:
    """Return a share with its interval (Clopper and Pearson 1934), which misses at most at `miss`.

    Parameters
    ----------
    successes, n : int
        How many of how many; `n` is 1 or more.
    miss : float
        Both sides together.
    """
    from scipy.special import betaincinv

    low = float(betaincinv(successes, n - successes + 1, miss / 2)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - miss / 2)) if successes < n else 1.0
    return Estimate(successes / n, (low, high), n)


FALSE_VERDICTS = Limit("bench.false_verdicts", "at most 2.5 % false verdicts of either kind", ALPHA)


def false_verdicts(errors: Mapping[str, int], runs: int) -> Claim:
    """Judge ``bench.false_verdicts`` by the error that simulated runs made most often.

    Parameters
    ----------
    errors : mapping of str to int
        How many runs made it, by what it is, in words.
    runs : int
        Of how many.
    """
    worst = max(errors, key=lambda error: errors[error])
    # The interval of the worst of several has to hold for each of them.
    estimate = share(errors[worst], runs, 0.05 / len(errors))
    assert estimate.interval is not None
    low, high = estimate.interval
    verdict = FALSE_VERDICTS.verdict(low, high)
    reason = (
        f"{worst} in {estimate.value * 100:.1f} % of {runs:,} simulated runs, and no other error "
        f"more often (95 % interval {low * 100:.1f} to {high * 100:.1f} %)"
    )
    if verdict == "inconclusive":
        reason += ", an interval that holds what the looks at a run are planned for"
    return claim(FALSE_VERDICTS, estimate, verdict, "derived", reason)
