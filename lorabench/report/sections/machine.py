"""Sections of commands on a machine: its kernels, its headroom, its capabilities, its noise."""

from collections.abc import Iterator
from typing import Any

from lorabench.report.content import Figure, Section, Table
from lorabench.report.numbers import scale_of, with_bounds
from lorabench.report.plots.common import Rule
from lorabench.report.sections.reader import Reader, curves, estimates
from lorabench.results.schema import Metric, Series

_SPEEDUPS = {
    "lookup_speedup": ("Lookup", "embedding-bag lookups on the same memory"),
    "update_speedup": ("Update", "an update, LoRA against full precision, which is more work"),
    "zipf_speedup": ("Zipf variates", "drawing Zipf variates"),
    "index_find_speedup": ("Row index", "finding rows"),
    "top_rows_row_speedup": ("Top rows", "seeking the rows of largest norm"),
    "gram_sample_speedup": ("Gram matrix", "adding samples to a Gram matrix"),
}
_SCALING = {
    "row_s_by_table_size": ("Time of a row by the table's size", "table size", True),
    "row_s_by_bag_size": ("Time of a row by the size of its bag", "rows of a bag", True),
    "row_s_by_rank": ("Time of a row by the adapter's rank", "rank", False),
    "row_s_by_tables": ("Time of a row by the number of tables", "tables", True),
}


def kernels(reader: Reader) -> Iterator[Section]:
    """Return the hot path against its peers and against what the machine's memory allows."""
    figures: list[Figure | None] = [
        estimates(
            f"{title}: how many times as long a peer takes",
            f"Time of a peer over ours for {what}, in the same round; above 1 ours is faster.",
            "peer's time / ours",
            {"ratio": reader.metrics(name)},
            rules=(Rule(1.0, "as fast"),),
            heading="peer and inputs",
        )
        for name, (title, what) in _SPEEDUPS.items()
    ]
    figures += [
        estimates(
            "What a LoRA term costs a lookup",
            "Time of a lookup with a LoRA term over one without, in the same round.",
            "with / without",
            {"ratio": reader.metrics("lookup_lora_ratio")},
            rules=(Rule(1.0, "no cost"),),
            heading="inputs",
        ),
        estimates(
            "Lookup against the machine's random-read limit",
            "Time of a lookup over that of reading the same rows at random and doing nothing else.",
            "lookup / limit",
            {"ratio": reader.metrics("lookup_over_limit")},
            rules=(Rule(1.0, "the limit"),),
            heading="inputs",
        ),
    ]
    figures += [
        curves(
            title,
            "Median time of a row of a lookup.",
            (x, "time of a row"),
            _in_bytes(reader.series(name)),
            log_x=log,
            from_zero=True,
        )
        for name, (title, x, log) in _SCALING.items()
    ]
    shown = tuple(figure for figure in figures if figure is not None)
    if shown:
        yield Section("Kernels against their peers", figures=shown)


def _in_bytes(listed: list[Series]) -> list[Series]:
    """Return series whose x is told in bytes with that unit as all others have it."""
    return [
        one.model_copy(update={"x_unit": {"bytes": "B"}.get(one.x_unit, "1")}) for one in listed
    ]


_MOST_FITS = 6
_PRESSURE = ("psi_", "cpu_steal")


def headroom(reader: Reader) -> Iterator[Section]:
    """How idle a host is, or how much training its p99 leaves room for."""
    if reader.result.command != "headroom":
        return
    busy = reader.series("cpu_busy")
    fits = reader.series_names("latency_p99")[:_MOST_FITS]
    figures: list[Figure | None] = [
        curves(
            "CPU busy over time",
            "Busy share of the CPUs; stolen time counts as busy.",
            ("time", "busy share"),
            busy,
            rules=(Rule(0.2, "20 %"),),
            from_zero=True,
        ),
        curves(
            "Pressure over time",
            "Share of the time in which tasks were stalled (PSI), and CPU time that the hypervisor "
            "gave to others.",
            ("time", "share of the time"),
            [one for name in reader.series_names(*_PRESSURE) for one in reader.series(name)],
            name=lambda one: f"{one.condition}: {one.name.removeprefix('psi_').replace('_', ' ')}",
            from_zero=True,
        ),
        estimates(
            "Training that the SLO leaves room for",
            "The most samples a second whose p99 keeps the SLO, on the curve fitted over rounds.",
            "samples",
            {"headroom": reader.metrics("headroom_samples_per_s")},
        ),
    ]
    figures += [
        curves(
            f"p99 against training: {name.replace('_', ' ')}",
            "p99 at each rate of training, averaged over rounds.",
            ("trained samples", "p99"),
            reader.series(name),
        )
        for name in fits
    ]
    duties = [one for one in reader.metrics("latency_p99_ratio") if "duty" in one.labels]
    figures.append(
        estimates(
            "p99 at each duty of the trainer",
            "Over p99 alone in the same rounds.",
            "p99 / solo",
            {"ratio": duties},
            rules=(Rule(1.0, "solo"),),
        )
    )
    shown = tuple(figure for figure in figures if figure is not None)
    table = _observed(reader)
    if shown or table:
        yield Section("Headroom", figures=shown, tables=(table,) if table else ())


