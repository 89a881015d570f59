"""What the tables of all commands have in common: figures, verdicts, what was not available."""

import sys
from io import TextIOWrapper
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lorabench.results.schema import Claim, Metric, Result

_STYLES = {
    "met": "green",
    "missed": "red",
    "inconclusive": "yellow",
    "unavailable": "yellow",
}

# Two rounds give an interval so wide that it only takes up room; the document has it.
ROUNDS_FOR_INTERVAL = 3


def terminal(**settings: Any) -> Console:
    """Return a console that prints texts as they are.

    They are a document's, which may be a stranger's: brackets in them are no markup of Rich's, and
    an unpaired one no error. What a terminal itself obeys is taken out where documents are read
    (`lorabench.results.parse`). What stdout's encoding lacks, as ASCII does µ, is shown by its
    number.

    Parameters
    ----------
    **settings
        Of `rich.console.Console`.
    """
    if "file" not in settings and isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(markup=False, emoji=False, **settings)


def plain_table(title: str | None = None, **settings: Any) -> Table:
    """Return a table as all commands have them: a rule under its headings and no frame."""
    return Table(
        title=title,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        **settings,
    )


def render_claims(result: Result, console: Console) -> None:
    """Print notes and verdicts, then what was not available and what would change that."""
    render_notes(result, console)
    for claim in result.claims:
        console.print(_verdict(claim), highlight=False)
    for missing in result.unavailable:
        text = Text.assemble((f"{missing.what}: unavailable", "yellow"), f": {missing.why}")
        console.print(text.append(f"; to have it, {missing.enable}"), highlight=False)


def render_notes(result: Result, console: Console) -> None:
    """Print what a reader has to know before the figures."""
    for note in result.notes:
        console.print(Text.assemble(("note", "bold yellow"), f": {note}"), highlight=False)


def _verdict(claim: Claim) -> Group:
    """Return what was asked, what came out and why, in that order."""
    asked = Text(f"{claim.id} {claim.verdict}: {claim.statement}")
    asked.stylize(f"bold {_STYLES[claim.verdict]}", 0, len(f"{claim.id} {claim.verdict}"))
    lines = [f"{line[0].upper()}{line[1:]}." for line in (claim.reason, *claim.why)]
    return Group(asked, *(Padding(Text(line), (0, 0, 0, 2)) for line in lines))


def digits(value: float) -> str:
    """Write a number that is not negative with three significant digits, or two decimals."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def figure(metric: Metric | None, scale: float) -> str:
    """Write a metric's estimate; a dash where there is none."""
    if metric is None or metric.estimate is None:
        return "-"
    return digits(metric.estimate * scale)


def with_interval(metric: Metric | None, scale: float, gap: str) -> str:
    """Write a metric's estimate with its interval, which takes a few rounds to say anything."""
    text = figure(metric, scale)
    if metric is None or metric.ci95 is None:
        return text
    if sum(value is not None for value in metric.values) < ROUNDS_FOR_INTERVAL:
        return text
    low, high = (digits(bound * scale) for bound in metric.ci95)
    return f"{text}{gap}[{low}..{high}]"


def count(metric: Metric | None) -> str:
    """Write a metric's estimate as a whole number."""
    return "-" if metric is None or metric.estimate is None else f"{metric.estimate:,.0f}"
