"""Sections on a serving node under load: p99, its distribution and course, what was learned."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from lorabench.report.conditions import in_order, under_load_generator
from lorabench.report.content import MOST_ROWS, Figure, Section, Table
from lorabench.report.numbers import Scale, scale_of, with_bounds
from lorabench.report.plots.common import Rule
from lorabench.report.plots.lines import Axes, Line, lines
from lorabench.report.sections.reader import Reader, curves, estimates
from lorabench.report.stops import stopped_cases, stops_line
from lorabench.results.case import Case
from lorabench.results.distribution import Distribution
from lorabench.results.evidence import (
    ISOLATED,
    PLANTED,
    SHAM,
    SOLO,
    SOLO_REPEAT,
    STUCK_SHARE,
    saturated_shares,
)
from lorabench.results.schema import Metric, Series
from lorabench.results.units import number

_OfCaseT = TypeVar("_OfCaseT", Metric, Series)

_CONDITIONS = {
    SOLO: "serving alone",
    SOLO_REPEAT: "serving alone, once more",
    PLANTED: "serving alone, made a fifth slower",
    SHAM: "beside a core that is as busy as the trainer's and learns nothing",
    "solo_all": "all cores serve",
    "naive": "beside a trainer wherever the system puts it",
    "pinned": "beside a trainer on cores of its own",
    "isolated": "beside a trainer that all this machine offers holds in check",
}


def latency(reader: Reader) -> Iterator[Section]:
    """p99 by condition, raw and unstalled; then the machine's share of it, and training's."""
    raw, calm = reader.metrics("latency_p99"), reader.metrics("latency_p99_unstalled")
    figure = estimates(
        "p99, raw and unstalled" if calm else "p99",
        "The geometric mean over blocks of each block's p99, with its 95 % interval. Raw is what "
        "happened; unstalled leaves out the queries that a witnessed stall of the host touched.",
        "p99",
        {"raw": raw, "unstalled": calm} if calm else {"raw": raw},
    )
    names = [one.condition for one in reader.metrics("latency_p50")]
    if not names:
        return
    yield Section(
        "p99 by condition",
        facts=tuple((name, _CONDITIONS[name]) for name in names if name in _CONDITIONS),
        words=tuple(
            filter(
                None,
                (
                    None
                    if figure
                    else "There is no p99: too few queries lay beyond it in a block.",
                    stops_line(reader.result),
                ),
            )
        ),
        figures=(figure,) if figure else (),
        tables=(_latencies(reader, names),),
    )
    split = _split(reader)
    if split is not None:
        yield split


def _latencies(reader: Reader, names: Sequence[str]) -> Table:
    """Lay out all quantiles of each condition."""
    quantiles = {
        "p50": "latency_p50",
        "p95": "latency_p95",
        "p99": "latency_p99",
        "p99.9": "latency_p999",
        "p99 unstalled": "latency_p99_unstalled",
    }
    find = reader.metric
    there = {head: name for head, name in quantiles.items() if reader.metrics(name)}
    scale = scale_of("s", (one.estimate for one in reader.metrics("latency_p99")))
    shares, stopped = saturated_shares(reader.result.rounds), stopped_cases(reader.result)
    rows = []
    for name in names[:MOST_ROWS]:
        found = [find(metric, name) for metric in there.values()]
        ratio = find("latency_p99_ratio", name)
        over = "1" if name == SOLO else with_bounds(ratio, _PLAIN)
        if name in stopped:
            over = "stopped"
        elif shares.get(name, 0.0) > STUCK_SHARE:
            over = "saturated"
        stalls = find("stalls_per_s", name)
        rows.append(
            (
                name,
                *(scale.write(one.estimate if one else None) for one in found),
                over,
                _PLAIN.write(stalls.estimate if stalls else None),
            )
        )
    head = ("condition", *(scale.named(head) for head in there), "p99 / solo [95 %]", "stalls a s")
    return Table.of("Latency from scheduled arrival to answer", head, rows)


_PLAIN = scale_of("1", ())


def _split(reader: Reader) -> Section | None:
    """Return what of a co-located p99 is the machine's doing, and what training's."""
    figure = estimates(
        "p99 as a ratio",
        "sham / solo is the machine's part: what another busy core costs here. A trained condition "
        "over sham is what training adds; over solo it is both. 1 is no difference.",
        "ratio of p99",
        {
            "raw": _ratios(reader, "latency_p99"),
            "unstalled": _ratios(reader, "latency_p99_unstalled"),
        },
        rules=(Rule(1.0, "equal"), Rule(ISOLATED.limit, f"limit {ISOLATED.limit:.2f}")),
        name=_ratio_name,
        heading="ratio",
    )
    if figure is None:
        return None
    return Section("The machine's part, and training's", figures=(figure,))


def _ratios(reader: Reader, stem: str) -> list[Metric]:
    over_solo = [
        one
        for one in reader.metrics(f"{stem}_ratio")
        if one.condition not in (SOLO_REPEAT, PLANTED)
    ]
    # The machine's part first, then training's, then both.
    machine = [one for one in over_solo if one.condition == SHAM]
    training = reader.metrics(f"{stem}_sham_ratio")
    return [*machine, *training, *(one for one in over_solo if one.condition != SHAM)]


def _ratio_name(metric: Metric) -> str:
    if metric.name.endswith("_sham_ratio"):
        return f"training: {metric.condition} / sham"
    if metric.condition == SHAM:
        return "machine: sham / solo"
    return f"both: {metric.condition} / solo"


def distribution(
    reader: Reader, found: Sequence[Distribution] | str | None, percentiles: Sequence[float]
) -> Iterator[Section]:
    """Return how latencies are distributed, from raw samples, or why these are not shown.

    Parameters
    ----------
    reader : Reader
        The result.
    found : sequence of Distribution, str or None
        Of the raw samples; a sentence on why there are none; None where none are expected.
    percentiles : sequence of float
        Those that were asked for.
    """
    if not reader.metrics("latency_p50") or found is None:
        return
    title = "Latency distribution"
    if isinstance(found, str):
        yield Section(title, words=(f"Not shown: {found}",))
        return
    by_case = {one.case: one for one in found}
    ordered = [by_case[name] for name in in_order(reader.result, by_case)]
    scale = scale_of("s", (y for one in ordered for _, y in one.tail))
    heads = [scale.named(f"p{q:g}") for q in percentiles]
    table = Table.of(
        "Percentiles of all measured queries together",
        ("condition", "queries", *heads),
        [
            (one.case, number(one.queries), *(scale.write(value) for value in one.percentiles))
            for one in ordered
        ],
    )
    drawn = [
        Line(one.case, [x for x, _ in one.tail], [y / scale.size for _, y in one.tail])
        for one in ordered
        if one.tail
    ]
    if not drawn:
        yield Section(title, words=("Too few queries were measured.",), tables=(table,))
        return
    axes = Axes(
        "percentile", scale.named("latency"), percentiles=percentiles, log_y=True, height=300
    )
    chart = lines(drawn, axes)
    told = (
        "Each line is a condition: a share of q of its measured queries, all blocks together, was "
        "faster than the latency at q. The axis gives the slowest tenth, hundredth and thousandth "
        "as much room. Lines end, and the table has a dash, where fewer than 20 queries lie beyond."
    )
    yield Section(title, figures=(Figure("Latency by percentile", told, chart, table),))


def course(reader: Reader) -> Iterator[Section]:
    """p99 and stalls of the host, block by block; and by the time since a switch of cases."""
    figures = [
        curves(
            "p99 over the blocks",
            "Conditions that rise and fall together share the machine's weather, which a ratio "
            "within a block cancels.",
            ("block", "p99"),
            _by_block(reader, "latency_p99"),
            whole_x=True,
        ),
        curves(
            "Stalls of the host over the blocks",
            "Time that nobody inside the machine took, witnessed by a server's own thread.",
            ("block", "stalls"),
            _counted_from_1(_in_rounds(reader, reader.series("stalls_per_s"))),
            whole_x=True,
            height=170,
        ),
        curves(
            "Share of the servers' time lost to stalls",
            "How much of a server's time those stalls took.",
            ("block", "share of the time"),
            _counted_from_1(_in_rounds(reader, reader.series("stalled_share"))),
            whole_x=True,
            height=170,
        ),
        curves(
            "p99 since a switch of cases",
            "What a case leaves behind shows at the left, within the head that is left out.",
            ("time since the switch", "p99"),
            reader.series("latency_p99_since_switch"),
        ),
    ]
    shown = tuple(figure for figure in figures if figure is not None)
    if shown:
        yield Section("p99 and host stalls over time", figures=shown)


def _by_block(reader: Reader, name: str) -> list[Series]:
    """Return the values of a metric as series over blocks, where there are several."""
    found = []
    for one in _in_rounds(reader, reader.metrics(name)):
        there = [(n, value) for n, value in enumerate(one.values, 1) if value is not None]
        if len(there) > 1:
            x, y = zip(*there, strict=True)
            case = Case(one.condition, one.labels)
            found.append(Series.of(name, case, x, y, units=("1", one.unit)))
    return found


def _in_rounds(reader: Reader, listed: Sequence[_OfCaseT]) -> list[_OfCaseT]:
    """Leave out tests of a load generator: they come after the rounds, in blocks of their own."""
    driven = under_load_generator(reader.result)
    return [one for one in listed if one.condition not in driven]


def _counted_from_1(listed: Sequence[Series]) -> list[Series]:
    """Return series over blocks, which a document counts from 0, as people count them."""
    first = min((one.x[0] for one in listed), default=1.0)
    shift = 1.0 if first == 0 else 0.0
    several = [one for one in listed if len(one.x) > 1]
    return [one.model_copy(update={"x": [x + shift for x in one.x]}) for one in several]


def training(reader: Reader) -> Iterator[Section]:
    """How much was learned, what the throttle did, how fresh that was, and what it took."""
    rates = reader.metrics("train_samples_per_s")
    figures = [
        estimates(
            "Training rate",
            "Samples a second whose update was published. Alone is the trainer by itself, beside "
            "idle servers.",
            "samples",
            {"rate": rates},
        )
        if reader.metrics("latency_p50")
        else None,
        curves(
            "What the throttle allowed",
            "Share of the time that the trainer might work, and of a server's that it was busy, "
            "in the last block.",
            ("time of the case", "share"),
            [*reader.series("throttle_duty"), *reader.series("server_busy")],
            name=lambda one: f"{one.condition}: {_TRACES.get(one.name, one.name)}",
            from_zero=True,
        ),
        curves(
            "Queries that were due, unserved",
            "What the throttle saw of the queue.",
            ("time of the case", "queries"),
            reader.series("queries_due"),
            from_zero=True,
            height=170,
        ),
    ]
    shown = tuple(figure for figure in figures if figure is not None)
    table = _trained(reader)
    if shown or table:
        tables = (table,) if table else ()
        yield Section("Training, throttle, epochs", figures=shown, tables=tables)


_MOST_COLUMNS = 24
_TRACES = {"throttle_duty": "duty", "server_busy": "server busy"}


def _auc(metric: Metric | None, scale: Scale) -> str:
    """Write an AUC with four digits: models differ in the third."""
    if metric is None or metric.estimate is None:
        return with_bounds(metric, scale)
    if metric.ci95 is None or metric.ci95[0] == metric.ci95[1]:
        return f"{metric.estimate:.4f}"
    return f"{metric.estimate:.4f} [{metric.ci95[0]:.4f}..{metric.ci95[1]:.4f}]"


def _trained(reader: Reader) -> Table | None:
    """Lay out what each trained condition did, a column a condition."""
    names = [one.condition for one in reader.metrics("epochs")[:_MOST_COLUMNS]]
    if not names:
        return None
    if reader.metric("auc", SOLO):  # what it is held against, though nothing was trained
        names = [SOLO, *names]
    listed = {
        "update_latency_p50": "update latency, p50",
        "update_latency_p95": "update latency, p95",
        "epochs": "epochs (LoRA states published)",
        "publish_deferred": "publishes deferred",
        "train_rate_ratio": "rate over that alone",
        "trainer_cores": "cores the trainer used",
        "replay_dropped": "samples dropped, ring full",
        "lora_bytes": "LoRA state",
        "lora_fraction": "LoRA state over the tables",
        "overhead_fraction": "... and replay rings",
        "rank": "mean rank at the end",
        "rebases": "changes of rank, basis or slots",
        "guard_trips": "trips of the quality guard",
        "auc": "AUC of what was served",
    }
    rows = []
    for metric, words in listed.items():
        found = [reader.metric(metric, name) for name in names]
        there = [one for one in found if one is not None]
        if there:
            scale = scale_of(there[0].unit, (one.estimate for one in there))
            write = _auc if metric == "auc" else with_bounds
            cells = (write(one, scale) for one in found)
            rows.append((scale.named(words), *cells))
    return Table.of("Trainers", ("", *names), rows)
