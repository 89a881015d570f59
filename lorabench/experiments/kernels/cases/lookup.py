"""Embedding-bag lookups: ours, the peers', and reading rows at random as the limit."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from lorabench.bench.timing import Candidate, Times, best
from lorabench.experiments.kernels import labels, peers
from lorabench.experiments.kernels.comparison import BAGS, Comparison, Step
from lorabench.experiments.kernels.labels import BEST, GIB, OURS, Point
from lorabench.experiments.kernels.ours import IndexSampler, our_lookup, random_reads

_LEAST_LIMIT_DIM = 16


def steps(run: Comparison) -> Iterator[Step]:
    """Return every point, if lookups are asked for."""
    options = run.options
    if "lookup" not in options.kernels:
        return
    for size, dim, distribution, pooling in product(
        run.sizes, options.dims, options.distributions, options.poolings
    ):
        point = Point(dim, pooling, distribution, size)
        yield Step(f"lookup, {point}", partial(_measure, run, point))


def _measure(run: Comparison, point: Point) -> None:
    rows, units = point.table_bytes // (4 * point.dim), BAGS * point.pooling
    draw = IndexSampler(rows, BAGS, point.pooling, point.distribution)
    candidates: list[Candidate] = []
    limits: list[Candidate] = []
    for pages, memory in run.memory.items():
        table = memory.table(point.table_bytes, point.dim)
        own = our_lookup(f"{OURS} {pages}", table, draw, offsets=point.pooling > 1)
        theirs = [peers.lookup(peer, f"{peer} {pages}", table, draw) for peer in run.peers]
        candidates += [replace(who, memory=pages) for who in (own, *theirs)]
        if _limited(point):
            limits.append(replace(random_reads(f"limit {pages}", table, units), memory=pages))
    times = run.time([*candidates, *limits], units, f"lookup {point}")
    for pages, who in product(run.memory, (OURS, *run.peers)):
        run.add("lookup_row_s", labels.lookup(who, pages, point), times[f"{who} {pages}"].total)
    if run.peers:
        _add_speedups(run, point, times)
    if limits:
        _add_limits(run, point, times)


def _limited(point: Point) -> bool:
    """Whether misses are what its lookup takes its time for."""
    large = point.table_bytes >= 1 * GIB and point.dim >= _LEAST_LIMIT_DIM
    return large and point.distribution == "uniform"


def _add_speedups(run: Comparison, point: Point, times: Mapping[str, Times]) -> None:
    took = {name: of.total for name, of in times.items()}
    for pages in run.memory:
        took[f"{BEST} {pages}"] = best([took[f"{peer} {pages}"] for peer in run.peers])
    pairs = [*product(run.peers, run.memory), *product([BEST], run.memory)]
    for peer, pages in pairs:
        case = labels.against(peer, pages, pages, point)
        run.add("lookup_speedup", case, took[f"{peer} {pages}"] / took[f"{OURS} {pages}"])
    case = labels.against(BEST, "4k", "2m", point)
    run.add("lookup_speedup", case, took[f"{BEST} 4k"] / took[f"{OURS} 2m"])


def _add_limits(run: Comparison, point: Point, times: Mapping[str, Times]) -> None:
    for pages in run.memory:
        # The best distance of a machine is one of its properties, not of a round.
        distances = times[f"limit {pages}"].stages.values()
        wall = min(distances, key=lambda values: float(np.median(values)))
        case = labels.limit(pages, point)
        run.add("random_read_row_s", case, wall)
        run.add("lookup_over_limit", case, times[f"{OURS} {pages}"].total / wall)
