"""Results as text for the terminal: a table of conditions, then verdicts in words.

Renders any `colocate` document, fresh or read back from a file; knows nothing of how it was made.
"""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lorabench.report.conditions import in_order, under_load_generator
from lorabench.report.stops import stopped_cases, stops_line
from lorabench.report.terminal import (
    ROUNDS_FOR_INTERVAL,
    count,
    figure,
    plain_table,
    render_claims,
    with_interval,
)
from lorabench.results.controls import CONTROLS
from lorabench.results.evidence import STUCK_SHARE, saturated_shares
from lorabench.results.schema import Metric, Result


def render(result: Result, console: Console) -> None:
    """Print a result: conditions, what else says something about them, verdicts."""
    console.print(_conditions(result))
    for line in (*_context(result), *_warnings(result)):
        console.print(line, highlight=False)
    console.print()
    render_claims(result, console)


def _conditions(result: Result) -> Table:
    """Lay out the conditions, each with its intervals beside its figures, in 80 columns."""
    table = plain_table(
        f"latency from scheduled arrival to answer, ms; {_blocks(result)}", collapse_padding=True
    )
    # Compositions have long names; they are folded before a figure is cut.
    table.add_column("condition", overflow="fold", min_width=11)
    interval = " [95 %]" if _count_blocks(result) >= ROUNDS_FOR_INTERVAL else ""
    for heading in ("p50", "p95", f"p99{interval}", f"p99 / solo{interval}", "trained/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    shares = saturated_shares(result.rounds)
    stuck = {name for name, share in shares.items() if share > STUCK_SHARE}
    stopped = stopped_cases(result)
    for name in _names(result):

        def find(metric: str, condition: str = name) -> Metric | None:
            return result.metric(metric, condition)

        ratio = with_interval(find("latency_p99_ratio"), 1.0, " ")
        if name in stopped:
            ratio = "stopped"
        elif name in stuck:
            ratio = "saturated"
        elif name == "solo":
            ratio = "1"
        table.add_row(
            Text(name),
            figure(find("latency_p50"), 1e3),
            figure(find("latency_p95"), 1e3),
            with_interval(find("latency_p99"), 1e3, " "),
            ratio,
            count(find("train_samples_per_s")),
        )
    return table


def _names(result: Result) -> list[str]:
    return in_order(result, (metric.condition for metric in result.select("latency_p50")))


def _count_blocks(result: Result) -> int:
    return sum("solo" in block.order for block in result.rounds)


def _blocks(result: Result) -> str:
    count = _count_blocks(result)
    text = f"{count} block{'s' if count != 1 else ''}"
    return text + (", interrupted" if result.partial else "")


def _context(result: Result) -> list[Text]:
    """Return the few figures without which the table says little."""
    lines = _loadgen(result)
    driven = under_load_generator(result)
    ours = [name for name in _names(result) if name not in driven]
    lora = next((m for m in result.metrics if m.name == "lora_fraction"), None)
    used = next((m for m in result.metrics if m.name == "overhead_fraction"), None)
    if lora is not None and lora.estimate is not None and used is not None:
        total = used.estimate or 0.0
        lines.append(
            Text(
                f"LoRA state: {lora.estimate * 100:.6g} % of the table bytes "
                f"({total * 100:,.2f} % with the replay rings)"
            )
        )
    quality = [
        f"{name} {auc.estimate:.4f}"
        for name in ours
        if (auc := result.metric("auc", name))
        and auc.estimate is not None
        # Which serve as solo does, and so as well.
        and name not in CONTROLS
        and result.metric("applied_rows_per_s", name) is None
    ]
    if quality:
        lines.append(Text(f"AUC of what was served: {', '.join(quality)}"))
    fresh = [
        f"{name} {figure(p50, 1e3)} / {figure(result.metric('update_latency_p95', name), 1e3)}"
        for name in ours
        if (p50 := result.metric("update_latency_p50", name)) and p50.estimate is not None
    ]
    if fresh:
        lines.append(Text(f"Update latency, p50 / p95 in ms: {', '.join(fresh)}"))
    for text, metric, scale, unit in (
        ("Trained, against the trainer alone on its cores", "train_rate_ratio", 1.0, ""),
        ("Stalls of the host, a second", "stalls_per_s", 1.0, ""),
        ("p99 without them / solo", "latency_p99_unstalled_ratio", 1.0, ""),
        ("p99 in the spike / that of solo", "spike_p99_ratio", 1.0, ""),
        ("From the spike's beginning until the trainer had yielded", "yield_s", 1e3, " ms"),
    ):
        shown = [
            f"{name} {with_interval(found, scale, ' ')}{unit}"
            for name in ours
            if (found := result.metric(metric, name))
            and found.estimate is not None
            and name not in ("solo_repeat", "solo_all")
        ]
        if shown:
            lines.append(Text(f"{text}: {', '.join(shown)}"))
    lines += _applying(result)
    for ratio in result.select("rank_change_p99_ratio"):
        changes = result.metric("rebases", ratio.condition)
        lines.append(
            Text(
                f"{ratio.condition}: p99 while the rank changes every second / p99 of the same "
                f"without: {with_interval(ratio, 1.0, ' ')} ({count(changes)} changes a condition)"
            )
        )
    return lines


def _applying(result: Result) -> list[Text]:
    """Return what was written of pushes, and p99 beside that of publishing adapters."""
    shown = [
        f"{rows.condition} {figure(rows, 1e-6)} "
        f"({figure(result.metric('applied_bytes_per_s', rows.condition), 1e-6)} MB/s)"
        for rows in result.select("applied_rows_per_s")
    ]
    lines = [Text(f"Applied, million rows a second: {', '.join(shown)}")] if shown else []
    for ratio in result.select("lora_p99_ratio"):
        lora, push = str(ratio.labels["condition"]), str(ratio.labels["against"])
        ms = [figure(result.metric("latency_p99", name), 1e3) for name in (lora, push)]
        lines.append(
            Text(
                f"p99 of publishing LoRA / of applying: {with_interval(ratio, 1.0, ' ')} "
                f"({lora} {ms[0]} ms / {push} {ms[1]} ms)"
            )
        )
    return lines


def _loadgen(result: Result) -> list[Text]:
    """Return what MLCommons LoadGen says of the queries that it drove."""
    lines = []
    for name in under_load_generator(result):
        said = result.metric("loadgen_latency_p99", name)
        if said is None:
            continue
        p99 = with_interval(said, 1e3, " ")
        ratio = with_interval(result.metric("loadgen_p99_ratio", name), 1.0, " ")
        verdicts = result.metric("loadgen_valid", name)
        valid = [] if verdicts is None else verdicts.values
        lines.append(
            Text(
                f"LoadGen of {name}: p99 {p99} ms, VALID in {valid.count(1.0)} of {len(valid)} "
                f"tests; our p99 / LoadGen's, of the same queries: {ratio}"
            )
        )
        own = result.metric("loadgen_own_p99_ratio", name)
        if own is not None:
            of = with_interval(own, 1.0, " ")
            lines.append(Text(f"LoadGen's p99 / ours of the same arrivals as a schedule: {of}"))
    return lines


def _warnings(result: Result) -> list[Text]:
    lines = []
    if (stops := stops_line(result)) is not None:
        lines.append(Text(stops, "yellow"))
    looks = result.sequential.looks if result.sequential else []
    if len(looks) > 1:
        lines.append(
            Text(
                f"Intervals of verdicts are wider than these 95 %: they hold for all {len(looks)} "
                "looks at a run together."
            )
        )
    wraps = max((round_.wraps for round_ in result.rounds), default=0)
    if wraps:
        times = "once" if wraps == 1 else f"{wraps} times"
        lines.append(
            Text(
                f"The rows ended and began anew {times}: the trainer met rows that it had learned "
                "before, so the AUC of its conditions flatters it.",
                "yellow",
            )
        )
    notes = {note for round_ in result.rounds for note in round_.notes}
    lines += [Text(note, "yellow") for note in sorted(notes)]
    return lines
