"""LoadGen's schedule, drawn again from its seed, and what its log says of a test."""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench.errors import InputError, MachineError
from lorabench.targets.loadgen import LoadTest, read_result, require_loadgen
from lorabench.targets.trace import NS

TEST = LoadTest(qps=500.0, duration_ms=1000, seed=5, target_latency_ns=60_000_000)

# What LoadGen 6.0.17 logged of that test.
COUNT, LENGTH_NS = 481, 1_002_720_051
SAID = {
    "loadgen_version": "6.0.17 @ d6147c7eb7",
    "generated_query_count": COUNT,
    "generated_query_duration": LENGTH_NS,
    "result_validity": "VALID",
    "early_stopping_met": True,
    "result_query_count": COUNT,
    "result_50.00_percentile_latency_ns": 128_851,
    "result_99.00_percentile_latency_ns": 12_728_836,
}


def log(said: dict[str, Any]) -> str:
    lines = (
        json.dumps({"key": key, "value": value, "time_ms": 1.5}) for key, value in said.items()
    )
    return "".join(f":::MLLOG {line}\n" for line in lines)


def test_the_schedule_is_loadgens_own_to_the_nanosecond() -> None:
    arrivals, length_ns = TEST.draw()
    assert (len(arrivals), length_ns) == (COUNT, LENGTH_NS)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.5, 20_000), st.integers(1, 3000), st.integers(0, (1 << 31) - 1))
def test_queries_come_from_0_until_one_is_due_at_the_end(
    qps: float, duration_ms: int, seed: int
) -> None:
    arrivals, length_ns = LoadTest(qps, duration_ms, seed, NS).draw()
    assert arrivals[0] == 0
    assert (np.diff(arrivals) >= 0).all()
    assert (arrivals[:-1] < duration_ms * 1_000_000).all()
    assert arrivals[-1] >= duration_ms * 1_000_000 or len(arrivals) == 1
    assert length_ns >= arrivals[-1]


def test_its_latency_and_verdict_are_read_from_its_log() -> None:
    found = read_result("something else\n" + log(SAID), TEST)
    assert (found.latency_p50_s, found.latency_p99_s) == (128_851 / NS, 12_728_836 / NS)
    assert (found.queries, found.valid, found.early_stopping) == (COUNT, True, True)
    assert found.as_document()["result"] == "VALID"
    invalid = read_result(log(SAID | {"result_validity": "INVALID"}), TEST)
    assert invalid.as_document()["result"] == "INVALID"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.pop("generated_query_count"), "generated_query_count: found None"),
        (
            lambda said: said.update(generated_query_duration=LENGTH_NS + 1),
            "generated_query_duration: found 1002720052, expected 1002720051",
        ),
        (lambda said: said.update(result_query_count=480), "LoadGen gave up before"),
        (
            lambda said: said.pop("result_99.00_percentile_latency_ns"),
            r"found no result_99\.00_percentile_latency_ns",
        ),
        (
            lambda said: said.update({"result_99.00_percentile_latency_ns": [1]}),
            "found a result that is no number",
        ),
    ],
)
def test_a_log_of_another_test_or_without_a_result_is_refused_in_a_line(
    change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    said = dict(SAID)
    change(said)
    with pytest.raises(MachineError, match=message) as caught:
        read_result(log(said), TEST)
    assert "\n" not in str(caught.value)


@given(st.lists(st.one_of(st.text(), st.text().map(":::MLLOG {}".format)), max_size=5))
def test_whatever_stands_in_a_log_is_refused_and_nothing_worse(lines: list[str]) -> None:
    with pytest.raises(MachineError):
        read_result("\n".join(lines), TEST)


def test_where_loadgen_is_not_installed_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)  # as if there were none
    with pytest.raises(InputError, match=r"pip install lorabench\[mlperf\]"):
        require_loadgen()
