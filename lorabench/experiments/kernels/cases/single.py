"""Kernels that are measured at one setting: Zipf ranks, slots of rows, top rows, Gram matrices."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.generate import zipf
from lorabench._kernels.index import RowIndex
from lorabench._kernels.train import add_gram, top_rows
from lorabench.bench.timing import Candidate
from lorabench.experiments.kernels import labels, peers
from lorabench.experiments.kernels.comparison import Comparison, Step
from lorabench.experiments.kernels.labels import EVERY_SECOND, OURS
from lorabench.experiments.kernels.ours import EXPONENT, Floats
from lorabench.results.case import Label

_ZIPF_RANKS = 40_000_000


def steps(run: Comparison) -> Iterator[Step]:
    """Return those that are asked for."""
    measures: dict[str, Callable[[Comparison], None]] = {
        "zipf": _measure_zipf,
        "index": _measure_index,
        "top_rows": _measure_top_rows,
        "gram": _measure_gram,
    }
    for name, measure in measures.items():
        if name in run.options.kernels:
            yield Step(name, partial(measure, run))


def _measure_zipf(run: Comparison) -> None:
    n = 100_000
    ranks = np.empty(n, np.int64)

    def ours(rng: np.random.Generator) -> None:
        zipf(rng.bit_generator, _ZIPF_RANKS, EXPONENT, ranks)

    candidates = [
        Candidate(OURS, lambda rng: rng, {"draw": ours}),
        # NumPy's law is unbounded: it draws less work, and ranks that no table has.
        Candidate("numpy", lambda rng: rng, {"draw": lambda rng: rng.zipf(EXPONENT, n)}),
    ]
    setting = _Setting("zipf_sample", {"ranks": _ZIPF_RANKS, "exponent": EXPONENT}, n)
    _compare(run, "zipf", setting, candidates, "zipf_speedup")


def _measure_index(run: Comparison) -> None:
    rows, n = 400_000, 40_000
    index = RowIndex(rows)
    keys = np.random.default_rng(0).permutation(8 * rows)[:rows].astype(np.int32)
    index.insert(keys, np.arange(rows, dtype=np.int32))
    ordered, found = np.sort(keys), np.empty(n, np.int32)

    def prepare(rng: np.random.Generator) -> NDArray[np.int32]:
        asked = rng.integers(0, 8 * rows, n, dtype=np.int32)
        hits = rng.random(n) < EVERY_SECOND
        asked[hits] = keys[rng.integers(0, rows, int(hits.sum()))]
        return asked

    def search(asked: NDArray[np.int32]) -> NDArray[np.intp]:
        return np.searchsorted(ordered, asked)

    candidates = [
        Candidate(OURS, prepare, {"find": lambda asked: index.find(asked, found)}),
        Candidate("numpy searchsorted", prepare, {"find": search}),
    ]
    setting = _Setting("index_find", {"rows": rows, "hit_share": EVERY_SECOND}, n)
    _compare(run, "index", setting, candidates)


def _measure_top_rows(run: Comparison) -> None:
    n, dim, k = 50_000, 64, 500
    rows, norms = np.empty(k, np.int64), np.empty(k, np.float32)

    def prepare(rng: np.random.Generator) -> Floats:
        return rng.standard_normal((n, dim), dtype=np.float32)

    candidates = [Candidate(OURS, prepare, {"find": lambda x: top_rows(x, rows, norms)})]
    if "torch" in run.peers:
        candidates.append(peers.torch_top_rows("torch", prepare, k))
    setting = _Setting("top_rows_row", {"k": k, "rows": n, "dim": dim}, n)
    _compare(run, "top_rows", setting, candidates)


def _measure_gram(run: Comparison) -> None:
    for dim in run.options.dims:
        _measure_gram_of(run, dim)


def _measure_gram_of(run: Comparison, dim: int) -> None:
    n = 2048
    packed = np.zeros((1, dim * (dim + 1) // 2), np.float32)

    def prepare(rng: np.random.Generator) -> Floats:
        return rng.standard_normal((n, 1, dim), dtype=np.float32)

    def ours(x: Floats) -> None:
        add_gram(x, np.zeros(1, np.int64), packed)

    candidates = [Candidate(OURS, prepare, {"add": ours})]
    if "torch" in run.peers:
        candidates.append(peers.torch_gram("torch", prepare, dim))
    _compare(run, f"gram {dim}", _Setting("gram_sample", {"dim": dim}, n), candidates)


@dataclass(frozen=True)
class _Setting:
    """What a kernel is measured at.

    Parameters
    ----------
    stem : str
        Of its metrics' names.
    labels : mapping of str to str, int or float
        As `labels.SETTINGS` wants them.
    units : int
        Units of work of a call.
    """

    stem: str
    labels: Mapping[str, Label]
    units: int


def _compare(
    run: Comparison, case: str, at: _Setting, candidates: Sequence[Candidate], speedup: str = ""
) -> None:
    """Write down what each took, and the others' time over ours."""
    times = run.time(candidates, at.units, case)
    for candidate, took in times.items():
        run.add(f"{at.stem}_s", labels.single(at.stem, candidate, at.labels), took.total)
        if candidate != OURS:
            against = labels.single_against(at.stem, candidate, at.labels)
            ratio = took.total / times[OURS].total
            run.add(speedup or f"{at.stem}_speedup", against, ratio)
