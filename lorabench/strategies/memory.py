r"""``memory``: a frozen model and a memory of its errors, which nothing is trained for.

After ReLoop2 (Zhu et al. 2023, "ReLoop2: Building Self-Adaptive Recommendation Models via
Responsive Error Compensation Loop", arXiv 2306.08808): beside a model that changes slowly stands a
non-parametric memory, into which errors go as labels arrive and out of which the error of a sample
is estimated by that of samples alike. It is a sketch of constant size with constant time of access,
by locality-sensitive hashing: arrays of buckets, each with a sum of errors and a count (arrays of
counts after Luo and Shrivastava 2018, arXiv 1706.06664, repeated with a sum beside the count as in
Coleman and Shrivastava 2020, arXiv 1912.02283). Every sample goes into one bucket of each array.

Two families of hashes say which samples are alike:

Ids.
    An array a feature, a bucket a row of its table, hashed where the budget has fewer. This is
    MinHash of the set of a sample's (feature, row) pairs with every draw of it taken once, in place
    of at random.
The last hidden layer.
    SimHash (Charikar 2002): the signs of random projections, of as many arrays as there is room
    for.

The model's errors :math:`e = y - p` are of its probabilities and its logit z is what is corrected,
so a bucket also sums :math:`v = p (1 - p)`, the slope of p: :math:`\sum e / \sum v` is one step of
Newton's method towards the logit at which the bucket's errors vanish. With :math:`g` that of all
samples, the estimates are of what a bucket errs beyond it, drawn to 0 by a prior of weight
:math:`v_0`, and those by ids add up, as those of independent causes do:

.. math::
    z' = z + \lambda \Bigl( g + \frac{1}{L} \sum_{l=1}^{L} a_l + \sum_f a_f \Bigr), \qquad
    a = \frac{\sum e - g \sum v}{\sum v + v_0}

:math:`\lambda`, how strongly it compensates, is this strategy's learning rate, and what is
remembered fades with its decay, evenly with each sample.

What differs from the paper, of which the abstract and summaries were at hand and not its code: the
arrays by ids, the correction of the logit and the fading are ours. By the hidden layer alone the
memory gains little on drift of rows: samples that share a drifted row are not alike there. On
generated rows the sum over ids is at its best, since the planted truth has such a sum in it
(`lorabench.workload.planted`) and its features are drawn independently. The errors are those of the
model and not of what was served, or what is compensated would be forgotten for having been so.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.lora.learner import WINDOW
from lorabench.model.tables import TableLayout
from lorabench.strategies.base import Strategy, StrategySpec
from lorabench.strategies.deployment import Deployment
from lorabench.workload.planted import sigmoid

Floats = NDArray[np.float32]
Keys = NDArray[np.int64]

_PRIOR = 20.0
"""Weight of the prior, about what 100 samples bring."""

_ARRAYS, _BITS = 16, 6
"""Arrays by the hidden layer, and signs that say which bucket of one."""

_HIDDEN_SHARE = 1 / 4
"""The most of the budget that these and their projections take."""

_BUCKET_BYTES = 2 * 4
_MOST_SCALE = 2.0**20
_PROJECTIONS = (7, 4)  # what a seed is used for here, beside those of `lorabench.lora.basis`


class Sketch:
    """Buckets with a sum of errors and a sum of weights each, which fade.

    Parameters
    ----------
    buckets : int

    Notes
    -----
    Nothing is touched to fade: what is added later counts for more, until `_MOST_SCALE`.
    """

    def __init__(self, buckets: int) -> None:
        self._sums = np.zeros((2, buckets), np.float32)
        self._total = np.zeros(2)
        self._scale = 1.0

    @property
    def nbytes(self) -> int:
        """Bytes of all buckets."""
        return self._sums.nbytes

    def fade(self, kept: float) -> None:
        """Keep this share, above 0 and at most 1, of all sums."""
        self._scale /= kept
        if self._scale > _MOST_SCALE:
            self._sums /= np.float32(self._scale)
            self._total /= self._scale
            self._scale = 1.0

    def add(self, keys: Keys, errors: Floats, weights: Floats) -> None:
        """Add errors [B] and weights [B] to the buckets `keys` [B, K] each."""
        for number, values in enumerate((errors, weights)):
            scaled = values * np.float32(self._scale)
            np.add.at(self._sums[number], keys.ravel(), np.repeat(scaled, keys.shape[1]))
            self._total[number] += float(scaled.sum())

    @property
    def mean(self) -> float:
        """Error a weight of all samples; 0 before there is any."""
        errors, weights = self._total
        return float(errors / (weights + _PRIOR * self._scale))

    def excess(self, keys: Keys) -> Floats:
        """Estimate what the buckets `keys` [B, K] err beyond the mean, float32 [B, K]."""
        errors, weights = (sums[keys] for sums in self._sums)
        found: Floats = (errors - np.float32(self.mean) * weights) / (
            weights + np.float32(_PRIOR * self._scale)
        )
        return found


class IdKeys:
    """The bucket of each row of each table.

    Parameters
    ----------
    layout : TableLayout
        The tables.
    buckets : sequence of int, length F
        Of each; at most its rows.
    """

    def __init__(self, layout: TableLayout, buckets: Sequence[int]) -> None:
        hotness = np.array(layout.lookups)
        starts = np.cumsum([0, *buckets[:-1]])
        # Of each column of the samples.
        self._start = np.repeat(starts, hotness)
        self._buckets = np.repeat(np.array(buckets, np.uint64), hotness)
        self._hashed = np.repeat(np.array(buckets) < np.array(layout.rows), hotness)
        self.share = np.repeat(1 / hotness, hotness).astype(np.float32)
        """Of a bag's rows each, float32 [C]."""

    def __call__(self, sparse: NDArray[np.int32]) -> Keys:
        """Return buckets [B, C] of rows [B, C]."""
        # Fibonacci hashing (Knuth): the high half of a product with 2^32 over the golden ratio.
        mixed = (sparse.astype(np.uint64) * np.uint64(2654435769)) & np.uint64(0xFFFFFFFF)
        hashed = (mixed * self._buckets) >> np.uint64(32)
        keys: Keys = np.where(self._hashed, hashed.astype(np.int64), sparse) + self._start
        return keys


