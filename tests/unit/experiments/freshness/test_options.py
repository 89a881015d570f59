"""What freshness refuses before anything is run, and what its help promises."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from lorabench.bench.command import Output
from lorabench.cli import app
from lorabench.errors import GateError, InputError
from lorabench.experiments.freshness import COMMAND
from lorabench.experiments.freshness import run as run_module
from lorabench.experiments.freshness.options import FreshnessOptions, even_blocks
from lorabench.lora.layout import plan_adapter
from lorabench.model import fbgemm
from lorabench.model.tables import TableLayout
from lorabench.results.limit import MIN_ROUNDS
from lorabench.strategies.registry import strategies
from lorabench.workload.spec import load_spec


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--strategies", "none,some"), "--strategies: found 'some', expected some of none, full,"),
        (("--strategies", ","), "--strategies: found none, expected some"),
        (("--windows", "1"), "--windows: found 1, expected at least 2"),
        (("--window-rows", "9"), "--window-rows: found 9, expected at least 256"),
        (("--rows", "511"), "--rows: found 511, expected at least 512"),
        (("--memory-budget", "0"), "--memory-budget: found 0.0, expected above 0 and at most 1"),
        (("--learning-rate", "inf"), "--learning-rate: found inf"),
        (("--learning-rate", "0.1", "--tune"), "--tune: found --learning-rate beside it"),
        (("--strategies", "none", "--adapter", "a"), "--adapter: found no lora among"),
        (
            ("--strategies", "lora,lora-r2", "--save-adapter", "a"),
            "--save-adapter: found 2 lora strategies, expected one",
        ),
        (("--seeds", "0"), "--seeds: found 0, expected at least 1"),
        (
            ("--data", "d", "--windows", "4", "--seeds", "5"),
            "--seeds: found 5, expected at most 4: the stream of --data",
        ),
        (
            ("--preset", "tiny", "--adapter", "a", "--seeds", "2"),
            "--adapter: found --seeds 2 beside it, expected 1",
        ),
        (
            ("--preset", "tiny", "--save-adapter", "a", "--seeds", "2"),
            "--save-adapter: found --seeds 2 beside it, expected 1",
        ),
    ],
)
def test_bad_options_are_told(options, expected) -> None:
    with pytest.raises(InputError, match=expected):
        app(["freshness", *options], standalone_mode=False)


@pytest.mark.parametrize(
    ("given", "replicates"),
    [
        ({}, 5),
        ({"seeds": 3}, 3),
        ({"adapter": "a"}, 1),
        ({"save_adapter": "a"}, 1),
        ({"data": Path("d")}, 6),
        ({"data": Path("d"), "windows": 16}, 8),
        ({"data": Path("d"), "windows": 3}, 3),
        ({"data": Path("d"), "windows": 3, "seeds": 2}, 2),
        # One replay whatever the blocks, so that the adapter belongs to its tables.
        ({"data": Path("d"), "adapter": "a"}, 6),
    ],
)
def test_there_are_as_many_replicates_as_the_rows_allow(given, replicates) -> None:
    options = FreshnessOptions(**given)
    options.check()
    assert options.replicates == replicates


@given(st.integers(1, 200))
def test_blocks_of_a_lone_stream_are_of_as_many_windows_each(windows) -> None:
    blocks = even_blocks(windows)
    assert windows % blocks == 0
    assert blocks >= min(MIN_ROUNDS, windows)


def test_the_seed_is_the_strategies_too() -> None:
    assert {spec.seed for spec in FreshnessOptions(seed=5).specs()} == {5}


def test_the_help_names_every_strategy() -> None:
    (names,) = (one for one in fields(FreshnessOptions) if one.name == "strategies")
    told = names.metadata["option"].help
    assert all(kind.forms[0] in told for kind in strategies().values())


def test_more_lora_state_than_the_claim_allows_fails_strictly(freshness_spec, tmp_path) -> None:
    options = FreshnessOptions(
        preset=str(freshness_spec), strategies=("lora",), windows=2, memory_budget=0.5, seeds=1
    )
    path = tmp_path / "result.json"
    with pytest.raises(GateError, match=r"memory\.budget missed"):
        COMMAND.run(options, Output(output=str(path), strict=True, quiet=True))
    assert path.exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"strategies": ("none", "lora"), "memory_budget": 1e-6}, r"is too small: found 3 bytes"),
        ({"strategies": ("none", "lora-r99")}, r"99"),
        ({"strategies": ("ideal", "ideal-fbgemm"), "dim": 6}, r"^--dim: found 6, expected a mul"),
        ({"strategies": ("lora",), "adapter": "none.safetensors"}, r"none\.safetensors: no such"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_run_or_written(
    asked, message, freshness_spec, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(fbgemm, "unavailable", lambda: None)
    refused_at_once(FreshnessOptions(preset=str(freshness_spec), **asked), message, tmp_path)


def test_without_the_extra_fbgemm_is_refused_before_anything_is_written(
    freshness_spec, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(fbgemm, "unavailable", lambda: "it is not installed")
    options = FreshnessOptions(preset=str(freshness_spec), strategies=("ideal-fbgemm",))
    refused_at_once(options, "^--strategies: found ideal-fbgemm, but it is not", tmp_path)


def test_an_adapter_whose_ranks_do_not_fit_is_refused_before_anything_is_run(
    freshness_spec, tmp_path
) -> None:
    spec = load_spec(str(freshness_spec))
    dim = spec.model.dim
    layout = TableLayout(spec.table_rows, dim, spec.sparse.hotness)
    tensors: dict[str, np.ndarray] = {}
    for f, rows in enumerate(layout.rows):
        ranked = min(dim, 16)
        tensors |= {
            f"table.{f}.A": np.zeros((rows, ranked), np.float32),
            f"table.{f}.B": np.eye(ranked, dim, dtype=np.float32),
            f"table.{f}.rows": np.arange(rows, dtype=np.int32),
            f"table.{f}.accumulator": np.zeros(rows, np.float32),
        }
    metadata = {
        "format": "lorabench.adapter/2",
        "table_rows": json.dumps(layout.rows),
        "dim": str(dim),
    }
    file = tmp_path / "large.safetensors"
    save_file(tensors, file, metadata)
    options = FreshnessOptions(
        preset=str(freshness_spec),
        strategies=("none", "lora-r1"),
        adapter=str(file),
        memory_budget=least_budget(layout),
    )
    refused_at_once(options, r"^--adapter: found ranks of up to ", tmp_path)


def least_budget(layout: TableLayout) -> float:
    """Return about the least budget that buys a slot at rank 1."""
    low, high = 0.0, 0.5
    for _ in range(20):
        middle = (low + high) / 2
        try:
            plan_adapter(layout, 1, 1, middle)
            high = middle
        except InputError:
            low = middle
    return high


def refused_at_once(options: FreshnessOptions, message: str, folder: Path) -> None:
    path = folder / "result.json"

    def prepared(*_: object, **__: object) -> None:
        raise AssertionError("a model was pre-trained")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "prepare", prepared)
        with pytest.raises(InputError, match=message) as caught:
            COMMAND.run(options, Output(output=str(path), quiet=True))
    assert "\n" not in str(caught.value)
    assert not path.exists()
