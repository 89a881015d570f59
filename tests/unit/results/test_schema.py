"""Metrics of a document are found as if all were gone through."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from lorabench.results.schema import Metric, Program, Result, config_hash

NAMES = st.sampled_from(["latency_p50", "latency_p99", "auc"])
CONDITIONS = st.sampled_from(["solo", "naive", "pinned"])


def metric(name: str, condition: str, dim: int) -> Metric:
    return Metric(
        name=name,
        condition=condition,
        labels={"dim": dim},
        unit="s",
        better="lower",
        values=[],
        estimate=None,
        ci95=None,
    )


METRICS = st.lists(st.builds(metric, NAMES, CONDITIONS, st.integers(1, 2)))


def result(metrics: list[Metric]) -> Result:
    return Result(
        command="colocate",
        id="a",
        created=datetime(2026, 1, 2, tzinfo=UTC),
        lorabench=Program(version="0.1.0"),
        config={},
        config_hash=config_hash({}),
        environment={},
        rounds=[],
        metrics=metrics,
        claims=[],
        unavailable=[],
        series=[],
    )


@given(METRICS, METRICS, NAMES, CONDITIONS, st.integers(1, 2))
def test_a_metric_is_the_first_of_its_name_case_and_labels(
    metrics: list[Metric], others: list[Metric], name: str, condition: str, dim: int
) -> None:
    found = result(list(metrics))
    # Of one that is asked, of its copy with others, and of one that has grown since.
    for one, listed in (
        (found, metrics),
        (found.model_copy(update={"metrics": others}), others),
        (found, [*metrics, *others]),
    ):
        if one is found and listed is not metrics:
            found.metrics.extend(others)
        mine = [metric for metric in listed if metric.name == name]
        assert list(one.select(name)) == mine
        assert list(one.select(name, dim=dim)) == [m for m in mine if m.labels["dim"] == dim]
        there = [m for m in mine if m.condition == condition]
        assert one.metric(name, condition) is (there[0] if there else None)
        labelled = [m for m in there if m.labels["dim"] == dim]
        assert one.metric(name, condition, dim=dim) is (labelled[0] if labelled else None)


def test_looking_metrics_up_leaves_a_document_equal_and_as_it_is_written() -> None:
    asked, other = result([metric("auc", "solo", 1)]), result([metric("auc", "solo", 1)])
    assert asked.metric("auc") is not None
    assert asked == other
    assert asked.model_dump() == other.model_dump()