class HiddenKeys:
    """SimHash of the last hidden layer.

    Parameters
    ----------
    width : int
        H.
    arrays : int
        L.
    seed : int
        Of the projections.
    """

    def __init__(self, width: int, arrays: int, seed: int) -> None:
        self._arrays = arrays
        rng = np.random.default_rng((seed, *_PROJECTIONS))
        self._project = rng.standard_normal((width, arrays * _BITS)).astype(np.float32)
        self._center = np.zeros(width, np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of projections and centre."""
        return self._project.nbytes + self._center.nbytes

    def center(self, hidden: Floats) -> None:
        """Take the mean of hidden [B, H] for the origin: seen from 0 all ReLUs are alike."""
        self._center[:] = hidden.mean(axis=0)

    def __call__(self, hidden: Floats) -> Keys:
        """Return buckets [B, L] of hidden [B, H]."""
        signs = ((hidden - self._center) @ self._project > 0).reshape(-1, self._arrays, _BITS)
        keys: Keys = signs @ (1 << np.arange(_BITS)) + (np.arange(self._arrays) << _BITS)
        return keys


def hidden_arrays(width: int, budget: int) -> int:
    """Return how many arrays by a hidden layer [H] a budget in bytes pays for."""
    one = (_BUCKET_BYTES << _BITS) + width * _BITS * 4
    return max(0, min(_ARRAYS, (int(budget * _HIDDEN_SHARE) - width * 4) // one))


def id_buckets(rows: Sequence[int], budget: int) -> list[int]:
    """Share a budget out among tables: as many buckets each, up to a table's rows.

    Raises
    ------
    InputError
        It does not buy one bucket a table.
    """
    most = budget // _BUCKET_BYTES

    def spent(level: int) -> int:
        return sum(min(count, level) for count in rows)

    level = bisect_right(range(max(rows) + 1), most, key=spent) - 1
    if level == 0:
        raise InputError(
            f"the error memory's budget is too small: found {budget:,} bytes, expected at least "
            f"{len(rows) * _BUCKET_BYTES:,}, a bucket a table (--memory-budget)"
        )
    return [min(count, level) for count in rows]


class ErrorMemory(Strategy):
    """The base model and a memory of its errors within the budget; parameters as of `Strategy`.

    It needs nothing of a sample but its label later: what it read and predicted of it when it was
    served is computed again here, as it is the same.
    """

    forms = ("memory",)
    default_rate = 1.0
    default_decay = 0.25

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        model = deployment.model
        layout = model.tables.layout
        self._kernels = model.tables.kernels
        self._net = model.net.freeze()
        self._strength = np.float32(spec.learning_rate or 0.0)
        self._decay = spec.accumulator_decay
        self._empty = True
        budget = int(deployment.memory_budget * layout.table_bytes)
        arrays = hidden_arrays(self._net.shape.hidden, budget)
        self._hidden_keys = self._hidden = None
        if arrays:
            self._hidden_keys = HiddenKeys(self._net.shape.hidden, arrays, spec.seed)
            self._hidden = Sketch(arrays << _BITS)
            budget -= self._hidden_keys.nbytes + self._hidden.nbytes
        buckets = id_buckets(layout.rows, budget)
        self._id_keys = IdKeys(layout, buckets)
        self._ids = Sketch(sum(buckets))

    @classmethod
    def check(
        cls,
        spec: StrategySpec,  # noqa: ARG003 - it has no choice
        layout: TableLayout,
        memory_budget: float,
        saved: object = None,  # noqa: ARG003 - nothing can be
    ) -> None:
        """Refuse a budget that does not buy a bucket a table."""
        budget = int(memory_budget * layout.table_bytes)
        id_buckets(layout.rows, budget - int(budget * _HIDDEN_SHARE))

    def predict(self, dense: Floats, sparse: NDArray[np.int32]) -> Floats:
        """Return the logits [B] of the base model, compensated."""
        hidden, logits = self._served(dense, sparse)
        if self._empty:
            return logits
        found = self._ids.mean + self._ids.excess(self._id_keys(sparse)) @ self._id_keys.share
        if self._hidden is not None and self._hidden_keys is not None:
            found += self._hidden.excess(self._hidden_keys(hidden)).mean(axis=1)
        compensated: Floats = logits + self._strength * found
        return compensated

    def learn(self, dense: Floats, sparse: NDArray[np.int32], labels: NDArray[np.int8]) -> None:
        """Remember the base model's errors."""
        hidden, logits = self._served(dense, sparse)
        clicks = sigmoid(logits.astype(np.float64)).astype(np.float32)
        errors, weights = labels - clicks, clicks * (1 - clicks)
        kept = self._decay ** (len(labels) / WINDOW)
        self._ids.fade(kept)
        self._ids.add(self._id_keys(sparse), errors, weights)
        if self._hidden is not None and self._hidden_keys is not None:
            if self._empty:
                self._hidden_keys.center(hidden)
            self._hidden.fade(kept)
            self._hidden.add(self._hidden_keys(hidden), errors, weights)
        self._empty = False

    def _served(self, dense: Floats, sparse: NDArray[np.int32]) -> tuple[Floats, Floats]:
        """Return last hidden layer [B, H] and logits [B] of the base model."""
        embeddings = np.empty((len(sparse), self._kernels.count, self._kernels.dim), np.float32)
        self._kernels.lookup(sparse, embeddings)
        with torch.inference_mode():
            hidden = self._net.represent(torch.from_numpy(dense), torch.from_numpy(embeddings))
            logits: Floats = self._net.over_arch.score(hidden).numpy()
        found: Floats = hidden.numpy()
        return found, logits

    @property
    def peak_bytes(self) -> Mapping[str, int]:
        """Bytes of the buckets by ids and by the hidden layer, and of the projections."""
        found = {"ids": self._ids.nbytes}
        if self._hidden is not None and self._hidden_keys is not None:
            found |= {"hidden": self._hidden.nbytes, "projections": self._hidden_keys.nbytes}
        return found
