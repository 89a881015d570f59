"""A `freshness` result as text for the terminal: quality by window, one column a strategy."""

from rich import box
from rich.console import Console
from rich.table import Table

from lorabench.results.schema import Result
from lorabench.results.table import render_claims

_HOUR_S = 3600.0


def render(result: Result, console: Console) -> None:
    """Print AUC and normalized entropy over workload time, then what they come to."""
    strategies = [m.condition for m in result.metrics if m.name == "auc"]
    table = Table(
        title="quality over workload time: AUC, and normalized entropy (1: no better than the "
        "click rate)",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("hours", justify="right")
    for strategy in strategies:
        table.add_column(f"{strategy}: AUC", justify="right", no_wrap=True)
        table.add_column("NE", justify="right", no_wrap=True)
    series = {(one.name, one.condition): one for one in result.series}
    times = next(iter(series.values())).x if series else []
    for window, time_s in enumerate(times):
        cells = [
            f"{series[name, strategy].y[window]:.4f}"
            for strategy in strategies
            for name in ("auc", "normalized_entropy")
        ]
        table.add_row(f"{time_s / _HOUR_S:.2f}", *cells)
    console.print(table)
    model = result.config.get("model", {})
    console.print(f"model: {model.get('origin')}, frozen from there on", highlight=False)
    render_claims(result, console)
