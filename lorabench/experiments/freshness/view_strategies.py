"""Tables of a `freshness` result that have a row a strategy, within 80 columns; and its fronts."""

from collections.abc import Callable, Sequence

from rich.table import Table

from lorabench.experiments.freshness.view_cells import (
    DELTA,
    POINTS,
    TIGHT,
    broken,
    detectable,
    figure,
    has_interval,
)
from lorabench.report.terminal import plain_table
from lorabench.results.schema import Metric, Result
from lorabench.results.units import number, size_text, time_text

_MOST_SLICES = 4
_HOLM = 0.05

Cell = Callable[[Result, str], str]
"""From a result and a strategy's name to what is written; empty where there is nothing."""

_COSTS = {
    "pushed_bytes": "bytes on the link",
    "learn_cpu_s": "core-seconds of learning",
    "held_bytes": "bytes held",
    "update_latency_p50": "median update latency",
}


def _laid_out(
    result: Result, title: str, columns: dict[str, Cell], named: Sequence[str] | None = None
) -> Table:
    """Lay out a row a strategy, and of the columns those that say anything."""
    names = [one.condition for one in result.select("auc")] if named is None else named
    cells = {heading: [cell(result, name) for name in names] for heading, cell in columns.items()}
    shown = {heading: found for heading, found in cells.items() if any(found)}
    table = plain_table(title, padding=TIGHT)
    table.add_column("strategy", no_wrap=True)
    for heading in shown:
        table.add_column(heading, justify="right", no_wrap=True)
    for place, name in enumerate(names if shown else ()):
        told = [found[place] or "-" for found in shown.values()]
        table.add_row(broken(name), *told)
    return table


def _text(metric: str, write: Callable[[float], str]) -> Cell:
    """Return what writes a metric's estimate."""

    def cell(result: Result, name: str) -> str:
        found = result.metric(metric, name)
        return "" if found is None or found.estimate is None else write(found.estimate)

    return cell


def _latency(quantile: str) -> Cell:
    """Return what writes an update latency, or what it is at least."""
    metric = f"update_latency_{quantile}"

    def cell(result: Result, name: str) -> str:
        known = _text(metric, time_text)(result, name)
        least = _text(f"{metric}_bound", time_text)(result, name)
        return known or (f">{least}" if least else "")

    return cell


def quality(result: Result) -> Table:
    """Lay out how good each strategy was, how far from `delta`, and how late."""
    title = "strategies, means over replicates"
    columns: dict[str, Cell] = {
        "AUC": _text("auc", "{:.4f}".format),
        "NE": _text("normalized_entropy", "{:.4f}".format),
    }
    if any(result.select("auc_difference", against=DELTA)):
        columns |= {"- delta,\npoints": _difference, "shows": _shows}
        if any(one.estimate is not None for one in result.select("auc_difference_holm")):
            title += "; *: the difference is told from 0, all of them considered (Holm, 5 %)"
    columns |= {
        "gap %": _text("gap_recovered", lambda share: f"{POINTS * share:.1f}"),
        "staleness\np50": _text("staleness_p50", time_text),
        "latency\np50": _latency("p50"),
    }
    return _laid_out(result, title, columns)


def _difference(result: Result, name: str) -> str:
    """Write a difference from `delta`, half its interval and whether it holds beside the others."""
    found = result.metric("auc_difference", strategy=name, against=DELTA)
    if found is None or found.estimate is None:
        return ""
    text = figure(found, "+.2f", POINTS)
    if found.ci95 is None or not has_interval(result, found):
        return text
    holm = result.metric("auc_difference_holm", strategy=name, against=DELTA)
    sure = holm is not None and holm.estimate is not None and holm.estimate < _HOLM
    half = POINTS * (found.ci95[1] - found.ci95[0]) / 2
    return f"{text} ±{half:.2f}{'*' if sure else ' '}"


def _shows(result: Result, name: str) -> str:
    """Write the smallest difference from `delta` that the run could have shown."""
    found = detectable(result).get(f"{name} - {DELTA}")
    return "" if found is None else figure(found, ".2f", POINTS)


def costs(result: Result) -> Table:
    """Lay out what each strategy sent, learned and held, and how late it was at worst."""
    sends = any(result.select("pushes"))

    def of_tables(share: float) -> str:
        return f"{POINTS * share:.2f}" if share else "0"

    columns: dict[str, Cell] = {
        "staleness\np95": _text("staleness_p95", time_text),
        "latency\np95": _latency("p95"),
        "link": _text("pushed_bytes", lambda size: size_text(size) if size else "0"),
        "pushes": _text("pushes", number),
        "each": _text("push_s", time_text),
        "core-s": _text("learn_cpu_s", number),
        "held %": _text("held_fraction", of_tables),
    }
    if not sends:
        del columns["link"]
    title = (
        "what that takes: bytes on the link, pushes that landed and the time of each, core-seconds "
        "of learning, what is held beside the tables, % of them"
    )
    names = [one.condition for one in result.select("staleness_p50")]
    return _laid_out(result, title, columns, names)


def slices(result: Result) -> Table:
    """Lay out the AUC of parts of the windows, and how far from `delta` that is."""
    parts = list(dict.fromkeys(str(one.labels["slice"]) for one in result.select("auc_slice")))
    told = any(result.select("auc_slice_difference"))

    def column(part: str) -> Cell:
        def cell(result: Result, name: str) -> str:
            area = result.metric("auc_slice", strategy=name, slice=part)
            text = "" if area is None else figure(area, ".4f")
            apart = result.metric("auc_slice_difference", strategy=name, against=DELTA, slice=part)
            return text if apart is None else f"{text} {figure(apart, '+.2f', POINTS)}"

        return cell

    title = "AUC of the thirds of each window whose ids are new, cold or hot"
    if any(part.startswith("unsent") for part in parts):
        title += ", or were not sent"
    if told:
        title += "; behind it less delta's, points"
    columns = {_heading(part): column(part) for part in parts[:_MOST_SLICES]}
    if len(parts) > _MOST_SLICES:
        title += "; the result has more"
    names = [
        one.condition
        for one in result.select("auc")
        if result.metric("auc_slice", strategy=one.condition) is not None
    ]
    return _laid_out(result, title, columns, names)


def _heading(part: str) -> str:
    """Write a slice as a heading: a strategy's name breaks at its dashes."""
    unsent, by, name = part.partition(" by ")
    return f"{unsent} by\n{broken(name)}" if by else part


def fronts(result: Result) -> Table:
    """Lay out who is on which front."""
    table = plain_table(
        "nobody recovers more for less: on the front of what is recovered against each cost, the "
        "cheapest first"
    )
    table.add_column("cost", no_wrap=True)
    table.add_column("strategies")
    for cost, words in _COSTS.items():
        found = [one for one in result.select("on_pareto_front", cost=cost) if one.estimate]
        if found:
            table.add_row(words, ", ".join(_cheapest_first(result, cost, found)))
    return table


def _cheapest_first(result: Result, cost: str, found: Sequence[Metric]) -> list[str]:
    """Return the strategies of some metrics, the cheapest first; > where a cost is a bound."""
    costs: list[tuple[float, str]] = []
    for name in (str(one.labels["strategy"]) for one in found):
        known, least = result.metric(cost, name), result.metric(f"{cost}_bound", name)
        if known is not None and known.estimate is not None:
            costs.append((known.estimate, name))
        elif least is not None and least.estimate is not None:
            costs.append((least.estimate, f"{name} (>)"))
        else:
            costs.append((0.0, name))
    return [name for _, name in sorted(costs, key=lambda one: one[0])]
