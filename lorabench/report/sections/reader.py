"""A result as sections read it: cases in order, series as lines, and which of it was shown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lorabench.report.conditions import in_order
from lorabench.report.content import Figure, Table
from lorabench.report.numbers import Scale, interval, scale_of
from lorabench.report.plots.common import Rule
from lorabench.report.plots.intervals import Mark, intervals
from lorabench.report.plots.lines import Axes, Line, lines, thin
from lorabench.results.nested import within
from lorabench.results.schema import Metric, Result, Series
from lorabench.results.units import number

MOST_MARKS = 40
"""Rows of a plot; a table has more."""

_MOST_LINES = 60


class Reader:
    """What sections take from a result.

    Parameters
    ----------
    result : Result
        It.

    Attributes
    ----------
    drawn : set of str
        Names of the series that a section has drawn.
    """

    def __init__(self, result: Result) -> None:
        self.result = result
        self.drawn: set[str] = set()
        # Looked up often, of documents that may have a hundred thousand.
        self._metrics: dict[str, dict[str, Metric]] = {}
        self._series: dict[str, dict[str, Series]] = {}
        for metric in result.metrics:
            self._metrics.setdefault(metric.name, {}).setdefault(metric.condition, metric)
        for series in result.series:
            if series.x:
                self._series.setdefault(series.name, {})[series.condition] = series

    def metric(self, name: str, condition: str) -> Metric | None:
        """Return a metric of a case; None where it was not measured."""
        return self._metrics.get(name, {}).get(condition)

    def series_names(self, *prefixes: str) -> list[str]:
        """Return the names of series that begin so, and have points."""
        return [name for name in self._series if name.startswith(prefixes)]

    def metrics(self, name: str) -> list[Metric]:
        """Return a metric in all cases that have an estimate, in order."""
        found = self._metrics.get(name, {})
        ordered = [found[case] for case in in_order(self.result, found)]
        return sorted((one for one in ordered if one.estimate is not None), key=_duty)

    def series(self, name: str) -> list[Series]:
        """Return a series in all cases, in order, and note that it was shown."""
        self.drawn.add(name)
        found = self._series.get(name, {})
        return [found[case] for case in in_order(self.result, found)]

    def config(self, *path: str) -> Any:
        """Return a part of the configuration; None where there is none."""
        return within(self.result.config, *path)

    def environment(self, *path: str) -> Any:
        """Return a part of what is known of the machine; None where nothing is."""
        return within(self.result.environment, *path)


def _duty(metric: Metric) -> float:
    """Return what share of the time a trainer works: cases of a sweep stand in that order."""
    duty = metric.labels.get("duty", 0.0)
    return float(duty) if isinstance(duty, (int, float)) else 0.0


def estimates(
    title: str,
    told: str,
    what: str,
    kinds: Mapping[str, Sequence[Metric]],
    *,
    rules: Sequence[Rule] = (),
    name: Callable[[Metric], str] = lambda metric: metric.condition,
    log: bool | None = None,
    heading: str = "condition",
) -> Figure | None:
    """Return a plot of metrics' estimates with their intervals; None where there are none.

    Parameters
    ----------
    title, told : str
        As of `Figure`.
    what : str
        Title of the axis, without the unit.
    kinds : mapping of str to sequence of Metric
        Metrics by what they are called; metrics of the same name share a row.
    rules : sequence of Rule
        In the metrics' own unit.
    name : callable
        From a metric to its row.
    log : bool or None
        Whether the axis is logarithmic.
    heading : str
        What the rows are.
    """
    listed = [(kind, one) for kind, metrics in kinds.items() for one in metrics]
    if not listed:
        return None
    scale = scale_of(listed[0][1].unit, (one.estimate for _, one in listed))
    rows = list(dict.fromkeys(name(one) for _, one in listed))
    common, own = _without_common(rows)
    place = {row: n for n, row in enumerate(rows)}
    ordered = sorted(listed, key=lambda pair: place[name(pair[1])])
    marks = [
        _mark(own[name(one)], kind, one, scale)
        for kind, one in ordered
        if place[name(one)] < MOST_MARKS
    ]
    more = f" All: {common}." if common else ""
    more += f" The first {MOST_MARKS} are drawn." if len(rows) > MOST_MARKS else ""
    drawn = [Rule(rule.at / scale.size, rule.text) for rule in rules]
    chart = intervals(marks, scale.named(what), rules=drawn, log=log)
    cells = [(name(one), kind, one) for kind, one in ordered]
    head = (heading, "of", scale.named(what), "95 % interval", "values")
    return Figure(title, told + more, chart, _listed(title, head, cells, scale))


def _without_common(rows: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return what all rows say, and each row without that.

    Examples
    --------
    >>> _without_common(["torch, D=16, zipf", "fbgemm, D=16, zipf"])
    ('D=16, zipf', {'torch, D=16, zipf': 'torch', 'fbgemm, D=16, zipf': 'fbgemm'})
    """
    parts = {row: row.split(", ") for row in rows}
    shared = set.intersection(*(set(one) for one in parts.values())) if len(rows) > 1 else set()
    common = [part for part in parts[rows[0]] if part in shared]
    own = {row: ", ".join(p for p in one if p not in shared) or row for row, one in parts.items()}
    return ", ".join(common), own


