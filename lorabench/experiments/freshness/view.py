"""A `freshness` result as text for the terminal, in 80 columns with as many as a dozen strategies.

A row a strategy: its quality and how late it is, what that costs, parts of the windows. Quality by
window, a column a strategy, where they are few; what each recovers of the gap, and by how much they
differ, with intervals over replicates.
"""

from collections.abc import Iterable

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from lorabench.experiments.freshness import view_notes as notes
from lorabench.experiments.freshness import view_strategies as strategies
from lorabench.experiments.freshness.check_link_view import is_check, render_check
from lorabench.experiments.freshness.cost_view import is_cost, render_cost
from lorabench.experiments.freshness.protocol_view import is_protocol, render_protocol
from lorabench.experiments.freshness.sweep_view import is_sweep, render_sweep
from lorabench.experiments.freshness.view_cells import (
    DELTA,
    IDEAL,
    NONE,
    POINTS,
    RECOVERED,
    TIGHT,
    broken,
    detectable,
    figure,
    has_interval,
    interval,
)
from lorabench.report.terminal import plain_table, render_claims
from lorabench.results.schema import Metric, Result

_HOUR_S = 3600.0
_MOST_WITH_ENTROPY = 4
_UNBOUND = 10_000
_COMPARED = (*RECOVERED, "auc_difference")


def render(result: Result, console: Console) -> None:
    """Print AUC and normalized entropy over workload time, then what they come to."""
    if is_cost(result):
        render_cost(result, console)
        return
    if is_check(result):
        render_check(result, console)
        return
    if is_sweep(result):
        render_sweep(result, console)
        return
    if is_protocol(result):
        render_protocol(result, console)
        return
    windows = _windows(result)
    # What does not fit would be cut.
    unbound = console.options.update(width=_UNBOUND)
    few = Measurement.get(console, unbound, windows).minimum <= console.width
    if few:
        console.print(windows)
    for line in (*_about(result), *_notes(result)):
        console.print(line, highlight=False, markup=False)
    if not few:
        console.print(
            "AUC by window: in the result's series, and drawn by lorabench report", highlight=False
        )
    tables = (
        strategies.quality(result),
        _recovered(result),
        _differences(result, few=few),
        strategies.slices(result),
        strategies.costs(result),
        _state(result),
        strategies.fronts(result),
    )
    for table in tables:
        if table.row_count:
            console.print()
            console.print(table)
    below = [] if few else notes.below_none(result, _windows_of(result))
    for line in (*_shows(result), *below, *notes.diverged(result), *notes.rates(result)):
        console.print(line, highlight=False)
    render_claims(result, console)


def _notes(result: Result) -> Iterable[str]:
    """Say what has to be known before the tables are read."""
    for tell in (
        notes.scale_and_link,
        notes.coarse_batches,
        notes.never_landed,
        notes.beyond_the_end,
        notes.given_times,
        notes.one_class,
        notes.few_rows,
    ):
        yield from tell(result)


def _windows(result: Result) -> Table:
    """Lay out the quality in each window: over several seeds, their mean."""
    strategies = [metric.case for metric in result.select("auc")]
    shown = {"auc": "AUC", "normalized_entropy": "NE"}
    title = "quality over workload time: AUC, and normalized entropy (1: the click rate alone)"
    if len(strategies) > _MOST_WITH_ENTROPY:
        del shown["normalized_entropy"]
        title = "AUC over workload time"
    table = plain_table(title)
    table.add_column("hours", justify="right")
    columns: list[dict[float, float]] = []
    means: list[str] = []
    series = {(one.name, one.case): dict(zip(one.x, one.y, strict=True)) for one in result.series}
    for strategy in strategies:
        for name, short in shown.items():
            heading = f"{strategy} {short}" if name == "auc" else short
            # Broken at its dashes where there are many.
            heading = heading.replace("-", " ").replace("+", "+ ")
            table.add_column(heading, justify="right")
            columns.append(series.get((name, strategy), {}))
            means.append(figure(result.metric(name, strategy.text), ".4f"))
    for time_s in sorted(set().union(*columns)):
        cells = [f"{column[time_s]:.4f}" if time_s in column else "-" for column in columns]
        table.add_row(f"{time_s / _HOUR_S:.2f}", *cells)
    table.add_section()
    table.add_row("mean", *means)
    return table


