"""A text of OpenMetrics: what Prometheus's own parser reads of it is what the documents say."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from lorabench.errors import InputError
from lorabench.report.openmetrics import family_name, render
from lorabench.results.parse import escaped
from lorabench.results.registry import METRICS
from lorabench.results.schema import Claim, Metric, Program, Result, config_hash

AT = datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)
TEXTS = st.text().map(escaped)


def metric(name: str = "latency_p99", condition: str = "solo", **fields: object) -> Metric:
    known = {"unit": "s", "better": "lower", "values": [0.1], "estimate": 0.1, "ci95": None}
    return Metric.model_validate({"name": name, "condition": condition, **known, **fields})


def result(*metrics: Metric, **fields: object) -> Result:
    known = {
        "command": "colocate",
        "id": "20260102T030405-abcdef",
        "created": AT,
        "lorabench": Program(version="0.1.0"),
        "config": {},
        "config_hash": config_hash({}),
        "environment": {},
        **{part: [] for part in ("rounds", "claims", "unavailable", "series")},
    }
    return Result.model_validate(known | {"metrics": list(metrics)} | fields)


def parsed(text: bytes) -> dict[str, Family]:
    return {one.name: one for one in text_string_to_metric_families(text.decode())}


def test_an_estimate_and_its_interval_are_gauges_in_the_unit_of_their_name() -> None:
    found = parsed(render([result(metric(ci95=(0.05, 0.2)), metric(condition="naive"))]))
    family = found["lorabench_latency_p99_seconds"]
    assert (family.type, family.unit) == ("gauge", "seconds")
    assert family.documentation == METRICS["latency_p99"].what
    assert [(s.labels["case"], s.value) for s in family.samples] == [("solo", 0.1), ("naive", 0.1)]
    low, high = (found[f"lorabench_latency_p99_ci95_{end}_seconds"] for end in ("low", "high"))
    assert [s.value for one in (low, high) for s in one.samples] == [0.05, 0.2]


def test_what_was_not_measured_is_left_out() -> None:
    assert "lorabench_latency_p99_seconds" not in parsed(render([result(metric(estimate=None))]))


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("carry_over", "s", "carry_over_seconds"),
        ("steal_s", "s", "steal_seconds"),
        ("lora_bytes", "B", "lora_bytes"),
        ("memory_bandwidth", "B/s", "memory_bandwidth_bytes_per_second"),
        ("train_samples_per_s", "1/s", "train_samples_per_second"),
        ("throughput_qps", "1/s", "throughput_queries_per_second"),
        ("cpu_quota", "CPUs", "cpu_quota_cpus"),
        ("rank_at_99.9", "1", "rank_at_99_9"),
        ("anything", "m/s^2", "anything_m_s_2"),
    ],
)
def test_a_name_ends_in_its_unit_once(name: str, unit: str, expected: str) -> None:
    assert family_name(name, unit) == f"lorabench_{expected}"


def test_every_metric_in_the_registry_can_be_told_from_every_other() -> None:
    listed = [metric(name, unit=spec.unit) for name, spec in METRICS.items()]
    found = parsed(render([result(*listed)]))
    assert {family_name(one.name, one.unit) for one in listed} <= set(found)
    assert len({family_name(one.name, one.unit) for one in listed}) == len(listed)


def test_a_verdict_is_1_among_0_and_a_run_has_its_labels() -> None:
    claim = {"statement": "s", "target": 1.1, "measured": 1.2, "ci95": None, "reason": "r"}
    claims = [Claim(id="latency.isolated", verdict="missed", basis="measured-real", **claim)]
    found = parsed(render([result(claims=claims)]))
    states = found["lorabench_claim_verdict"]
    told = {s.labels["verdict"]: s.value for s in states.samples}
    assert told == {"met": 0, "missed": 1, "inconclusive": 0, "unavailable": 0}
    assert found["lorabench_claim_target"].samples[0].value == 1.1
    (info,) = found["lorabench_run_info"].samples
    assert (info.labels["version"], info.labels["partial"]) == ("0.1.0", "false")
    assert found["lorabench_run_written_seconds"].samples[0].value == AT.timestamp()


def test_documents_are_told_apart_by_their_run_and_by_time_where_that_is_asked_for() -> None:
    runs = [result(metric(), id=name) for name in ("one", "two")]
    family = parsed(render(runs))["lorabench_latency_p99_seconds"]
    assert [(s.labels["run"], s.timestamp) for s in family.samples] == [
        ("one", None),
        ("two", None),
    ]
    timed = parsed(render(runs[:1], timestamps=True))["lorabench_latency_p99_seconds"]
    assert float(timed.samples[0].timestamp) == AT.timestamp()
    with pytest.raises(
        InputError, match="lorabench_run_info: found it twice of run 'one', command"
    ):
        render([runs[0], runs[0]])


@given(TEXTS, st.dictionaries(TEXTS, TEXTS | st.integers() | st.floats(allow_nan=False)), TEXTS)
@example('a"b\\n\n,{}', {"le": "1", "__a": "\\", "case": "x", "case ": "y", "é": "z"}, "m")
def test_any_text_is_read_back_as_it_was(condition: str, labels: dict, name: str) -> None:
    finite = {key: one for key, one in labels.items() if one not in (float("inf"), -float("inf"))}
    document = result(metric(condition=condition, labels=finite, name=f"x{name}"))
    (family,) = (
        one for one in parsed(render([document])).values() if one.name.startswith("lorabench_x")
    )
    (sample,) = family.samples
    assert (sample.labels["case"], sample.value) == (condition, 0.1)
    told = [value for key, value in sample.labels.items() if key not in {"case", "run", "command"}]
    assert sorted(told) == sorted(str(value) for value in finite.values())
    assert all(re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", key) for key in sample.labels)
