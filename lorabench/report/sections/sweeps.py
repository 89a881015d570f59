"""Sections on sweeps of ``freshness``: a difference along each axis, and where it changes sign."""

from collections.abc import Iterator

from lorabench.report.content import Section
from lorabench.report.plots.common import Rule
from lorabench.report.sections.reader import Reader, curves
from lorabench.results.nested import within
from lorabench.results.schema import Series


def sweeps(reader: Reader) -> Iterator[Section]:
    """How two strategies differ at each point; a crossover is where a line meets 0."""
    axes = within(reader.result.config, "sweep", "axes")
    if not isinstance(axes, list):
        return
    figures = []
    for axis in axes:
        listed = list(reader.series(f"auc_difference_by_{axis['field']}"))
        figures.append(
            curves(
                f"Difference of AUC by {axis['name']}",
                "The mean over replicates at each point; a line a value of the other axis. Where "
                "one meets 0 the two strategies change places.",
                (axis["name"], "difference of mean AUC"),
                listed,
                name=_line,
                rules=(Rule(0.0, "no difference"),),
                log_x=all(value > 0 for one in listed for value in one.x),
                log_y=False,
            )
        )
    if shown := tuple(figure for figure in figures if figure is not None):
        yield Section("Sweep: where one strategy overtakes the other", figures=shown)


def _line(series: Series) -> str:
    """Name a line by what else there is at its points."""
    pair, _, where = series.condition.partition(", ")
    return where or pair.partition(" along ")[0]
