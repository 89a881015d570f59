"""Results as text for the terminal: a table of conditions, then verdicts in words.

Renders any `colocate` document, fresh or read back from a file; knows nothing of how it was made.
"""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lorabench.report.terminal import (
    ROUNDS_FOR_INTERVAL,
    count,
    figure,
    render_claims,
    with_interval,
)
from lorabench.results.schema import Metric, Result

# Wider than any table here: what it would take up if there were room.
_WIDE = 1000


def render(result: Result, console: Console) -> None:
    """Print a result: conditions, verdicts, what was not available."""
    table = _conditions(result, " ")
    if console.measure(table, options=console.options.update(width=_WIDE)).maximum > console.width:
        table = _conditions(result, "\n")
    console.print(table)
    for line in (*_context(result), *_warnings(result)):
        console.print(line, highlight=False)
    console.print()
    render_claims(result, console)


def _conditions(result: Result, gap: str) -> Table:
    """Lay out the conditions; `gap` is what stands between a number and its interval."""
    table = Table(
        title=f"latency from scheduled arrival to answer, ms; {_rounds(result)}",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    # Compositions have long names; they are folded before a figure is cut.
    table.add_column("condition", overflow="fold", min_width=12)
    interval = f"{gap}[95 %]" if _count_rounds(result) >= ROUNDS_FOR_INTERVAL else ""
    for heading in (
        "p50",
        "p95",
        f"p99{interval}",
        f"p99 / solo{interval}",
        "trained/s",
        f"update ms{gap}p50 / p95",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in _names(result):

        def find(metric: str, condition: str = name) -> Metric | None:
            return result.metric(metric, condition)

        ratio = with_interval(find("latency_p99_ratio"), 1.0, gap)
        if any(name in round_.saturated for round_ in result.rounds):
            ratio = "saturated"
        elif name == "solo":
            ratio = "1"
        table.add_row(
            Text(name),
            figure(find("latency_p50"), 1e3),
            figure(find("latency_p95"), 1e3),
            with_interval(find("latency_p99"), 1e3, gap),
            ratio,
            count(find("train_samples_per_s")),
            _updates(find("update_latency_p50"), find("update_latency_p95")),
        )
    return table


def _names(result: Result) -> list[str]:
    """List the conditions: rounds shuffle them, a reader wants the baseline first."""
    found = dict.fromkeys(m.condition for m in result.metrics if m.name == "latency_p50")
    asked = result.config.get("experiment", {}).get("conditions", [])
    wanted = ["solo", "solo_repeat", *asked, *(name for name in found if name != "solo_all")]
    return [name for name in dict.fromkeys([*wanted, "solo_all"]) if name in found]


def _count_rounds(result: Result) -> int:
    return sum("solo" in round_.order for round_ in result.rounds)


def _rounds(result: Result) -> str:
    count = _count_rounds(result)
    text = f"{count} round{'s' if count != 1 else ''}"
    return text + (", interrupted" if result.partial else "")


def _context(result: Result) -> list[Text]:
    """Return the few figures without which the table says little."""
    lines = []
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
        for name in _names(result)
        if (auc := result.metric("auc", name))
        and auc.estimate is not None
        and name != "solo_repeat"
    ]
    if quality:
        lines.append(Text(f"AUC of what was served: {', '.join(quality)}"))
    for text, metric, scale, unit in (
        ("Trained, against the trainer alone on its cores", "train_rate_ratio", 1.0, ""),
        ("Of the idle time of its CPUs the trainer used", "idle_used", 1.0, ""),
        ("p99 in the spike / that of solo", "spike_p99_ratio", 1.0, ""),
        ("From the spike's beginning until the trainer had yielded", "yield_s", 1e3, " ms"),
    ):
        shown = [
            f"{name} {with_interval(found, scale, ' ')}{unit}"
            for name in _names(result)
            if (found := result.metric(metric, name))
            and found.estimate is not None
            and name != "solo_repeat"
        ]
        if shown:
            lines.append(Text(f"{text}: {', '.join(shown)}"))
    for ratio in result.select("rank_change_p99_ratio"):
        changes = result.metric("rebases", ratio.condition)
        lines.append(
            Text(
                f"{ratio.condition}: p99 while the rank changes every second / p99 of the same "
                f"without: {with_interval(ratio, 1.0, ' ')} ({count(changes)} changes a condition)"
            )
        )
    return lines


def _warnings(result: Result) -> list[Text]:
    lines = []
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


def _updates(p50: Metric | None, p95: Metric | None) -> str:
    if p50 is None or p50.estimate is None:
        return "-"
    return f"{figure(p50, 1e3)} / {figure(p95, 1e3)}"
