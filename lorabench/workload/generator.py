r"""Generated click logs: Zipf-popular ids, skewed counts, labels from a planted model that drifts.

This is the workload for when no real rows are at hand, or when the truth must be known: whoever
wants the best possible prediction asks the same `PlantedModel`. It draws rows; where they are
stored, served or trained on is not its business.

A row's content depends on the spec, the seed and the row's number alone. The stream is drawn in
chunks of 65,536 rows, each from its own `numpy.random.SeedSequence` child, so it may be started
anywhere, cut anyhow, and drawn by any number of threads. The ids are the same in every build;
NumPy's float32 exponential and logarithm round differently without AVX2, and a few counts, and
labels with them, then differ.

Ids.
    Feature f has c_f real ids. A rank k follows the spec's head probabilities and, beyond them, the
    bounded Zipf law with exponent s_f. Rank k lives in table row 1 + (a_f (k-1) + b_f) mod c_f, a_f
    coprime to c_f: a bijection that scatters hot rows over the table. With probability m_f the
    value is missing and the row is 0.
Popularity drift.
    Ranks swap places in pairs, k with 2k or 2k + 1 where floor(log2 k) is even, each pair each
    time that :math:`T_{trades}(t) + \phi_k` passes a whole number. The holder of a rank k <= c/16
    is replaced each time :math:`T_{newcomers}(t)` passes a phase of its own: an id from the colder
    half takes its place, and is replaced in turn; within a fifth of the time between two changes
    both are seen, the old one ever more rarely. The Zipf law of the ranks never changes.
Counts.
    x_d = floor(exp(location_d + scale_d n)), n ~ N(0, 1), or by the spec's quantiles, or missing.
Labels.
    See `lorabench.workload.planted`.
Times.
    A Poisson process given its count, on the time scale on which rows come at a constant rate:
    chunk j's times are sorted uniform draws from its own 65,536 / rows_per_s seconds.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.generate import place_ranks
from lorabench.errors import InputError
from lorabench.workload.block import MISSING_DENSE, Block
from lorabench.workload.drift import Drift
from lorabench.workload.planted import TICK_ROWS, PlantedModel, sigmoid, tick_times
from lorabench.workload.spec import WorkloadSpec
from lorabench.workload.zipf import BoundedZipf

CHUNK_ROWS = 65_536
"""Rows drawn from one child of the seed; changing it changes every generated workload."""

# Children of the seed (SeedSequence spawn keys), so that no two uses share random numbers.
_PLANT, _PILOT, _STREAM = range(3)

_HOT_SHARE = 16  # newcomers take the ranks up to a 16th of the ids
_INT32_TOP = np.float32(2**31 - 128)  # the largest float32 that fits int32

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


@dataclass(frozen=True, eq=False)
class Drawn:
    """Rows with the truth behind their labels.

    Attributes
    ----------
    block : Block
        N rows, their columns contiguous.
    logit : float64 [N]
        True log odds of a click.
    """

    block: Block
    logit: NDArray[np.float64]

    def slice(self, start: int, stop: int) -> "Drawn":
        """Rows start .. stop, as views."""
        return Drawn(self.block.slice(start, stop), self.logit[start:stop])


class Generator:
    """Draws the stream of a spec and a seed.

    Parameters
    ----------
    spec : WorkloadSpec
        The workload.
    seed : int
        At least 0; another seed gives other rows and another planted model.

    Attributes
    ----------
    planted : PlantedModel
        The truth behind the labels.
    """

    def __init__(self, spec: WorkloadSpec, seed: int) -> None:
        if not spec.sparse.missing_row:
            raise InputError(
                f"{spec.name}: found sparse.missing_row = false, which says how given rows are "
                "numbered, expected it left out: generated ids begin behind a row for missing ones"
            )
        self._spec, self._seed = spec, seed
        self._drift = Drift(spec.drift)
        self._populations = _populations(spec, seed, self._drift.has_newcomers)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PILOT,)))
        pilot = self._draw_rows(rng, np.zeros(1))
        sequence = np.random.SeedSequence(seed, spawn_key=(_PLANT,))
        self.planted = PlantedModel(spec, sequence, pilot)

    def chunks(self, start: int, stop: int, jobs: int = 1) -> Iterator[Drawn]:
        """Draw rows start .. stop, cut where chunks of `CHUNK_ROWS` begin.

        Parameters
        ----------
        start, stop : int
            0 <= start <= stop; the stream may be read beyond ``spec.rows``.
        jobs : int
            Threads that draw; no influence on the rows.
        """
        numbers = range(start // CHUNK_ROWS, -(-stop // CHUNK_ROWS) if stop > start else 0)
        for number, drawn in zip(numbers, in_order(self.chunk, numbers, jobs), strict=True):
            base = number * CHUNK_ROWS
            yield drawn.slice(max(start - base, 0), min(stop - base, CHUNK_ROWS))

    def chunk(self, number: int) -> Drawn:
        """Draw all rows of one chunk."""
        spec, first_row = self._spec, number * CHUNK_ROWS
        rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(_STREAM, number)))
        rows = self._draw_rows(rng, tick_times(spec, self._drift, first_row, CHUNK_ROWS))
        logit = self.planted.logit(rows, first_row)
        label = (rng.random(CHUNK_ROWS) < sigmoid(logit)).astype(np.int8)
        return Drawn(Block(label, self._times(rng, first_row), rows.dense, rows.sparse), logit)

    def _times(self, rng: np.random.Generator, first_row: int) -> NDArray[np.int64]:
        # Within a tick the rate of rows is as good as constant.
        ticks = first_row + np.arange(0, CHUNK_ROWS + 1, TICK_ROWS)
        bounds = (self._drift.time_s(ticks / self._spec.rows_per_s) * 1e9).astype(np.int64)
        begin, end = int(ticks[0]), int(ticks[-1])
        fine = 1 << 20  # parts of a row, so that times are no multiples of a gap
        place = rng.integers(0, (end - begin) * fine, CHUNK_ROWS, dtype=np.int64)
        place.sort()
        tick, within = np.divmod(place, TICK_ROWS * fine)
        width = np.diff(bounds)[tick].astype(np.float64)
        return np.asarray(bounds[tick] + (within / (TICK_ROWS * fine) * width).astype(np.int64))

    def _draw_rows(self, rng: np.random.Generator, times_s: NDArray[np.float64]) -> Block:
        nothing = np.zeros(CHUNK_ROWS, np.int8), np.zeros(CHUNK_ROWS, np.int64)
        swaps, newcomers = self._drift.popularity_swaps(times_s), self._drift.newcomers(times_s)
        sparse = np.empty((self._spec.num_columns, CHUNK_ROWS), np.int32)
        column = 0
        for population, hotness in zip(self._populations, self._spec.sparse.hotness, strict=True):
            for _ in range(hotness):
                population.draw(rng, swaps, newcomers, sparse[column])
                column += 1
        dense = _draw_dense(self._spec, rng)
        return Block(*nothing, dense.T, sparse.T)


def generate_blocks(
    spec: WorkloadSpec,
    seed: int,
    start: int = 0,
    rows: int | None = None,
    block_rows: int = CHUNK_ROWS,
    *,
    jobs: int = 1,
) -> Iterator[Block]:
    """Generate a part of a workload's stream, in blocks.

    Parameters
    ----------
    spec : WorkloadSpec
        The workload.
    seed : int
        At least 0; another seed gives other rows and another planted model.
    start : int
        First row.
    rows : int, optional
        How many; default: to the spec's end. The stream may be read beyond `spec.rows`.
    block_rows : int
        Length of each block but the last; it has no influence on the rows.
    jobs : int
        Threads that draw; no influence on the rows.

    Yields
    ------
    Block

    Raises
    ------
    ValueError
        A negative `start` or `rows`, a `block_rows` or `jobs` below 1, or a negative seed.
    """
    if rows is None:
        rows = max(spec.rows - start, 0)
    if start < 0 or rows < 0 or block_rows < 1 or jobs < 1:
        raise ValueError(
            f"found start={start}, rows={rows}, block_rows={block_rows}, jobs={jobs}; "
            "expected start >= 0, rows >= 0, block_rows >= 1, jobs >= 1"
        )
    waiting: list[Block] = []
    ready = 0
    for drawn in Generator(spec, seed).chunks(start, start + rows, jobs):
        block = drawn.block
        while ready + len(block) >= block_rows:
            cut = block_rows - ready
            waiting.append(block.slice(0, cut))
            yield waiting[0] if len(waiting) == 1 else Block.concat(waiting)
            block, waiting, ready = block.slice(cut, len(block)), [], 0
        if len(block):
            waiting.append(block)
            ready += len(block)
    if waiting:
        yield waiting[0] if len(waiting) == 1 else Block.concat(waiting)


def in_order(make: Callable[[_Item], _Made], items: Iterable[_Item], jobs: int) -> Iterator[_Made]:
    """Map `make` over `items` on `jobs` threads, in order, and never far ahead of the consumer.

    What it makes should spend its time outside the interpreter lock. Memory holds at most
    ``2 * jobs`` results, which `ThreadPoolExecutor.map` would not promise.
    """
    if jobs == 1:
        yield from map(make, items)
        return
    with ThreadPoolExecutor(jobs) as pool:
        pending: deque[Future[_Made]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(make, item))
                if len(pending) >= 2 * jobs:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@dataclass(frozen=True)
class _Population:
    """The ids of one feature: how popular each rank is, and in which row it lives."""

    ids: int
    exponent: float
    head: NDArray[np.float64]  # cumulative probabilities of the first ranks
    missing: float
    multiplier: int
    offset: int
    key: int
    hot: int

    def draw(
        self,
        rng: np.random.Generator,
        swaps: NDArray[np.float64],
        newcomers: NDArray[np.float64],
        rows: NDArray[np.int32],
    ) -> None:
        place_ranks(
            rng.bit_generator,
            self._ranks(rng, len(rows)),
            swaps,
            newcomers,
            rows,
            ids=self.ids,
            multiplier=self.multiplier,
            offset=self.offset,
            key=self.key,
            missing=self.missing,
            hot=self.hot,
        )

    def _ranks(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        tail = BoundedZipf(self.ids - len(self.head), self.exponent)
        if not len(self.head):
            return tail.sample(rng, n)
        ranks = 1 + np.searchsorted(self.head, rng.random(n), side="right")
        beyond = np.flatnonzero(ranks > len(self.head))
        ranks[beyond] = len(self.head) + tail.sample(rng, len(beyond))
        return ranks


def _populations(spec: WorkloadSpec, seed: int, newcomers: bool) -> tuple[_Population, ...]:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PLANT, 1)))
    sparse = spec.sparse
    populations = []
    for ids, exponent, head, missing in zip(
        sparse.cardinality, sparse.zipf, sparse.head, sparse.missing, strict=True
    ):
        multiplier = int(rng.integers(1, ids + 1))
        while math.gcd(multiplier, ids) != 1:
            multiplier = int(rng.integers(1, ids + 1))
        populations.append(
            _Population(
                ids=ids,
                exponent=exponent,
                head=np.cumsum(head),
                missing=missing,
                multiplier=multiplier,
                offset=int(rng.integers(ids)),
                key=int(rng.integers(2**32)),
                hot=ids // _HOT_SHARE if newcomers else 0,
            )
        )
    return tuple(populations)


def _draw_dense(spec: WorkloadSpec, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw counts, float32 [num_dense, CHUNK_ROWS]."""
    dense = np.empty((spec.num_dense, CHUNK_ROWS), np.float32)
    laws = zip(
        spec.dense.location, spec.dense.scale, spec.dense.missing, spec.dense.quantiles, strict=True
    )
    for values, (location, scale, missing, quantiles) in zip(dense, laws, strict=True):
        if quantiles:
            place = rng.random(CHUNK_ROWS) * (len(quantiles) - 1)
            points = np.interp(place, np.arange(len(quantiles)), np.array(quantiles, np.float64))
            values[:] = np.rint(points)
        else:
            logs = rng.standard_normal(CHUNK_ROWS, np.float32)
            logs *= np.float32(scale)
            logs += np.float32(location)
            with np.errstate(over="ignore"):  # infinity is cut on the next line
                np.exp(logs, out=logs)
            values[:] = np.trunc(np.minimum(logs, _INT32_TOP))
        if missing:
            values[rng.random(CHUNK_ROWS, np.float32) < np.float32(missing)] = MISSING_DENSE
    return dense
