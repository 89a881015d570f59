"""By how much strategies differ, paired by replicate: whom against whom, and how sure that is.

Of a dozen strategies not all pairs are of interest, and the more there are, the more seem to
differ that do not: all are held against `none`, which shows what a strategy is good for, and those
that learn against `delta`, the usual way; what learns beside the servers against all that ship; and
what does not ship against each other. The differences from `delta` are one family of comparisons,
whose p-values are adjusted for each other (`lorabench.results.statistics.holm`).
"""

from collections.abc import Iterator
from itertools import combinations

from lorabench.experiments.freshness.quality import Areas, Replayed
from lorabench.experiments.freshness.replicates import (
    DELTA,
    NONE,
    Replicates,
    difference_case,
    mean,
    mean_difference,
    strategy_case,
    within,
)
from lorabench.results import statistics
from lorabench.results.metrics import MetricTable
from lorabench.results.statistics import Estimate


def add_differences(table: MetricTable, found: Replicates) -> None:
    """Write down all differences of AUC, and of its slices those from `delta`."""
    for name, against in dict.fromkeys(_pairs(found)):
        _add_difference(table, found, name, against)
    _add_holm(table, found)
    _add_slices(table, found)


def _pairs(found: Replicates) -> Iterator[tuple[str, str]]:
    """Return who is held against whom."""
    specs = found.specs
    learning = {name: spec.kind for name, spec in specs.items() if spec.learns}
    if NONE in specs:
        yield from ((name, NONE) for name in specs if name != NONE)
    if DELTA in specs:
        yield from ((name, DELTA) for name in learning if name != DELTA)
    beside = [name for name, kind in learning.items() if kind.colocatable]
    ships = [name for name, kind in learning.items() if kind.ships_deltas]
    yield from ((name, against) for name in beside for against in ships)
    yield from combinations((name for name in learning if name not in ships), 2)


def _add_difference(table: MetricTable, found: Replicates, name: str, against: str) -> None:
    """Write down a paired difference; over seeds also the smallest that would have shown."""
    values = found.paired(name, against, mean_difference)
    known = sum(value is not None for value in values)
    if known == 0:
        return
    case = difference_case(name, against)
    table.add("auc_difference", case, *values)
    # From one block of time to the next a frozen model ages: what they differ by is no noise.
    least = None if len(found.blocks) > 1 else statistics.detectable_difference(values)
    if least is not None:
        table.put("auc_difference_detectable", case, Estimate(least, None, known))
    if against == NONE:
        below = found.paired(name, against, _windows_below)
        table.add("windows_below_none", strategy_case(name), *below)


def _add_holm(table: MetricTable, found: Replicates) -> None:
    """Write down how sure the differences from `delta` are, all of them considered."""
    cases = [difference_case(name, DELTA) for name, spec in found.specs.items() if spec.learns]
    p_values = {
        case: p
        for case in cases
        if (p := statistics.paired_p(table.values("auc_difference", case))) is not None
    }
    for (case, _), p in zip(
        p_values.items(), statistics.holm(list(p_values.values())), strict=True
    ):
        table.put("auc_difference_holm", case, Estimate(p, None, len(p_values)))


def _add_slices(table: MetricTable, found: Replicates) -> None:
    """Write down the AUC of parts of the windows, and how far from `delta` that is."""
    names = list(found.specs)
    parts = dict.fromkeys(
        part for name in names for one in found.of(name) for part in one.quality.slices
    )
    for part in parts:

        def pick(one: Replayed, part: str = part) -> Areas:
            areas = list(one.quality.slices.get(part, ()))
            # One that was not there to the end has no row of it there.
            return [*areas, *[None] * (found.windows - len(areas))]

        for name in names:
            replays = [() if one.diverged else pick(one) for one in found.of(name)]
            case = strategy_case(name).also(part, slice=part)
            values = [mean(within(one, block)) for one in replays for block in found.blocks]
            if any(value is not None for value in values):
                table.add("auc_slice", case, *values)
            if DELTA in names and name != DELTA:
                against = difference_case(name, DELTA).also(part, slice=part)
                differences = found.paired(name, DELTA, mean_difference, pick)
                if any(value is not None for value in differences):
                    table.add("auc_slice_difference", against, *differences)


def _windows_below(areas: Areas, none: Areas) -> float:
    pairs = zip(areas, none, strict=True)
    return float(sum(a < b for a, b in pairs if a is not None and b is not None))
