"""Plots of what strategies recover against what that costs, and who is on the front of each."""

from collections.abc import Iterator, Sequence

from lorabench.report.content import Figure, Table
from lorabench.report.numbers import Scale, scale_of
from lorabench.report.plots.spots import Spot, spots
from lorabench.report.sections.reader import Reader
from lorabench.results.units import number

_COSTS = {
    "pushed_bytes": ("Recovered against bytes", "bytes on the link"),
    "learn_cpu_s": ("Recovered against core-seconds", "core-seconds of learning"),
    "held_bytes": ("Recovered against memory", "bytes held beside the tables"),
    "update_latency_p50": ("Recovered against update latency", "median update latency"),
}
_TOLD = (
    "The line joins those that nobody dominates, by the estimates alone: what lies below it is had "
    "for less, or more is had for as much."
)
# Links are told in powers of ten.
_LINK = (Scale(1e15, "PB"), Scale(1e12, "TB"), Scale(1e9, "GB"), Scale(1e6, "MB"), Scale(1e3, "kB"))


def fronts(reader: Reader) -> Iterator[Figure | None]:
    """Draw a plot a cost."""
    worth = "gap_recovered" if reader.metrics("gap_recovered") else "auc"
    for metric, (title, what) in _COSTS.items():
        yield _front(reader, metric, worth, title, what)


def _front(reader: Reader, metric: str, worth: str, title: str, what: str) -> Figure | None:
    found = []
    for one in reader.result.select("on_pareto_front", cost=metric):
        name = str(one.labels["strategy"])
        cost, value = reader.metric(metric, name), reader.metric(worth, name)
        if cost is None or cost.estimate is None or one.estimate is None:
            continue
        recovered = 0.0 if value is None or value.estimate is None else value.estimate
        found.append(Spot(name, cost.estimate, recovered, one.estimate == 1.0))
    if not found:
        return None
    scale = _scale(metric, [one.cost for one in found])
    shown = [Spot(one.name, one.cost / scale.size, one.worth, one.on_front) for one in found]
    y_title = "share of the gap" if worth == "gap_recovered" else "AUC"
    head = ("strategy", scale.named(what), y_title, "on the front")
    rows = [
        (one.name, number(one.cost), number(one.worth), "yes" if one.on_front else "no")
        for one in sorted(shown, key=lambda one: (one.cost, -one.worth))
    ]
    chart = spots(shown, scale.named(what), y_title)
    return Figure(title, _TOLD, chart, Table.of(title, head, rows))


def _scale(metric: str, costs: Sequence[float]) -> Scale:
    """Return the unit of a cost."""
    if metric == "pushed_bytes":
        most = max(costs)
        return next((one for one in _LINK if most >= one.size), Scale(1.0, "B"))
    unit = {"held_bytes": "B"}.get(metric, "s")
    if metric == "learn_cpu_s":
        return Scale(1.0, "s")
    return scale_of(unit, costs)
