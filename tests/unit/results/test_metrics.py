"""The registry of metrics, and the table on which a run's values are collected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.results.case import Case
from lorabench.results.metrics import MetricTable
from lorabench.results.registry import FAMILIES, METRICS, metric_spec
from lorabench.results.statistics import Estimate, geometric_mean, mean

UNITS = {"1", "s", "B", "1/s", "B/s", "bit/s", "CPUs"}


def test_units_are_si_without_prefix() -> None:
    assert {spec.unit for spec in METRICS.values()} == UNITS


def test_a_name_stands_in_one_family() -> None:
    assert sum(map(len, FAMILIES.values())) == len(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_in_a_phrase_what_it_is(name: str) -> None:
    what = METRICS[name].what
    assert what == what.strip().removesuffix(".") != ""
    assert not {"|", "\n"} & set(what)  # it stands in a table


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("cpu_busy_p95", "cpu_busy"),
        ("cpu_busy_peak", "cpu_busy"),
        ("rank_at_80", "rank_at"),
        ("rank_at_99.9", "rank_at"),
        ("latency_p99", "latency_p99"),
    ],
)
def test_a_statistic_of_a_metric_has_its_unit(name: str, known: str) -> None:
    assert metric_spec(name) == METRICS[known]


@given(st.sampled_from(sorted(METRICS)), st.sampled_from(["", "_p95", "_peak", "_80", "_2k"]))
def test_every_metric_is_found_with_any_suffix(name: str, suffix: str) -> None:
    assert metric_spec(name + suffix).unit in UNITS


@pytest.mark.parametrize("name", ["", "latency", "latency_p99s", "_p95"])
def test_what_is_no_metric_is_an_error(name: str) -> None:
    with pytest.raises(KeyError):
        metric_spec(name)


VALUES = st.lists(st.none() | st.floats(0.001, 1000), min_size=1, max_size=6)


@given(VALUES, VALUES)
def test_rounds_are_averaged_by_the_metrics_own_mean(latencies, rates) -> None:
    table = MetricTable()
    for value in latencies:
        table.add("latency_p99", "solo", value)
    table.add("train_samples_per_s", "solo", *rates)
    assert table.estimate("latency_p99", "solo") == geometric_mean(latencies)
    assert table.estimate("train_samples_per_s", "solo") == mean(rates)
    first, second = table.metrics()
    assert (first.name, first.values, second.values) == ("latency_p99", latencies, rates)
    expected = geometric_mean(latencies)
    assert first.estimate == (expected.value if expected else None)


def test_cases_are_kept_apart_and_labelled() -> None:
    table = MetricTable()
    half = Case("shared@0.5", {"condition": "shared", "duty": 0.5})
    table.add("latency_p99", half, 1.0)
    table.add("latency_p99", "solo", 2.0)
    assert table.named("latency_p99") == {half: [1.0], Case("solo"): [2.0]}
    assert table.values("latency_p99", "shared@0.5") == [1.0]
    assert table.values("latency_p50", half) == []
    assert [metric.labels for metric in table.metrics()] == [half.labels, {"condition": "solo"}]


def test_what_is_known_of_all_rounds_together_has_no_value_a_round() -> None:
    table = MetricTable()
    table.put("headroom_cores", "shared", Estimate(0.5, (0.4, 0.6), 6))
    table.put("headroom_slo", "shared", None)
    cores, slo = table.metrics()
    assert (cores.values, cores.estimate, cores.ci95) == ([], 0.5, (0.4, 0.6))
    assert (slo.values, slo.estimate, slo.ci95) == ([], None, None)
