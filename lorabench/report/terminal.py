"""What the tables of all commands have in common: figures, verdicts, what was not available."""

import sys
from collections.abc import Iterator, Mapping
from copy import copy
from io import TextIOWrapper
from itertools import accumulate
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from lorabench.report.marks import HANDLER, drawn, has, plain
from lorabench.results.nested import within
from lorabench.results.schema import Claim, Metric, Result

_STYLES = {
    "met": "green",
    "missed": "red",
    "inconclusive": "yellow",
    "unavailable": "yellow",
}

# Two rounds give an interval so wide that it only takes up room; the document has it.
ROUNDS_FOR_INTERVAL = 3


# A rule under the headings, as `box.SIMPLE_HEAD` has, of ASCII alone.
_ASCII_HEAD = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


class _Terminal(Console):
    """A console that says all of what it is given in what its file's encoding has."""

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(plain(text, self.encoding), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        if isinstance(renderable, Text):
            renderable = _plain_text(renderable, self.encoding)
        for segment in super().render(renderable, options):
            # What was too long for its column ends in a mark of Rich's own.
            text = drawn(segment.text, self.encoding)
            yield segment if text == segment.text else segment._replace(text=text)


def _plain_text(text: Text, encoding: str) -> Text:
    """Replace what an encoding lacks, and move the styles along with the letters."""
    if has(encoding, text.plain):
        return text
    letters = [plain(letter, encoding) for letter in text.plain]
    ends = [0, *accumulate(map(len, letters))]
    found = text.blank_copy("".join(letters))
    for span in text.spans:
        start, end = (ends[min(at, len(letters))] for at in span[:2])
        found.stylize(span.style, start, end)
    return found


class _Cell:
    """A cell with styles, measured as it will be shown."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield self._text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, _plain_text(self._text, console.encoding))


class _Table(Table):
    """A table whose cells and rule are of what the console can show."""

    def add_row(self, *cells: RenderableType | None, **settings: Any) -> None:
        shown = (_Cell(cell) if isinstance(cell, Text) else cell for cell in cells)
        super().add_row(*shown, **settings)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = copy(self)
        if options.ascii_only:
            table.box = _ASCII_HEAD
        yield from Table.__rich_console__(table, console, options)


def terminal(**settings: Any) -> Console:
    """Return a console that prints texts as they are.

    They are a document's, which may be a stranger's: brackets in them are no markup of Rich's, and
    an unpaired one no error. What a terminal itself obeys is taken out where documents are read
    (`lorabench.results.parse`). For what the encoding lacks stands what `lorabench.report.marks`
    says.

    Parameters
    ----------
    **settings
        Of `rich.console.Console`.
    """
    if "file" not in settings:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors=HANDLER)
    return _Terminal(markup=False, emoji=False, **settings)


def plain_table(title: str | None = None, **settings: Any) -> Table:
    """Return a table as all commands have them: a rule under its headings and no frame."""
    return _Table(
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
    for line in left_out(result.environment):
        console.print(Text(line), highlight=False)


def left_out(environment: Mapping[str, Any]) -> Iterator[str]:
    """Return, a line each, what of a machine's own description was not believed, and why.

    Parameters
    ----------
    environment : mapping
        Of a result, or one with a ``topology`` as `lorabench.host.topology.Topology.as_document`
        forms it.
    """
    found = within(environment, "topology", "dropped")
    for one in found if isinstance(found, list) else ():
        what, why, instead = (within(one, key) for key in ("what", "why", "instead"))
        yield f"left out of the topology: {what} ({why}): {instead}"


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
