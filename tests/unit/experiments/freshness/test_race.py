"""Strategies side by side: what a push brings when, alone or together, whole or poisoned."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from lorabench.experiments.freshness import replay as replay_module
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.quality import Quality, Replayed
from lorabench.experiments.freshness.race import Race
from lorabench.experiments.freshness.replay import Replay
from lorabench.model.prepare import prepare
from lorabench.strategies.deployment import Deployment, Pushes
from lorabench.strategies.registry import parse
from lorabench.strategies.shipping import Deltas
from lorabench.updates.delta_files import write_delta
from lorabench.updates.delta_header import NamedTables
from lorabench.updates.link import Handling, Link, Scale, Sync
from lorabench.workload.block import dense_features
from lorabench.workload.features import plain_dense
from lorabench.workload.source import open_source

BATCH = 500
EVERY_S = 2.0


@pytest.fixture(scope="module")
def source(freshness_spec):
    return open_source(str(freshness_spec), None, 0)


@pytest.fixture(scope="module")
def prepared(source):
    return prepare(source, None, 0, lambda *_: None, accumulators=True)


@pytest.fixture(scope="module")
def batches(source, prepared):
    """A row a millisecond, so that a batch takes half a second."""
    rows = prepared.stream(source).take(6000)
    rows = replace(rows, time_ns=np.arange(len(rows), dtype=np.int64) * 1_000_000)
    return [rows.slice(begin, begin + BATCH) for begin in range(0, len(rows), BATCH)]


def pushes(prepared, interval_s: float, bits_per_s: float = np.inf) -> Pushes:
    size = prepared.tables.layout.table_bytes
    return Pushes(Sync(Link(bits_per_s), Scale(size, size)), interval_s)


def run(prepared, batches, when: Pushes, *names: str) -> dict[str, Replayed]:
    """Return each strategy's probabilities by batch, and what it tells."""
    with (
        closing(Deployment(prepared.model, 0.2, when)) as home,
        closing(Race(home, plain_dense(13), 0.5, lambda _: 0.0)) as race,
    ):
        arms = [race.enter(parse(name), Replayed(parse(name), Quality(1))) for name in names]
        for rows in batches:
            race.step(rows)
        scores = {arm.found.spec.name: list(arm.scores) for arm in arms}
        race.end_window(np.concatenate([rows.label for rows in batches]))
        race.finish()
        return {arm.found.spec.name: (scores[arm.found.spec.name], arm.found) for arm in arms}


def test_over_a_link_that_costs_nothing_delta_is_ideal_up_to_its_interval(prepared, batches):
    always = run(prepared, batches, pushes(prepared, 0.0), "delta", "full", "stream", "ideal")
    for name in ("delta", "full", "stream"):
        np.testing.assert_array_equal(always[name][0], always["ideal"][0])
    found = run(prepared, batches, pushes(prepared, EVERY_S), "delta", "ideal", "none")
    delta, ideal, none = (found[name][0] for name in ("delta", "ideal", "none"))
    same = [np.array_equal(one, other) for one, other in zip(delta, ideal, strict=True)]
    # Batches take half a second: every fourth is predicted right after a push.
    assert [number for number, is_same in enumerate(same) if is_same][-2:] == [4, 8]
    assert all(np.array_equal(delta[n], none[n]) for n in range(4))
    assert not np.array_equal(delta[5], none[5])


def test_a_push_is_served_when_the_link_has_carried_it_and_the_next_waits_for_it(prepared, batches):
    size = prepared.tables.layout.table_bytes
    # All rows take three seconds.
    when = pushes(prepared, 1.0, bits_per_s=8 * size / 3)
    found = run(prepared, batches, when, "full", "none")
    scores, full = found["full"]
    changed = [
        not np.array_equal(one, other) for one, other in zip(scores, found["none"][0], strict=True)
    ]
    # Begun at 1 s, landed at 4 s: the ninth batch of half a second.
    assert changed == [False] * 8 + [True] * 4
    assert full.at_end["pushes"] == [1.0]
    assert full.at_end["pushed_bytes"] == [2.0 * size]
    assert full.at_end["push_s"] == [pytest.approx(3.0)]


