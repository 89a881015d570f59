"""What freshness refuses before anything is run, and what its help promises."""

from dataclasses import fields

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
    ],
)
def test_bad_options_are_told(options, expected) -> None:
    with pytest.raises(InputError, match=expected):
        app(["freshness", *options], standalone_mode=False)


def test_the_seed_is_the_strategies_too() -> None:
    assert {spec.seed for spec in FreshnessOptions(seed=5).specs()} == {5}


def test_the_help_names_every_form_of_every_strategy() -> None:
    (strategies,) = (one for one in fields(FreshnessOptions) if one.name == "strategies")
    told = strategies.metadata["option"].help
    assert all(form in told for kind in STRATEGIES for form in kind.forms)


def test_more_lora_state_than_the_claim_allows_fails_strictly(freshness_spec, tmp_path) -> None:
    options = FreshnessOptions(
        preset=str(freshness_spec), strategies=("lora",), windows=2, memory_budget=0.5
    )
    path = tmp_path / "result.json"
    with pytest.raises(GateError, match=r"memory\.budget missed"):
        COMMAND.run(options, Output(output=str(path), strict=True, quiet=True))
    assert path.exists()
