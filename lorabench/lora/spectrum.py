r"""Spectra of embedding updates: how many directions carry how much, and how much of it is noise.

Three second-moment matrices a table, D x D and uncentred, tell three different things.

(a) Per-sample gradients.
    :math:`\sum_s g_s g_s^T`. Full of noise: a click is a coin's toss.
(b) The updates of a window.
    :math:`\sum_i \Delta W_i \Delta W_i^T` over the rows i that were touched: what an adapter of
    rank r would have had to hold. Less noise, but still the optimiser's random walk.
(c) The signal.
    The samples of a window are divided at random into two halves. With all parameters held still,
    row i has the gradient sums :math:`G^1_i, G^2_i` over :math:`n^1_i, n^2_i` samples, and

    .. math::
        S = \sum_i (n^1_i n^2_i)^{-1/2} \; \tfrac12 (G^1_i {G^2_i}^T + G^2_i {G^1_i}^T)

    The noise of the two halves is independent, so its expectation in S is zero; what is left is
    the gradients' mean. The weight makes every row's noise equally large and lets its signal count
    by how often it is looked up, which is what mending it would gain. (Unweighted sums count the
    square of that, and a handful of rows would be the whole spectrum.)

What is noise in (c) is known from the data: differences :math:`d_i = G^1_i - G^2_i`, each half
scaled to the same count, hold no signal, and products of two neighbouring rows' differences with
random signs are draws of S with nothing in it. Its largest eigenvalue in such draws, mean plus
`FLOOR_SIGMAS` standard deviations, is the floor above which an eigenvalue counts as signal
(parallel analysis, Horn 1965, with the noise taken from the sample itself).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.index import RowIndex
from lorabench._kernels.train import add_gram

FLOOR_SIGMAS = 4.0
_FLOOR_DRAWS = 8
_LEAST_ROWS = 8  # from fewer no floor can be told

Matrix = NDArray[np.float64]


def packed_size(dim: int) -> int:
    """Entries of a packed symmetric D x D matrix."""
    return dim * (dim + 1) // 2


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The eigenvalues of a second-moment matrix.

    Attributes
    ----------
    values : float64 [D]
        Falling, none below 0.
    directions : float64 [D, D]
        Orthonormal, one a row, in the order of `values`.
    """

    values: Matrix
    directions: Matrix

    @classmethod
    def of(cls, moment: Matrix) -> "Spectrum":
        """Decompose a symmetric matrix [D, D]; negative eigenvalues are set to 0."""
        values, vectors = np.linalg.eigh(moment)
        return cls(np.maximum(values[::-1], 0.0), vectors[:, ::-1].T.copy())

    @property
    def energy(self) -> float:
        """Sum of the eigenvalues: all of the variance."""
        return float(self.values.sum())

    @property
    def explained(self) -> Matrix:
        """Share of the energy in the leading directions, 1 to D; 0 throughout if there is none."""
        total = self.energy
        return np.cumsum(self.values) / total if total > 0 else np.zeros_like(self.values)

    def rank(self, share: float) -> int:
        """Fewest leading directions that hold at least `share` of the energy; 0 if there is none.

        Parameters
        ----------
        share : float
            Above 0, at most 1.
        """
        if self.energy <= 0:
            return 0
        return min(int((self.explained < share * (1 - 1e-12)).sum()) + 1, len(self.values))

    @property
    def effective_rank(self) -> float:
        """Exponential of the entropy of the normalised eigenvalues; 0 if there is no energy.

        References
        ----------
        O. Roy and M. Vetterli, "The effective rank: a measure of effective dimensionality",
        EUSIPCO 2007.
        """
        if self.energy <= 0:
            return 0.0
        share = self.values / self.energy
        share = share[share > 0]
        return float(math.exp(-float(share @ np.log(share))))


@dataclass(frozen=True, eq=False)
class Signal(Spectrum):
    """The signal spectrum (c), with what is known of its noise.

    Attributes
    ----------
    floor : float
        What the largest eigenvalue hardly ever exceeds where there is no signal.
    rows : int
        Table rows that it rests on.
    total : float
        Energy of the same sums with their noise, so that `share` can be told.
    """

    floor: float = math.inf
    rows: int = 0
    total: float = 0.0

    @property
    def significant(self) -> int:
        """Directions whose eigenvalue lies above the floor: the rank of the signal."""
        return int((self.values > self.floor).sum())

    @property
    def kept(self) -> Spectrum:
        """What is above the floor, and nothing else."""
        return Spectrum(np.where(self.values > self.floor, self.values, 0.0), self.directions)

    @property
    def share(self) -> float:
        """Share of signal in the energy of the gradient sums, 0 to 1."""
        return min(self.kept.energy / self.total, 1.0) if self.total > 0 else 0.0


