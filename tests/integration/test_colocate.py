"""``lorabench colocate`` end to end: what its document promises, on small runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Run

from lorabench.results import evidence, latency
from lorabench.results.files import read_result
from lorabench.results.metrics import MetricTable
from lorabench.results.schema import Result

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the two rounds are written; the command makes it."""
    return tmp_path_factory.mktemp("run") / "deep"


@pytest.fixture(scope="module")
def finished(lorabench: Run, folder: Path) -> tuple[Result, Any, str]:
    """Two rounds of everything: the document, the raw samples, what was printed."""
    path = folder / "out.json"
    conditions = "naive,pinned,pinned+rerank"
    options = ("--rounds", 2, "--duration", 2, "--conditions", conditions, "-o", path)
    run = lorabench("colocate", "--preset", "tiny", *options)
    assert run.returncode == 0, run.stderr
    return read_result(path), np.load(path.with_suffix(".npz")), run.stdout


def test_it_ends_with_the_table_a_verdict_in_words_and_the_path(finished) -> None:
    result, _, printed = finished
    for condition in ("solo", "solo_repeat", "sham", "planted", "naive", "pinned", "solo_all"):
        assert condition in printed
    assert "latency.isolated inconclusive" in " ".join(printed.split())
    assert printed.rstrip().endswith("out.json")
    assert not result.partial


