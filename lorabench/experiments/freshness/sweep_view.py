"""A result of ``freshness --sweep`` as text: a grid of differences, and where they change sign."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from rich.console import Console
from rich.table import Table

from lorabench.experiments.freshness.sweep_axes import KINDS, write_value
from lorabench.report.terminal import ROUNDS_FOR_INTERVAL, plain_table, render_claims
from lorabench.results.nested import within
from lorabench.results.schema import Metric, Result

_POINTS = 100.0
# Of the second axis, beside which intervals still fit into 80 columns.
_WIDE = 2
_SIZES = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1.0, "B"))


def is_sweep(result: Result) -> bool:
    """Whether a result of `freshness` is of ``--sweep``."""
    return isinstance(within(result.config, "sweep", "axes"), list)


def render_sweep(result: Result, console: Console) -> None:
    """Print the difference at each point, then the crossover line."""
    axes: list[dict[str, Any]] = result.config["sweep"]["axes"]
    console.print(_one(result, axes[0]) if len(axes) == 1 else _grid(result, *axes))
    for line in (*_about(result, axes), *_crossovers(result, axes)):
        console.print(line, highlight=False, markup=False)
    render_claims(result, console)


def _name(result: Result) -> str:
    return " - ".join(result.config["sweep"]["of"])


def _difference(result: Result, **where: Any) -> Metric | None:
    ours, theirs = result.config["sweep"]["of"]
    found = result.select("auc_difference", strategy=ours, against=theirs, **where)
    return next(found, None)


def _one(result: Result, axis: dict[str, Any]) -> Table:
    """Lay out one axis: the difference, and the AUC of all."""
    table = plain_table(f"{_name(result)}, points of AUC; and the AUC of each")
    table.add_column(axis["name"], justify="right", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    strategies = list(dict.fromkeys(str(one.labels["strategy"]) for one in result.select("auc")))
    for strategy in strategies:
        table.add_column(strategy, justify="right")
    for value in axis["values"]:
        cells = [_cell(_difference(result, **{axis["field"]: value}), wide=True)]
        for strategy in strategies:
            # One that does not depend on the axis has no label of it.
            found = [
                one
                for one in result.select("auc", strategy=strategy)
                if one.labels.get(axis["field"], value) == value
            ]
            known = found[0].estimate if found else None
            cells.append("-" if known is None else f"{known:.4f}")
        table.add_row(write_value(axis["name"], value), *cells)
    return table


def _grid(result: Result, down: dict[str, Any], across: dict[str, Any]) -> Table:
    """Lay out two axes."""
    table = plain_table(f"{_name(result)}, points of AUC, by {down['name']} and {across['name']}")
    wide = len(across["values"]) <= _WIDE
    table.add_column(down["name"], justify="right", no_wrap=True)
    for value in across["values"]:
        table.add_column(write_value(across["name"], value), justify="right", no_wrap=True)
    for value in down["values"]:
        cells = (
            _cell(_difference(result, **{down["field"]: value, across["field"]: other}), wide=wide)
            for other in across["values"]
        )
        table.add_row(write_value(down["name"], value), *cells)
    return table


def _cell(metric: Metric | None, *, wide: bool) -> str:
    """Write a difference: with its interval, or a star where that leaves out 0."""
    if metric is None or metric.estimate is None:
        return "-"
    text = f"{metric.estimate * _POINTS:+.2f}"
    known = sum(value is not None for value in metric.values)
    if metric.ci95 is None or known < ROUNDS_FOR_INTERVAL:
        return text
    low, high = metric.ci95
    if wide:
        return f"{text} [{low * _POINTS:+.2f}..{high * _POINTS:+.2f}]"
    return f"{text}*" if low > 0 or high < 0 else f"{text} "


def _about(result: Result, axes: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Say what replicates there are, and what is marked."""
    replicates = result.config["replicates"]
    seeds, blocks = replicates["seeds"], replicates["windows"]
    if len(seeds) > 1:
        yield f"{len(seeds)} replicates, seeds {seeds[0]} to {seeds[-1]}, paired by seed"
    elif len(blocks) > 1:
        yield f"{len(blocks)} replicates: blocks of time of one stream"
    else:
        yield "one replay: what differences of other seeds are is not known"
    if within(result.config, "workload", "kind") == "criteo-tsv":
        rate = within(result.config, "workload", "spec", "rows_per_s")
        yield f"the rows have no times of their own: they come in their order, {rate:g} a second"
    several = max(len(seeds), len(blocks)) >= ROUNDS_FOR_INTERVAL
    if several and len(axes) == 2 and len(axes[1]["values"]) > _WIDE:
        yield "*: told from 0 by the 95 % interval, each point by itself"


