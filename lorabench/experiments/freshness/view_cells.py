"""Cells of a `freshness` result's tables: figures, with intervals where there are any to show."""

from lorabench.report.terminal import ROUNDS_FOR_INTERVAL
from lorabench.results.schema import Metric, Result

NONE, DELTA, IDEAL = "none", "delta", "ideal"
POINTS = 100.0
TIGHT = (0, 1, 0, 0)
"""Padding of cells, closer together than in other tables: there is much in a row."""

_NAME = 14
RECOVERED = {
    "gap_recovered": "all windows",
    "gap_recovered_first_quarter": "first quarter",
    "gap_recovered_last_third": "last third",
}
"""Shares of the gap, by what they are of."""


def interval(result: Result, metric: Metric | None, form: str) -> str:
    """Write an estimate in points or per cent, with its interval where there is one to show."""
    text = figure(metric, form, POINTS)
    if metric is None or metric.ci95 is None or not has_interval(result, metric):
        return text
    low, high = (format(bound * POINTS, form) for bound in metric.ci95)
    return f"{text} [{low}..{high}]"


def has_interval(result: Result, metric: Metric) -> bool:
    """Whether an interval is shown, which takes a few replicates to say anything."""
    values = metric.values
    if metric.name in RECOVERED:
        # A replicate without a gap has no share of its own, but is in the estimate.
        name = metric.condition
        for one, other in ((name, IDEAL), (IDEAL, name)):
            paired = result.metric("auc_difference", strategy=one, against=other)
            if paired is not None and len(paired.values) == len(values):
                values = paired.values
    known = sum(value is not None for value in values)
    return metric.ci95 is not None and known >= ROUNDS_FOR_INTERVAL


def figure(metric: Metric | None, form: str, scale: float = 1.0) -> str:
    """Write an estimate; a dash where there is none."""
    if metric is None or metric.estimate is None:
        return "-"
    return format(metric.estimate * scale, form)


def detectable(result: Result) -> dict[str, Metric]:
    """Return what differences the run could have shown, by pair.

    Of few replicates, as few as have no interval, the spread is not known; of blocks of time it
    includes a trend.
    """
    if result.config.get("replicates", {}).get("of") == "time":
        return {}
    pairs = (one.condition for one in result.select("auc_difference") if has_interval(result, one))
    found = {name: result.metric("auc_difference_detectable", name) for name in pairs}
    return {name: metric for name, metric in found.items() if metric is not None}


def broken(name: str) -> str:
    r"""Break a long name at its dashes, so that all of it is there.

    Examples
    --------
    >>> broken("priority-grad-energy-10")
    'priority-grad-\n energy-10'
    """
    lines = [""]
    for part in name.replace("-", "-\0").split("\0"):
        if len(lines[-1]) + len(part) > _NAME and lines[-1].strip():
            lines.append(" ")
        lines[-1] += part
    return "\n".join(lines)