class MomentSum:
    """Running second moments (a) of per-sample gradients, one packed matrix a table.

    Parameters
    ----------
    tables : sequence of int
        Which of the F tables.
    dim : int
        D.
    """

    def __init__(self, tables: Sequence[int], dim: int) -> None:
        self._tables = np.array(tables, dtype=np.int64)
        self._lower = np.tril_indices(dim)
        self._dim = dim
        self.packed = np.zeros((len(self._tables), packed_size(dim)), np.float32)

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Add the outer products of `vectors` [B, F, D]."""
        add_gram(vectors, self._tables, self.packed)

    def matrix(self, place: int) -> Matrix:
        """Full matrix [D, D] of the `place`-th table."""
        full = np.zeros((self._dim, self._dim))
        full[self._lower] = self.packed[place]
        return full + np.tril(full, -1).T

    def clear(self) -> None:
        """Begin anew."""
        self.packed[:] = 0


class SplitGradientSums:
    """Gradient sums over two random halves of a window, for the first rows of it.

    Rows are kept as they first appear, up to `most` a table: under a skewed popularity those are
    the popular ones, with no knowledge of it.

    Parameters
    ----------
    tables : sequence of int
        Which of the F tables.
    dim : int
        D.
    most : int or sequence of int
        Rows a table, or of each of `tables`.
    seed : int or sequence of int
        Of the division into halves, and of the draws of the noise floor.
    hotness : sequence of int, length F, optional
        Rows that a sample looks up in each of the F tables; one by default.
    """

    def __init__(
        self,
        tables: Sequence[int],
        dim: int,
        most: int | Sequence[int],
        seed: int | Sequence[int] = 0,
        hotness: Sequence[int] | None = None,
    ) -> None:
        self._tables = list(tables)
        self._hotness = hotness
        self._dim = dim
        self._most = [most] * len(self._tables) if isinstance(most, int) else list(most)
        self._seed = seed
        self._sums = [np.zeros((2 * rows, dim), np.float32) for rows in self._most]
        self._counts = [np.zeros(2 * rows, np.float32) for rows in self._most]
        self.reset()

    @property
    def nbytes(self) -> int:
        """Bytes of the sums and counts, without the indices."""
        return sum(array.nbytes for array in (*self._sums, *self._counts))

    def reset(self) -> None:
        """Begin anew, and draw what was drawn before."""
        self._rng = np.random.default_rng(self._seed)
        self.clear()

    def clear(self) -> None:
        """Begin a new window."""
        for array in (*self._sums, *self._counts):
            array[:] = 0
        self._index = [RowIndex(rows) for rows in self._most]
        self.samples = 0

    def add(self, sparse: NDArray[np.int32], grad: NDArray[np.float32]) -> None:
        """Add gradients `grad` [B, F, D] by the bags of the rows `sparse` [B, C]."""
        half = self._rng.integers(0, 2, len(sparse)).astype(np.int32)
        for place, table in enumerate(self._tables):
            self._add(place, rows_of(sparse, table, self._hotness), grad[:, table], half)
        self.samples += len(sparse)

    def _add(
        self,
        place: int,
        bags: NDArray[np.int32],
        grad: NDArray[np.float32],
        half: NDArray[np.int32],
    ) -> None:
        hotness = bags.shape[1]
        rows = np.ascontiguousarray(bags).reshape(-1)
        sample = np.repeat(np.arange(len(bags)), hotness)
        index = self._index[place]
        slots = np.empty(len(rows), np.int32)
        index.find(rows, slots)
        if index.used < self._most[place] and (slots < 0).any():
            new, first = np.unique(rows[slots < 0], return_index=True)
            new = new[np.argsort(first)][: self._most[place] - index.used]
            index.insert(new, np.arange(index.used, index.used + len(new), dtype=np.int32))
            index.find(rows, slots)
        there = slots >= 0
        sample = sample[there]
        key = (slots[there] * 2 + half[sample]).astype(np.int64)
        # Sums of a group at a time: numpy's add.at is several times slower.
        order = np.argsort(key, kind="stable")
        key = key[order]
        if len(key) == 0:
            return
        sample = sample[order]
        begin = _starts(key)
        self._sums[place][key[begin]] += np.add.reduceat(grad[sample], begin)
        if hotness == 1:
            self._counts[place][key[begin]] += np.diff(np.append(begin, len(key)))
            return
        # A bag that names a row m times adds m times one gradient, hence m^2 times its noise.
        once = _starts(key, sample)
        times = np.diff(np.append(once, len(key)))
        first = np.searchsorted(once, begin)
        self._counts[place][key[begin]] += np.add.reduceat(times * times, first)

    def signal(self, place: int) -> Signal:
        """Signal spectrum of the `place`-th table."""
        used = 2 * self._index[place].used
        counts = self._counts[place][:used].reshape(-1, 2)
        sums = self._sums[place][:used].reshape(-1, 2, self._dim)
        return signal(sums[:, 0], sums[:, 1], counts, self._rng)


def rows_of(
    sparse: NDArray[np.int32], table: int, hotness: Sequence[int] | None
) -> NDArray[np.int32]:
    """Rows [B, L] of one table in `sparse` [B, C]: its column, or its columns."""
    if hotness is None:
        return sparse[:, table : table + 1]
    first = sum(hotness[:table])
    return sparse[:, first : first + hotness[table]]


def _starts(*keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each run of equal entries begins."""
    changes = np.zeros(len(keys[0]) - 1, bool)
    for key in keys:
        changes |= key[1:] != key[:-1]
    return np.flatnonzero(np.concatenate([[True], changes]))


