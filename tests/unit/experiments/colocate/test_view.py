"""The terminal's view of a result: complete at 80 columns, intervals beside their figures."""

import io
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from rich.console import Console

from lorabench.experiments.colocate.view import render
from lorabench.results.schema import (
    Claim,
    Metric,
    Program,
    Queries,
    Result,
    Round,
    Unavailable,
    config_hash,
)

# p50, p95, p99 and its interval, ratio to solo and its interval; None: not measured.
LATENCY_MS = {
    "naive": (7.94, 45.5, 13_495.3, (4_367.5, 41_003.0), 8.95, (4.64, 17.25)),
    "solo": (0.72, 1.9, 3.51, (2.05, 6.03), None, None),
    "solo_all": (1.61, 5.92, 7.96, None, None, None),
    "pinned": (3.83, 20.3, 31.4, (24.1, 41.1), 1.021, (0.996, 1.05)),
    "solo_repeat": (0.74, 1.74, 3.44, (2.21, 5.37), 0.98, (0.95, 1.012)),
}
SENTENCE = "Figures of the trainer pinned, on planted synthetic rows"


def metric(
    name: str,
    condition: str,
    estimate: float | None,
    ci95: tuple[float, float] | None = None,
    rounds: int = 8,
) -> Metric:
    return Metric(
        name=name,
        condition=condition,
        unit="s",
        better="lower",
        values=[estimate] * rounds,
        estimate=estimate,
        ci95=ci95,
    )