def _listed(
    title: str, head: tuple[str, ...], cells: Sequence[tuple[str, str, Metric]], scale: Scale
) -> Table:
    """Return estimates as a table; of one kind, without a column for that."""
    several = len({kind for _, kind, _ in cells}) > 1
    rows = [
        (
            row,
            kind,
            scale.write(one.estimate),
            interval(one.ci95, scale),
            str(sum(value is not None for value in one.values)),
        )
        for row, kind, one in cells
    ]
    if several:
        return Table.of(title, head, rows, words=2)
    return Table.of(title, (head[0], *head[2:]), [(row[0], *row[2:]) for row in rows])


def _mark(row: str, kind: str, metric: Metric, scale: Scale) -> Mark:
    assert metric.estimate is not None
    low, high = metric.ci95 or (None, None)
    return Mark(
        row,
        kind,
        metric.estimate / scale.size,
        None if low is None else low / scale.size,
        None if high is None else high / scale.size,
        scale.write(metric.estimate),
    )


def curves(
    title: str,
    told: str,
    axes: tuple[str, str],
    listed: Sequence[Series],
    *,
    name: Callable[[Series], str] = lambda series: series.condition,
    rules: Sequence[Rule] = (),
    **how: Any,
) -> Figure | None:
    """Return a plot of series as lines; None where there are none.

    Parameters
    ----------
    title, told : str
        As of `Figure`.
    axes : (str, str)
        Titles of x and y, without units.
    listed : sequence of Series
        With units of their own, the same for all.
    name : callable
        From a series to the name of its line.
    rules : sequence of Rule
        In the unit of y.
    **how
        As of `Axes`.
    """
    shown = list(listed[:_MOST_LINES])
    if not shown:
        return None
    x_scale = scale_of(shown[0].x_unit, (max(one.x) for one in shown))
    y_scale = scale_of(shown[0].y_unit, (value for one in shown for value in one.y))
    drawn = [
        thin(Line(name(one), [v / x_scale.size for v in one.x], [v / y_scale.size for v in one.y]))
        for one in shown
    ]
    if len(listed) > len(shown):
        told += f" The first {len(shown)} of {len(listed)} are drawn."
    held = [Rule(rule.at / y_scale.size, rule.text) for rule in rules]
    against = Axes(x_scale.named(axes[0]), y_scale.named(axes[1]), rules=held, **how)
    return Figure(title, told, lines(drawn, against), points(title, x_scale.named(axes[0]), drawn))


def points(title: str, x_heading: str, drawn: Sequence[Line]) -> Table:
    """Return the points of lines as a table: a column a line where all have the same x."""
    xs = list(drawn[0].x)
    if all(list(line.x) == xs for line in drawn) and len(drawn) <= 8:
        rows = [
            (number(x), *(number(line.y[place]) for line in drawn)) for place, x in enumerate(xs)
        ]
        return Table.of(title, (x_heading, *(line.name for line in drawn)), rows, words=0)
    each = [
        (line.name, number(x), number(y))
        for line in drawn
        for x, y in zip(line.x, line.y, strict=True)
    ]
    return Table.of(title, ("of", x_heading, "value"), each)
