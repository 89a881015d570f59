"""A `freshness` result as text for the terminal, in 80 columns with as many as seven strategies.

Quality by window, one column a strategy; what each recovers of the gap, and by how much they
differ, with intervals over replicates; what that cost.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from lorabench.report.terminal import ROUNDS_FOR_INTERVAL, render_claims
from lorabench.results.schema import Metric, Result

_HOUR_S = 3600.0
_MOST_WITH_ENTROPY = 4
_POINTS = 100.0
_NONE, _IDEAL = "none", "ideal"


def render(result: Result, console: Console) -> None:
    """Print AUC and normalized entropy over workload time, then what they come to."""
    console.print(_windows(result))
    for line in _about(result):
        console.print(line, highlight=False, markup=False)
    for table in (_recovered(result), _differences(result), _state(result)):
        if table.row_count:
            console.print()
            console.print(table)
    for line in (*_shows(result), *_diverged(result), *_rates(result)):
        console.print(line, highlight=False)
    render_claims(result, console)


def _windows(result: Result) -> Table:
    """Lay out the quality in each window: over several seeds, their mean."""
    strategies = [metric.case for metric in result.select("auc")]
    shown = {"auc": "AUC", "normalized_entropy": "NE"}
    title = "quality over workload time: AUC, and normalized entropy (1: the click rate alone)"
    if len(strategies) > _MOST_WITH_ENTROPY:
        del shown["normalized_entropy"]
        title = "AUC over workload time"
    table = _table(title)
    table.add_column("hours", justify="right")
    columns: list[dict[float, float]] = []
    means: list[str] = []
    series = {(one.name, one.case): dict(zip(one.x, one.y, strict=True)) for one in result.series}
    for strategy in strategies:
        for name, short in shown.items():
            heading = f"{strategy} {short}" if name == "auc" else short
            # Broken at its dashes where there are many.
            table.add_column(heading.replace("-", " "), justify="right")
            columns.append(series.get((name, strategy), {}))
            means.append(_figure(result.metric(name, strategy.text), ".4f"))
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
        yield f"{len(blocks)} replicates: blocks of time of one stream, of {_span(blocks)} windows"
    if len(seeds) > 1 or len(blocks) > 1:
        yield "[a..b]: 95 % interval, Student's t over replicates; differences are paired"


def _span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} or {high}"


def _recovered(result: Result) -> Table:
    """Lay out what each strategy recovers of the gap between none and ideal."""
    table = _table("share of the AUC gap from none to ideal that is recovered, %")
    table.add_column("strategy", no_wrap=True)
    metrics = {
        "gap_recovered": "all windows",
        "gap_recovered_first_quarter": "first quarter",
        "gap_recovered_last_third": "last third",
    }
    for heading in metrics.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for recovered in result.select("gap_recovered"):
        name = recovered.condition
        table.add_row(
            name, *(_interval(result.metric(one, name), ".1f", _POINTS) for one in metrics)
        )
    return table


def _differences(result: Result) -> Table:
    """Lay out by how much strategies differ, and what difference the run could have shown.

    How far each is from ideal is in what it recovers.
    """
    table = _table("difference of mean AUC, points")
    table.add_column("pair", no_wrap=True)
    for heading in ("difference", "shows", "windows below none"):
        table.add_column(heading, justify="right")
    for found in result.select("auc_difference"):
        below, against = None, str(found.labels["against"])
        if _IDEAL in (against, found.labels["strategy"]) and against != _NONE:
            continue
        if against == _NONE:
            below = result.metric("windows_below_none", str(found.labels["strategy"]))
        table.add_row(
            found.condition,
            _interval(found, "+.2f", _POINTS),
            _figure(result.metric("auc_difference_detectable", found.condition), ".2f", _POINTS),
            _total(below, _windows_of(result)),
        )
    return table


def _shows(result: Result) -> Iterable[str]:
    """Say what the smallest differences are that the run could have shown."""
    if any(result.select("auc_difference_detectable")):
        yield (
            "shows: a true difference of so many points would have been told from 0 in 80 % of "
            "such runs (at two-sided 5 %, each pair by itself)"
        )


def _windows_of(result: Result) -> int:
    """Return how many windows all replicates have together."""
    replicates = result.config["replicates"]
    return int(sum(replicates["windows"]) * len(replicates["seeds"]))


def _total(metric: Metric | None, of: int) -> str:
    """Write how many of all windows; of those only that could be compared."""
    if metric is None:
        return ""
    known = [value for value in metric.values if value is not None]
    return f"{sum(known):.0f} of {of * len(known) // len(metric.values)}"


def _state(result: Result) -> Table:
    """Lay out how fast each strategy learned, what it held, and what its learner had to do."""
    table = _table("learners, means over replicates")
    table.add_column("strategy", no_wrap=True)
    columns = {
        "train_samples_per_s": ("samples/s", ",.0f", 1.0),
        "rank": ("rank", ".1f", 1.0),
        "lora_used_bytes": ("MB in use", ".2f", 1e-6),
        "lora_fraction": ("of tables %", ".2f", 100.0),
        "rebases": ("rebases", ".1f", 1.0),
        "guard_trips": ("guard trips", ".1f", 1.0),
    }
    for heading, _, _ in columns.values():
        table.add_column(heading, justify="right")
    for one in result.select("train_samples_per_s"):
        name = one.condition
        table.add_row(
            name,
            *(_figure(result.metric(key, name), form, s) for key, (_, form, s) in columns.items()),
        )
    return table


def _diverged(result: Result) -> Iterable[str]:
    """Say who diverged in how many replays."""
    asked = result.config.get("experiment", {}).get("save_adapter") is not None
    for metric in result.select("diverged"):
        count = sum(value == 1.0 for value in metric.values)
        if count:
            where = "" if len(metric.values) == 1 else f" in {count} of {len(metric.values)} seeds"
            kept = "; no adapter of it is saved" if asked and metric.condition != _IDEAL else ""
            yield (
                f"{metric.condition} diverged{where}: what it learned was not finite any more, and "
                f"no comparison has it there{kept}"
            )


def _rates(result: Result) -> Iterable[str]:
    """Say which learning rates and decays there were, and how they were come by."""
    rates = result.config.get("learning_rates", {})
    decays = result.config.get("accumulator_decays", {})
    tuning: Mapping[str, list[Any]] = result.config.get("tuning", {})
    if rates:
        how = "chosen on a held-out seed" if tuning else "as given"
        text = ", ".join(f"{name} {rate:g} x {decays[name]:g}" for name, rate in rates.items())
        yield f"learning rates x decay of the accumulators a window, {how}: {text}"
    for name, tried in tuning.items():
        failed = [f"{rate:g} x {decay:g}" for rate, decay, found in tried if found is None]
        if failed:
            yield f"{name} diverged while tuned, at {', '.join(failed)}"
        known = [rate for rate, _, found in tried if found is not None]
        if known and len(set(known)) > 1 and rates[name] in (min(known), max(known)):
            yield f"{name}'s rate is the last of those tried that learn: the best may lie beyond"


def _interval(metric: Metric | None, form: str, scale: float) -> str:
    """Write an estimate with its interval, which takes a few replicates to say anything."""
    text = _figure(metric, form, scale)
    if metric is None or metric.ci95 is None:
        return text
    if sum(value is not None for value in metric.values) < ROUNDS_FOR_INTERVAL:
        return text
    low, high = (format(bound * scale, form) for bound in metric.ci95)
    return f"{text} [{low}..{high}]"


def _figure(metric: Metric | None, form: str, scale: float = 1.0) -> str:
    if metric is None or metric.estimate is None:
        return "-"
    return format(metric.estimate * scale, form)


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
