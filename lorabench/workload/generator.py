r"""Generated click logs: Zipf-popular ids, skewed counts, labels from a planted model.

This is the workload for when no real rows are at hand, or when the truth must be known: whoever
wants the best possible prediction asks the same `PlantedModel`. It is no imitation of any one
data set. It draws rows; where they are stored, served or trained on is not its business.

A row's content depends on the spec, the seed and the row's number alone. The stream is drawn in
chunks of 65,536 rows, each from its own `numpy.random.SeedSequence` child, so it may be started
anywhere and cut anyhow. The bytes were compared with and without AVX-512 and over several BLAS
kernels, and are equal; without AVX2, NumPy's float32 exponential rounds differently, and a few
counts, and labels with them, differ.

Ids.
    Feature f has c_f real ids. A rank k follows the bounded Zipf law with exponent s_f, and lives
    in table row 1 + (a_f (k-1) + b_f) mod c_f, a_f coprime to c_f: a bijection that scatters hot
    rows over the table. With probability m_f the value is missing and the row is 0.
Counts.
    x_d = floor(exp(location_d + scale_d n), n ~ N(0, 1), or missing.
Labels.
    A factorisation machine (Rendle 2010) whose parameters are never stored: taste w_f(i) and
    factors v_f(i) in R^R of row i of table f are standard normal functions of a hash of (f, i),

    .. math::
        g_1 &= F^{-1/2} \sum_f w_f(i_f) \\
        g_2 &= (R F (F-1) / 2)^{-1/2} \sum_{f<h} \langle v_f(i_f), v_h(i_h) \rangle \\
        g_3 &= \sum_d c_d (\log(x_d + 1/2) - location_d) / scale_d,
               \quad \|c\| = 1, \text{ 0 where missing or } scale_d \le 10^{-3} \\
        g &= \sqrt{0.5} g_1 + \sqrt{0.3} g_2 + \sqrt{0.2} g_3 \\
        P(click) &= \sigma(\beta + strength \cdot (g - \mu) / s)

    where the mean mu, the standard deviation s, and beta, which makes the mean probability the
    base rate, come from a pilot chunk outside the stream.
Times.
    A Poisson process given its count: chunk j's times are sorted uniform draws from its own
    65,536 / rows_per_s seconds.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lorabench.workload.block import MISSING_DENSE, MISSING_ROW, Block
from lorabench.workload.spec import WorkloadSpec
from lorabench.workload.zipf import BoundedZipf

CHUNK_ROWS = 65_536
"""Rows drawn from one child of the seed; changing it changes every generated workload."""

# Children of the seed (SeedSequence spawn keys), so that no two uses share random numbers.
_PLANT, _PILOT, _STREAM = range(3)

_SHARES = (0.5, 0.3, 0.2)  # of the logit's variance: taste, interaction, dense
_CONSTANT = 1e-3  # a count that varies less does not survive being floored
_INT32_TOP = np.float32(2**31 - 128)  # the largest float32 that fits int32


def generate_blocks(
    spec: WorkloadSpec,
    seed: int,
    start: int = 0,
    rows: int | None = None,
    block_rows: int = CHUNK_ROWS,
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

    Yields
    ------
    Block

    Raises
    ------
    ValueError
        A negative `start` or `rows`, a `block_rows` below 1, or a negative seed.
    """
    if rows is None:
        rows = max(spec.rows - start, 0)
    if start < 0 or rows < 0 or block_rows < 1:
        raise ValueError(
            f"found start={start}, rows={rows}, block_rows={block_rows}; "
            "expected start >= 0, rows >= 0, block_rows >= 1"
        )
    stop = start + rows
    planted, scatter = PlantedModel(spec, seed), _scatter(spec, seed)
    index, chunk = -1, None
    for low in range(start, stop, block_rows):
        high = min(low + block_rows, stop)
        parts = []
        for j in range(low // CHUNK_ROWS, (high - 1) // CHUNK_ROWS + 1):
            if chunk is None or j != index:
                index, chunk = j, _draw_chunk(spec, seed, j, planted, scatter)
            base = j * CHUNK_ROWS
            parts.append(chunk.slice(max(low - base, 0), min(high - base, CHUNK_ROWS)))
        yield parts[0] if len(parts) == 1 else Block.concat(parts)


class PlantedModel:
    """The truth behind the labels; equations in the module's docstring.

    Its size does not depend on the tables' sizes.

    Parameters
    ----------
    spec : WorkloadSpec
        The workload.
    seed : int
        At least 0.
    """

    def __init__(self, spec: WorkloadSpec, seed: int) -> None:
        self._rank = spec.labels.rank
        features = spec.num_sparse
        sequence = np.random.SeedSequence(seed, spawn_key=(_PLANT,))
        # Four normals come out of one hash, so each row needs `hashes` of them.
        hashes = -(-(1 + self._rank) // 4)
        self._keys = sequence.generate_state(features * hashes, np.uint64).reshape(features, -1)
        rng = np.random.default_rng(sequence.spawn(1)[0])
        direction = rng.standard_normal(spec.num_dense)
        scale = np.array(spec.dense.scale)
        varies = scale > _CONSTANT
        weight = np.divide(direction, scale, out=np.zeros_like(scale), where=varies)
        self._dense_weight = (weight / np.linalg.norm(direction)).astype(np.float32)
        self._dense_centre = np.array(spec.dense.location, np.float32)
        pairs = features * (features - 1) / 2 * self._rank
        self._taste_weight = math.sqrt(_SHARES[0] / features)
        self._pair_weight = math.sqrt(_SHARES[1] / pairs) if pairs else 0.0

        pilot_rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PILOT,)))
        sparse = _draw_sparse(spec, _scatter(spec, seed), pilot_rng)
        dense = _draw_dense(spec, pilot_rng)
        raw = self._raw_logit(dense, sparse)
        self._mean = float(raw.mean())
        spread = float(raw.std())
        self._gain = spec.labels.strength / spread if spread > 0 else 0.0
        self._intercept = _intercept((raw - self._mean) * self._gain, spec.labels.base_rate)

    def probability(
        self, dense: NDArray[np.int32], sparse: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Return the true click probability of each row.

        Parameters
        ----------
        dense : int32 array [N, num_dense]
            Raw values.
        sparse : int32 array [N, F]
            Table rows.

        Returns
        -------
        float64 array [N]
        """
        logit = (self._raw_logit(dense, sparse) - self._mean) * self._gain + self._intercept
        return _sigmoid(logit)

    def _raw_logit(
        self, dense: NDArray[np.int32], sparse: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        n, features = sparse.shape
        taste = np.zeros(n, np.float32)
        factors = np.zeros((n, self._rank), np.float32)
        squares = np.zeros(n, np.float32)
        for f in range(features):
            values = _normals(np.ascontiguousarray(sparse[:, f]), self._keys[f])
            taste += values[:, 0]
            v = values[:, 1 : 1 + self._rank]
            factors += v
            squares += np.einsum("nr,nr->n", v, v)
        # sum over pairs = (|sum|^2 - sum |.|^2) / 2: linear in F, not quadratic
        pairs = (np.einsum("nr,nr->n", factors, factors) - squares) / 2
        logs = np.log(np.maximum(dense, 0) + np.float32(0.5), dtype=np.float32)
        logs -= self._dense_centre
        logs[dense == MISSING_DENSE] = 0
        # Not `@`: the order in which BLAS adds depends on the machine, and so would some label.
        counts = np.einsum("nd,d->n", logs, self._dense_weight) * np.float32(math.sqrt(_SHARES[2]))
        logit = self._taste_weight * taste + self._pair_weight * pairs + counts
        return np.asarray(logit, np.float64)


def _draw_chunk(
    spec: WorkloadSpec,
    seed: int,
    index: int,
    planted: PlantedModel,
    scatter: "tuple[_Scatter, ...]",
) -> Block:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM, index)))
    sparse = _draw_sparse(spec, scatter, rng)
    dense = _draw_dense(spec, rng)
    label = rng.random(CHUNK_ROWS) < planted.probability(dense, sparse)
    begin, end = (int((index + i) * CHUNK_ROWS / spec.rows_per_s * 1e9) for i in (0, 1))
    time_ns = rng.integers(begin, max(end, begin + 1), CHUNK_ROWS, dtype=np.int64)
    time_ns.sort()
    return Block(label.astype(np.int8), time_ns, dense, sparse)


@dataclass(frozen=True)
class _Scatter:
    """Popularity rank - 1 -> (multiplier * it + offset) mod modulus, of one feature."""

    multiplier: int
    offset: int
    modulus: int


def _scatter(spec: WorkloadSpec, seed: int) -> tuple[_Scatter, ...]:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PLANT, 1)))
    maps = []
    for c in spec.sparse.cardinality:
        multiplier = int(rng.integers(1, c + 1))
        while math.gcd(multiplier, c) != 1:
            multiplier = int(rng.integers(1, c + 1))
        maps.append(_Scatter(multiplier, int(rng.integers(c)), c))
    return tuple(maps)


def _draw_sparse(
    spec: WorkloadSpec, scatter: tuple[_Scatter, ...], rng: np.random.Generator
) -> NDArray[np.int32]:
    sparse = np.empty((CHUNK_ROWS, spec.num_sparse), np.int32)
    laws = zip(scatter, spec.sparse.zipf, spec.sparse.missing, strict=True)
    for f, (to_row, exponent, missing) in enumerate(laws):
        rank = BoundedZipf(to_row.modulus, exponent).sample(rng, CHUNK_ROWS)
        # int64: both factors are below 2^31
        row = 1 + ((rank - 1) * to_row.multiplier + to_row.offset) % to_row.modulus
        if missing:
            row[rng.random(CHUNK_ROWS) < missing] = MISSING_ROW
        sparse[:, f] = row
    return sparse


def _draw_dense(spec: WorkloadSpec, rng: np.random.Generator) -> NDArray[np.int32]:
    shape = (CHUNK_ROWS, spec.num_dense)
    values = rng.standard_normal(shape, np.float32)
    values *= np.array(spec.dense.scale, np.float32)
    values += np.array(spec.dense.location, np.float32)
    with np.errstate(over="ignore"):  # infinity is cut on the next line
        np.exp(values, out=values)
    dense = np.minimum(values, _INT32_TOP).astype(np.int32)
    dense[rng.random(shape, np.float32) < np.array(spec.dense.missing, np.float32)] = MISSING_DENSE
    return dense


@cache
def _normal_quantiles() -> NDArray[np.float32]:
    from scipy.special import ndtri

    return np.asarray(ndtri((np.arange(65_536) + 0.5) / 65_536), np.float32)


def _normals(row: NDArray[np.int32], keys: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Return standard normal values of table rows, float32 [N, 4 * len(keys)], from hashes.

    splitmix64's finaliser (Steele, Lea and Flood 2014) over row * golden ratio + key; 16 bits pick
    one of 65,536 normal quantiles, which is precise enough for a parameter and far faster than
    inverting the normal law each time.
    """
    spread = row.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = spread[:, None] + keys
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return _normal_quantiles()[z.view(np.uint16)]


def _sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import expit

    return np.asarray(expit(logit))


def _intercept(logit: NDArray[np.float64], base_rate: float) -> float:
    """Find beta with mean(sigmoid(beta + logit)) = base_rate by bisection: the mean is monotone."""
    centre = math.log(base_rate / (1 - base_rate))
    reach = float(np.abs(logit).max())
    low, high = centre - reach, centre + reach
    for _ in range(60):
        middle = (low + high) / 2
        if _sigmoid(logit + middle).mean() < base_rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2
