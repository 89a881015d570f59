"""What is made of replicates whose qualities are known."""

import pytest
from replays import IDEAL, NONE, WINDOWS, measured, replayed, replicate, usual

from lorabench.experiments.freshness.metrics import FreshnessTable
from lorabench.experiments.freshness.quality import Quality, Replayed, Replicate, blocks_of
from lorabench.experiments.freshness.replicates import difference_case
from lorabench.experiments.freshness.verdicts import most_fraction
from lorabench.results.statistics import detectable_difference, mean, ratio_of_sums
from lorabench.strategies.registry import parse


def test_each_seed_has_one_value_of_each_metric() -> None:
    table = measured(usual(0), usual(1, (0.4, 0.5, 0.5, 0.6))).table
    # Differences: 0.35 of 0.6, then 0 of 0.6; the first window, and the last.
    assert table.values("gap_recovered", "lora") == pytest.approx([0.35 / 0.6, 0.0])
    assert table.values("gap_recovered_first_quarter", "lora") == pytest.approx([0.0, -1.0])
    assert table.values("gap_recovered_last_third", "lora") == pytest.approx([1.0, 0.5])
    assert table.values("auc", "lora") == pytest.approx([0.5875, 0.5])
    assert table.values("windows_below_none", "lora") == [0.0, 1.0]
    assert table.values("windows_below_none", "ideal") == [0.0, 0.0]


def test_differences_are_paired_and_say_what_they_could_have_shown() -> None:
    table = measured(usual(0), usual(1, (0.4, 0.5, 0.5, 0.6)), usual(2)).table
    assert set(table.named("auc_difference")) == {
        difference_case(*pair) for pair in (("lora", "none"), ("ideal", "none"), ("lora", "ideal"))
    }
    case = difference_case("lora", "none")
    values = table.values("auc_difference", case)
    assert values == pytest.approx([0.0875, 0.0, 0.0875])
    assert dict(case.labels) == {"strategy": "lora", "against": "none"}
    assert table.estimate("auc_difference", case) == mean(values)
    least = table.estimate("auc_difference_detectable", case)
    assert (least.value, least.n) == (detectable_difference(values), 3)


def test_a_series_is_the_mean_over_seeds_and_each_seed_has_its_own() -> None:
    series = {
        tuple(one.labels.items()): one
        for one in measured(usual(0), usual(2, (0.4, 0.5, 0.5, 0.6))).series
        if one.name == "auc" and one.labels["strategy"] == "lora"
    }
    mean_series = series[(("strategy", "lora"),)]
    assert mean_series.x == pytest.approx([1.0, 11.0, 21.0, 31.0])
    assert mean_series.y == pytest.approx([0.45, 0.525, 0.55, 0.65])
    assert len(series) == 3
    assert series[("strategy", "lora"), ("seed", 2)].y == pytest.approx([0.4, 0.5, 0.5, 0.6])


def test_blocks_of_time_have_one_value_each_and_the_whole_stream_one() -> None:
    table = measured(usual(0, at_end={"rebases": [3.0]}), blocks=2).table
    assert table.values("auc", "lora") == pytest.approx([0.525, 0.65])
    assert table.values("gap_recovered", "lora") == pytest.approx([0.25, 0.75])
    assert table.values("auc_difference", "lora - none") == pytest.approx([0.025, 0.15])
    for name in ("gap_recovered_first_quarter", "gap_recovered_last_third", "auc_last_third"):
        assert len(table.values(name, "lora")) == 1
    # A model ages from block to block, so that their spread says nothing of what could be shown.
    assert table.named("auc_difference_detectable") == {}
    assert table.values("rebases", "lora") == [3.0]


def test_one_value_has_no_interval_and_no_difference_to_speak_of() -> None:
    table = measured(usual(0)).table
    assert table.estimate("gap_recovered", "lora").interval is None
    assert table.named("auc_difference_detectable") == {}


def test_a_replicate_without_a_gap_has_no_share_and_counts_nonetheless() -> None:
    flat = replicate(
        1, replayed("none", NONE), replayed("lora", IDEAL), replayed("ideal", [0.4] * WINDOWS)
    )
    table = measured(usual(0), flat).table
    assert table.values("gap_recovered", "lora") == [pytest.approx(0.35 / 0.6), None]
    # Gains of 0.35 and 0.6, gaps of 0.6 and -0.4.
    estimate = table.estimate("gap_recovered", "lora")
    assert (estimate.value, estimate.n) == (pytest.approx(0.95 / 0.2), 2)
    assert estimate.interval is None
    assert measured(flat).table.estimate("gap_recovered", "lora") is None