def test_strategies_are_alike_together_and_alone(prepared, batches):
    names = ("delta", "priority-grad-energy-10", "lora-r2", "lora+delta", "ideal")
    together = run(prepared, batches, pushes(prepared, EVERY_S), *names)
    for name in names:
        alone = run(prepared, batches, pushes(prepared, EVERY_S), name)
        np.testing.assert_array_equal(together[name][0], alone[name][0])


def test_passes_that_fit_into_memory_give_the_same(source, prepared, freshness_spec, monkeypatch):
    options = FreshnessOptions(
        preset=str(freshness_spec), windows=2, rows=4000, memory_budget=0.2, seeds=1
    )
    names = ("none", "delta", "stream", "lora-r2", "ideal")

    def areas() -> list[list[float | None]]:
        one = Replay(
            source,
            prepared,
            options,
            lambda *_: None,
            pushes=pushes(prepared, EVERY_S),
            pace=lambda _: 1e-6,
        )
        one.run([parse(name) for name in names])
        assert [found.spec.name for found in one.strategies] == list(names)
        assert len(one.windows) == 2
        return [found.quality.auc for found in one.strategies]

    together = areas()
    monkeypatch.setattr(replay_module, "copies_that_fit", lambda _: 2)
    assert areas() == together


@pytest.mark.parametrize("factor", [np.nan, 1e3], ids=["not finite", "garbage"])
def test_a_poisoned_push_is_not_served_and_its_rows_are_sent_again(
    prepared, batches, monkeypatch, factor
):
    usual = Deltas.received
    came = []

    def received(self, delta):
        came.append(delta)
        if len(came) > 1:
            return usual(self, delta)
        poisoned = tuple(np.float32(factor) * values for values in delta.values)
        return replace(delta, values=poisoned)

    monkeypatch.setattr(Deltas, "received", received)
    found = run(prepared, batches, pushes(prepared, EVERY_S), "delta", "none", "ideal")
    scores, delta = found["delta"]
    assert delta.at_end["pushes_refused"] == [1.0]
    assert np.array_equal(scores[4], found["none"][0][4])
    assert np.array_equal(scores[8], found["ideal"][0][8])


@pytest.mark.parametrize("slow", [Handling(1e-4, 0.0), Handling(0.0, 1e-4)])
def test_a_stream_sends_no_faster_than_its_ends_encode_and_write(prepared, batches, slow):
    free = pushes(prepared, 1.0, bits_per_s=8e5)
    when = replace(free, sync=replace(free.sync, handling=slow))
    told = run(prepared, batches, when, "stream")["stream"][1].at_end
    # A host handles 10 kB/s, the link would carry 100; what a chunk holds is sent on ahead.
    seconds = told["pushed_bytes"][0] * (slow.encode_s_per_byte + slow.apply_s_per_byte)
    lasts_s = len(batches) * BATCH / 1000
    assert lasts_s / 2 < seconds < lasts_s + 2 * max(told["push_s"])


def test_priority_holds_back_what_it_does_not_send(prepared, batches):
    found = run(prepared, batches, pushes(prepared, EVERY_S), "priority-1", "delta")
    parts = found["delta"][1].quality.slices
    assert set(parts) == {"new", "cold", "hot", "unsent by priority-1"}
    assert all(len(areas) == 1 for areas in parts.values())
    few, all_rows = (found[name][1].at_end["push_share"] for name in ("priority-1", "delta"))
    assert max(few) == pytest.approx(0.01, rel=0.01)
    assert max(all_rows) > 0.05


def test_a_compute_time_delays_what_is_learned(prepared, batches):
    """At 2 ms a sample a batch of 500 takes a second, and rows come at twice that rate."""
    with (
        closing(Deployment(prepared.model, 0.2)) as home,
        closing(Race(home, plain_dense(13), 0.0, lambda _: 2e-3)) as race,
    ):
        arm = race.enter(parse("ideal"), Replayed(parse("ideal"), Quality(1)))
        steps = []
        for rows in batches:
            race.step(rows)
            steps.append(arm.delays.served)
    # The first batch has come after half a second, and is learned a second later.
    assert steps[:8] == [0, 0, 0, 500, 500, 1000, 1000, 1500]


