"""The co-located trainer on a whole node: stages, learning, the guard, divergence."""

import numpy as np
from small_node import DELAY_NS, ROWS, Node, small_node

from lorabench._hotpath import PIN_BYTES
from lorabench.training.learner import Stage


def served(node: Node, queries: int, first: int = 0) -> None:
    """Put rows into the ring as if they had been served now."""
    rows = slice(first * ROWS, (first + queries) * ROWS)
    assert node.replay.rings[0].append(
        first * ROWS, node.clock.now, node.feed.dense[rows], node.feed.sparse[rows]
    )


def log_loss(node: Node, queries: int) -> float:
    predicted = np.concatenate([node.predict(q) for q in range(queries)])
    labels = node.labels[: queries * ROWS]
    return float(-np.where(labels == 1, np.log(predicted), np.log1p(-predicted)).mean())


def test_the_basis_is_chosen_first_then_every_batch_is_an_epoch() -> None:
    node = small_node(queries=64)
    served(node, 64)
    assert node.trainer.step() == 0, "labels have not arrived yet"
    node.clock.now += DELAY_NS
    assert node.trainer.step() == 64
    assert node.trainer.stage is Stage.LEARN
    assert node.state.writer.epoch == 1
    for f in range(2):
        _, B, _ = node.state.writer.arrays(f)
        np.testing.assert_allclose(B @ B.T, np.eye(4), atol=1e-5)
    epochs = []
    while node.trainer.step():
        epochs.append(node.state.writer.epoch)
    assert epochs == [2, 3, 4]
    log = node.trainer.log
    assert log.learner.basis_samples == 64
    np.testing.assert_array_equal(np.concatenate(log.sample), np.arange(64, 256))
    np.testing.assert_array_equal(np.concatenate(log.epoch), np.repeat([2, 3, 4], 64))
    assert set(np.concatenate(log.label_ns)) == {DELAY_NS}


def test_learning_lowers_the_loss_and_leaves_base_tables_and_net_alone() -> None:
    node = small_node(queries=64)
    tables = [table.copy() for table in node.tables.arrays]
    weights = [parameter.clone() for parameter in node.net.parameters()]
    before = log_loss(node, 64)
    for _ in range(20):
        served(node, 64)
        node.clock.now += DELAY_NS
        while node.trainer.step():
            pass
    assert log_loss(node, 64) < before - 0.05
    for table, kept in zip(node.tables.arrays, tables, strict=True):
        np.testing.assert_array_equal(table, kept)
    assert all((a == b).all() for a, b in zip(node.net.parameters(), weights, strict=True))


def test_the_same_samples_give_the_same_adapter() -> None:
    found = []
    for _ in range(2):
        node = small_node(queries=64)
        for _ in range(3):
            served(node, 64)
            node.clock.now += DELAY_NS
            while node.trainer.step():
                pass
        found.append(node.state.writer.arrays(0))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_adapter_that_predicts_worse_is_switched_off_reset_and_reported() -> None:
    node = small_node(queries=64, learning_rate=30.0, guard_window=32, base_stride=1)
    plain = [node.predict(q) for q in range(64)]
    trips = 0
    for _ in range(30):
        served(node, 64)
        node.clock.now += DELAY_NS
        while node.trainer.step():
            if node.trainer.log.learner.guard_trips > trips:
                trips = node.trainer.log.learner.guard_trips
                assert node.trainer.stage is Stage.OFF
                assert node.state.writer.used == [0, 0]
                for q in range(64):
                    np.testing.assert_allclose(node.predict(q), plain[q], rtol=1e-5)
    assert trips > 0


def test_a_trainer_that_diverges_stops_publishing_and_the_last_good_epoch_is_served() -> None:
    node = small_node(queries=64)
    served(node, 48)
    node.clock.now += DELAY_NS
    while node.trainer.step():
        pass
    epoch = node.state.writer.epoch
    good = [node.predict(q) for q in range(64)]
    node.feed.dense[48 * ROWS :] = np.nan
    served(node, 16, first=48)
    node.clock.now += DELAY_NS
    assert node.trainer.step() == 64
    assert node.trainer.stage is Stage.DIVERGED
    assert node.trainer.log.learner.diverged
    served(node, 16)
    node.clock.now += DELAY_NS
    node.trainer.step()
    assert node.state.writer.epoch == epoch
    for q in range(48):
        np.testing.assert_array_equal(node.predict(q), good[q])


def test_a_pinned_idle_side_defers_the_trainer_without_losing_a_sample() -> None:
    node = small_node(queries=64)
    served(node, 64)
    node.clock.now += DELAY_NS
    node.trainer.step()
    assert node.state.writer.epoch == 1, "side 1 is active, side 0 idle"
    pin = np.frombuffer(node.state.pins, np.int64, count=PIN_BYTES // 8)
    pin[0] = 1
    assert node.trainer.step() == 0
    assert node.state.writer.deferred == 1
    pin[0] = 0
    assert node.trainer.step() == 64
    np.testing.assert_array_equal(node.trainer.log.sample[0], np.arange(64, 128))


def test_a_reset_trainer_starts_from_an_empty_adapter() -> None:
    node = small_node(queries=64)
    served(node, 64)
    node.clock.now += DELAY_NS
    while node.trainer.step():
        pass
    node.trainer.reset()
    assert node.trainer.stage is Stage.BASIS
    assert node.state.writer.epoch == 0
    assert node.state.writer.used == [0, 0]
    assert node.trainer.log.sample == []
    assert node.replay.rings[0].appended == 0
