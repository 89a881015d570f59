"""How the cost of a row grows: ours alone, on 2 MiB pages."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.lookup import Tables
from lorabench.bench.timing import Candidate
from lorabench.experiments.kernels.comparison import BAGS, BUDGET, Comparison, Step
from lorabench.experiments.kernels.labels import MIB, size_text
from lorabench.experiments.kernels.ours import AdaptedTable, Floats, IndexSampler, our_lookup
from lorabench.results import statistics
from lorabench.results.case import Case
from lorabench.results.schema import Series

_BATCH = 128


@dataclass(frozen=True)
class _Place:
    """A place on the curve: where, who works there, units of work of a call."""

    x: float
    candidate: Candidate
    units: int


def steps(run: Comparison) -> Iterator[Step]:
    """Return the four curves, if they are asked for."""
    if "scaling" not in run.options.kernels:
        return
    curves: dict[str, Callable[[Comparison, int], None]] = {
        "table size": _by_table_size,
        "bag size": _by_bag_size,
        "rank": _by_rank,
        "tables": _by_tables,
    }
    for name, curve in curves.items():
        yield Step(f"scaling: {name}", partial(_every_dim, run, curve))


def _every_dim(run: Comparison, curve: Callable[[Comparison, int], None]) -> None:
    for dim in run.options.dims:
        curve(run, dim)


def _by_table_size(run: Comparison, dim: int) -> None:
    case = Case(
        f"lookup, D={dim}, pooling 20, uniform",
        {"kernel": "lookup", "dim": dim, "pooling": 20, "distribution": "uniform"},
    )
    sizes = (MIB << shift for shift in range(0, 13, 2))
    places = [
        _lookup(run.memory["2m"].table(size, dim), 20, float(size))
        for size in sizes
        if size <= max(run.sizes)
    ]
    _add(run, "table_size", "bytes", case, places)


def _by_bag_size(run: Comparison, dim: int) -> None:
    case = Case(
        f"lookup, D={dim}, uniform", {"kernel": "lookup", "dim": dim, "distribution": "uniform"}
    )
    table = run.memory["2m"].table(run.large, dim)
    places = [_lookup(table, pooling, float(pooling)) for pooling in (1, 2, 5, 10, 20, 50, 100)]
    _add(run, "bag_size", "rows", case, places)


def _lookup(table: Floats, pooling: int, x: float) -> _Place:
    draw = IndexSampler(len(table), BAGS, pooling, "uniform")
    return _Place(x, our_lookup("lookup", table, draw, offsets=pooling > 1), BAGS * pooling)


def _by_rank(run: Comparison, dim: int) -> None:
    case = Case(
        f"lookup_lora, D={dim}, one-hot, zipf, 2 % of the bytes; 0 is lookup",
        {"kernel": "lookup_lora", "dim": dim, "pooling": 1, "distribution": "zipf"},
    )
    table = run.memory["2m"].table(run.large, dim)
    draw = IndexSampler(len(table), BAGS, 1, "zipf")
    places = [_Place(0.0, our_lookup("lookup", table, draw, offsets=False), BAGS)]
    with ExitStack() as stack:
        for rank in (rank for rank in (1, 2, 4, 8, 16, 32, 64) if rank <= dim):
            adapted = stack.enter_context(closing(AdaptedTable(table, rank, BUDGET)))
            candidate = adapted.lookup("lookup_lora", draw, offsets=False)
            places.append(_Place(float(rank), candidate, BAGS))
        _add(run, "rank", "rank", case, places)


def _by_tables(run: Comparison, dim: int) -> None:
    case = Case(
        f"lookup, D={dim}, one-hot, uniform, batch {_BATCH}, {size_text(run.large)} in all",
        {
            "kernel": "lookup",
            "dim": dim,
            "pooling": 1,
            "distribution": "uniform",
            "batch": _BATCH,
            "table_bytes": run.large,
        },
    )
    whole = run.memory["2m"].table(run.large, dim)
    places = [
        _Place(float(count), _split(whole, count), _BATCH * count) for count in (1, 2, 4, 8, 16, 26)
    ]
    _add(run, "tables", "tables", case, places)


def _split(whole: Floats, count: int) -> Candidate:
    """Look up in a table that is split into so many, in all of them at once."""
    rows, dim = len(whole) // count, whole.shape[1]
    tables = Tables([whole[t * rows : (t + 1) * rows] for t in range(count)])
    out = np.zeros((_BATCH, count, dim), np.float32)

    def prepare(rng: np.random.Generator) -> NDArray[np.int32]:
        return rng.integers(0, rows, (_BATCH, count), dtype=np.int32)

    def work(indices: NDArray[np.int32]) -> None:
        tables.lookup(indices, out)

    return Candidate("lookup", prepare, {"lookup": work})


def _add(run: Comparison, name: str, unit: str, case: Case, places: Sequence[_Place]) -> None:
    y = []
    for number, place in enumerate(places):
        candidate = replace(place.candidate, name=f"{number}")
        times = run.time([candidate], place.units, f"scaling {name} {case} {place.x}")
        found = statistics.median([float(v) for v in times[candidate.name].total])
        y.append(found.value if found else 0.0)
    x = [place.x for place in places]
    run.series.append(Series.of(f"row_s_by_{name}", case, x, y, units=(unit, "s")))
