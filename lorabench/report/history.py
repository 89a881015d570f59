"""A folder of results: an index of all, and how headline figures went from one to the next."""

from collections.abc import Iterable, Mapping, Sequence

from lorabench.report.content import Figure, Report, Section, Table
from lorabench.report.numbers import interval, scale_of
from lorabench.report.plots.lines import Axes, Line, lines
from lorabench.results import trend
from lorabench.results.schema import Result

_MOST_PLOTS = 24
_MOST_INDEXED = 400
_LEAST_DRAWN = 3


def index(folder: str, results: Mapping[str, Result], unreadable: Sequence[str]) -> Report:
    """Return a folder's index, newest first, and its trends.

    Parameters
    ----------
    folder : str
        Its name.
    results : mapping of str to Result
        Its documents by their names.
    unreadable : sequence of str
        A line for each document that could not be read.
    """
    newest = sorted(results.items(), key=lambda pair: (pair[1].created, pair[0]), reverse=True)
    words = tuple(f"Left out: {line}" for line in unreadable[:20])
    machines = {trend.machine_key(result): trend.machine_name(result) for _, result in newest}
    place = {machine: number for number, machine in enumerate(machines, 1)}
    rows = [
        (*_row(name, result), f"{place[trend.machine_key(result)]}")
        for name, result in newest[:_MOST_INDEXED]
    ]
    head = ("when, UTC", "command", "claims", "document", "version", "configuration", "machine")
    facts = tuple((f"Machine {place[one]}", machines[one]) for one in list(machines)[:20])
    table = Table.of("Results, newest first", head, rows, words=len(head))
    about = f"{len(results)} result{'s' if len(results) != 1 else ''}"
    if newest:
        about += (
            f", {newest[-1][1].created:%Y-%m-%d} to {newest[0][1].created:%Y-%m-%d}; "
            "lorabench report DOCUMENT makes the page of one"
        )
    sections = [Section("Results", words=words, facts=facts, tables=(table,))]
    return Report(f"Results in {folder}", about, (*sections, *_trends(results.values(), place)), ())


def _row(name: str, result: Result) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for claim in result.claims:
        counts[claim.verdict] = counts.get(claim.verdict, 0) + 1
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    missed = [claim.id for claim in result.claims if claim.verdict == "missed"]
    if missed:
        told += f" ({', '.join(missed[:5])})"
    git = f" ({result.lorabench.git[:8]})" if result.lorabench.git else ""
    return (
        f"{result.created:%Y-%m-%d %H:%M}",
        result.command + (", interrupted" if result.partial else ""),
        told or "-",
        name,
        f"{result.lorabench.version}{git}",
        result.config_hash[:8],
    )


def _trends(results: Iterable[Result], place: Mapping[str, int]) -> list[Section]:
    """Return a section for each command, configuration and machine that was run several times.

    Parameters
    ----------
    results : iterable of Result
        All of the folder.
    place : mapping of str to int
        The number that each machine has on the page.
    """
    found = [one for one in trend.histories(results) if len(one.points) >= _LEAST_DRAWN]
    if not found:
        return [
            Section(
                "Trend",
                words=(
                    f"Nothing was measured {_LEAST_DRAWN} times with the same command, "
                    "configuration and machine.",
                ),
            )
        ]
    searchable = trend.searchable()
    together: dict[tuple[str, str, str], list[trend.History]] = {}
    for one in found:
        together.setdefault((one.command, one.config_hash, one.machine), []).append(one)
    sections = []
    for (command, config, machine), histories in together.items():
        words = [f"Configuration {config[:8]}, on machine {place[machine]}."]
        if searchable:
            words.append(
                f"Change points are Otava's, at p < {trend.MAX_PVALUE:g}; it takes "
                f"{trend.LEAST_POINTS} results to look for one. A trend is no verdict: sessions "
                "differ by more than one session's interval shows."
            )
        else:
            words.append(
                "Change points are not marked: Apache Otava is not installed (pip install "
                "'lorabench[trend]')."
            )
        if len(histories) > _MOST_PLOTS:
            words.append(f"The first {_MOST_PLOTS} of {len(histories)} figures are drawn.")
        figures = tuple(_figure(one, searchable) for one in histories[:_MOST_PLOTS])
        title = f"Trend of {command}, {config[:8]}, machine {place[machine]}"
        sections.append(Section(title, words=tuple(words), figures=figures))
    return sections


def _figure(history: trend.History, searchable: bool) -> Figure:
    """Draw a history with its change points."""
    scale = scale_of(history.unit, (point.value for point in history.points))
    values = [point.value / scale.size for point in history.points]
    changes = trend.changes(history) if searchable else []
    what = history.metric.replace("_", " ")
    title = f"{what}: {history.case.text}"
    told = f"{history.better.capitalize()} is better. "
    for change in changes:
        ratio = change.after / change.before if change.before else None
        by = f" ({ratio - 1:+.1%})" if ratio is not None else ""
        told += (
            f"It changes at result {change.place + 1}: {scale.write(change.before)} before, "
            f"{scale.write(change.after)} after{by}. "
        )
    if searchable and len(values) < trend.LEAST_POINTS:
        told += "Too few results to look for a change point."
    elif searchable and not changes:
        told += "No change point."
    line = Line(history.case.text, list(range(1, len(values) + 1)), values)
    marked = [change.place + 1.0 for change in changes]
    axes = Axes("result, oldest first", scale.named(what), marked=marked, whole_x=True, height=170)
    at = {change.place for change in changes}
    rows = [
        (
            f"{place + 1}",
            f"{point.created:%Y-%m-%d %H:%M}",
            point.id,
            scale.write(point.value),
            interval(point.ci95, scale),
            "changes here" if place in at else "",
        )
        for place, point in enumerate(history.points)
    ]
    head = ("result", "when, UTC", "id", scale.named("value"), "95 % interval", "change point")
    return Figure(title, told.strip(), lines([line], axes), Table.of(title, head, rows, words=3))
