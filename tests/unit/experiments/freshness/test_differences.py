"""Whom strategies are held against, how sure that is, and in which parts of the windows."""

import pytest
from replays import NONE, WINDOWS, measured, replayed, replicate

from lorabench.experiments.freshness.replicates import strategy_case
from lorabench.results.statistics import holm, paired_p

DOZEN = (
    *("none", "full", "delta", "delta-int8", "priority", "priority-grad-energy-10", "stream"),
    *("lora", "lora-r4", "lora+delta", "memory", "ideal"),
)


def test_of_a_dozen_not_all_pairs_are_compared() -> None:
    replays = [
        replicate(seed, *(replayed(name, [0.5 + 0.01 * seed + 0.02 * n] * WINDOWS)
                          for n, name in enumerate(DOZEN)))
        for seed in range(2)
    ]  # fmt: skip
    found = set(measured(*replays).table.named("auc_difference"))
    pairs = {(str(one.labels["strategy"]), str(one.labels["against"])) for one in found}
    ships = {"full", "delta", "delta-int8", "priority", "priority-grad-energy-10", "stream"}
    here = ["lora", "lora-r4", "lora+delta", "memory", "ideal"]
    assert pairs == {
        *((name, "none") for name in DOZEN[1:]),
        *((name, "delta") for name in DOZEN[1:] if name != "delta"),
        *((name, other) for name in ("lora", "lora-r4") for other in ships),
        *((a, b) for n, a in enumerate(here) for b in here[n + 1 :]),
    }


def test_differences_from_delta_are_as_sure_as_all_of_them_allow() -> None:
    areas = {"delta": (0.5, 0.5, 0.5), "full": (0.51, 0.5, 0.52), "lora": (0.6, 0.61, 0.59)}
    replays = [
        replicate(seed, *(replayed(name, [of[seed]] * WINDOWS) for name, of in areas.items()))
        for seed in range(3)
    ]
    table = measured(*replays).table
    alone = [paired_p(table.values("auc_difference", f"{n} - delta")) for n in ("full", "lora")]
    found = [table.estimate("auc_difference_holm", f"{n} - delta") for n in ("full", "lora")]
    assert [one.value for one in found] == pytest.approx(holm(alone))
    assert found[1].value == pytest.approx(2 * alone[1])


def test_parts_of_windows_have_areas_and_differences_of_their_own() -> None:
    hot = {"delta": [0.5, 0.6, None, 0.7], "priority": [0.6, 0.6, 0.6, 0.6]}
    one = replicate(0, *(replayed(name, NONE) for name in hot))
    for strategy in one.strategies:
        strategy.quality.slices["hot"] = hot[strategy.spec.name]
    one.strategies[1].quality.slices["unsent by priority"] = [0.4]  # and then no longer
    table = measured(one).table
    case = strategy_case("priority").also("hot", slice="hot")
    assert dict(case.labels) == {"strategy": "priority", "slice": "hot"}
    assert table.values("auc_slice", case) == [pytest.approx(0.6)]
    assert table.values("auc_slice", "delta, hot") == [pytest.approx(0.6)]
    assert table.values("auc_slice_difference", "priority - delta, hot") == [pytest.approx(0.0)]
    assert table.values("auc_slice", "priority, unsent by priority") == [pytest.approx(0.4)]
    assert table.values("auc_slice_difference", "priority - delta, unsent by priority") == []