def test_what_warms_up_serves_nothing_of_what_it_was_given(prepared, batches):
    """The basis takes 4,096 samples; the batch behind them is the first that is served."""
    with (
        closing(Deployment(prepared.model, 0.2)) as home,
        closing(Race(home, plain_dense(13), 0.0, lambda _: 0.0)) as race,
    ):
        arm = race.enter(parse("lora"), Replayed(parse("lora"), Quality(1)))
        steps = []
        for rows in batches:
            race.step(rows)
            steps.append(arm.delays.served)
    assert steps == [0] * 10 + [5000, 5500]


def test_a_cluster_of_lora_and_delta_is_that_of_delta() -> None:
    specs = [parse(name) for name in ("delta", "lora+delta", "ideal")]
    assert replay_module.copies_of(specs) == 1 + 2


def test_priority_serves_labels_once_no_row_of_theirs_is_held_back(prepared, batches):
    when = replace(pushes(prepared, 1.0), full_every=4)
    with (
        closing(Deployment(prepared.model, 0.2, when)) as home,
        closing(Race(home, plain_dense(13), 0.0, lambda _: 0.0)) as race,
    ):
        arm = race.enter(parse("priority-1"), Replayed(parse("priority-1"), Quality(1)))
        served, same = [], []
        for rows in batches:
            race.step(rows)
            one = arm.strategy
            served.append(one.step)
            same.append(
                all(map(np.array_equal, one.served.tables.arrays, one.cluster.tables.arrays))
            )
    # Pushes begin with every second batch; the fourth is a full one.
    assert served[:8] == [0] * 8
    assert (served[8], same[8]) == (4000, True)
    # All that the full one left to learn waits since then.
    assert served[9:] == [4000] * (len(batches) - 9)
    assert not any(same[9:])


@pytest.mark.parametrize("by", ["delta-norm", "grad-energy", "freq-grad"])
def test_rows_of_a_refused_push_wait_with_the_score_that_they_had(prepared, batches, by):
    with (
        closing(Deployment(prepared.model, 0.2, pushes(prepared, 0.0))) as home,
        closing(parse(f"priority-{by}-1").make(home)) as strategy,
    ):
        for rows in batches[:2]:
            strategy.cluster.learn(
                dense_features(rows.dense, plain_dense(13)), rows.sparse, rows.label
            )
        pushed = strategy.select(0, 0.0)
        strategy.refused(pushed)
        held = strategy.held_back(batches[0].sparse)
        assert (held == batches[0].sparse.shape[1]).all()
        again = strategy.select(1, 1.0)
        assert all(map(np.array_equal, pushed.rows, again.rows))
        assert (again.count, again.step) == (pushed.count, 0)


def test_a_recorded_push_that_learned_labels_of_the_future_is_refused(prepared, batches, tmp_path):
    tables = NamedTables(prepared.tables.layout)
    with (
        closing(Deployment(prepared.model, 0.2)) as home,
        closing(Race(home, plain_dense(13), 0.0, lambda _: 0.0)) as race,
    ):
        source = parse("ideal").cluster(home)
        for rows in batches:
            source.learn(dense_features(rows.dense, plain_dense(13)), rows.sparse, rows.label)
        told = source.delta(source.touched_since(0), 0.0)
        # The second learned a part of the batch of 2 s: it begins once all of that is known. The
        # third claims two batches more than have come.
        for number, (step, time_s) in enumerate([(1400, 1.5), (2200, 2.0), (3500, 2.5)]):
            write_delta(tmp_path, number, replace(told, step=step, time_s=time_s), tables)
        spec = parse("deltas").given(folder=tmp_path)
        arm = race.enter(spec, Replayed(spec, Quality(1)))
        served = []
        for rows in batches:
            race.step(rows)
            served.append(arm.delays.served)
    assert served == [0] * 3 + [1400] * 2 + [2200] * 7
    assert arm.strategy.final_metrics()["pushes"] == [2.0]
    assert arm.strategy.final_metrics()["pushes_refused"] == [1.0]
