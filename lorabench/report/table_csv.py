"""The numbers of results as one CSV table in long form, for a spreadsheet or a data frame.

A row is an estimate, a value of one block, a point of a series, or a claim.
"""

import csv
import io
from collections.abc import Iterator, Sequence

from lorabench.results.schema import Result

COLUMNS = (
    *("document", "id", "command", "created", "config_hash", "kind", "name", "condition"),
    *("unit", "x", "x_unit", "value", "low", "high", "verdict"),
)

Cell = str | float | int | None


def rows(name: str, result: Result) -> Iterator[Sequence[Cell]]:
    """Return the rows of one result, whose document bears that name."""
    about: tuple[Cell, ...] = (
        name, result.id, result.command, result.created.isoformat(), result.config_hash
    )  # fmt: skip
    for metric in result.metrics:
        of = (*about, "estimate", metric.name, metric.condition, metric.unit)
        yield (*of, None, None, metric.estimate, *(metric.ci95 or (None, None)), None)
        for place, value in enumerate(metric.values):
            of = (*about, "value", metric.name, metric.condition, metric.unit)
            yield (*of, place, "1", value, None, None, None)
    for series in result.series:
        of = (*about, "point", series.name, series.condition, series.y_unit)
        for x, y in zip(series.x, series.y, strict=True):
            yield (*of, x, series.x_unit, y, None, None, None)
    for claim in result.claims:
        of = (*about, "claim", claim.id, claim.statement, None)
        yield (*of, None, None, claim.measured, *(claim.ci95 or (None, None)), claim.verdict)


def as_csv(results: Sequence[tuple[str, Result]]) -> str:
    """Return results, each with the name of its document, as CSV with a heading."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, result in results:
        writer.writerows(map(_plain, rows(name, result)))
    return page.getvalue()


def _plain(row: Sequence[Cell]) -> list[Cell]:
    """Return a row without text that a spreadsheet would take for a formula."""
    return [f"'{cell}" if isinstance(cell, str) and cell[:1] in _FORMULA else cell for cell in row]


_FORMULA = ("=", "+", "-", "@", "\t", "\r")
