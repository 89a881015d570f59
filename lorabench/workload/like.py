r"""Fitting the generator to a sample of raw Criteo rows, and holding the two against each other.

From each feature of the sample come its missing rate and, for ids:

Cardinality.
    Chao's lower bound, bias-corrected: with :math:`f_1` ids seen once and :math:`f_2` seen twice of
    S in all, :math:`S + f_1 (f_1 - 1) / (2 (f_2 + 1))` (A. Chao, "Nonparametric estimation of the
    number of classes in a population", 1984). Like Good and Turing's estimate it reads what was
    not seen from what was seen once. It is a lower bound: a sample of 2,000 rows cannot tell 10
    million ids from 100 million.
Head.
    The shares of the most popular ids, up to 32, each seen at least 5 times.
Tail.
    The Zipf exponent over the other ids that makes the expected number of distinct ids among the
    sample's draws of them what was seen.

and for counts: 513 evenly spaced quantiles, and mean and deviation of the logarithm.

Two samples are compared by a two-sample distance D, the largest difference between two cumulative
distributions: for counts over their values (Kolmogorov and Smirnov), for ids over their popularity
ranks, because ids have other names in the two. Beside it stands the noise: the D that 95 % of pairs
of samples of this size have that both come from the fitted law.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.criteo import COLUMNS, NUM_DENSE, NUM_SPARSE, line_chunks, parse_lines
from lorabench.workload.generator import CHUNK_ROWS, generate_blocks
from lorabench.workload.spec import WorkloadSpec

MOST_ROWS = 2_000_000
"""Rows of a sample that are looked at: its first ones."""

_HEAD = 32
_SEEN_OFTEN = 5
_QUANTILES = 513
_MOST_IDS = 2**31 - 3
_INT32_TOP = 2**31 - 1  # a count as large as this is 2^31 in float32
_PAIRS = 20  # of synthetic samples, for the noise


@dataclass(frozen=True, eq=False)
class Sample:
    """What a fit and a comparison need of rows.

    Attributes
    ----------
    rows, clicks : int
        How many.
    dense : sequence of float32 [n_d], length D
        The values of each dense feature that are there, sorted.
    counts : sequence of int64 [distinct ids], length F
        How often each id was seen, the most popular first.
    """

    rows: int
    clicks: int
    dense: Sequence[NDArray[np.float32]]
    counts: Sequence[NDArray[np.int64]]

    def missing_dense(self, d: int) -> float:
        """Share of rows without dense feature d."""
        return 1 - len(self.dense[d]) / self.rows

    def missing_sparse(self, f: int) -> float:
        """Share of rows without categorical feature f."""
        return 1 - int(self.counts[f].sum()) / self.rows

    def top_mass(self, f: int, k: int = 10) -> float:
        """Share of the k most popular ids in those that are there."""
        total = int(self.counts[f].sum())
        return float(self.counts[f][:k].sum() / total) if total else 0.0


def sample_criteo(path: Path) -> Sample:
    """Read the first `MOST_ROWS` rows of a raw Criteo file.

    Raises
    ------
    InputError
        A file that cannot be read, or a bad line.
    """
    label, dense, ids = [], [], []
    rows = 0
    for line, lines in line_chunks(path):
        raw = parse_lines(lines, path, line)
        take = min(len(raw), MOST_ROWS - rows)
        label.append(raw.label[:take])
        dense.append(raw.dense[:, :take])
        ids.append(raw.ids[:, :take])
        rows += take
        if rows == MOST_ROWS:
            break
    if rows == 0:
        raise InputError(f"{path}: found no row, expected Criteo rows")
    return _sample(np.concatenate(label), np.hstack(dense), np.hstack(ids), -1)


def sample_blocks(blocks: Iterable[Block]) -> Sample:
    """Make a sample of generated rows."""
    block = Block.concat(list(blocks))
    return _sample(block.label, block.dense.T, block.sparse.T, 0)


def fit_spec(sample: Sample, base: WorkloadSpec, name: str) -> WorkloadSpec:
    """Fit the generator to a sample.

    Parameters
    ----------
    sample : Sample
        With 13 integer and 26 categorical features.
    base : WorkloadSpec
        Gives what a sample does not tell: rows and their rate, planted model, drift, DLRM.
    name : str
        Of the new spec.

    Raises
    ------
    InputError
        The base has other features.
    """
    if (base.num_dense, base.num_sparse) != (NUM_DENSE, NUM_SPARSE):
        raise InputError(
            f"{base.name}: found {base.num_dense} dense and {base.num_sparse} sparse features, "
            f"expected {NUM_DENSE} and {NUM_SPARSE} for a fit to Criteo rows"
        )
    below_one = float(np.nextafter(1.0, 0.0))
    laws = [_law(counts) for counts in sample.counts]
    logs = [np.log(np.maximum(values, np.float64(0)) + 0.5) for values in sample.dense]
    content = base.model_dump()
    content["name"] = name
    content["sparse"] = {
        "cardinality": tuple(law.ids for law in laws),
        "zipf": tuple(law.exponent for law in laws),
        "missing": tuple(min(sample.missing_sparse(f), below_one) for f in range(NUM_SPARSE)),
        "head": tuple(law.head for law in laws),
    }
    content["dense"] |= {
        "missing": tuple(min(sample.missing_dense(d), below_one) for d in range(NUM_DENSE)),
        "location": tuple(float(log.mean()) if len(log) else 0.0 for log in logs),
        "scale": tuple(float(log.std()) if len(log) else 0.0 for log in logs),
        "quantiles": tuple(_quantiles(values) for values in sample.dense),
    }
    # Of no or only clicks a small sample tells no more than that they are rare, or not.
    content["labels"]["base_rate"] = (sample.clicks + 0.5) / (sample.rows + 1)
    return WorkloadSpec.model_validate(content)


@dataclass(frozen=True)
class FeatureDistance:
    """A feature of a sample and of the synthetic rows.

    Attributes
    ----------
    name : str
        I1 to I13, C1 to C26.
    missing : (float, float)
        Share of rows without it: sample, synthetic.
    distinct : (int, int) or None
        Distinct ids of a categorical feature.
    top_mass : (float, float) or None
        Share of its ten most popular ids.
    deciles : (tuple, tuple) or None
        The nine deciles of an integer feature.
    distance : float
        Two-sample distance.
    noise : float
        The distance that 95 % of pairs of samples of the fitted law have.
    """

    name: str
    missing: tuple[float, float]
    distinct: tuple[int, int] | None
    top_mass: tuple[float, float] | None
    deciles: tuple[tuple[float, ...], tuple[float, ...]] | None
    distance: float
    noise: float


def compare(sample: Sample, spec: WorkloadSpec, seed: int) -> list[FeatureDistance]:
    """Hold a sample against as many rows of a spec, feature by feature.

    The noise comes from 2 to 20 further pairs of synthetic samples.
    """
    pairs = int(np.clip(CHUNK_ROWS // sample.rows // 2, 2, _PAIRS))
    synthetic = list(_synthetic(spec, seed, sample.rows, 1 + 2 * pairs))
    first, others = synthetic[0], synthetic[1:]
    twins = list(zip(others[::2], others[1::2], strict=True))
    found = []
    for d in range(spec.num_dense):
        noise = [_value_distance(a.dense[d], b.dense[d]) for a, b in twins]
        found.append(
            FeatureDistance(
                name=COLUMNS[1 + d],
                missing=(sample.missing_dense(d), first.missing_dense(d)),
                distinct=None,
                top_mass=None,
                deciles=(_deciles(sample.dense[d]), _deciles(first.dense[d])),
                distance=_value_distance(sample.dense[d], first.dense[d]),
                noise=float(np.quantile(noise, 0.95)),
            )
        )
    for f in range(spec.num_sparse):
        noise = [_rank_distance(a.counts[f], b.counts[f]) for a, b in twins]
        found.append(
            FeatureDistance(
                name=COLUMNS[1 + NUM_DENSE + f],
                missing=(sample.missing_sparse(f), first.missing_sparse(f)),
                distinct=(len(sample.counts[f]), len(first.counts[f])),
                top_mass=(sample.top_mass(f), first.top_mass(f)),
                deciles=None,
                distance=_rank_distance(sample.counts[f], first.counts[f]),
                noise=float(np.quantile(noise, 0.95)),
            )
        )
    return found


def _sample(
    label: NDArray[np.int8], dense: NDArray[np.float32], ids: NDArray[np.integer], missing: int
) -> Sample:
    counts = [np.unique(column[column != missing], return_counts=True)[1] for column in ids]
    return Sample(
        rows=len(label),
        clicks=int(label.sum()),
        dense=[np.sort(values[~np.isnan(values)]) for values in dense],
        counts=[-np.sort(-count.astype(np.int64)) for count in counts],
    )


def _synthetic(spec: WorkloadSpec, seed: int, rows: int, samples: int) -> Iterator[Sample]:
    for block in generate_blocks(spec, seed, rows=rows * samples, block_rows=rows):
        yield sample_blocks([block])


@dataclass(frozen=True)
class _Law:
    ids: int
    head: tuple[float, ...]
    exponent: float


def _law(counts: NDArray[np.int64]) -> _Law:
    seen, draws = len(counts), int(counts.sum())
    if not seen:
        return _Law(1, (), 1.0)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    ids = int(min(seen + once * (once - 1) // (2 * (twice + 1)), _MOST_IDS))
    often = int((counts[:_HEAD] >= _SEEN_OFTEN).sum())
    head = counts[: min(often, ids - 1)]
    if int(head.sum()) == draws:  # leave a share to the others
        head = head[:-1]
    tail = draws - int(head.sum())
    exponent = _exponent(ids - len(head), tail, seen - len(head))
    return _Law(ids, tuple(float(count) / draws for count in head), exponent)


def _exponent(ids: int, draws: int, distinct: int) -> float:
    """Return the exponent with which so many draws are expected to show so many distinct ids."""
    from scipy.optimize import brentq

    def excess(exponent: float) -> float:
        return _expected_distinct(ids, draws, exponent) - distinct

    if ids < 2 or excess(0.0) <= 0:  # the ids are as evenly popular as can be
        return 0.0
    steepest = 10.0
    return float(brentq(excess, 0.0, steepest)) if excess(steepest) < 0 else steepest


def _expected_distinct(ids: int, draws: int, exponent: float) -> float:
    """Sum 1 - exp(-draws p_k) over ranks; beyond 4,096, over log-spaced blocks of equal p."""
    edges = np.arange(1.0, min(ids, 4096) + 2)
    if ids > len(edges) - 1:
        beyond = np.geomspace(edges[-1], ids + 1, 2000)
        edges = np.unique(np.concatenate([edges, np.rint(beyond)]))
    width = np.diff(edges)
    middle = np.where(width == 1, edges[:-1], np.sqrt(edges[:-1] * edges[1:]))
    weight = middle**-exponent
    share = weight / float((weight * width).sum())
    return float((width * -np.expm1(-draws * share)).sum())


def _quantiles(values: NDArray[np.float32]) -> tuple[int, ...]:
    if not len(values):
        return ()
    places = np.linspace(0, 1, _QUANTILES)
    # Values that were seen: a mean of two would be none of the data's.
    points = np.quantile(values, places, method="nearest")
    return tuple(max(-_INT32_TOP, min(int(value), _INT32_TOP)) for value in points)


def _deciles(values: NDArray[np.float32]) -> tuple[float, ...]:
    if not len(values):
        return ()
    return tuple(float(v) for v in np.quantile(values.astype(np.float64), np.arange(1, 10) / 10))


def _value_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    if not (len(a) and len(b)):
        return 0.0 if len(a) == len(b) else 1.0
    values = np.concatenate([a, b])
    below_a = np.searchsorted(a, values, side="right") / len(a)
    below_b = np.searchsorted(b, values, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())


def _rank_distance(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    if not (len(a) and len(b)):
        return 0.0 if len(a) == len(b) else 1.0
    mass = np.ones((2, max(len(a), len(b))))
    for row, counts in zip(mass, (a, b), strict=True):
        row[: len(counts)] = np.cumsum(counts) / counts.sum()
    return float(np.abs(mass[0] - mass[1]).max())
