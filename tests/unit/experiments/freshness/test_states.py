"""How late, how much and how dear: what strategies tell of themselves, and their fronts."""

from replays import IDEAL, NONE, WINDOWS, late, measured, replicate


def test_a_latency_beyond_the_end_has_a_bound_and_a_share_of_labels_instead() -> None:
    table = measured(
        replicate(
            0,
            late("none", NONE, ()),
            late("lora", IDEAL, [1.0, 2.0, 3.0], [0.5]),
            late("delta", IDEAL, [9.0], [7.0, 5.0, 3.0]),
        ),
    ).table
    assert table.values("update_latency_p50", "lora") == [2.0]
    assert table.values("update_latency_p50_bound", "lora") == []
    assert table.values("unserved_share", "lora") == [0.25]
    assert table.values("update_latency_p50", "delta") == [None]
    assert table.estimate("update_latency_p50", "delta") is None
    assert table.values("update_latency_p50_bound", "delta") == [5.0]
    assert table.values("unserved_share", "delta") == [0.75]
    assert table.values("staleness_p50", "none") == [2.0]
    assert table.values("update_latency_p50", "none") == []


def test_one_replay_beyond_its_end_leaves_no_mean_of_the_others() -> None:
    replays = [
        replicate(0, late("delta", IDEAL, [4.0])),
        replicate(1, late("delta", IDEAL, [9.0], [7.0, 5.0])),
    ]
    table = measured(*replays).table
    assert table.values("update_latency_p50", "delta") == [4.0, None]
    assert table.estimate("update_latency_p50", "delta") is None


def test_fronts_are_of_what_can_be_deployed_by_each_cost() -> None:
    sent = {"at_end": {"pushed_bytes": [100.0], "undo_bytes": [30.0]}, "learn_s": 2.0}
    table = measured(
        replicate(
            0,
            late("none", NONE, ()),
            late("delta", [0.55] * WINDOWS, [9.0], **sent),
            late("lora", [0.6] * WINDOWS, [1.0], learn_s=3.0, peak_bytes={"slots": 20}),
            late("ideal", IDEAL, [1.0], learn_s=2.0),
        )
    ).table
    assert table.values("held_bytes", "delta") == [30.0]
    assert table.values("held_fraction", "lora") == table.values("lora_fraction", "lora") == [0.02]
    assert table.values("lora_bytes", "delta") == []
    on = {
        (str(case.labels["cost"]), str(case.labels["strategy"])): values[0]
        for case, values in table.named("on_pareto_front").items()
    }
    assert on == {
        ("pushed_bytes", "none"): 0.0,
        ("pushed_bytes", "delta"): 0.0,
        ("pushed_bytes", "lora"): 1.0,
        ("learn_cpu_s", "none"): 1.0,
        ("learn_cpu_s", "delta"): 1.0,
        ("learn_cpu_s", "lora"): 1.0,
        ("held_bytes", "none"): 1.0,
        ("held_bytes", "delta"): 0.0,
        ("held_bytes", "lora"): 1.0,
        ("update_latency_p50", "delta"): 0.0,
        ("update_latency_p50", "lora"): 1.0,
    }


def test_a_latency_beyond_the_end_is_on_the_front_by_what_it_is_at_least() -> None:
    table = measured(
        replicate(
            0,
            late("none", NONE, ()),
            late("delta", [0.55] * WINDOWS, [9.0], [7.0, 5.0, 3.0]),
            late("lora", [0.6] * WINDOWS, [1.0]),
            late("ideal", IDEAL, [1.0]),
        )
    ).table
    on = {
        str(case.labels["strategy"]): values[0]
        for case, values in table.named("on_pareto_front").items()
        if case.labels["cost"] == "update_latency_p50"
    }
    assert on == {"delta": 0.0, "lora": 1.0}
