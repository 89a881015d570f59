"""A `kernels` result as text for the terminal: one table a kernel, then verdicts in words.

Renders any such document, fresh or read back; knows nothing of how it was made.
"""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from lorabench.results.schema import Metric, Result, Series
from lorabench.results.table import render_claims

_NS = 1e9


def render(result: Result, console: Console) -> None:
    """Print a result: lookups, LoRA, updates, the other kernels, scaling, verdicts."""
    for table in (
        _lookups(result),
        _limits(result),
        _lora(result),
        _updates(result),
        _others(result),
    ):
        if table is not None and table.row_count:
            console.print(table)
            console.print()
    for series in result.series:
        console.print(_scaling(series))
        console.print()
    pages = result.environment.get("pages", {})
    for kind, found in pages.items():
        share = found["workers"][0]["huge_fraction"]
        console.print(
            f"{kind} tables: {share:.0%} of their memory on huge pages ({found['method']})",
            highlight=False,
        )
    console.print(
        f"our kernels: {result.config.get('isa')}; one thread on CPU {result.config.get('cpu')}; "
        f"median of {result.config.get('rounds')} rounds [95 % interval]",
        highlight=False,
    )
    console.print()
    render_claims(result, console)


def _table(title: str, headings: Sequence[str], left: int = 1) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < left else "right", no_wrap=True)
    return table


def _find(result: Result, name: str) -> dict[str, Metric]:
    return {m.condition: m for m in result.metrics if m.name == name}


def _after(condition: str) -> str:
    """Drop what stands before the first comma of a condition: who, or on which pages."""
    return condition.partition(", ")[2]


def _points(conditions: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(_after(condition) for condition in conditions))


def _ns(metric: Metric | None) -> str:
    if metric is None or metric.estimate is None:
        return "-"
    value = metric.estimate * _NS
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _ratio(metric: Metric | None) -> str:
    if metric is None or metric.estimate is None:
        return "-"
    text = f"{metric.estimate:.2f}"
    if metric.ci95 is not None:
        text += f" [{metric.ci95[0]:.2f}..{metric.ci95[1]:.2f}]"
    return text


def _lookups(result: Result) -> Table | None:
    took, speed = _find(result, "lookup_row_s"), _find(result, "lookup_speedup")
    who = [c.partition(", ")[0] for c in took]
    columns = sorted(set(who), key=who.index)
    ratios = "best peer, both 4k", "best peer, both 2m", "best peer 4k, ours 2m"
    shown = any(c.startswith(ratios[0]) for c in speed)
    table = _table(
        "lookup, ns a row, one thread; and how many times faster than the better peer",
        ["", *columns, *(("both 4k", "both 2m", "peer 4k, ours 2m") if shown else ())],
    )
    for point in _points(took):
        cells = [_ns(took.get(f"{column}, {point}")) for column in columns]
        if shown:
            cells += [_ratio(speed.get(f"{ratio}, {point}")) for ratio in ratios]
        table.add_row(point, *cells)
    return table


def _limits(result: Result) -> Table | None:
    limits, over = _find(result, "random_read_row_s"), _find(result, "lookup_over_limit")
    took = _find(result, "lookup_row_s")
    table = _table(
        "lookup against reading the same rows at random and nothing else",
        ["", "lookup GB/s", "limit GB/s", "lookup / limit"],
    )
    for condition, limit in limits.items():
        kind, _, point = condition.partition(", ")
        dim = int(point.partition("D=")[2].partition(",")[0])
        ours = took.get(f"lorabench {kind}, {point}")
        speeds = [
            f"{4 * dim / m.estimate / 1e9:.1f}" if m and m.estimate else "-" for m in (ours, limit)
        ]
        table.add_row(condition, *speeds, _ratio(over.get(condition)))
    return table


def _lora(result: Result) -> Table | None:
    took, ratio = _find(result, "lora_row_s"), _find(result, "lookup_lora_ratio")
    share = _find(result, "lora_hit_share")
    table = _table(
        "lookup with the LoRA term, ns a row, on 2m pages",
        ["", "adapted lookups", "lookup", "lookup_lora", "lookup_lora / lookup"],
    )
    for where, found in ratio.items():
        hits = share.get(where)
        table.add_row(
            where,
            f"{hits.estimate:.1%}" if hits and hits.estimate is not None else "-",
            _ns(took.get(f"lookup, {where}")),
            _ns(took.get(f"lookup_lora, {where}")),
            _ratio(found),
        )
    return table


def _updates(result: Result) -> Table | None:
    took, speed = _find(result, "update_row_s"), _find(result, "update_speedup")
    table = _table(
        "an update, ns a row: LoRA (ours) against full precision, which is more work",
        ["", "forward", "backward", "times as long as LoRA"],
    )
    for condition in took:
        if " forward, " not in condition:
            continue
        who, _, where = condition.partition(" forward, ")
        backward = took.get(f"{who} backward, {where}")
        table.add_row(
            f"{who}, {where}",
            _ns(took[condition]),
            _ns(backward),
            _ratio(speed.get(f"{who}, {where}")),
        )
    return table


_KINDS = {
    "zipf_sample": "a Zipf sample",
    "index_find": "a row's slot",
    "top_rows_row": "top rows, a row",
    "gram_sample": "Gram matrix, a sample",
}


def _others(result: Result) -> Table | None:
    table = _table("the other kernels, ns", ["", "", "ns", "times as long as ours"], left=2)
    for name, words in _KINDS.items():
        speed = _find(result, f"{name}_speedup")
        for condition, metric in _find(result, f"{name}_s").items():
            who, _, where = condition.partition(", ")
            ratio = speed.get(condition) or speed.get(f"{who.partition(' (')[0]}, {where}")
            table.add_row(f"{words}, {where}", who, _ns(metric), _ratio(ratio))
    return table


def _scaling(series: Series) -> Table:
    by = series.name.removeprefix("row_s_by_").replace("_", " ")
    table = _table(
        f"ns a row by {by}: {series.condition}", [by, *(_place(x, series.x_unit) for x in series.x)]
    )
    table.add_row("ns", *(f"{y * _NS:.1f}" for y in series.y))
    return table


def _place(x: float, unit: str) -> str:
    if unit != "bytes":
        return f"{x:g}"
    return f"{x / 2**30:g} GiB" if x >= 2**30 else f"{x / 2**20:g} MiB"
