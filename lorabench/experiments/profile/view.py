"""A `profile` result as text for the terminal: a line a table, with its spectrum; verdicts."""

from rich.console import Console

from lorabench.report.terminal import plain_table, render_claims
from lorabench.results.case import Case, Label
from lorabench.results.schema import Metric, Result

_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 12


def sparkline(explained: list[float]) -> str:
    """Draw each component's share of the variance, leading ones first, the largest a full bar.

    Parameters
    ----------
    explained : list of float
        Cumulative share of the variance in the leading components.
    """
    shares = [b - a for a, b in zip([0.0, *explained[:-1]], explained, strict=True)][:_MOST_BARS]
    largest = max(shares, default=0.0)
    if largest <= 0:
        return ""
    return "".join(_BARS[min(int(share / largest * 7.999), 7)] for share in shares)


def render(result: Result, console: Console) -> None:
    """Print every table's ranks and spectrum, then what they come to."""
    groups: dict[tuple[Label | None, bool], list[Case]] = {}
    for metric in result.select("effective_rank"):
        new = metric.labels.get("rows") == "new"
        groups.setdefault((metric.labels.get("dim"), new), []).append(metric.case)
    for (dim, new), cases in groups.items():
        title = "rows that are new, as they are" if new else "" if dim is None else f"D{dim}"
        _render_group(result, console, title, cases)
    for text in _summary(result):
        console.print(text, highlight=False)
    console.print()
    render_claims(result, console)


def _render_group(result: Result, console: Console, title: str, cases: list[Case]) -> None:
    share = f"{100 * result.config['experiment']['variance']:.3g}"
    trained = any(m.name == "signal_rank" for m in result.metrics)
    table = plain_table(
        f"{title + ': ' if title else ''}components that hold {share} % of the variance", padding=0
    )
    # Names may be long; they are folded before a figure is cut.
    table.add_column("table", overflow="fold", min_width=9)
    columns = ["rows", "en.%", "ΔW", "eff."]
    columns += ["grad.", "sig.", "sig.%", "same"] if trained else []
    for heading in (*columns, "LoRA", "KiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("ΔW spectrum", no_wrap=True)
    series = {(one.name, one.condition): one for one in result.series}
    whole = sum(_value(result, "update_energy", case.text) or 0.0 for case in cases) or 1.0
    for case in cases:
        condition, name = case.text, str(case.labels["table"])

        def cell(metric: str, form: str, scale: float = 1.0, condition: str = condition) -> str:
            value = _value(result, metric, condition)
            return "-" if value is None else format(value * scale, form)

        energy = cell("update_energy_share", ".1f", 100)
        if not trained:
            energy = cell("update_energy", ".1f", 100 / whole)
        rows = cell("rows_touched" if trained else "rows_changed", ",.0f")
        if case.labels.get("rows") == "new":
            rows = cell("rows_new", ",.0f", condition=name)
        cells = [
            rows,
            energy,
            cell(f"rank_at_{share}", ".1f"),
            cell("effective_rank", ".1f"),
        ]
        if trained:
            cells += [
                cell(f"gradient_rank_at_{share}", ".1f"),
                cell("signal_rank", ".1f"),
                cell("signal_share", ".1f", 100),
                cell("subspace_alignment", ".2f"),
            ]
        cells += [cell("recommended_rank", ".0f"), cell("recommended_bytes", ",.0f", 2.0**-10)]
        line = series.get(("explained_variance", condition))
        table.add_row(name, *cells, sparkline(line.y) if line else "")
    console.print(table)
    console.print()


def _summary(result: Result) -> list[str]:
    lines = []
    for metric in result.select("train_samples_per_s"):
        if metric.estimate is None:
            continue
        prefix = f"D{metric.labels['dim']}: " if "dim" in metric.labels else ""
        share = _value(result, "train_time_share", metric.condition) or 0.0
        lines.append(
            f"{prefix}{metric.estimate:,.0f} samples/s, {share:.2f} of the time in training itself"
        )
    lines += _by_optimizer(result)
    names = {m.condition for m in result.metrics if m.name == "recommended_bytes"}
    total = sum(_value(result, "recommended_bytes", name) or 0.0 for name in names)
    tables = sum(_value(result, "table_bytes", name) or 0.0 for name in names) or 1.0
    if names:
        lines.append(
            f"LoRA at the recommended ranks for the rows touched: {total / 2**20:,.1f} MiB, "
            f"{100 * total / tables:.2f} % of the table bytes"
        )
    config = result.config
    if "window_rows" in config:
        experiment = config["experiment"]
        lines.append(
            f"{experiment['windows']} windows of {config['window_rows']:,} samples behind "
            f"{experiment['warmup_windows']} of warm-up; ΔW: updates of a window, grad.: "
            "per-sample gradients, sig.: components above the noise floor, sig.%: their share of "
            "the gradient sums, same: alignment of the leading subspace with the window before, "
            "eff.: effective rank of ΔW, en.%: share of all tables' update energy"
        )
    if config.get("wraps"):
        lines.append(f"The rows ended and began anew {config['wraps']} times.")
    return lines


def _by_optimizer(result: Result) -> list[str]:
    """Tell the rank over all tables by who moved the rows, a line a dim."""
    share = f"{100 * result.config['experiment']['variance']:.3g}"
    by_dim: dict[Label | None, list[str]] = {}
    for metric in result.select(f"weighted_rank_at_{share}"):
        if metric.estimate is not None:
            told = f"{metric.estimate:.2f} by {metric.labels['optimizer']}"
            by_dim.setdefault(metric.labels.get("dim"), []).append(told)
    return [
        f"{'' if dim is None else f'D{dim}: '}components that hold {share} % over all tables, rows "
        f"moved {first}"
        + (f"; derived from the same windows: {', '.join(derived)}" if derived else "")
        for dim, (first, *derived) in by_dim.items()
    ]


def _value(result: Result, name: str, condition: str) -> float | None:
    metric: Metric | None = result.metric(name, condition)
    return None if metric is None else metric.estimate
