"""A comparison of two sides as text for a terminal and as Markdown: the same cells in both.

Knows nothing of how it was made, and prints any `lorabench.results.compare.Comparison`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lorabench.report.markdown import escaped, sentence
from lorabench.report.numbers import Scale, scale_of
from lorabench.report.terminal import plain_table
from lorabench.results.change import Change, as_percent, as_ratio
from lorabench.results.comparison import Comparison, Row

# Of GitHub's limit of 1 MiB on a job's summary, with room for what others write there.
MOST_MARKDOWN = 900_000

_CASE_WIDTH = 14

# What else would take two or three lines of a log of 80 columns.
_SHORT = {"could not have seen it": "could not see", "no difference shown": "none shown"}

_STYLES = {
    "better": "green",
    "worse": "red",
    "pass": "green",
    "fail": "red",
    "unknown": "yellow",
    "could not have seen it": "yellow",
}
_HEADINGS = ("base", "head", "change [95 %]", "could show", "verdict")


@dataclass(frozen=True)
class Chosen:
    """Which rows are shown.

    Parameters
    ----------
    metrics : tuple of str
        These alone; empty for those that a gate is about and the headlines.
    everything : bool
        All there are, controls included.
    """

    metrics: tuple[str, ...] = ()
    everything: bool = False

    def of(self, found: Comparison) -> list[Row]:
        """Return the rows to show, in order."""
        gated = {(one.held.gate.metric, one.held.case) for one in found.gates}
        return [
            row
            for row in found.rows
            if self.everything
            or (
                row.metric in self.metrics
                if self.metrics
                else (row.headline and not row.control) or (row.metric, row.case) in gated
            )
        ]


def render(found: Comparison, console: Console, chosen: Chosen) -> None:
    """Print a comparison: sides, rows, gates, what else a reader has to know."""
    for side in sides(found):
        console.print(Text(side), highlight=False)
    for difference in found.differences:
        console.print(Text(f"different: {difference}", "yellow"), highlight=False)
    console.print()
    rows = chosen.of(found)
    if rows:
        console.print(_table(found, header=True))
    else:
        console.print("Both sides have no headline metric; --all shows what they have.")
    for of in _by_metric(rows):
        scale = _scale(of)
        console.print(Text(scale.named(of[0].metric), "bold"))
        long = any(len(row.case) > _CASE_WIDTH - 2 for row in of)
        for listed in [[row] for row in of] if long else [of]:
            table = _table(found, header=False)
            for row in listed:
                *figures, _ = map(Text, cells(row, found.level, scale))
                said = Text(_SHORT.get(row.verdict, row.verdict), _STYLES.get(row.verdict, ""))
                table.add_row(Text("" if long else f"  {row.case}"), *figures, said)
            if long:  # folded into its column nobody could read it
                console.print(Text(f"  {listed[0].case}"))
            console.print(table)
    console.print()
    for gate in found.gates:
        line = Text.assemble(
            (f"{gate.name} {gate.outcome}", f"bold {_STYLES[gate.outcome]}"), f": {gate.reason}"
        )
        console.print(line, highlight=False)
    for note in (*_reasons(rows), *_footnotes(found, rows), *found.notes):
        console.print(Text(note), highlight=False)


def _table(found: Comparison, *, header: bool) -> Table:
    """Return a table with the columns of every metric's: their names are lines between."""
    table = plain_table(collapse_padding=True, show_header=header)
    table.add_column("", width=_CASE_WIDTH)
    *figures, verdict = _HEADINGS
    for heading, width in zip(figures, (8, 8, 22, 7), strict=True):
        table.add_column(_level(heading, found), width=width, justify="right")
    table.add_column(verdict)
    return table


