"""What freshness refuses before anything is run, and what its help promises."""

from dataclasses import fields
from pathlib import Path

import pytest

from lorabench.bench.command import Output
from lorabench.cli import app
from lorabench.errors import GateError, InputError
from lorabench.experiments.freshness import COMMAND
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.strategies.registry import STRATEGIES


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--strategies", "none,full"), "--strategies: found 'full', expected some of none, lora,"),
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
        ({"data": Path("d")}, 5),
        ({"data": Path("d"), "windows": 3}, 3),
        ({"data": Path("d"), "windows": 3, "seeds": 2}, 2),
        # One replay whatever the blocks, so that the adapter belongs to its tables.
        ({"data": Path("d"), "adapter": "a"}, 5),
    ],
)
def test_there_are_as_many_replicates_as_the_rows_allow(given, replicates) -> None:
    options = FreshnessOptions(**given)
    options.check()
    assert options.replicates == replicates


def test_the_seed_is_the_strategies_too() -> None:
    assert {spec.seed for spec in FreshnessOptions(seed=5).specs()} == {5}


def test_the_help_names_every_form_of_every_strategy() -> None:
    (strategies,) = (one for one in fields(FreshnessOptions) if one.name == "strategies")
    told = strategies.metadata["option"].help
    assert all(form in told for kind in STRATEGIES for form in kind.forms)


def test_more_lora_state_than_the_claim_allows_fails_strictly(freshness_spec, tmp_path) -> None:
    options = FreshnessOptions(
        preset=str(freshness_spec), strategies=("lora",), windows=2, memory_budget=0.5, seeds=1
    )
    path = tmp_path / "result.json"
    with pytest.raises(GateError, match=r"memory\.budget missed"):
        COMMAND.run(options, Output(output=str(path), strict=True, quiet=True))
    assert path.exists()
