"""Several seeds, blocks of time, and strategies that diverge, from options to findings."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from interrupting import Interrupting

from lorabench.experiments.freshness import run as run_module
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
        seed=3,
        seeds=2,
    )


def series(found, name: str, case: str) -> list[float]:
    (one,) = (one for one in found.series if (one.name, one.condition) == (name, case))
    return one.y


def measured(options):
    run, observer = Freshness(options), Interrupting()
    run.measure(observer)
    return run.findings(), observer.told


def test_each_seed_has_rows_a_model_and_draws_of_its_own(options) -> None:
    both, told = measured(options)
    first, _ = measured(replace(options, seeds=1))
    second, _ = measured(replace(options, seed=4, seeds=1))
    for name in ("auc", "normalized_entropy", "gap_recovered", "auc_difference", "rank"):
        for case, values in both.table.named(name).items():
            # A lone seed's replicates are its blocks of time, here a window each.
            alone = [one.table.values(name, case) for one in (first, second)]
            if name == "gap_recovered":
                assert [len(one) for one in alone] == [WINDOWS] * 2
            else:
                assert values == pytest.approx([np.mean(one) for one in alone]), (name, case)
    assert first.table.values("auc", "none") != second.table.values("auc", "none")
    assert series(both, "auc", "lora-r2, seed 4") == series(second, "auc", "lora-r2")
    assert both.config["replicates"] == {
        "of": "seeds",
        "seeds": [3, 4],
        "windows": [WINDOWS],
        "rows": [10_000] * 2,
        "one_class_windows": [0, 0],
    }
    assert both.config["experiment"]["seeds"] == 2
    assert {text.partition(":")[0] for text in told} == {"seed 3", "seed 4"}
    assert both.table.values("lora_fraction", "lora-r2")[0] is not None


def test_one_model_is_held_at_a_time(options, monkeypatch) -> None:
    made: list[weakref.ref] = []
    prepare = run_module.prepare

    def counted(*arguments, **options):
        gc.collect()
        assert [one for one in made if one() is not None] == []
        found = prepare(*arguments, **options)
        made.append(weakref.ref(found.tables))
        return found

    monkeypatch.setattr(run_module, "prepare", counted)
    measured(replace(options, seeds=3))
    assert len(made) == 3


def test_the_seeds_that_are_through_outlive_an_interruption(options) -> None:
    run = Freshness(options)
    with pytest.raises(KeyboardInterrupt):
        run.measure(Interrupting("seed 4: replaying", 2 / WINDOWS))
    found = run.findings()
    assert found.config["replicates"]["seeds"] == [3]
    first, _ = measured(replace(options, seeds=1))
    assert series(found, "auc", "lora-r2") == series(first, "auc", "lora-r2")
    assert found.table.values("lora_bytes", "lora-r2") == first.table.values(
        "lora_bytes", "lora-r2"
    )


def test_of_the_first_seed_finished_windows_outlive_an_interruption(options) -> None:
    run = Freshness(options)
    with pytest.raises(KeyboardInterrupt):
        run.measure(Interrupting("seed 3: replaying", 2 / WINDOWS))
    found = run.findings()
    assert len(series(found, "auc", "none")) == len(series(found, "auc", "lora-r2")) == 2
    assert found.table.named("gap_recovered") == {}


def test_rows_that_are_there_are_replayed_once_in_blocks_of_time(options, criteo_rows) -> None:
    real = replace(options, preset="tiny", data=criteo_rows, windows=3, seeds=2)
    found, told = measured(real)
    replicates = found.config["replicates"]
    assert replicates["of"] == "time"
    assert (replicates["seeds"], replicates["windows"]) == ([3], [1, 2])
    assert told[-1] == "replaying"
    areas = series(found, "auc", "none")
    blocks = [areas[0], np.mean(areas[1:])]
    assert found.table.values("auc", "none") == pytest.approx(blocks)
    assert len(found.table.values("auc_difference", "lora-r2 - none")) == 2
    assert len(found.table.values("gap_recovered_last_third", "lora-r2")) == 1
    assert {one.condition for one in found.series} == {"none", "lora-r2", "ideal"}


def test_a_rate_that_makes_it_diverge_is_told_and_leaves_no_number(options, tmp_path) -> None:
    file = tmp_path / "a.safetensors"
    found, _ = measured(replace(options, learning_rate=1e30, seeds=None, save_adapter=str(file)))
    table = found.table
    assert table.values("diverged", "lora-r2") == table.values("diverged", "ideal") == [1.0]
    assert set(table.values("auc", "lora-r2")) == {None}
    assert len(series(found, "auc", "lora-r2")) < WINDOWS
    assert len(series(found, "auc", "none")) == WINDOWS
    for name in ("gap_recovered", "auc_difference", "windows_below_none"):
        assert table.named(name) == {}
    # It held its memory nonetheless.
    assert table.values("lora_fraction", "lora-r2")[0] > 0.02
    assert not file.exists()


def test_no_seed_starts_below_the_model_that_it_starts_from(slower_spec) -> None:
    """Windows 3 and 4 of 2,000 rows are the first behind those from which the basis is taken."""
    options = FreshnessOptions(
        preset=str(slower_spec), strategies=("none", "lora"), windows=5, memory_budget=0.2, seeds=4
    )
    found, _ = measured(options)
    gains = [
        np.mean(series(found, "auc", f"lora, seed {seed}")[3:])
        - np.mean(series(found, "auc", f"none, seed {seed}")[3:])
        for seed in range(4)
    ]
    # By the bootstrap a seed's gain has a standard error of 0.3 to 0.4 points.
    assert min(gains) > -0.007
    assert np.mean(gains) > 0