def test_nothing_else_is_left_in_the_folder(finished, folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["out.json", "out.npz"]
    assert [path.name for path in folder.parent.iterdir()] == ["deep"]


def test_arrivals_are_the_same_in_every_condition_of_a_round_and_differ_between_rounds(
    finished,
) -> None:
    result, raw, _ = finished
    digests = [set(r.schedule_sha256.values()) for r in result.rounds]
    assert [len(d) for d in digests] == [1, 1, 1]
    assert len(set.union(*digests)) == 3
    for index in range(2):
        schedules = [raw[f"block{index}/{c}/scheduled_ns"] for c in result.rounds[index].order]
        for schedule in schedules:
            np.testing.assert_array_equal(schedule, schedules[0])


def test_every_case_has_a_slice_in_every_turn_and_each_turn_an_order_of_its_own(
    finished,
) -> None:
    result, _, _ = finished
    first, second, last = (r.order for r in result.rounds)
    cases = ["solo", "solo_repeat", "naive", "pinned", "pinned+rank-change", "sham", "planted"]
    turns = 4  # of half a second, in two seconds
    assert len(first) == len(second) == turns * len(cases)
    for order in (first, second):
        for turn in range(turns):
            assert sorted(order[turn * len(cases) : (turn + 1) * len(cases)]) == sorted(cases)
    assert first != second
    assert last == ["solo_all"]
    assert [r.processes for r in result.rounds] == [0, 1, 2]


def test_every_query_has_a_latency_that_starts_at_its_scheduled_arrival(finished) -> None:
    result, raw, _ = finished
    for round_ in result.rounds:
        for condition, queries in round_.queries.items():
            # Where others take the machine's time, the last of a slice are given up.
            assert 0 < queries.served <= queries.offered
            at = f"block{round_.index}/{condition}"
            assert len(raw[f"{at}/done_ns"]) == queries.served
            assert (raw[f"{at}/started_ns"] >= raw[f"{at}/scheduled_ns"]).all()
            assert (raw[f"{at}/done_ns"] > raw[f"{at}/started_ns"]).all()


def test_the_metrics_are_what_the_raw_samples_give(finished) -> None:
    result, raw, _ = finished
    metric = result.metric("latency_p99", "solo")
    assert metric is not None
    clear = result.metric("latency_p99_unstalled", "solo")
    assert clear is not None
    for index, value in enumerate(metric.values):
        scheduled, done, counted, touched = (
            raw[f"block{index}/solo/{name}"]
            for name in ("scheduled_ns", "done_ns", "counted", "touched")
        )
        for of, which in ((value, counted), (clear.values[index], counted & ~touched)):
            latency = np.sort((done - scheduled)[which])
            assert of == pytest.approx(latency[int(np.ceil(0.99 * len(latency))) - 1] / 1e9)
        # Of each slice the head does not count.
        slices = raw[f"block{index}/solo/slice"]
        assert set(slices) == {0, 1, 2, 3}
        for number in range(4):
            mine = slices == number
            assert 0 < counted[mine].sum() < mine.sum()
            assert not counted[mine][0]


def test_fewer_than_six_rounds_give_no_verdict_on_latency(finished) -> None:
    result, _, _ = finished
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert verdicts == {
        "memory.budget": "met",
        "latency.impact": "inconclusive",
        "latency.isolated": "inconclusive",
        "latency.training": "inconclusive",
        "isolation.gain": "inconclusive",
    }


def test_updates_reach_the_server(finished) -> None:
    result, raw, _ = finished
    for condition in ("naive", "pinned"):
        epochs = result.metric("epochs", condition)
        assert epochs is not None
        assert min(epochs.values) > 1
        for index in range(2):
            served = raw[f"block{index}/{condition}/epoch"]
            assert (np.diff(served) >= 0).all()
            assert served[-1] > 1
    assert (raw["block0/solo/epoch"] == -1).all()
    p50 = result.metric("update_latency_p50", "pinned")
    assert p50 is not None
    assert all(value > 0 for value in p50.values)


def test_the_trainer_sees_a_subsequence_of_the_arrivals_after_the_label_delay(finished) -> None:
    result, raw, _ = finished
    delay = result.config["experiment"]["label_delay_s"] * 1e9
    for index in range(2):
        at = f"block{index}/pinned"
        first, count = raw[f"{at}/trained_first"], raw[f"{at}/trained_count"]
        assert (first[1:] >= (first + count)[:-1]).all()
        # Labels of what was served in the warm-up arrive in the first slice.
        start = raw[f"{at}/first_sample"]
        ours = first >= start[0]
        assert ours.sum() > 1
        query = np.searchsorted(start, first[ours], side="right") - 1
        np.testing.assert_array_equal(
            raw[f"{at}/label_ns"][ours], raw[f"{at}/done_ns"][query] + delay
        )
        assert (raw[f"{at}/published_ns"] > raw[f"{at}/label_ns"]).all()
        assert count[ours].sum() <= raw[f"{at}/rows"].sum()


def test_verdicts_can_be_reached_again_from_the_document(finished) -> None:
    result, _, _ = finished
    table = MetricTable()
    for metric in result.metrics:
        table.add(metric.name, metric.case, *metric.values)
    (judged,) = result.select("latency_p99_sham_ratio")
    run = evidence.Run(
        table, judged.case, "measured-synthetic", saturated=evidence.saturated_shares(result.rounds)
    )
    again = {claim.id: claim for claim in latency.latency_claims(run)}
    for claim in result.claims:
        if claim.id in again:
            assert (claim.verdict, claim.measured, claim.ci95) == (
                again[claim.id].verdict,
                again[claim.id].measured,
                again[claim.id].ci95,
            )
    assert len(again) == 4


def test_the_sham_is_about_as_busy_as_the_trainer_that_it_stands_for(finished) -> None:
    result, raw, _ = finished
    assert (raw["block0/sham/epoch"] == -1).all()
    assert (raw["block0/planted/epoch"] == -1).all()
    assert not any(m.condition == "sham" for m in result.select("train_samples_per_s"))
    cores = {m.condition: m.values for m in result.select("trainer_cores")}
    assert set(cores) == {"naive", "pinned", "pinned+rank-change", "sham"}
    assert min(cores["sham"]) > 0


def test_stalls_and_what_a_switch_leaves_behind_are_drawn_for_every_case(finished) -> None:
    result, _, _ = finished
    for name in ("stalls_per_s", "stalled_share", "latency_p99_since_switch"):
        drawn = {series.condition for series in result.series if series.name == name}
        assert drawn >= {"solo", "solo_repeat", "naive", "pinned", "sham", "planted"}


def test_the_rank_changes_every_second_where_that_is_asked_for(finished) -> None:
    result, raw, printed = finished
    changes = result.metric("rebases", "pinned+rank-change")
    assert changes is not None
    assert min(changes.values) >= 2  # type: ignore[type-var]
    ratio = result.metric("rank_change_p99_ratio", "pinned+rank-change")
    assert ratio is not None
    for value, head, base in zip(
        ratio.values,
        result.metric("latency_p99", "pinned+rank-change").values,  # type: ignore[union-attr]
        result.metric("latency_p99", "pinned").values,  # type: ignore[union-attr]
        strict=True,
    ):
        if value is not None:
            assert value == pytest.approx(head / base)
    assert "while the rank changes every second" in printed
    ranks = raw["block0/pinned/window_ranks"]
    tables = len(result.environment["adapter"]["slots"])
    assert ranks.shape == (len(raw["block0/pinned/window_samples"]), tables)


def test_the_adapter_stays_within_its_budget_and_says_what_it_consists_of(finished) -> None:
    result, _, _ = finished
    fraction = result.metric("lora_fraction", "pinned")
    assert fraction is not None
    assert 0 < fraction.estimate < 0.02  # type: ignore[operator]
    parts = result.environment["adapter"]["bytes"]
    totals = [
        value for metric in result.metrics if metric.name == "lora_bytes" for value in metric.values
    ]
    assert sum(parts.values()) == max(totals)  # type: ignore[type-var]
    pages = result.environment["pages"]["workers"]
    assert all(worker["resident_bytes"] > 0 for worker in pages)


def test_what_the_machine_cannot_give_is_listed_with_the_reason(finished) -> None:
    result, _, _ = finished
    assert [missing.what for missing in result.unavailable] == ["numa", "rdt"]
    assert all(missing.why and missing.enable for missing in result.unavailable)


def test_a_dry_run_prints_the_plan_and_measures_nothing(refuse: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    run = refuse("colocate", "--preset", "tiny", "--dry-run", "-o", path)
    assert run.returncode == 0, run.stderr
    assert "servers on CPUs" in run.stdout
    assert "trainer on CPUs" in run.stdout
    assert not path.exists()