def signal(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    counts: NDArray[np.float32],
    rng: np.random.Generator,
) -> Signal:
    """Signal spectrum of gradient sums over two halves.

    Parameters
    ----------
    first, second : float32 [K, D]
        Sums of each row's gradients over each half.
    counts : float32 [K, 2]
        Samples in each sum, a sample that names the row m times counted m^2 times; rows without
        samples in both halves are left out.
    rng : numpy.random.Generator
        Draws of the noise floor.
    """
    dim = first.shape[1]
    both = (counts > 0).all(axis=1)
    n = counts[both].astype(np.float64)
    rows = len(n)
    if rows < _LEAST_ROWS:
        # No signal can be told; the directions of most energy are still a better guess than any.
        sums = np.concatenate([first, second]).astype(np.float64)
        return Signal(np.zeros(dim), Spectrum.of(sums.T @ sums).directions, rows=rows)
    # Each half divided by the root of its count: unit noise, and products have the weight wanted.
    a = first[both] / np.sqrt(n[:, :1])
    b = second[both] / np.sqrt(n[:, 1:])
    spectrum = Spectrum.of(_symmetric(a, b))
    total = float(np.square(a).sum() + np.square(b).sum()) / 2
    return Signal(spectrum.values, spectrum.directions, _floor(a, b, n, rng), rows, total)


def _symmetric(a: Matrix, b: Matrix) -> Matrix:
    product = a.T @ b
    return (product + product.T) / 2


def _floor(a: Matrix, b: Matrix, n: Matrix, rng: np.random.Generator) -> float:
    # The mean of half 1 less that of half 2, scaled to unit noise again.
    scale = np.sqrt(n[:, 0] * n[:, 1] / (n[:, 0] + n[:, 1]))[:, None]
    apart = scale * (a / np.sqrt(n[:, :1]) - b / np.sqrt(n[:, 1:]))
    # Neighbours in the order of their counts: their noise is alike, and independent.
    apart = apart[np.argsort(n.sum(axis=1), kind="stable")]
    following = np.roll(apart, 1, axis=0)
    drawn = []
    for _ in range(_FLOOR_DRAWS):
        signs = rng.choice(np.array([-1.0, 1.0]), (len(apart), 1))
        values = np.linalg.eigvalsh(_symmetric(apart * signs, following))
        drawn += [values[-1], -values[0]]  # either end: the draws are symmetric
    return float(np.mean(drawn) + FLOOR_SIGMAS * np.std(drawn))


def alignment(one: Matrix, other: Matrix) -> float:
    """How alike two subspaces are: the mean squared cosine of their principal angles, 0 to 1.

    Parameters
    ----------
    one, other : float64 [r, D]
        Orthonormal directions, one a row; as many in both.
    """
    if len(one) == 0:
        return 1.0
    return float(np.square(one @ other.T).sum() / len(one))