def _by_metric(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of each metric, metrics in order of their first row."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.metric, row.unit), []).append(row)
    return list(found.values())


def markdown(found: Comparison, chosen: Chosen, most: int = MOST_MARKDOWN) -> str:
    """Return a comparison as Markdown for the summary of a CI job, of at most so many bytes."""
    rows = chosen.of(found)
    head = [f"## lorabench compare: {_headline(found)}", ""]
    head += [f"{sentence(line)}  " for line in sides(found)]
    head += [f"**different:** {escaped(str(one))}  " for one in found.differences[:20]]
    if found.gates:
        head += ["", "| gate | outcome | what was found |", "|---|---|---|"]
        head += [
            f"| {escaped(one.name)} | **{one.outcome}** | {escaped(one.reason)} |"
            for one in found.gates
        ]
    tail = ["", *(f"- {sentence(line)}" for line in (*_footnotes(found, rows), *found.notes))]
    used = sum(len(line.encode()) + 1 for line in (*head, *tail))
    if used > most:
        return "\n".join([head[0], "", f"Too long for a summary of {most:,} bytes.", ""])
    return "\n".join([*head, *_rows(found, rows, most - used), *tail, ""])


def _rows(found: Comparison, rows: Sequence[Row], most: int) -> Iterator[str]:
    """Return the table of rows, as many as there is room for, and how many there was none for."""
    headings = ["metric", "case", *(_level(heading, found) for heading in _HEADINGS)]
    lines = ["", f"| {' | '.join(headings)} |", f"|---|---|{'--:|' * 4}---|"]
    room = most - 200 - sum(len(line.encode()) + 1 for line in lines)
    left = 0
    for of in _by_metric(rows):
        scale = _scale(of)
        for row in of:
            shown = [scale.named(row.metric), row.case, *cells(row, found.level, scale)]
            line = f"| {' | '.join(map(escaped, shown))} |"
            room -= len(line.encode()) + 1
            if room < 0:
                left += 1
            else:
                lines.append(line)
    if left:
        lines += ["", f"{left:,} more rows are in `--format json`."]
    yield from lines if rows else ()


def cells(row: Row, level: float, scale: Scale) -> tuple[str, str, str, str, str]:
    """Return what is shown of a row: base, head, change, what could have been shown, verdict."""
    change = row.change
    verdict = f"{row.verdict}: {row.why}" if row.why else row.verdict
    if change is None:
        return scale.write(row.base), scale.write(row.head), "-", "-", verdict
    return (
        scale.write(row.base),
        scale.write(row.head),
        _change(change, level, scale),
        _least(change, level, scale),
        verdict,
    )


def sides(found: Comparison) -> Iterator[str]:
    """Return what each side is: its runs, versions and when."""
    for name, runs in (("base", found.base), ("head", found.head)):
        first = runs[0]
        versions = {f"{run.lorabench.version} ({run.lorabench.git or 'no git'})" for run in runs}
        count = f"{len(runs)} runs" if len(runs) > 1 else f"run {first.id}"
        yield (
            f"{name}: {first.command}, {count}, lorabench {', '.join(sorted(versions))}, "
            f"{first.created:%Y-%m-%d %H:%M} UTC"
        )


def _reasons(rows: Sequence[Row]) -> Iterator[str]:
    """Return what else than an interval decided rows, once for each case and reason."""
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        if row.why:
            reasons.setdefault((row.case, row.why), {})[row.metric] = None
    for (case, why), metrics in reasons.items():
        yield f"{', '.join(metrics)} of {case}: {why}."


def _footnotes(found: Comparison, rows: Iterable[Row]) -> Iterator[str]:
    count = sum(row.change is not None and row.change.error is not None for row in rows)
    unit = "pair of blocks" if found.paired else "run" if len(found.base) > 1 else "block"
    if count > 1:
        yield (
            f"The unit is the {unit}. Each row has an interval of its own: of {count} rows without "
            f"any change, about {count * 2 * found.level:.1f} would be called better or worse."
            + (" Gates hold together (Holm)." if found.gates else "")
        )


def _headline(found: Comparison) -> str:
    if found.gates:
        said = {"pass": "gates passed", "fail": "a gate failed", "unknown": "could not tell"}
        return said[found.outcome()]
    return "no gates"


def _level(heading: str, found: Comparison) -> str:
    return heading.replace("95", f"{(1 - 2 * found.level) * 100:.3g}")


def _scale(rows: Sequence[Row]) -> Scale:
    """Return the unit in which a metric's figures are shown."""
    return scale_of(rows[0].unit, (value for row in rows for value in (row.base, row.head)))


def _change(change: Change, level: float, scale: Scale) -> str:
    interval = change.interval(level)
    show = as_ratio if change.kind != "difference" else (lambda value: _signed(value / scale.size))
    bounds = "" if interval is None else " [{}..{}]".format(*map(show, interval))
    return f"{show(change.value)}{bounds}"


def _signed(value: float) -> str:
    return f"{value:+.3g}"


def _least(change: Change, level: float, scale: Scale) -> str:
    least = change.least_shown(level)
    if least is None:
        return "-"
    return as_percent(least) if change.kind != "difference" else f"{least / scale.size:.3g}"
