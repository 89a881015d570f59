"""``lorabench colocate`` end to end: what its document promises, on small runs."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import SHORT, Run

from lorabench.results.files import read_result
from lorabench.results.schema import Result

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(lorabench: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Any, str]:
    """Two rounds of everything: the document, the raw samples, what was printed."""
    path = tmp_path_factory.mktemp("run") / "out.json"
    conditions = "naive,pinned,pinned+rerank"
    options = ("--rounds", 2, "--duration", 2, "--conditions", conditions, "-o", path)
    run = lorabench("colocate", "--preset", "tiny", *options)
    assert run.returncode == 0, run.stderr
    return read_result(path), np.load(path.with_suffix(".npz")), run.stdout


def test_it_ends_with_the_table_a_verdict_in_words_and_the_path(finished) -> None:
    result, _, printed = finished
    for condition in ("solo", "solo_repeat", "naive", "pinned", "solo_all"):
        assert condition in printed
    assert "latency.isolated inconclusive" in " ".join(printed.split())
    assert printed.rstrip().endswith("out.json")
    assert not result.partial


def test_arrivals_are_the_same_in_every_condition_of_a_round_and_differ_between_rounds(
    finished,
) -> None:
    result, raw, _ = finished
    digests = [set(r.schedule_sha256.values()) for r in result.rounds]
    assert [len(d) for d in digests] == [1, 1, 1]
    assert len(set.union(*digests)) == 3
    for index in range(2):
        schedules = [raw[f"round{index}/{c}/scheduled_ns"] for c in result.rounds[index].order]
        for schedule in schedules:
            np.testing.assert_array_equal(schedule, schedules[0])


def test_every_round_runs_every_condition_once_and_solo_twice_in_an_order_of_its_own(
    finished,
) -> None:
    result, _, _ = finished
    first, second, last = (r.order for r in result.rounds)
    assert (
        sorted(first)
        == sorted(second)
        == [
            "naive",
            "pinned",
            "pinned+rerank",
            "solo",
            "solo_repeat",
        ]
    )
    assert last == ["solo_all"]


def test_every_query_has_a_latency_that_starts_at_its_scheduled_arrival(finished) -> None:
    result, raw, _ = finished
    for round_ in result.rounds:
        for condition, queries in round_.queries.items():
            assert queries.offered == queries.served > 0
            at = f"round{round_.index}/{condition}"
            assert (raw[f"{at}/started_ns"] >= raw[f"{at}/scheduled_ns"]).all()
            assert (raw[f"{at}/done_ns"] > raw[f"{at}/started_ns"]).all()


def test_the_metrics_are_what_the_raw_samples_give(finished) -> None:
    result, raw, _ = finished
    metric = result.metric("latency_p99", "solo")
    assert metric is not None
    config = result.config["experiment"]
    begin = (config["warmup_s"] + config["label_delay_s"]) * 1e9
    for index, value in enumerate(metric.values):
        scheduled = raw[f"round{index}/solo/scheduled_ns"]
        latency = np.sort((raw[f"round{index}/solo/done_ns"] - scheduled)[scheduled >= begin])
        assert value == pytest.approx(latency[int(np.ceil(0.99 * len(latency))) - 1] / 1e9)


def test_fewer_than_six_rounds_give_no_verdict_on_latency(finished) -> None:
    result, _, _ = finished
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert verdicts == {
        "memory.budget": "met",
        "latency.impact": "inconclusive",
        "latency.isolated": "inconclusive",
    }


def test_updates_reach_the_server(finished) -> None:
    result, raw, _ = finished
    for condition in ("naive", "pinned"):
        epochs = result.metric("epochs", condition)
        assert epochs is not None
        assert min(epochs.values) > 1
        for index in range(2):
            served = raw[f"round{index}/{condition}/epoch"]
            assert (np.diff(served) >= 0).all()
            assert served[-1] > 1
    assert (raw["round0/solo/epoch"] == -1).all()
    p50 = result.metric("update_latency_p50", "pinned")
    assert p50 is not None
    assert all(value > 0 for value in p50.values)


def test_the_trainer_sees_a_subsequence_of_the_arrivals_after_the_label_delay(finished) -> None:
    result, raw, _ = finished
    rows = int(result.config["experiment"]["query_rows"])
    delay = result.config["experiment"]["label_delay_s"] * 1e9
    for index in range(2):
        at = f"round{index}/pinned"
        sample = raw[f"{at}/trained_sample"]
        assert len(sample) > 0
        assert (np.diff(sample) > 0).all()
        np.testing.assert_array_equal(
            raw[f"{at}/label_ns"], raw[f"{at}/done_ns"][sample // rows] + delay
        )
        assert (raw[f"{at}/published_ns"] > raw[f"{at}/label_ns"]).all()
        lost = [
            result.metric(name, "pinned").values[index]  # type: ignore[union-attr]
            for name in ("replay_dropped", "replay_skipped")
        ]
        assert len(sample) + sum(lost) <= len(raw[f"{at}/done_ns"]) * rows


def test_the_rank_changes_every_second_where_that_is_asked_for(finished) -> None:
    result, raw, printed = finished
    changes = result.metric("rebases", "pinned+rerank")
    assert changes is not None
    assert min(changes.values) >= 2  # type: ignore[type-var]
    ratio = result.metric("rank_change_p99_ratio", "pinned+rerank")
    assert ratio is not None
    for value, head, base in zip(
        ratio.values,
        result.metric("latency_p99", "pinned+rerank").values,  # type: ignore[union-attr]
        result.metric("latency_p99", "pinned").values,  # type: ignore[union-attr]
        strict=True,
    ):
        if value is not None:
            assert value == pytest.approx(head / base)
    assert "while the rank changes every second" in printed
    ranks = raw["round0/pinned/window_ranks"]
    tables = len(result.environment["adapter"]["slots"])
    assert ranks.shape == (len(raw["round0/pinned/window_samples"]), tables)


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


def test_real_rows_are_served_plain_and_gzipped(
    lorabench: Run, tmp_path: Path, data_dir: Path
) -> None:
    plain = data_dir / "criteo" / "train.tsv"
    zipped = tmp_path / "rows.bin"
    with plain.open("rb") as source, gzip.open(zipped, "wb") as target:
        shutil.copyfileobj(source, target)
    predictions = []
    for data in (plain, zipped):
        path = tmp_path / f"{data.name}.json"
        run = lorabench("colocate", *SHORT, "--data", data, "-o", path)
        assert run.returncode == 0, run.stderr
        result = read_result(path)
        assert result.config["workload"]["kind"] == "criteo-tsv"
        assert {claim.basis for claim in result.claims} == {"measured-real"}
        assert result.rounds[-1].wraps > 0
        predictions.append(result.metric("auc", "solo").values)  # type: ignore[union-attr]
    assert predictions[0] == predictions[1]


def test_a_generated_folder_is_served(lorabench: Run, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    made = lorabench("generate", "tiny", "-o", folder, "--rows", 30_000)
    assert made.returncode == 0, made.stderr
    path = tmp_path / "out.json"
    run = lorabench("colocate", *SHORT[2:], "--data", folder, "-o", path)
    assert run.returncode == 0, run.stderr
    assert read_result(path).config["workload"]["kind"] == "store"


def test_the_same_seed_gives_the_same_schedules_on_another_run(
    lorabench: Run, tmp_path: Path
) -> None:
    digests = []
    for name in "ab":
        path = tmp_path / f"{name}.json"
        run = lorabench("colocate", *SHORT, "--seed", 5, "-o", path)
        assert run.returncode == 0, run.stderr
        digests.append([r.schedule_sha256 for r in read_result(path).rounds])
    assert digests[0] == digests[1]


def test_json_on_stdout_is_the_document_and_everything_else_goes_to_stderr(
    lorabench: Run, tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    run = lorabench("colocate", *SHORT, "--json", "-o", path)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == json.loads(path.read_text())
    assert "latency from scheduled arrival" in run.stderr


def test_a_checkpoint_of_the_users_own_is_served(lorabench: Run, tmp_path: Path) -> None:
    made = lorabench("generate", "tiny", "-o", tmp_path / "rows", "--rows", 5000)
    assert made.returncode == 0, made.stderr
    spec = json.loads((tmp_path / "rows" / "workload.json").read_text())["spec"]
    rows = [cardinality + 1 for cardinality in spec["sparse"]["cardinality"]]
    # Another dim and other MLPs than the workload's spec: the checkpoint's count.
    sizes = {"bot_l": [13, 20, 8], "top_l": [8 + 27 * 26 // 2, 30, 1]}
    state = {f"emb_l.{f}.weight": torch.randn(v, 8) / 10 for f, v in enumerate(rows)}
    for name, widths in sizes.items():
        for i in range(len(widths) - 1):
            state[f"{name}.{2 * i}.weight"] = torch.randn(widths[i + 1], widths[i]) / 10
            state[f"{name}.{2 * i}.bias"] = torch.zeros(widths[i + 1])
    checkpoint = tmp_path / "model.pt"
    torch.save(state, checkpoint)
    path = tmp_path / "out.json"
    run = lorabench(
        *("colocate", *SHORT[2:], "--data", tmp_path / "rows"),
        *("--checkpoint", checkpoint, "--memory-budget", 0.2, "-o", path),
    )
    assert run.returncode == 0, run.stderr
    assert read_result(path).config["model"]["origin"] == "the given checkpoint"
    state["emb_l.3.weight"] = torch.randn(rows[3] + 1, 8)
    torch.save(state, checkpoint)
    run = lorabench("colocate", "--data", tmp_path / "rows", "--checkpoint", checkpoint)
    assert run.returncode == 2
    assert f"emb_l.3.weight: found {rows[3] + 1} rows, expected {rows[3]}" in run.stderr


def test_a_dry_run_prints_the_plan_and_measures_nothing(lorabench: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    run = lorabench("colocate", "--preset", "tiny", "--dry-run", "-o", path)
    assert run.returncode == 0, run.stderr
    assert "servers on CPUs" in run.stdout
    assert "trainer on CPUs" in run.stdout
    assert not path.exists()


def test_bursts_of_mlperf_sizes_are_served_and_learnt_from(lorabench: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    found = lorabench(
        *("colocate", *SHORT, "--arrivals", "bursts", "--query-rows", "mlperf", "-o", path),
        *("--duration", 3),  # long enough for a machine whose trainer begins late
    )
    assert found.returncode == 0, found.stderr
    result = read_result(path)
    assert result.config["traffic"]["arrivals"] == "bursts"
    raw = np.load(path.with_suffix(".npz"))
    rows = raw["round0/pinned/rows"]
    assert set(rows.tolist()) <= {100, 200, 300, 400, 500, 600, 700}
    assert len(set(rows.tolist())) > 2
    sample = raw["round0/pinned/trained_sample"]
    assert len(sample) > 0
    query = np.searchsorted(np.cumsum(rows), sample, side="right")
    delay = result.config["experiment"]["label_delay_s"] * 1e9
    np.testing.assert_array_equal(
        raw["round0/pinned/label_ns"], raw["round0/pinned/done_ns"][query] + delay
    )


@pytest.mark.parametrize("preset", ["tiny", "tiny-multihot"])
def test_reuse_is_counted_net_and_says_where_it_keeps_nothing(
    lorabench: Run, tmp_path: Path, preset: str
) -> None:
    path = tmp_path / "out.json"
    run = lorabench(
        *("colocate", *SHORT[2:], "--preset", preset, "--conditions", "pinned,pinned+reuse"),
        *("--duration", 3, "-o", path),  # long enough for a machine whose trainer begins late
    )
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    found = {(m.name, m.condition): m.values for m in result.metrics}
    assert ("reuse_net_bytes", "pinned") not in found
    saved, written, read, net = (
        found[f"reuse_{name}", "pinned+reuse"][0]
        for name in ("bytes_saved", "bytes_written", "bytes_read", "net_bytes")
    )
    assert net == saved - written - read
    notes = [note for r in result.rounds for note in r.notes]
    kept_nothing = any("pinned+reuse: nothing was kept for reuse (0 bytes)" in n for n in notes)
    spec = result.config["workload"]["spec"]
    if preset == "tiny":
        assert max(spec["sparse"]["hotness"]) == 1
        assert (saved, written, read, kept_nothing) == (0, 0, 0, True)
        return
    assert not kept_nothing
    kept = [hotness for hotness in spec["sparse"]["hotness"] if hotness > 2]
    row = 4 * spec["model"]["dim"]
    assert 0 < read <= written
    assert read % (len(kept) * row + 8) == written % (len(kept) * row + 8) == 0
    taken = read / (len(kept) * row + 8)
    # The tables stand still, so that all that is taken is up to date; the guard may let some pass.
    assert 0 < saved <= taken * sum(kept) * row
    assert net > 0
    raw = np.load(path.with_suffix(".npz"))
    for condition in ("pinned", "pinned+reuse"):
        assert len(raw[f"round0/{condition}/trained_sample"]) > 0
