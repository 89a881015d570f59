"""A `kernels` result as text for the terminal: one table a kernel, then verdicts in words.

Renders any such document, fresh or read back; knows nothing of how it was made.
"""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from lorabench.report.terminal import render_claims
from lorabench.results.schema import Metric, Result, Series

_NS = 1e9


def render(result: Result, console: Console) -> None:
    """Print a result: lookups, LoRA, updates, the other kernels, scaling, verdicts."""
    for table in (
        _lookups(result),
        _speedups(result),
        _limits(result),
        _lora(result),
        _updates(result),
        _others(result),
    ):
        if table.row_count:
            console.print(table)
            console.print()
    for series in result.series:
        console.print(series.condition, highlight=False)
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


def _place_of(condition: str) -> list[str]:
    """Split ``..., D=16, pooling 20, uniform, 2 GiB`` into the cells 16, 20, unif, 2G."""
    dim, pooling, law, size = condition.split(", ")[-4:]
    # Short, so that three ratios with their intervals fit into a line.
    short = size.replace(" GiB", "G").replace(" MiB", "M")
    return [dim.removeprefix("D="), pooling.removeprefix("pooling "), law[:4], short]


_PLACE = ("D", "L", "rows", "table")


def _lookups(result: Result) -> Table:
    took = _find(result, "lookup_row_s")
    # "lorabench 2m" and so on: who, and on which pages.
    names = [c.partition(", ")[0].split() for c in took]
    who, kinds = (list(dict.fromkeys(name[place] for name in names)) for place in (0, 1))
    table = _table("lookup, ns a row (L rows a bag)", [*_PLACE, "pages", *who], left=0)
    for point in _points(took):
        for kind in kinds:
            cells = [_ns(took.get(f"{name} {kind}, {point}")) for name in who]
            table.add_row(*_place_of(point), kind, *cells)
    return table


def _speedups(result: Result) -> Table:
    speed = _find(result, "lookup_speedup")
    ratios = {
        "both 4k": "best peer, both 4k",
        "both 2m": "best peer, both 2m",
        "peer 4k, ours 2m": "best peer 4k, ours 2m",
    }
    table = _table(
        "lookup: how many times as long the better peer takes", [*_PLACE, *ratios], left=0
    )
    points = [
        c.removeprefix("best peer, both 4k, ") for c in speed if c.startswith("best peer, both 4k")
    ]
    for point in points:
        cells = [_ratio(speed.get(f"{name}, {point}")) for name in ratios.values()]
        table.add_row(*_place_of(point), *cells)
    return table


def _limits(result: Result) -> Table:
    limits, over = _find(result, "random_read_row_s"), _find(result, "lookup_over_limit")
    took = _find(result, "lookup_row_s")
    table = _table(
        "lookup against reading rows at random and doing nothing else",
        [*_PLACE, "pages", "lookup GB/s", "limit GB/s", "lookup / limit"],
        left=0,
    )
    for condition, limit in limits.items():
        kind, _, point = condition.partition(", ")
        ours = took.get(f"lorabench {kind}, {point}")
        size = 4 * int(_place_of(point)[0])
        speeds = [
            f"{size / m.estimate / 1e9:.1f}" if m and m.estimate else "-" for m in (ours, limit)
        ]
        table.add_row(*_place_of(point), kind, *speeds, _ratio(over.get(condition)))
    return table


def _lora(result: Result) -> Table:
    took, ratio = _find(result, "lora_row_s"), _find(result, "lookup_lora_ratio")
    share = _find(result, "lora_hit_share")
    table = _table(
        f"lookup with a LoRA term of rank {result.config.get('rank')}, ns a row, 2m pages",
        [*_PLACE, "adapted", "lookup", "with LoRA", "ratio"],
        left=0,
    )
    for where, found in ratio.items():
        hits = share.get(where)
        table.add_row(
            *_place_of(where),
            f"{hits.estimate:.0%}" if hits and hits.estimate is not None else "-",
            _ns(took.get(f"lookup, {where}")),
            _ns(took.get(f"lookup_lora, {where}")),
            _ratio(found),
        )
    return table


def _updates(result: Result) -> Table:
    took, speed = _find(result, "update_row_s"), _find(result, "update_speedup")
    table = _table(
        "an update, ns a row, 2m pages: LoRA (ours) against full precision, which is more work",
        ["D", "rows", "who", "forward", "backward", "times as long"],
        left=0,
    )
    for condition in took:
        if " forward, " not in condition:
            continue
        who, _, where = condition.partition(" forward, ")
        table.add_row(
            _place_of(where)[0],
            where.partition(",")[0],
            who,
            _ns(took[condition]),
            _ns(took.get(f"{who} backward, {where}")),
            _ratio(speed.get(f"{who}, {where}")),
        )
    return table


_KINDS = {
    "zipf_sample": "Zipf, a sample",
    "index_find": "slot of a row",
    "top_rows_row": "top rows, a row",
    "gram_sample": "Gram, a sample",
}


def _others(result: Result) -> Table:
    table = _table("the other kernels", ["kernel", "", "who", "ns", "times as long"], left=3)
    table.columns[1].no_wrap = False
    for name, words in _KINDS.items():
        speed = _find(result, f"{name}_speedup")
        for condition, metric in _find(result, f"{name}_s").items():
            who, _, where = condition.partition(", ")
            table.add_row(words, where, who, _ns(metric), _ratio(speed.get(condition)))
    return table


def _scaling(series: Series) -> Table:
    by = series.name.removeprefix("row_s_by_").replace("_", " ")
    table = _table("", [by, *(_place(x, series.x_unit) for x in series.x)])
    table.add_row("ns a row", *(f"{y * _NS:.1f}" for y in series.y))
    return table


def _place(x: float, unit: str) -> str:
    if unit != "bytes":
        return f"{x:g}"
    return f"{x / 2**30:g} GiB" if x >= 2**30 else f"{x / 2**20:g} MiB"
