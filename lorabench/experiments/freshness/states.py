"""What strategies learned, held and sent, how late that was served, and who is on which front.

What is of a replay as a whole has one value a replay. A replay in which a strategy diverged counts
for what it held, and for nothing else.
"""

import math
from collections.abc import Callable, Sequence
from operator import methodcaller

from lorabench.experiments.freshness.quality import Replayed, Replicate
from lorabench.experiments.freshness.replicates import (
    NONE,
    Replicates,
    deployable,
    mean,
    strategy_case,
)
from lorabench.results.metrics import MetricTable
from lorabench.results.pareto import front
from lorabench.results.statistics import Estimate

COSTS = ("pushed_bytes", "learn_cpu_s", "held_bytes", "update_latency_p50")
"""What freshness is bought with, each with a front of its own."""

# Those that have a lower bound where they lie beyond the end of a replay.
_BOUNDED = ("update_latency_p50",)

_QUANTILES = {"p50": 0.5, "p95": 0.95}


def add_at_end(table: MetricTable, found: Replicates, name: str) -> None:
    """Write down what a strategy tells once it is done, and what it held."""
    case, replays, spec = strategy_case(name), found.of(name), found.specs[name]
    for metric in dict.fromkeys(metric for one in replays for metric in one.at_end):
        if metric != "diverged":
            once = (
                None if one.diverged else mean(finite(one.at_end.get(metric, ())))
                for one in replays
            )
            table.add(metric, case, *once)
    ended = [one for one in replays if one.done or one.diverged]
    if ended and (spec.learns or any(one.diverged for one in ended)):
        table.add("diverged", case, *(float(one.diverged) for one in ended))
    if spec.learns and any(one.learned for one in replays):
        rates = (None if one.diverged else one.samples_per_s for one in replays)
        table.add("train_samples_per_s", case, *rates)
    if any(one.peak_bytes for one in replays):
        _add_held(table, found, name)
        if spec.kind.has_adapter:
            table.add("lora_bytes", case, *map(_peak, replays))
            table.add("lora_fraction", case, *map(fraction, found.replays, replays))
    _add_updates(table, found, name)


def _peak(one: Replayed) -> float:
    return float(sum(one.peak_bytes.values()))


def fraction(replay: Replicate, one: Replayed) -> float:
    """Return what a strategy tells to have held at most as a share of the table bytes."""
    return _peak(one) / replay.table_bytes


def _add_held(table: MetricTable, found: Replicates, name: str) -> None:
    """Write down all that it held, an undo log included."""
    case, replays = strategy_case(name), found.of(name)
    held = [_peak(one) + math.fsum(one.at_end.get("undo_bytes", ())) for one in replays]
    shares = (size / one.table_bytes for size, one in zip(held, found.replays, strict=False))
    table.add("held_bytes", case, *held)
    table.add("held_fraction", case, *shares)


def finite(values: Sequence[float]) -> list[float | None]:
    """Return values, None in place of those that are not finite."""
    return [value if math.isfinite(value) else None for value in values]


def _add_updates(table: MetricTable, found: Replicates, name: str) -> None:
    """Write down how old what it served was, and how long an update took to be served."""
    case, spec, replays = strategy_case(name), found.specs[name], found.of(name)
    ended = [one if one.comparable and len(one.staleness_s) else None for one in replays]
    if not any(ended):
        return

    def add(metric: str, measure: Callable[[Replayed], float | None]) -> None:
        table.add(metric, case, *(measure(one) if one else None for one in ended))

    for text, quantile in _QUANTILES.items():
        add(f"staleness_{text}", methodcaller("staleness", quantile))
    add("learn_cpu_s", lambda one: one.learn_s + one.cluster_s if spec.learns else 0.0)
    if deployable(spec.kind):
        _add_costs(table, found, name)
    if not spec.learns:
        return
    add("unserved_share", lambda one: one.unserved_share)
    for text, quantile in _QUANTILES.items():
        metric = f"update_latency_{text}"
        values = [one.latency(quantile) if one else None for one in ended]
        beyond = any(v is None for v, one in zip(values, ended, strict=True) if one)
        if beyond:
            # The mean of those that did end would be of the shortest alone.
            table.put(metric, case, None)
            add(f"{metric}_bound", methodcaller("latency_bound", quantile))
        table.add(metric, case, *values)


def _add_costs(table: MetricTable, found: Replicates, name: str) -> None:
    """Write down what of its costs nothing else tells: of one who sends or holds nothing, 0."""
    case, replays = strategy_case(name), found.of(name)
    sends = any("pushed_bytes" in one.at_end for one in replays)
    if not sends:
        table.add("pushed_bytes", case, *(None if one.diverged else 0.0 for one in replays))
    if not table.values("held_bytes", case):
        _add_held(table, found, name)


def add_fronts(table: MetricTable, found: Replicates) -> None:
    """Write down who is on the front of each cost, of those that can be deployed.

    A cost that is the same for all has none. A latency that lies beyond the end costs what it is at
    least, which is in its favour.
    """
    specs = found.specs
    names = [name for name, spec in specs.items() if deployable(spec.kind)]
    worth = _worth(table, names)
    for metric in COSTS:
        costs = {name: _cost(table, metric, name) for name in names}
        points = {
            name: (cost.value, worth[name])
            for name, cost in costs.items()
            if cost is not None and name in worth
        }
        if len({cost for cost, _ in points.values()}) < 2:
            continue
        kept = front(points)
        for name in points:
            case = strategy_case(name).also(metric, cost=metric)
            table.add("on_pareto_front", case, float(name in kept))


def _cost(table: MetricTable, metric: str, name: str) -> Estimate | None:
    """Return a cost, or the lower bound of one that is known by that alone."""
    case = strategy_case(name)
    found = table.estimate(metric, case)
    if found is None and metric in _BOUNDED:
        return table.estimate(f"{metric}_bound", case)
    return found


def _worth(table: MetricTable, names: Sequence[str]) -> dict[str, float]:
    """Return the share of the gap that each recovers; where there is no gap, its AUC."""
    shares = {name: table.estimate("gap_recovered", strategy_case(name)) for name in names}
    if any(one is not None for one in shares.values()):
        found = {name: one.value for name, one in shares.items() if one is not None}
        return {NONE: 0.0, **found} if NONE in names else found
    areas = {name: table.estimate("auc", strategy_case(name)) for name in names}
    return {name: one.value for name, one in areas.items() if one is not None}
