"""What is printed of an observation and of a measured headroom."""

import re
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lorabench.experiments.headroom.metrics import cpu_case
from lorabench.experiments.headroom.view import _si, render
from lorabench.results.case import Case
from lorabench.results.schema import Metric, Program, Queries, Result, Round


def metric(
    name: str, case: Case | str, value: float | None, ci95: tuple[float, float] | None = None
) -> Metric:
    case = Case(case) if isinstance(case, str) else case
    units = {"runqueue_delay": "s", "memory_bandwidth": "B/s"}
    return Metric(
        name=name,
        condition=case.text,
        labels=dict(case.labels),
        unit=units.get(name.removesuffix("_p95").removesuffix("_peak"), "1"),
        better="lower",
        values=[value],
        estimate=value,
        ci95=ci95,
    )


def document(mode: dict[str, Any], metrics: list[Metric], **changes: Any) -> Result:
    round_ = Round(
        index=0,
        order=["solo"],
        schedule_sha256={},
        queries={"solo": Queries(offered=1, served=1)},
        saturated=["shared@1"],
        wraps=0,
        steal_s={},
        involuntary_switches={},
        notes=["something happened"],
    )
    return Result(
        command="headroom",
        id="x",
        created=datetime(2026, 1, 2, tzinfo=UTC),
        lorabench=Program(version="0"),
        config={"experiment": mode},
        config_hash="0",
        environment={},
        rounds=[round_],
        metrics=metrics,
        claims=[],
        unavailable=[],
        series=[],
        **changes,
    )


def printed(result: Result) -> str:
    out = StringIO()
    render(result, Console(file=out, width=120))
    return out.getvalue()


def test_an_observation_shows_mean_p95_and_peak_in_units_one_can_read() -> None:
    text = printed(
        document(
            {"mode": "passive"},
            [
                metric("cpu_busy", "host", 0.123),
                metric("cpu_busy_p95", "host", 0.15),
                metric("cpu_busy_peak", "host", None),
                metric("runqueue_delay", "host", 0.00123),
                metric("memory_bandwidth", "host", 12.3e9),
                metric("cpu_busy", cpu_case(0), 0.5),
                metric("sampler_cpu_share", "sampler", 0.0012),
            ],
            partial=True,
        )
    )
    assert "until it ended" in text
    assert ["CPU", "busy", "12.3", "%", "15.0", "%", "-"] in [
        row.split() for row in text.split("\n")
    ]
    assert "1.23 ms" in text
    assert "12.3 GB/s" in text
    assert "cpu0" in text
    assert "Observing took 0.12 % of one core." in text
    assert "something happened" in text


def test_of_many_cpus_the_busiest_are_shown() -> None:
    cpus = [metric("cpu_busy", cpu_case(n), n / 100) for n in range(40)]
    text = printed(document({"mode": "passive"}, [metric("cpu_busy", "host", 0.2), *cpus]))
    assert "cpu39" in text
    assert "cpu23 " not in text
    assert "16 busiest of 40 CPUs" in text


ACTIVE = {"mode": "active", "conditions": ["shared"], "duties": [0.0, 0.5, 1.0]}


def at(duty: float) -> Case:
    return Case(f"shared@{duty:g}", {"condition": "shared", "duty": duty})


def active(*, reached: float) -> Result:
    rows = [(Case("solo"), 0.010), (at(0.5), 0.011), (at(1), 0.02)]
    metrics = [
        metric(name, case, value) for case, value in rows for name in ("latency_p50", "latency_p99")
    ]
    return document(
        ACTIVE,
        [
            *metrics,
            metric("latency_p99_ratio", at(0.5), 1.1, (1.0, 1.2)),
            metric("train_samples_per_s", at(0.5), 12_345.0),
            metric("headroom_samples_per_s", "shared", 6000.0, (5000.0, 7000.0)),
            metric("headroom_cores", "shared", 0.5, (0.4, 0.6)),
            metric("headroom_slo", "shared", 0.011),
            metric("headroom_slo_reached", "shared", reached),
            metric("headroom_open", "shared", 0.25),
        ],
    )


@pytest.mark.parametrize(("reached", "words"), [(1.0, "shared: 6,000"), (0.0, "at least 6,000")])
def test_a_measured_headroom_is_one_sentence_under_its_ladder(reached: float, words: str) -> None:
    text = printed(active(reached=reached))
    assert f"{words} samples/s (95 % interval 5,000 to 7,000), 0.50 cores (0.40 to 0.60)" in text
    assert "with p99 <= 11.00 ms" in text
    assert "1.10 [1.00..1.20]" in text
    assert "12,345" in text
    assert "saturated" in text
    assert "25 % of the resamples" in " ".join(text.split())


@given(st.floats(1e-9, 9e11))
def test_a_prefix_keeps_the_value(value: float) -> None:
    number, unit = _si(value, "s").split()
    scale = {"G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9}[unit[:-1]]
    assert float(number) * scale == pytest.approx(value, rel=0.01)
    assert _si(0.0, "s") == "0 s"


def test_a_quota_is_said_and_whom_the_kernel_stopped_for_it() -> None:
    quota = [
        metric("cpu_busy", "cgroup", 0.99),
        metric("cpu_quota", "cgroup", 0.2),
        metric("quota_periods", "cgroup", 343.0),
        metric("throttled_periods", "cgroup", 340.0),
        metric("throttled_s", "cgroup", 27.0),
    ]
    text = " ".join(printed(document({"mode": "passive"}, quota)).split())
    assert (
        "A CPU quota allows the group 0.2 CPUs; CPU busy is of that; the kernel stopped it "
        "in 340 of 343 periods, 27.0 s in all."
    ) in text
    assert "cpu_quota" not in text


def test_a_duty_at_which_a_quota_stopped_the_servers_has_no_ratio() -> None:
    found = active(reached=1.0)
    of = [metric("throttled_slices", at(0.5), 1.0), metric("throttled_periods", at(0.5), 3.0)]
    text = printed(found.model_copy(update={"metrics": [*found.metrics, *of]}))
    assert any(re.match(r"shared +0\.5 .* stopped$", line.strip()) for line in text.split("\n"))
    assert "in so many periods: shared@0.5 3 of 0 (0.0 s)" in " ".join(text.split())
