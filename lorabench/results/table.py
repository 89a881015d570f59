"""Results as text for the terminal: a table of conditions, then verdicts in words.

Renders any `colocate` document, fresh or read back from a file; knows nothing of how it was made.
"""

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from lorabench.results.schema import Claim, Metric, Result

_STYLES = {
    "met": "green",
    "missed": "red",
    "inconclusive": "yellow",
    "unavailable": "yellow",
}


def render(result: Result, console: Console) -> None:
    """Print a result: conditions, verdicts, what was not available."""
    console.print(_conditions(result))
    for line in (*_context(result), *_warnings(result)):
        console.print(line, highlight=False)
    console.print()
    for claim in result.claims:
        console.print(_verdict(claim), highlight=False)
    for missing in result.unavailable:
        text = Text.assemble((f"{missing.what}: unavailable", "yellow"), f": {missing.why}")
        console.print(text.append(f"; to have it, {missing.enable}"), highlight=False)


def _conditions(result: Result) -> RenderableType:
    found = dict.fromkeys(m.condition for m in result.metrics if m.name == "latency_p50")
    # Rounds shuffle their order; a reader wants the baseline first and the extra last.
    first, last = ("solo", "solo_repeat"), ("solo_all",)
    names = [n for n in first if n in found]
    names += [n for n in result.config.get("experiment", {}).get("conditions", []) if n in found]
    names += [n for n in last if n in found]
    names += [n for n in found if n not in names]
    table = Table(
        title=f"latency from scheduled arrival to answer, ms; {_rounds(result)}",
        title_justify="left",
        title_style="",
        pad_edge=False,
    )
    table.add_column("condition", no_wrap=True)
    for heading in (
        "p50",
        "p95",
        "p99 [95 % interval]",
        "p99 / solo",
        "trained/s",
        "update p50 / p95, ms",
    ):
        table.add_column(heading, justify="right")
    for name in names:

        def find(metric: str, condition: str = name) -> Metric | None:
            return result.metric(metric, condition)

        ratio = _with_interval(find("latency_p99_ratio"), 1.0, 2)
        if any(name in round_.saturated for round_ in result.rounds):
            ratio = "saturated"
        elif name == "solo":
            ratio = "1"
        table.add_row(
            name,
            _number(find("latency_p50"), 1e3, 2),
            _number(find("latency_p95"), 1e3, 2),
            _with_interval(find("latency_p99"), 1e3, 2),
            ratio,
            _number(find("train_samples_per_s"), 1.0, 0),
            _updates(find("update_latency_p50"), find("update_latency_p95")),
        )
    return Group(table)


def _rounds(result: Result) -> str:
    count = sum("solo" in round_.order for round_ in result.rounds)
    text = f"{count} round{'s' if count != 1 else ''}"
    return text + (", interrupted" if result.partial else "")


def _context(result: Result) -> list[Text]:
    """Give the few figures without which the table says little."""
    lines = []
    lora = next((m for m in result.metrics if m.name == "lora_fraction"), None)
    used = next((m for m in result.metrics if m.name == "overhead_fraction"), None)
    if lora is not None and lora.estimate is not None and used is not None:
        total = used.estimate or 0.0
        lines.append(
            Text(
                f"LoRA state: {lora.estimate:.2%} of the table bytes "
                f"({total:.2%} with the replay rings)"
            )
        )
    quality = [
        f"{m.condition} {m.estimate:.4f}"
        for m in result.metrics
        if m.name == "auc" and m.estimate is not None and m.condition != "solo_repeat"
    ]
    if quality:
        lines.append(Text(f"AUC of what was served: {', '.join(quality)}"))
    return lines


def _warnings(result: Result) -> list[Text]:
    lines = []
    wraps = max((round_.wraps for round_ in result.rounds), default=0)
    if wraps:
        lines.append(
            Text(
                f"The rows were gone through {wraps} times again: the trainer met rows that it "
                "had learned before, so the AUC of its conditions flatters it.",
                "yellow",
            )
        )
    notes = {note for round_ in result.rounds for note in round_.notes}
    lines += [Text(note, "yellow") for note in sorted(notes)]
    return lines


def _verdict(claim: Claim) -> Text:
    return Text.assemble(
        (f"{claim.id} {claim.verdict}", f"bold {_STYLES[claim.verdict]}"),
        f": {claim.statement}. {claim.reason[0].upper()}{claim.reason[1:]}.",
    )


def _number(metric: Metric | None, scale: float, digits: int) -> str:
    if metric is None or metric.estimate is None:
        return "-"
    return f"{metric.estimate * scale:,.{digits}f}"


def _with_interval(metric: Metric | None, scale: float, digits: int) -> str:
    text = _number(metric, scale, digits)
    # Two rounds give an interval so wide that it only takes up room; the document has it.
    if metric is None or metric.ci95 is None or len(metric.values) < 3:
        return text
    low, high = (f"{bound * scale:,.{digits}f}" for bound in metric.ci95)
    return f"{text} [{low}, {high}]"


def _updates(p50: Metric | None, p95: Metric | None) -> str:
    if p50 is None or p50.estimate is None:
        return "-"
    return f"{_number(p50, 1e3, 0)} / {_number(p95, 1e3, 0)}"
