"""A replay of one seed from options to findings, whole and cut short; several seeds and blocks of
time are in test_replicates.py.
"""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from interrupting import Interrupting
from rich.console import Console

from lorabench.bench.runner import document
from lorabench.experiments.freshness import view
from lorabench.experiments.freshness.compute_model import ComputeModel
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.run import Freshness

WINDOWS = 4


@pytest.fixture(scope="module")
def options(freshness_spec) -> FreshnessOptions:
    return FreshnessOptions(
        preset=str(freshness_spec),
        strategies=("none", "lora-r2", "ideal"),
        windows=WINDOWS,
        memory_budget=0.2,
        seeds=1,
    )


def values(found, name: str) -> dict[str, int]:
    return {str(case): len(listed) for case, listed in found.table.named(name).items()}


def points(found, name: str) -> dict[str, int]:
    return {one.condition: len(one.y) for one in found.series if one.name == name}


def shown(found, width: int = 120) -> str:
    page = io.StringIO()
    view.render(document("freshness", found), Console(file=page, width=width))
    return page.getvalue()


def test_quality_state_and_verdicts_of_all_strategies(options) -> None:
    run = Freshness(options)
    assert run.findings() is None
    run.measure(Interrupting())
    found = run.findings()
    four = dict.fromkeys(("none", "lora-r2", "ideal", "ceiling"), WINDOWS)
    assert points(found, "auc") == points(found, "normalized_entropy") == four
    # Of the only stream blocks of time are the replicates, here a window each.
    for name in ("auc", "normalized_entropy"):
        assert values(found, name) == dict.fromkeys(four, WINDOWS)
    assert values(found, "auc_last_third") == dict.fromkeys(four, 1)
    assert points(found, "rank") == values(found, "rank") == {"lora-r2": WINDOWS}
    assert found.config["replicates"]["of"] == "time"
    assert set(values(found, "gap_recovered")) == {"lora-r2"}
    assert values(found, "train_samples_per_s") == {"lora-r2": 1, "ideal": 1}
    (case,) = found.table.named("lora_fraction")
    assert dict(case.labels) == {"strategy": "lora-r2"}
    assert {one.id: one.verdict for one in found.claims} == {
        "memory.budget": "missed",
        "freshness.quality": "unavailable",
        "freshness.latency": "unavailable",
        "sync.delta10": "met",
    }
    assert found.config["experiment"]["strategies"] == ["none", "lora-r2", "ideal"]
    assert "share of the AUC gap" in shown(found)


def test_trainers_can_be_held_against_each_other_without_a_gap(options) -> None:
    run = Freshness(replace(options, strategies=("lora-r2", "ideal")))
    run.measure(Interrupting())
    text = shown(run.findings(), width=80)
    assert "samples/s" in text
    assert not [line for line in text.splitlines() if "…" in line]


def test_what_was_finished_before_an_interruption_is_kept(options) -> None:
    run = Freshness(options)
    with pytest.raises(KeyboardInterrupt):
        run.measure(Interrupting("replaying", 2 / WINDOWS))
    found = run.findings()
    assert points(found, "auc") == dict.fromkeys(("none", "lora-r2", "ideal", "ceiling"), 2)
    assert values(found, "auc_last_third") == values(found, "gap_recovered") == {}
    assert values(found, "auc_difference") == values(found, "diverged") == {}
    assert points(found, "rank") == {"lora-r2": 2}
    assert "mean" in shown(found)


def test_nothing_is_kept_before_a_window_is_finished(options) -> None:
    run = Freshness(options)
    with pytest.raises(KeyboardInterrupt):
        run.measure(Interrupting("replaying", 0.0))
    assert run.findings() is None


def test_where_nothing_learns_windows_are_spread_over_the_stream(options) -> None:
    run = Freshness(replace(options, strategies=("none",), window_rows=256))
    with pytest.raises(KeyboardInterrupt):
        run.measure(Interrupting("predicting", 3 / WINDOWS))
    found = run.findings()
    assert points(found, "auc") == {"none": 3, "ceiling": 3}
    measured = [one for one in found.claims if one.basis != "derived"]
    assert {one.verdict for one in measured} == {"unavailable"}


def test_a_saved_adapter_is_where_the_next_run_begins(options, tmp_path) -> None:
    file = str(tmp_path / "a.safetensors")
    cold = Freshness(replace(options, strategies=("lora-r2",), save_adapter=file))
    assert cold.also_written() == (file,)
    cold.measure(Interrupting())
    warm = Freshness(replace(options, strategies=("lora-r2",), adapter=file))
    warm.measure(Interrupting())
    first, second = (
        next(one for one in run.findings().series if one.name == "auc") for run in (cold, warm)
    )
    assert first.condition == second.condition == "lora-r2"
    assert len(first.y) == len(second.y) == WINDOWS
    assert first.y != second.y


def test_a_touch_trace_is_written_where_nothing_learns(options, tmp_path) -> None:
    path = tmp_path / "touches.parquet"
    traced = replace(options, strategies=("none",), save_touch_trace=str(path), rows=2048)
    run = Freshness(replace(traced, windows=2))
    run.measure(Interrupting())
    assert all(Path(one).exists() for one in run.also_written())
    assert path.exists()


def test_a_saved_compute_model_is_enough_where_a_cluster_trains_beside_a_learner(
    options, tmp_path
) -> None:
    file = str(tmp_path / "times.toml")
    both = replace(options, strategies=("none", "lora+delta"), push_interval_s=2.0)
    Freshness(replace(both, save_compute_model=file)).measure(Interrupting())
    again = Freshness(replace(both, compute_model=file))
    assert again.findings() is None
    times = ComputeModel.read(file).per_sample
    assert set(times) == {"lora+delta", "cluster"}
    assert min(times.values()) > 0
