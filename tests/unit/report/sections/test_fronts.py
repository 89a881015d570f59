"""What strategies recover against what it costs, as a document has it."""

import pytest

from lorabench.bench.experiment import Findings
from lorabench.bench.runner import document
from lorabench.report.sections.fronts import fronts
from lorabench.report.sections.reader import Reader
from lorabench.results.case import Case
from lorabench.results.metrics import MetricTable

# Bytes on the link, AUC, share of the gap, on the front.
FOUND = {
    "none": (0.0, 0.70, None, 1.0),
    "delta": (20e12, 0.72, 0.4, 0.0),
    "stream": (5e12, 0.73, 0.6, 1.0),
}


def reader(*, gap: bool) -> Reader:
    table = MetricTable()
    for name, (cost, area, share, on_front) in FOUND.items():
        case = Case(name, {"strategy": name})
        table.add("pushed_bytes", case, cost)
        table.add("auc", case, area)
        if gap and share is not None:
            table.add("gap_recovered", case, share)
        table.add("on_pareto_front", case.also("pushed_bytes", cost="pushed_bytes"), on_front)
    return Reader(document("freshness", Findings({}, None, table)))


@pytest.mark.parametrize(
    ("gap", "worths", "what"),
    [
        (True, ("0", "0.600", "0.400"), "share of the gap"),
        (False, ("0.700", "0.730", "0.720"), "AUC"),
    ],
)
def test_a_cost_with_a_front_has_a_plot_and_its_numbers(gap, worths, what) -> None:
    figure, *others = fronts(reader(gap=gap))
    assert others == [None] * 3
    assert figure.table.head == ("strategy", "bytes on the link, TB", what, "on the front")
    assert figure.table.rows == (
        ("none", "0", worths[0], "yes"),
        ("stream", "5", worths[1], "yes"),
        ("delta", "20", worths[2], "no"),
    )
