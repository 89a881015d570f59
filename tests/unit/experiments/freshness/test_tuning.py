"""The search among powers of 2, and what it makes of strategies that diverge."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.bench.progress import ProgressObserver
from lorabench.errors import InputError
from lorabench.experiments.freshness import tuning
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.replay import Replay
from lorabench.experiments.freshness.run import Freshness
from lorabench.experiments.freshness.tuning import _best, search, tune
from lorabench.strategies.base import StrategySpec
from lorabench.strategies.registry import parse
from lorabench.workload.source import open_source

losses = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@given(st.floats(1e-3, 1e3), st.integers(-7, 7))
def test_the_best_of_a_valley_is_found_with_worse_on_either_side(default, step) -> None:
    lowest = default * 2.0**step
    best, tried = search(default, lambda value: abs(math.log2(value / lowest)), steps=2)
    assert best == lowest
    assert min(tried) < best < max(tried)
    assert {default * 2.0**near for near in (-2, -1, 0, 1, 2)} <= set(tried)


@given(st.dictionaries(st.integers(-8, 8), losses))
def test_what_has_no_finite_loss_is_never_chosen(by_step) -> None:
    best, tried = search(1.0, lambda value: by_step.get(int(math.log2(value))), steps=1)
    known = [loss for loss in tried.values() if loss is not None]
    assert all(map(math.isfinite, known))
    assert (tried[best] == min(known)) if known else best == 1.0


def test_a_bound_is_not_passed_and_may_be_best() -> None:
    best, tried = search(0.5, lambda value: -value, steps=1, most=1.0)
    assert best == 1.0
    assert tried == {0.25: -0.25, 0.5: -0.5, 1.0: -1.0}


def test_a_search_downhill_without_end_ends() -> None:
    best, tried = search(1.0, lambda value: value, steps=2)
    assert best == min(tried) == 2.0**-8


def test_of_equals_the_one_closest_to_the_default_is_chosen() -> None:
    assert search(0.3, lambda _: 1.0, steps=2)[0] == 0.3


def test_a_rate_at_which_it_diverges_is_told_and_not_chosen(freshness_spec) -> None:
    options = FreshnessOptions(preset=str(freshness_spec), tune_rows=4096, seeds=2)
    source = open_source(options.preset, None, 0)
    stages = []
    found = tune(
        source, options, [parse("none"), parse("ideal", 1e30)], lambda *stage: stages.append(stage)
    )
    assert found.specs[0] == parse("none")
    # Far below it diverges too: then the rate stays as it was, and no decay is tried.
    assert {loss for _, _, loss in found.tried["ideal"]} == {None}
    assert [rate for rate, _, _ in found.tried["ideal"]] == [1e30 * 2.0**n for n in range(-8, 3)]
    assert found.specs[1] == parse("ideal", 1e30)
    assert any(text.startswith("tuning ideal: 1e+30 x 0.25") for text, _ in stages)


def test_stored_rows_have_no_other_seed_to_tune_on(criteo_rows) -> None:
    run = Freshness(FreshnessOptions(data=criteo_rows, preset="tiny", tune=True))
    with pytest.raises(InputError, match="expected a preset: rates are chosen"):
        run.measure(ProgressObserver(None, None))


def test_rates_and_decays_are_tried_below_and_above_the_default(freshness_spec) -> None:
    options = FreshnessOptions(preset=str(freshness_spec), tune_rows=4096, seeds=2)
    spec = parse("ideal")
    found = tune(open_source(options.preset, None, 0), options, [spec], lambda *_: None)
    tried, (best,) = found.tried["ideal"], found.specs
    rates = [rate for rate, decay, _ in tried if decay == spec.accumulator_decay]
    assert min(rates) < spec.learning_rate < max(rates)
    assert min(rates) < best.learning_rate < max(rates)
    decays = [decay for rate, decay, _ in tried if rate == best.learning_rate]
    assert {spec.accumulator_decay * factor for factor in (0.5, 1, 2)} <= set(decays)
    losses_of = {(rate, decay): loss for rate, decay, loss in tried}
    assert losses_of[best.learning_rate, best.accumulator_decay] == min(losses_of.values())


def test_all_that_ship_what_a_cluster_learns_have_its_rate(freshness_spec, monkeypatch) -> None:
    tried = []

    def best(spec, rate, entropy):
        tried.append(spec.name)
        return replace(spec, learning_rate=2 * rate, accumulator_decay=0.125), [(rate, 0.5, 0.9)]

    monkeypatch.setattr(tuning, "_best", best)
    options = FreshnessOptions(preset=str(freshness_spec), seeds=1)
    specs = [parse(name) for name in ("none", "delta", "stream", "lora+delta", "ideal")]
    found = tune(open_source(options.preset, None, 0), options, specs, lambda *_: None)
    assert tried == ["ideal", "lora+delta"]
    rates = {spec.name: (spec.learning_rate, spec.accumulator_decay) for spec in found.specs}
    assert rates.pop("none")[0] is None
    assert rates.pop("lora+delta") == (2 * specs[3].learning_rate, 0.125)
    assert set(rates.values()) == {(0.1, 0.125)}
    assert found.specs[3].params["cluster"] == (0.1, 0.125)


def at_two_rates(spec, rate, entropy):
    rates = rate / 4, rate
    tried = [(one, 0.5, entropy(replace(spec, learning_rate=one))) for one in rates]
    return spec, tried


def test_an_adapter_between_pushes_is_tuned_by_what_it_learns_itself(
    freshness_spec, monkeypatch
) -> None:
    """Were pushes free and at once, its loss would be that of ideal at any rate."""
    monkeypatch.setattr(tuning, "_best", at_two_rates)
    run = Freshness(
        FreshnessOptions(
            preset=str(freshness_spec),
            strategies=("lora+delta",),
            memory_budget=0.2,
            push_interval_s=4.0,
            seeds=1,
        )
    )
    run.tune(lambda *_: None)
    low, high = (loss for _, _, loss in run._tuning.tried["lora+delta"])
    assert low != high
    # What the run itself measures of pushes is of its own replays.
    assert run._handling == []


def test_as_many_rows_are_tuned_on_as_asked_for_whatever_the_minutes(
    freshness_spec, monkeypatch
) -> None:
    rows = []

    class Counted(Replay):
        def run(self, *arguments) -> None:
            super().run(*arguments)
            rows.append(self.replicate().rows)

    monkeypatch.setattr(tuning, "Replay", Counted)
    monkeypatch.setattr(tuning, "_best", at_two_rates)
    options = FreshnessOptions(
        preset=str(freshness_spec), strategies=("ideal",), minutes=0.05, tune_rows=6000, seeds=1
    )
    Freshness(options).tune(lambda *_: None)
    assert rows == [6000, 6000]


def test_the_rate_is_sought_again_at_the_decay_that_was_chosen() -> None:
    """At half the decay the best rate is twice that of the default."""
    spec = parse("lora", 0.25)
    half = spec.accumulator_decay / 2

    def entropy(one: StrategySpec) -> float:
        best = 0.5 if one.accumulator_decay <= half else 0.25
        far = abs(math.log2(one.learning_rate / best))
        return far + 10 * abs(math.log2(one.accumulator_decay / half))

    best, tried = _best(spec, 0.25, entropy)
    assert (best.learning_rate, best.accumulator_decay) == (0.5, half)
    losses_of = {(rate, decay): loss for rate, decay, loss in tried}
    assert len(losses_of) == len(tried)
    assert min(losses_of.values()) == losses_of[0.5, half] == 0.0


@given(st.integers(0, 2**32))
def test_turns_of_rate_and_decay_end_at_the_best_that_was_tried(seed: int) -> None:
    """Whatever the losses, and within 256-fold."""
    spec = parse("lora", 0.25)

    def entropy(one: StrategySpec) -> float:
        return random.Random(f"{seed} {one.learning_rate} {one.accumulator_decay}").random()

    best, tried = _best(spec, 0.25, entropy)
    rates = {rate for rate, _, _ in tried}
    assert 2**-10 <= min(rates) < max(rates) <= 2**6
    at = best.learning_rate, best.accumulator_decay
    (found,) = (loss for rate, decay, loss in tried if (rate, decay) == at)
    assert found == min(loss for _, _, loss in tried)


def test_where_no_rate_makes_a_difference_the_defaults_stay() -> None:
    spec = parse("lora")
    best, tried = _best(spec, spec.learning_rate, lambda _: 0.9)
    assert best == spec
    assert {decay for _, decay, _ in tried} == {spec.accumulator_decay}