def _crossovers(result: Result, axes: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Say where the difference changes sign along each axis that has an order."""
    for axis in axes:
        if not KINDS[axis["name"]].crossover:
            continue
        others = [one for one in axes if one is not axis]
        for values in product(*(one["values"] for one in others)):
            where = {one["field"]: value for one, value in zip(others, values, strict=True)}
            at = "".join(
                f", {one['name']} {write_value(one['name'], value)}"
                for one, value in zip(others, values, strict=True)
            )
            yield f"along {axis['name']}{at}: {_changes(result, axis, where)}"


def _changes(result: Result, axis: dict[str, Any], where: dict[str, Any]) -> str:
    """Say where a line changes sign, or which of the two is ahead all along it."""
    kind = KINDS[axis["name"]]
    found = [
        one
        for one in result.select(kind.crossover, along=axis["name"], **where)
        if one.estimate is not None
    ]
    points = [
        (value, metric.estimate)
        for value in axis["values"]
        if (metric := _difference(result, **{axis["field"]: value}, **where)) is not None
        and metric.estimate is not None
    ]
    if found:
        return "; ".join(_crossing(axis["name"], one, points) for one in found)
    ours, theirs = result.config["sweep"]["of"]
    signs = {estimate > 0 for _, estimate in points if estimate}
    if len(points) > 1 and not signs:
        return "no difference at any point"
    if len(points) < 2 or len(signs) != 1:
        return "too few points to say"
    if not any(_told(result, axis, value, where) for value, _ in points):
        return "no change of sign; at no point is the difference told from 0"
    return f"no change of sign, {ours if signs.pop() else theirs} is ahead"


def _told(result: Result, axis: dict[str, Any], value: Any, where: dict[str, Any]) -> bool:
    """Whether the difference at a point is told from 0 by an interval of enough replicates."""
    metric = _difference(result, **{axis["field"]: value}, **where)
    if metric is None or metric.ci95 is None or len(metric.values) < ROUNDS_FOR_INTERVAL:
        return False
    low, high = metric.ci95
    return low > 0 or high < 0


def _crossing(axis: str, metric: Metric, points: Sequence[tuple[Any, float]]) -> str:
    """Write one change of sign: where, and between which values."""
    si = KINDS[axis].si
    assert metric.estimate is not None
    at = metric.estimate / si
    below = [value for value, _ in points if value <= at]
    above = [value for value, _ in points if value >= at]
    text = f"changes sign at {_rounded(axis, at)}"
    if metric.ci95 is not None and len(metric.values) >= ROUNDS_FOR_INTERVAL:
        low, high = (_rounded(axis, bound / si) for bound in metric.ci95)
        text += f" [{low}..{high}]"
    if below and above:
        text += f", between {write_value(axis, below[-1])} and {write_value(axis, above[0])}"
    return text


def _rounded(axis: str, value: float) -> str:
    """Write an interpolated value with three digits."""
    if KINDS[axis].unit == "B":
        size, unit = next((one for one in _SIZES if value >= one[0]), _SIZES[-1])
        return f"{value / size:.3g}{unit}"
    return write_value(axis, float(f"{value:.3g}"))
