"""A `freshness` result as text for the terminal: quality by window, one column a strategy."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from lorabench.report.terminal import render_claims
from lorabench.results.schema import Result

_HOUR_S = 3600.0
_MOST_WITH_ENTROPY = 4

# What a row of the second table is worth printing for.
_TOLD = ("gap_recovered", "train_samples_per_s")


def render(result: Result, console: Console) -> None:
    """Print AUC and normalized entropy over workload time, then what they come to."""
    strategies = [metric.case for metric in result.select("auc")]
    shown = {"auc": "AUC", "normalized_entropy": "NE"}
    title = "quality over workload time: AUC, and normalized entropy (1: the click rate alone)"
    if len(strategies) > _MOST_WITH_ENTROPY:
        del shown["normalized_entropy"]
        title = "AUC over workload time"
    table = _table(title)
    table.add_column("hours", justify="right")
    columns: list[dict[float, float]] = []
    series = {(one.name, one.case): dict(zip(one.x, one.y, strict=True)) for one in result.series}
    for strategy in strategies:
        for name, short in shown.items():
            heading = f"{strategy} {short}" if name == "auc" else short
            # Broken at its dashes where there are many.
            table.add_column(heading.replace("-", " "), justify="right")
            columns.append(series.get((name, strategy), {}))
    for time_s in sorted(set().union(*columns)):
        cells = [f"{column[time_s]:.4f}" if time_s in column else "-" for column in columns]
        table.add_row(f"{time_s / _HOUR_S:.2f}", *cells)
    console.print(table)
    model = result.config.get("model", {})
    console.print(f"model: {model.get('origin')}", highlight=False)
    told = {one.condition for name in _TOLD for one in result.select(name)}
    if told:
        console.print()
        console.print(_costs(result, [str(one) for one in strategies if str(one) in told]))
    rates = result.config.get("learning_rates", {})
    if rates:
        how = "chosen on a held-out seed" if result.config.get("tuning") else "as given"
        decays = result.config.get("accumulator_decays", {})
        text = ", ".join(f"{name} {rate:g} x {decays[name]:g}" for name, rate in rates.items())
        console.print(
            f"learning rates x decay of the accumulators a window, {how}: {text}", highlight=False
        )
    render_claims(result, console)


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )


def _costs(result: Result, strategies: Sequence[str]) -> Table:
    """Lay out what each recovers of the gap between none and ideal, and what that costs."""
    table = _table("share of the AUC gap from none to ideal that is recovered, and its cost")
    table.add_column("strategy", no_wrap=True)
    for heading in (
        *("all %", "last third %", "rank", "LoRA MB in use", "of tables %", "rebases"),
        "samples a second",
    ):
        table.add_column(heading, justify="right")
    for name in strategies:

        def cell(metric: str, form: str, scale: float = 1.0, name: str = name) -> str:
            found = result.metric(metric, name)
            if found is None or found.estimate is None:
                return "-"
            return format(found.estimate * scale, form)

        table.add_row(
            name,
            cell("gap_recovered", ".1f", 100),
            cell("gap_recovered_last_third", ".1f", 100),
            cell("rank", ".1f"),
            cell("lora_used_bytes", ".2f", 1e-6),
            cell("lora_fraction", ".2f", 100),
            cell("rebases", ".0f"),
            cell("train_samples_per_s", ",.0f"),
        )
    return table