def test_a_replicate_with_a_tiny_gap_does_not_carry_the_share() -> None:
    tiny = replicate(
        2,
        replayed("none", NONE),
        replayed("lora", [0.51] * WINDOWS),
        replayed("ideal", [0.5001] * WINDOWS),
    )
    table = measured(usual(0), usual(1), tiny).table
    assert table.values("gap_recovered", "lora")[2] == pytest.approx(100.0)
    expected = ratio_of_sums([(0.35, 0.6), (0.35, 0.6), (0.04, 0.0004)])
    found = table.estimate("gap_recovered", "lora")
    assert found.value == pytest.approx(expected.value)
    assert found.interval == pytest.approx(expected.interval)
    (metric,) = (m for m in table.metrics() if m.name == "gap_recovered")
    assert (len(metric.values), metric.estimate) == (3, found.value)


@pytest.mark.parametrize("windows", [2, 3])
def test_too_few_windows_have_no_quarter_and_no_third(windows: int) -> None:
    names = ("none", "lora", "ideal")
    replays = [
        Replicate(
            seed,
            1000,
            0,
            "made up",
            [0.0, 1.0, 2.0][:windows],
            [
                Replayed(parse(name), Quality(windows, areas, areas, 0.5), done=True)
                for name, areas in zip(
                    names, ([0.5] * windows, [0.6] * windows, [0.7] * windows), strict=True
                )
            ],
            None,
        )
        for seed in range(2)
    ]
    found = FreshnessTable(replays, blocks_of(windows, 1))
    found.fill()
    assert found.table.named("gap_recovered") != {}
    assert found.table.named("gap_recovered_first_quarter") == {}
    for name in ("gap_recovered_last_third", "auc_last_third"):
        assert (found.table.named(name) != {}) == (windows == 3)


def test_what_diverged_is_told_and_left_out_where_it_did() -> None:
    gone = usual(1, (0.5, 0.9), diverged=True, at_end={"diverged": [1.0]})
    found = measured(usual(0), gone)
    table = found.table
    assert table.values("diverged", "lora") == [0.0, 1.0]
    assert table.values("diverged", "ideal") == [0.0, 0.0]
    for name in ("auc", "normalized_entropy", "auc_last_third", "gap_recovered"):
        assert table.values(name, "lora")[1] is None
    assert table.values("auc_difference", "lora - none")[1] is None
    assert table.values("windows_below_none", "lora") == [0.0, None]
    # The mean is of the seed that did not diverge; the other's own stands beside it.
    lines = {one.condition: one.y for one in found.series if one.name == "auc"}
    assert lines["lora"] == lines["lora, seed 0"] == [0.5, 0.55, 0.6, 0.7]
    assert lines["lora, seed 1"] == [0.5, 0.9]


def test_a_replicate_that_diverged_takes_part_in_no_mean_of_a_learners_state() -> None:
    state = {
        "learned": 1000,
        "learn_s": 1.0,
        "by_window": {"rank": [4.0] * WINDOWS},
        "at_end": {"rebases": [2.0], "guard_trips": [0.0]},
        "peak_bytes": {"slots": 10},
    }
    gone = state | {
        "by_window": {"rank": [8.0]},
        "at_end": {"rebases": [9.0], "guard_trips": [7.0], "diverged": [1.0]},
        "peak_bytes": {"slots": 30},
        "diverged": True,
    }
    found = measured(usual(0, **state), usual(1, (0.5,), **gone))
    for name, value in (
        ("rebases", 2.0),
        ("guard_trips", 0.0),
        ("train_samples_per_s", 1000.0),
        ("rank", 4.0),
    ):
        assert found.table.values(name, "lora") == [value, None]
    ranks = {one.condition: one.y for one in found.series if one.name == "rank"}
    assert ranks["lora"] == [4.0] * WINDOWS
    assert ranks["lora, seed 1"] == [8.0]
    # It held its memory nonetheless.
    assert most_fraction(found.found) == 0.03


def test_where_every_seed_diverged_there_is_no_mean_over_them() -> None:
    gone = [usual(seed, (0.5,), diverged=True, at_end={"diverged": [1.0]}) for seed in range(2)]
    lines = {one.condition for one in measured(*gone).series if one.name == "auc"}
    assert {"lora, seed 0", "lora, seed 1"} <= lines
    assert "lora" not in lines
    (alone,) = (
        one for one in measured(gone[0]).series if (one.name, one.condition) == ("auc", "lora")
    )
    assert alone.y == [0.5]


def test_what_a_strategy_tells_is_finite_or_left_out() -> None:
    odd = {"by_window": {"rank": [4.0, float("nan"), 4.0, 4.0]}, "at_end": {"rebase_loss": []}}
    table = measured(usual(0, **odd), usual(1, at_end={"rebase_loss": [1.0, 3.0]})).table
    assert table.values("rank", "lora") == [4.0, None]
    assert table.values("rebase_loss", "lora") == [None, 2.0]
