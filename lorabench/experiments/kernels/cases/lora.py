"""Lookups with a LoRA term over those without, and LoRA updates against full-precision ones."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial

import numpy as np

from lorabench.experiments.kernels import peers
from lorabench.experiments.kernels.comparison import BAGS, BUDGET, Comparison, Step
from lorabench.experiments.kernels.labels import OURS, Inputs, Point
from lorabench.experiments.kernels.ours import AdaptedTable, Floats, IndexSampler, our_lookup

_POOLING = 20
_HIT_SHARE = 0.05


def steps(run: Comparison) -> Iterator[Step]:
    """Return lookups and updates, width by width, where they are asked for."""
    options = run.options
    for dim in options.dims:
        if "lora" in options.kernels:
            yield Step(f"lookup_lora, D={dim}", partial(_measure_lookups, run, dim))
        if "update" in options.kernels and dim in options.update_dims:
            yield Step(f"update, D={dim}", partial(_measure_updates, run, dim))


def _inputs(run: Comparison, name: str, dim: int, draw: IndexSampler) -> Inputs:
    point = Point(dim, draw.pooling, draw.distribution, run.large)
    return Inputs(name, run.options.rank, point)


def _measure_lookups(run: Comparison, dim: int) -> None:
    table = run.memory["2m"].table(run.large, dim)
    with closing(AdaptedTable(table, run.options.rank, BUDGET)) as adapted:
        rows = len(table)
        for name, draw in (
            ("pooled", IndexSampler(rows, BAGS, _POOLING, "uniform", adapted.slots, _HIT_SHARE)),
            ("one_hot", IndexSampler(rows, BAGS, 1, "zipf")),
        ):
            _measure_lookup(run, table, adapted, _inputs(run, name, dim, draw), draw)


def _measure_lookup(
    run: Comparison, table: Floats, adapted: AdaptedTable, where: Inputs, draw: IndexSampler
) -> None:
    offsets = draw.pooling > 1
    candidates = [
        our_lookup("lookup", table, draw, offsets=offsets),
        adapted.lookup("lookup_lora", draw, offsets=offsets),
    ]
    times = run.time(candidates, BAGS * draw.pooling, f"lora {where}")
    for kernel, took in times.items():
        run.add("lora_row_s", where.kernel(kernel), took.total)
    ratio = times["lookup_lora"].total / times["lookup"].total
    run.add("lookup_lora_ratio", where.case, ratio)
    bags = draw(np.random.default_rng(run.options.seed))
    run.add("lora_hit_share", where.case, np.array([adapted.hit_share(bags)]))


def _measure_updates(run: Comparison, dim: int) -> None:
    table = run.memory["2m"].table(run.large, dim)
    # Once for all inputs: the state of torch's Adagrad is as large as the table.
    theirs = {peer: peers.trained(peer, table) for peer in run.peers}
    with closing(AdaptedTable(table, run.options.rank, BUDGET)) as adapted:
        rows = len(table)
        for name, draw in (
            # Every lookup adapted: the LoRA update does all of its work.
            ("all adapted", IndexSampler(rows, BAGS, _POOLING, "uniform", adapted.slots, 1.0)),
            ("zipf", IndexSampler(rows, BAGS, _POOLING, "zipf")),
            # Rows of the whole table: most have no slot, and LoRA learns nothing from them.
            ("any row", IndexSampler(rows, BAGS, _POOLING, "uniform")),
        ):
            _measure_update(run, adapted, theirs, _inputs(run, name, dim, draw), draw)


def _measure_update(
    run: Comparison,
    adapted: AdaptedTable,
    theirs: Mapping[str, Mapping[str, peers.Stage]],
    where: Inputs,
    draw: IndexSampler,
) -> None:
    dim = where.point.dim
    candidates = [
        adapted.update(OURS, draw),
        *(peers.update(peer, stages, dim, draw) for peer, stages in theirs.items()),
    ]
    times = run.time(candidates, BAGS * draw.pooling, f"update {where}")
    for candidate, took in times.items():
        for stage, values in took.stages.items():
            run.add("update_row_s", where.stage(candidate, stage), values)
    for peer in theirs:
        ratio = times[peer].total / times[OURS].total
        run.add("update_speedup", where.against(peer), ratio)