def _observed(reader: Reader) -> Table | None:
    """Lay out what was observed: mean, 95th percentile and peak of windows."""
    rows = []
    for one in reader.result.metrics:
        peak = reader.metric(f"{one.name}_peak", one.condition)
        if peak is None or one.estimate is None:
            continue
        high = reader.metric(f"{one.name}_p95", one.condition)
        scale = scale_of(one.unit, (one.estimate,))
        found: tuple[Metric | None, ...] = (one, high, peak)
        cells = (scale.write(m.estimate if m else None) for m in found)
        rows.append((f"{one.condition}: {scale.named(one.name.replace('_', ' '))}", *cells))
    head = ("what", "mean", "p95", "peak")
    return Table.of("Over windows of 10 s", head, rows) if rows else None


def calibration(reader: Reader) -> Iterator[Section]:
    """Return what colocate can tell on a machine: how small a slowdown, in how many blocks."""
    figures = [
        curves(
            "The chance to see a slowdown",
            "Share of simulated runs whose interval shows a slowdown of that size at some look.",
            ("slowdown, ratio minus 1", "share of runs"),
            reader.series("slowdown_seen_share"),
            rules=(Rule(0.9, "9 of 10"),),
            from_zero=True,
        ),
        curves(
            "Blocks that it takes",
            "Blocks at the look that decides, the median over simulated runs.",
            ("slowdown, ratio minus 1", "blocks"),
            reader.series("blocks_needed"),
            from_zero=True,
        ),
        estimates(
            "False verdicts",
            "Share of simulated runs that end with a verdict that is false.",
            "share of runs",
            {"share": reader.metrics("false_verdict_share")},
            rules=(Rule(0.025, "2.5 %"),),
            log=False,
            heading="question",
        ),
        estimates(
            "Gates of compare",
            "Share of simulated comparisons that fail a gate: where nothing differs, which is a "
            "false alarm; where p99 is slower, which is found; and that cannot tell.",
            "share of comparisons",
            {
                "false alarm": reader.metrics("gate_false_alarm_share"),
                "found": reader.metrics("gate_found_share"),
                "cannot tell": reader.metrics("gate_unknown_share"),
            },
            log=False,
            heading="gate",
        ),
    ]
    shown = tuple(figure for figure in figures if figure is not None)
    if shown:
        yield Section("What a run can tell on this machine", figures=shown)


def capabilities(reader: Reader) -> Iterator[Section]:
    """Return what a machine offers, and which conditions of colocate it can run."""
    tables = []
    for key, caption in (
        ("conditions", "Conditions of colocate"),
        ("capabilities", "What the machine offers"),
    ):
        found = reader.environment(key)
        rows = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        head = list(dict.fromkeys(key for row in rows for key in row))[:6]
        if head:
            cells = [tuple(_word(row.get(name)) for name in head) for row in rows]
            tables.append(Table.of(caption, head, cells, words=len(head)))
    if tables:
        yield Section("What this machine offers", tables=tuple(tables))


def _word(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(one)[:80] for one in value[:20]) or "-"
    return str(value)[:300]


def neighbours(reader: Reader) -> Figure | None:
    """Return what neighbours cost a full batch before the first round."""
    found = reader.metrics("neighbour_batch_ratio")
    return estimates(
        "What a neighbour costs",
        "A full batch's time beside each neighbour over that beside an idle CPU, before the run.",
        "batch time / beside an idle CPU",
        {"ratio": found},
        rules=(Rule(1.0, "no cost"),),
        heading="neighbour",
    )


ALL_NUMBERS = "All numbers"
_MOST_OTHERS = 12


def all_numbers(reader: Reader) -> Section:
    """Return every metric with its interval, and series that no section drew."""
    result = reader.result
    others = [name for name in reader.series_names("") if name not in reader.drawn]
    figures = []
    for name in others[:_MOST_OTHERS]:
        listed = reader.series(name)
        units = {(one.x_unit, one.y_unit) for one in listed}
        if len(units) == 1:
            words = name.replace("_", " ")
            told = f"The series {name} of the document."
            least = min(value for one in listed for value in one.y)
            figure = curves(words, told, ("x", words), listed, from_zero=least >= 0)
            figures += [figure] if figure else []
    rows = []
    for one in result.metrics:
        scale = scale_of(one.unit, (one.estimate,))
        rows.append((one.name, one.condition, with_bounds(one, scale), scale.unit or "1"))
    head = ("metric", "condition", "estimate [95 %]", "unit")
    table = Table.of("Every metric of the document", head, rows, words=2)
    return Section(ALL_NUMBERS, figures=tuple(figures), folded=(table,) if rows else ())
