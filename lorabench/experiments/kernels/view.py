"""A `kernels` result as text for the terminal: one table a kernel, then verdicts in words.

Renders any such document, fresh or read back; knows nothing of how it was made.
"""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from lorabench.experiments.kernels.labels import BEST, OURS, SETTINGS, Point, size_text
from lorabench.report.terminal import plain_table, render_claims
from lorabench.results.case import Label
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
    table = plain_table(title, collapse_padding=True)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < left else "right", no_wrap=True)
    return table


def _by(result: Result, name: str, *labels: str) -> dict[tuple[Label | None, ...], Metric]:
    """Return a metric of all cases by the values of these labels, in order."""
    return {tuple(map(m.labels.get, labels)): m for m in result.select(name)}


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


# Of a lookup's point, and the columns that show it.
_POINT = ("dim", "pooling", "distribution", "table_bytes")
_PLACE = ("D", "L", "rows", "table")


def _place(labels: Mapping[str, Label]) -> list[str]:
    """Return the cells of a point: 16, 20, unif, 2G."""
    point = Point.of(labels)
    # Short, so that three ratios with their intervals fit into a line.
    size = size_text(point.table_bytes).replace(" GiB", "G").replace(" MiB", "M")
    return [f"{point.dim}", f"{point.pooling}", point.distribution[:4], size]


def _lookups(result: Result) -> Table:
    took = _by(result, "lookup_row_s", "candidate", "pages", *_POINT)
    who = list(dict.fromkeys(candidate for candidate, *_ in took))
    table = _table("lookup, ns a row (L rows a bag)", [*_PLACE, "pages", *map(str, who)], left=0)
    # A row is what one candidate has, in the order of its pages at each point.
    for (candidate, *rest), metric in took.items():
        if candidate == who[0]:
            cells = [_ns(took.get((name, *rest))) for name in who]
            table.add_row(*_place(metric.labels), str(rest[0]), *cells)
    return table


def _speedups(result: Result) -> Table:
    speed = _by(result, "lookup_speedup", "peer", "peer_pages", "pages", *_POINT)
    pairs = {("4k", "4k"): "both 4k", ("2m", "2m"): "both 2m", ("4k", "2m"): "peer 4k, ours 2m"}
    table = _table(
        "lookup: how many times as long the better peer takes",
        [*_PLACE, *pairs.values()],
        left=0,
    )
    for key, metric in speed.items():
        if key[:3] == (BEST, "4k", "4k"):
            cells = [_ratio(speed.get((BEST, *pair, *key[3:]))) for pair in pairs]
            table.add_row(*_place(metric.labels), *cells)
    return table


def _limits(result: Result) -> Table:
    over = _by(result, "lookup_over_limit", "pages", *_POINT)
    took = _by(result, "lookup_row_s", "candidate", "pages", *_POINT)
    table = _table(
        "lookup against reading rows at random and doing nothing else",
        [*_PLACE, "pages", "lookup GB/s", "limit GB/s", "lookup / limit"],
        left=0,
    )
    for key, limit in _by(result, "random_read_row_s", "pages", *_POINT).items():
        size = 4 * Point.of(limit.labels).dim
        speeds = [
            f"{size / m.estimate / 1e9:.1f}" if m and m.estimate else "-"
            for m in (took.get((OURS, *key)), limit)
        ]
        table.add_row(*_place(limit.labels), str(key[0]), *speeds, _ratio(over.get(key)))
    return table


def _lora(result: Result) -> Table:
    where = ("inputs", "rank", *_POINT)
    took = _by(result, "lora_row_s", "kernel", *where)
    share = _by(result, "lora_hit_share", *where)
    table = _table(
        f"lookup with a LoRA term of rank {result.config.get('rank')}, ns a row, 2m pages",
        [*_PLACE, "adapted", "lookup", "with LoRA", "ratio"],
        left=0,
    )
    for key, ratio in _by(result, "lookup_lora_ratio", *where).items():
        hits = share.get(key)
        table.add_row(
            *_place(ratio.labels),
            f"{hits.estimate:.0%}" if hits and hits.estimate is not None else "-",
            _ns(took.get(("lookup", *key))),
            _ns(took.get(("lookup_lora", *key))),
            _ratio(ratio),
        )
    return table


def _updates(result: Result) -> Table:
    where = ("inputs", "rank", *_POINT)
    took = _by(result, "update_row_s", "candidate", "stage", *where)
    speed = _by(result, "update_speedup", "peer", *where)
    table = _table(
        "an update, ns a row, 2m pages: LoRA (ours) against full precision, which is more work",
        ["D", "rows", "who", "forward", "backward", "times as long"],
        left=0,
    )
    for (who, stage, *at), metric in took.items():
        if stage == "forward":
            table.add_row(
                f"{metric.labels['dim']}",
                str(metric.labels["inputs"]),
                str(who),
                _ns(metric),
                _ns(took.get((who, "backward", *at))),
                _ratio(speed.get((who, *at))),
            )
    return table


# By the stem of a kernel's times: in words, and the stem of its speed-ups.
_KINDS = {
    "zipf_sample": ("Zipf, a sample", "zipf"),
    "index_find": ("slot of a row", "index_find"),
    "top_rows_row": ("top rows, a row", "top_rows_row"),
    "gram_sample": ("Gram, a sample", "gram_sample"),
}


def _others(result: Result) -> Table:
    table = _table("the other kernels", ["kernel", "", "who", "ns", "times as long"], left=3)
    table.columns[1].no_wrap = False
    for stem, (words, compared) in _KINDS.items():
        speed = _by(result, f"{compared}_speedup", "peer", "dim")
        for (who, dim), metric in _by(result, f"{stem}_s", "candidate", "dim").items():
            where = SETTINGS[stem].format(**metric.labels)
            table.add_row(words, where, str(who), _ns(metric), _ratio(speed.get((who, dim))))
    return table


def _scaling(series: Series) -> Table:
    by = series.name.removeprefix("row_s_by_").replace("_", " ")
    sizes = series.x_unit == "bytes"
    table = _table("", [by, *(size_text(int(x)) if sizes else f"{x:g}" for x in series.x)])
    table.add_row("ns a row", *(f"{y * _NS:.1f}" for y in series.y))
    return table