def _about(result: Result) -> Iterable[str]:
    """Say what replicates there are, and where their models come from."""
    model, replicates = result.config.get("model", {}), result.config.get("replicates", {})
    seeds, blocks = replicates.get("seeds", []), replicates.get("windows", [])
    if len(seeds) > 1:
        yield (
            f"{len(seeds)} replicates, seeds {seeds[0]} to {seeds[-1]}, each with rows of its own "
            f"and a model pre-trained on {model.get('pretrain_rows', 0):,} of them"
        )
    else:
        yield f"model: {model.get('origin')}"
    if len(blocks) > 1:
        yield (
            f"{len(blocks)} replicates: blocks of time of one stream, of {_span(blocks)}; they are "
            "no independent draws, so that their intervals tell how it went from time to time, and "
            "not what another stream would give"
        )
    if any(has_interval(result, one) for name in _COMPARED for one in result.select(name)):
        trend = ", and include how models age from block to block" if len(blocks) > 1 else ""
        yield f"[a..b]: 95 % intervals, Student's t over replicates; differences are paired{trend}"


def _span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    if low == high:
        return f"{low} window" if low == 1 else f"{low} windows"
    return f"{low} or {high} windows"


def _recovered(result: Result) -> Table:
    """Lay out what each strategy recovers of the gap between none and ideal."""
    title = "share of the AUC gap from none to ideal that is recovered, %"
    table = plain_table(title, padding=TIGHT)
    table.add_column("strategy", no_wrap=True)
    for heading in RECOVERED.values():
        table.add_column(heading, justify="right")
    for recovered in result.select("gap_recovered"):
        name = recovered.condition
        found = (result.metric(metric, name) for metric in RECOVERED)
        table.add_row(broken(name), *(interval(result, one, ".1f") for one in found))
    return table


def _differences(result: Result, *, few: bool) -> Table:
    """Lay out by how much strategies differ, and what difference the run could have shown.

    Those from `delta` are in the first table, and then those from `none` of many in the document.
    """
    told = {DELTA} if few else {DELTA, NONE}
    shown = [
        one
        for one in result.select("auc_difference")
        if one.labels["against"] not in told and not _in_recovered(result, one)
    ]
    least = detectable(result)
    table = plain_table("difference of mean AUC, points")
    table.add_column("pair")
    for heading in ("difference", *(("shows",) if least else ()), "windows below none"):
        table.add_column(heading, justify="right", no_wrap=True)
    for found in shown:
        below = None
        if found.labels["against"] == NONE:
            below = result.metric("windows_below_none", str(found.labels["strategy"]))
        table.add_row(
            found.condition,
            interval(result, found, "+.2f"),
            *((figure(least.get(found.condition), ".2f", POINTS),) if least else ()),
            _total(below, _windows_of(result)),
        )
    return table


def _in_recovered(result: Result, found: Metric) -> bool:
    """Whether how far a pair is apart is in what one of them recovers of the gap to ideal.

    Not of two trainers of ideal, which are there to be held against each other.
    """
    pair = {str(found.labels["strategy"]), str(found.labels["against"])}
    others = pair - {IDEAL}
    if len(others) > 1 or NONE in pair or any(one.startswith(f"{IDEAL}-") for one in others):
        return False
    recovered = result.metric("gap_recovered", *others)
    return recovered is not None and recovered.estimate is not None


def _shows(result: Result) -> Iterable[str]:
    """Say what the smallest differences are that the run could have shown."""
    if detectable(result):
        yield (
            "shows: a true difference of so many points would have been told from 0 in 80 % of "
            "such runs (at two-sided 5 %, each pair by itself), about, by this run's own spread"
        )


def _windows_of(result: Result) -> int:
    """Return how many windows all replicates have together that have an AUC."""
    replicates = result.config["replicates"]
    undefined = sum(replicates.get("one_class_windows") or [])
    return int(sum(replicates["windows"]) * len(replicates["seeds"]) - undefined)


def _total(metric: Metric | None, of: int) -> str:
    """Write how many of all windows; of those only that could be compared."""
    if metric is None:
        return ""
    known = [value for value in metric.values if value is not None]
    return f"{sum(known):.0f} of {of * len(known) // len(metric.values)}"


def _state(result: Result) -> Table:
    """Lay out how fast each strategy learned, what it held, and what its learner had to do."""
    table = plain_table("learners, means over replicates")
    table.add_column("strategy", no_wrap=True)
    columns = {
        "train_samples_per_s": ("samples/s", ",.0f", 1.0),
        "rank": ("rank", ".1f", 1.0),
        "lora_used_bytes": ("MiB in use", ".2f", 2.0**-20),
        "lora_fraction": ("of tables %", ".2f", 100.0),
        "rebases": ("rebases", ".1f", 1.0),
        "guard_trips": ("guard trips", ".1f", 1.0),
    }
    for heading, _, _ in columns.values():
        table.add_column(heading, justify="right")
    for name in (one.condition for one in result.select("auc")):
        found = {key: result.metric(key, name) for key in columns}
        pushed = result.metric("pushes", name)
        own = {key for key, one in found.items() if one is not None}
        # What a cluster learned for those that push is among the costs.
        if own - {"train_samples_per_s"} or (own and pushed is None):
            cells = (figure(found[key], form, s) for key, (_, form, s) in columns.items())
            table.add_row(name, *cells)
    return table