def milli(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (interval[0] / 1e3, interval[1] / 1e3)


def example(
    *, rounds: int = 8, saturated: tuple[str, ...] = (), wraps: int = 0, partial: bool = False
) -> Result:
    metrics = []
    for name, (p50, p95, p99, interval, ratio, ratio_interval) in LATENCY_MS.items():
        metrics += [
            metric("latency_p50", name, p50 / 1e3, rounds=rounds),
            metric("latency_p95", name, p95 / 1e3, rounds=rounds),
            metric("latency_p99", name, p99 / 1e3, milli(interval), rounds),
            metric("auc", name, 0.7),
        ]
        if ratio is not None:
            metrics.append(metric("latency_p99_ratio", name, ratio, ratio_interval, rounds))
    for name in ("naive", "pinned"):
        metrics += [
            metric("train_samples_per_s", name, 23_436.4),
            metric("update_latency_p50", name, 0.0515),
            metric("update_latency_p95", name, 0.142),
            metric("lora_fraction", name, 0.0199988),
            metric("overhead_fraction", name, 0.0528),
        ]
    order = ["naive", "solo_repeat", "solo", "pinned"]
    config = {"experiment": {"conditions": ["naive", "pinned"]}}
    return Result(
        command="colocate",
        id="20260102T030405-abcdef",
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        lorabench=Program(version="0.1.0"),
        config=config,
        config_hash=config_hash(config),
        environment={},
        partial=partial,
        rounds=[
            Round(
                index=index,
                order=order,
                schedule_sha256=dict.fromkeys(order, "0" * 64),
                queries=dict.fromkeys(order, Queries(offered=9, served=9)),
                saturated=list(saturated) if index == 0 else [],
                wraps=wraps,
                steal_s=dict.fromkeys(order, 0.0),
                involuntary_switches=dict.fromkeys(order, 0),
                notes=["pinned: the quality guard [sic] switched the adapter off"],
            )
            for index in range(rounds)
        ],
        metrics=metrics,
        claims=[
            Claim(
                id="latency.isolated",
                statement="co-located p99 / solo p99 <= 1.10",
                target=1.10,
                measured=1.021,
                ci95=(0.996, 1.05),
                verdict="met",
                basis="measured-synthetic",
                reason=SENTENCE,
                why=["nothing contends here"],
            )
        ],
        unavailable=[Unavailable(what="numa", why="there is 1 node", enable="use two sockets")],
        series=[],
    )


def printed(result: Result, width: int) -> list[str]:
    file = io.StringIO()
    render(result, Console(file=file, width=width))
    return file.getvalue().splitlines()


def row(lines: list[str], condition: str) -> list[str]:
    """Split the line of a condition at every gap of two spaces or more."""
    (line,) = [line for line in lines if re.match(rf"{condition} ", line)]
    return re.split(r" {2,}", line.strip())


@pytest.mark.parametrize("width", [80, 100])
def test_every_condition_is_one_line_in_a_readers_order(width: int):
    lines = printed(example(), width)
    assert row(lines, "condition") == [
        "condition",
        "p50",
        "p95",
        "p99 [95 %]",
        "p99 / solo [95 %]",
        "trained/s",
    ]
    assert row(lines, "solo") == ["solo", "0.72", "1.90", "3.51 [2.05..6.03]", "1", "-"]
    assert row(lines, "solo_repeat")[4] == "0.98 [0.95..1.01]"
    assert row(lines, "naive") == [
        "naive",
        "7.94",
        "45.5",
        "13,495 [4,368..41,003]",
        "8.95 [4.64..17.2]",
        "23,436",
    ]
    assert row(lines, "pinned")[3:5] == ["31.4 [24.1..41.1]", "1.02 [1.00..1.05]"]
    assert row(lines, "solo_all") == ["solo_all", "1.61", "5.92", "7.96", "-", "-"]
    starts = [
        line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in LATENCY_MS
    ]
    assert starts == ["solo", "solo_repeat", "naive", "pinned", "solo_all"]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_nothing_is_cut_and_no_line_is_too_long(width: int):
    lines = printed(example(), width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "…" not in text
    for figure in ("[4,368..41,003]", "[0.95..1.01]", "51.5 / 142", "23,436", "13,495"):
        assert figure in text


def test_the_interval_of_two_rounds_stays_out():
    lines = printed(example(rounds=2), 100)
    assert row(lines, "pinned")[3:5] == ["31.4", "1.02"]
    assert row(lines, "condition")[3:5] == ["p99", "p99 / solo"]
    assert "2 blocks" in lines[0]


def test_a_condition_that_was_saturated_in_more_than_a_tenth_of_the_blocks_has_no_ratio():
    lines = printed(example(saturated=("naive",)), 100)
    assert row(lines, "naive")[4] == "saturated"
    assert row(lines, "pinned")[4].startswith("1.02")


def test_an_interrupted_run_says_so():
    assert "8 blocks, interrupted" in printed(example(partial=True), 100)[0]


def test_what_a_change_of_rank_costs_is_a_line_of_its_own_where_it_was_measured():
    result = example()
    assert "rank changes" not in " ".join(printed(result, 200))
    result.metrics.append(metric("rank_change_p99_ratio", "pinned+rerank", 1.012, (0.98, 1.05)))
    result.metrics.append(metric("rebases", "pinned+rerank", 5.0))
    (line,) = [text for text in printed(result, 200) if "rank changes" in text]
    assert "1.01 [0.98..1.05] (5 changes a condition)" in line


def test_verdicts_context_and_what_is_missing_follow_in_words():
    text = " ".join(" ".join(printed(example(), 100)).split())
    assert "LoRA state: 1.99988 % of the table bytes (5.28 % with the replay rings)" in text
    assert "AUC of what was served: solo 0.7000, naive 0.7000, pinned 0.7000" in text
    assert "Update latency, p50 / p95 in ms: naive 51.5 / 142, pinned 51.5 / 142" in text
    assert "pinned: the quality guard [sic] switched the adapter off" in text
    found = f"latency.isolated met: co-located p99 / solo p99 <= 1.10 {SENTENCE}."
    assert f"{found} Nothing contends here." in text
    assert "numa: unavailable: there is 1 node; to have it, use two sockets" in text


@pytest.mark.parametrize(("wraps", "words"), [(1, "began anew once:"), (7, "began anew 7 times:")])
def test_rows_that_were_gone_through_again_are_warned_of(wraps: int, words: str):
    assert words in " ".join(printed(example(wraps=wraps), 100))
    assert "anew" not in " ".join(printed(example(), 100))


def test_what_loadgen_says_stands_beside_ours_of_the_same_queries():
    theirs = [
        one.model_copy(update={"labels": {"condition": name, "load_generator": "mlperf"}})
        for name in ("pinned", "solo")
        for one in (
            metric("latency_p50", f"{name}@mlperf", 0.001),
            metric("latency_p99", f"{name}@mlperf", 0.00398),
            metric("loadgen_latency_p99", f"{name}@mlperf", 0.004, (0.0035, 0.0045)),
            metric("loadgen_p99_ratio", f"{name}@mlperf", 0.995, (0.99, 1.0)),
            metric("loadgen_valid", f"{name}@mlperf", 1.0).model_copy(
                update={"values": [1.0, 0.0]}
            ),
        )
    ]
    before = example()
    lines = printed(before.model_copy(update={"metrics": [*before.metrics, *theirs]}), 120)
    text = " ".join(lines)
    assert (
        "LoadGen of solo@mlperf: p99 4.00 [3.50..4.50] ms, VALID in 1 of 2 tests; our p99 / "
        "LoadGen's, of the same queries: 0.99 [0.99..1.00]"
    ) in " ".join(text.split())
    rows = [line.split()[0] for line in lines if "@mlperf" in line and "LoadGen" not in line]
    assert rows == ["solo@mlperf", "pinned@mlperf"]


def test_names_are_shown_as_they_are_and_not_as_markup():
    odd = [m.model_copy(update={"condition": "[/odd]"}) for m in example().metrics[:3]]
    result = example().model_copy(update={"metrics": odd})
    assert any(line.startswith("[/odd] ") for line in printed(result, 100))


def test_reading_and_showing_a_result_loads_nothing_heavy():
    loads = "lorabench.results.files, lorabench.experiments.colocate.view"
    program = f"import sys, {loads}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert "lorabench.experiments.colocate.view" in loaded
    assert not loaded & {"torch", "scipy.stats", "cpuinfo", "pyarrow", "lorabench.isolation"}


def test_who_was_stopped_for_a_quota_is_told_apart_from_who_was_slow() -> None:
    found = example()
    stopped = [
        metric("throttled_slices", "naive", 2.0),
        metric("throttled_periods", "naive", 32.0),
        metric("quota_periods", "naive", 214.0),
        metric("throttled_s", "naive", 1.125),
        metric("throttled_slices", "pinned", 0.0),
        metric("throttled_periods", "pinned", 0.0),
        metric("cpu_quota", "machine", 1.2, rounds=1),
    ]
    lines = printed(found.model_copy(update={"metrics": [*found.metrics, *stopped]}), 100)
    assert row(lines, "naive")[4] == "stopped"
    assert row(lines, "pinned")[4].startswith("1.02 [")
    said = " ".join(" ".join(lines).split())
    assert "The kernel stopped the servers for their CPU quota of 1.2 CPUs, in so many" in said
    assert "naive 256 of 1,712 (9.0 s). Their latency then is the quota's doing; raise" in said
    assert "The kernel stopped" not in " ".join(printed(found, 100))
