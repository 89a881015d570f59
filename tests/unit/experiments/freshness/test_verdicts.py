"""What verdicts on replays rest on."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from replays import IDEAL, NONE, WINDOWS, late, measured, replayed, replicate, usual

from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.quality import Replayed, Replicate
from lorabench.experiments.freshness.replay import touch_tick_s
from lorabench.experiments.freshness.verdicts import gain, lateness, most_fraction
from lorabench.strategies.base import StrategySpec
from lorabench.strategies.lora import Lora
from lorabench.updates.link import Handling
from lorabench.updates.touch import TouchCurve


def test_the_most_of_any_replicate_is_held_against_the_budget() -> None:
    found = measured(
        usual(0, peak_bytes={"slots": 10, "basis": 5}), usual(1, peak_bytes={"slots": 20})
    )
    assert found.table.values("lora_bytes", "lora") == [15.0, 20.0]
    assert most_fraction(found.found) == 0.02
    assert most_fraction(measured(usual(0)).found) is None
    beside = replayed("memory", (0.5, 0.55, 0.6, 0.7), peak_bytes={"ids": 30})
    alone = measured(replicate(0, beside))
    assert most_fraction(alone.found) is None  # no LoRA state
    assert alone.table.values("held_bytes", "memory") == [30.0]


class Delta(Lora):
    """As if it shipped what was trained elsewhere."""

    colocatable = False
    ships_deltas = True


def shipping(name: str, areas: Sequence[float | None], **known: object) -> Replayed:
    found = replayed("lora-r2", areas, **known)
    found.spec = StrategySpec(name, Delta, 0.1)
    return found


def with_delta(seed: int, areas: Sequence[float | None], **known: object) -> Replicate:
    lora = replayed("lora", (0.5, 0.55, 0.6, 0.7))
    return replicate(seed, lora, shipping("delta", areas, **known))


def test_a_gain_is_over_what_the_table_is_over() -> None:
    table = measured(with_delta(0, NONE), with_delta(1, IDEAL))
    several = gain(table, stored=False)
    assert (several.strategy, several.over) == ("lora", "seeds")
    assert several.areas["delta"].n == 2
    assert several.areas["delta"].value == pytest.approx((0.0875 - 0.0625) / 2)
    for stored, over in ((True, "blocks"), (False, "blocks of one seed")):
        table = measured(with_delta(0, NONE), blocks=2)
        alone = gain(table, stored=stored)
        assert alone.over == over
        assert alone.areas["delta"] == table.table.estimate("auc_difference", "lora - delta")
        assert alone.areas["delta"].n == 2
    diverged = gain(measured(with_delta(0, NONE[:2], diverged=True)), stored=False)
    assert diverged.areas == {"delta": None}
    assert gain(measured(usual(0)), stored=False) is None


def test_lora_is_judged_whatever_does_better_and_else_the_first_asked_for() -> None:
    delta, better = shipping("delta", NONE), replayed("lora-r4", IDEAL)
    worse = replayed("lora", NONE)
    assert gain(measured(replicate(0, better, worse, delta)), stored=False).strategy == "lora"
    first = replicate(0, replayed("lora-r2", NONE), better, delta)
    assert gain(measured(first), stored=False).strategy == "lora-r2"
    timed = replicate(
        0, late("lora-r4", IDEAL, [1.0]), late("lora", IDEAL, [2.0]), late("delta", IDEAL, [8.0])
    )
    assert lateness(measured(timed).found, FreshnessOptions(), Handling()).strategy == "lora"


def test_whole_tables_are_no_deltas_and_what_never_landed_is_named() -> None:
    lora = replayed("lora", IDEAL)
    one, other = (
        replicate(
            seed,
            lora,
            shipping("full", NONE, at_end={"pushes": [0.0]}),
            shipping("delta", NONE, at_end={"pushes": [0.0]}),
            shipping("stream", NONE, at_end={"pushes": [float(seed)]}),
        )
        for seed in range(2)
    )
    found = gain(measured(one, other), stored=False)
    assert set(found.areas) == {"delta", "stream"}
    assert found.never_landed == ["delta"]


def test_the_size_at_which_latencies_are_2_to_1_is_where_the_model_says_so() -> None:
    curve = TouchCurve((0.0, 1.0, 10.0, 100.0), (0.0, 0.05, 0.1, 0.3))
    replays = [
        Replicate(
            0, 1000, 0, "made up", [0.0] * WINDOWS,
            [late("lora", IDEAL, [10.0]), late("delta", IDEAL, [30.0])], None,
            touched=curve, dim=16,
        )
    ]  # fmt: skip
    found = measured(*replays).found
    options = FreshnessOptions(push_interval_s=2.0, emt_bytes=1e12, hosts=1)
    late_by = lateness(found, options, Handling(0.0, 1e-10))
    assert late_by.ratios == [(3.0, 3.0)]
    # Learned after 10 s, as lora's; then half a period and a push make 10 s more.
    at = replace(options, emt_bytes=late_by.twice_bytes)
    assert lateness(found, at, Handling(0.0, 1e-10)).modelled_s == pytest.approx(20.0)
    slow = lateness(found, replace(options, push_interval_s=100.0), Handling(0.0, 1e-10))
    assert slow.twice_bytes is None
    back = replace(options, emt_bytes=slow.back_to_back_bytes, push_interval_s=1e-9)
    assert lateness(found, back, Handling(0.0, 1e-10)).modelled_s == pytest.approx(20.0)


@pytest.mark.parametrize("ours_s", [0.3, 1.04])
def test_ticks_are_fine_enough_for_the_latency_to_be_twice_ours_where_it_is_said_to_be(
    ours_s: float,
) -> None:
    tick_s = touch_tick_s(600.0, 1000.0)
    lengths = [tick_s * 2**k for k in range(16)]
    curve = TouchCurve.of((each, 0.3 * (each / 3600) ** 0.5) for each in lengths)
    replays = [
        Replicate(
            0, 1000, 0, "made up", [0.0] * WINDOWS,
            [late("lora", IDEAL, [ours_s]), late("delta", IDEAL, [300.0])], None,
            touched=curve, dim=128,
        )
    ]  # fmt: skip
    found = measured(*replays).found
    options = FreshnessOptions(push_interval_s=600.0, emt_bytes=1e12)
    size = lateness(found, options, Handling()).back_to_back_bytes
    for near in (0.999, 1.001):
        at = replace(options, emt_bytes=near * size, push_interval_s=1e-9)
        assert lateness(found, at, Handling()).modelled_s == pytest.approx(2 * ours_s, rel=0.01)


def test_a_tick_is_no_shorter_than_rows_come_and_no_longer_than_a_second() -> None:
    assert touch_tick_s(600.0, 76.0) == pytest.approx(32 / 76)
    assert touch_tick_s(600.0, 1.0) == 1.0
    assert touch_tick_s(0.0, 1.0) == 0.05
