"""A `freshness` result as text for the terminal, in 80 columns with as many as seven strategies.

Quality by window, one column a strategy; what each recovers of the gap, and by how much they
differ, with intervals over replicates; what that cost.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from lorabench.experiments.freshness.check_link_view import is_check, render_check
from lorabench.experiments.freshness.cost_view import is_cost, render_cost
from lorabench.experiments.freshness.protocol_view import is_protocol, render_protocol
from lorabench.experiments.freshness.sweep_view import is_sweep, render_sweep
from lorabench.report.terminal import ROUNDS_FOR_INTERVAL, plain_table, render_claims
from lorabench.results.schema import Metric, Result

_HOUR_S = 3600.0
_MOST_WITH_ENTROPY = 4
_POINTS = 100.0
_NONE, _IDEAL = "none", "ideal"
_RECOVERED = {
    "gap_recovered": "all windows",
    "gap_recovered_first_quarter": "first quarter",
    "gap_recovered_last_third": "last third",
}
_COMPARED = (*_RECOVERED, "auc_difference")


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
    table = plain_table(title)
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
        yield f"{len(blocks)} replicates: blocks of time of one stream, of {_span(blocks)}"
    if any(_has_interval(result, one) for name in _COMPARED for one in result.select(name)):
        trend = ", and include how models age from block to block" if len(blocks) > 1 else ""
        yield f"[a..b]: 95 % intervals, Student's t over replicates; differences are paired{trend}"


def _span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    if low == high:
        return f"{low} window" if low == 1 else f"{low} windows"
    return f"{low} or {high} windows"


def _recovered(result: Result) -> Table:
    """Lay out what each strategy recovers of the gap between none and ideal."""
    table = plain_table("share of the AUC gap from none to ideal that is recovered, %")
    table.add_column("strategy", no_wrap=True)
    for heading in _RECOVERED.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for recovered in result.select("gap_recovered"):
        name = recovered.condition
        found = (result.metric(metric, name) for metric in _RECOVERED)
        table.add_row(name, *(_interval(result, one, ".1f") for one in found))
    return table


def _differences(result: Result) -> Table:
    """Lay out by how much strategies differ, and what difference the run could have shown."""
    shown = [one for one in result.select("auc_difference") if not _in_recovered(result, one)]
    least = _detectable(result)
    table = plain_table("difference of mean AUC, points")
    table.add_column("pair", no_wrap=True)
    for heading in ("difference", *(("shows",) if least else ()), "windows below none"):
        table.add_column(heading, justify="right")
    for found in shown:
        below = None
        if found.labels["against"] == _NONE:
            below = result.metric("windows_below_none", str(found.labels["strategy"]))
        table.add_row(
            found.condition,
            _interval(result, found, "+.2f"),
            *((_figure(least.get(found.condition), ".2f", _POINTS),) if least else ()),
            _total(below, _windows_of(result)),
        )
    return table


def _in_recovered(result: Result, found: Metric) -> bool:
    """Whether how far a pair is apart is in what one of them recovers of the gap to ideal.

    Not of two trainers of ideal, which are there to be held against each other.
    """
    pair = {str(found.labels["strategy"]), str(found.labels["against"])}
    others = pair - {_IDEAL}
    if len(others) > 1 or _NONE in pair or any(one.startswith(f"{_IDEAL}-") for one in others):
        return False
    recovered = result.metric("gap_recovered", *others)
    return recovered is not None and recovered.estimate is not None


def _detectable(result: Result) -> dict[str, Metric]:
    """Return what differences the run could have shown, by pair.

    Of few replicates, as few as have no interval, the spread is not known; of blocks of time it
    includes a trend.
    """
    if result.config.get("replicates", {}).get("of") == "time":
        return {}
    pairs = (one.condition for one in result.select("auc_difference") if _has_interval(result, one))
    found = {name: result.metric("auc_difference_detectable", name) for name in pairs}
    return {name: metric for name, metric in found.items() if metric is not None}


def _shows(result: Result) -> Iterable[str]:
    """Say what the smallest differences are that the run could have shown."""
    if _detectable(result):
        yield (
            "shows: a true difference of so many points would have been told from 0 in 80 % of "
            "such runs (at two-sided 5 %, each pair by itself), about, by this run's own spread"
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
        if any(found.values()):  # documents from before rates were told have the others
            cells = (_figure(found[key], form, s) for key, (_, form, s) in columns.items())
            table.add_row(name, *cells)
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
        told = "learning rates x decay of the accumulators a window"
        unlearned = [name for name, tried in tuning.items() if _all_equal(tried)]
        chosen = [name for name in rates if name not in unlearned]
        for names, how in (
            (chosen, "chosen on a held-out seed" if tuning else "as given"),
            (unlearned, "as before tuning, whose losses are all equal: too few rows to learn from"),
        ):
            if names:
                text = ", ".join(f"{name} {rates[name]:g} x {decays[name]:g}" for name in names)
                yield f"{told}, {how}: {text}"
    for name, tried in tuning.items():
        failed = [f"{rate:g} x {decay:g}" for rate, decay, found in tried if found is None]
        if failed:
            yield f"{name} diverged while tuned, at {', '.join(failed)}"
        known = [rate for rate, _, found in tried if found is not None]
        if (
            not _all_equal(tried)
            and len(set(known)) > 1
            and rates[name] in (min(known), max(known))
        ):
            yield f"{name}'s rate is the last of those tried that learn: the best may lie beyond"


def _all_equal(tried: Sequence[Sequence[float | None]]) -> bool:
    """Whether no rate or decay that was tried made any difference to the loss."""
    known = [loss for _, _, loss in tried if loss is not None]
    return len(known) > 1 and len(set(known)) == 1


def _interval(result: Result, metric: Metric | None, form: str) -> str:
    """Write an estimate in points or per cent, with its interval where there is one to show."""
    text = _figure(metric, form, _POINTS)
    if metric is None or metric.ci95 is None or not _has_interval(result, metric):
        return text
    low, high = (format(bound * _POINTS, form) for bound in metric.ci95)
    return f"{text} [{low}..{high}]"


def _has_interval(result: Result, metric: Metric) -> bool:
    """Whether an interval is shown, which takes a few replicates to say anything."""
    values = metric.values
    if metric.name in _RECOVERED:
        # A replicate without a gap has no share of its own, but is in the estimate.
        name = metric.condition
        for one, other in ((name, _IDEAL), (_IDEAL, name)):
            paired = result.metric("auc_difference", strategy=one, against=other)
            if paired is not None and len(paired.values) == len(values):
                values = paired.values
    known = sum(value is not None for value in values)
    return metric.ci95 is not None and known >= ROUNDS_FOR_INTERVAL


def _figure(metric: Metric | None, form: str, scale: float = 1.0) -> str:
    if metric is None or metric.estimate is None:
        return "-"
    return format(metric.estimate * scale, form)
