"""The co-located trainer on a whole node: stages, learning, the guard, divergence."""

import numpy as np
from small_node import DELAY_NS, ROWS, Node, small_node

from lorabench._kernels.adapter import PIN_BYTES
from lorabench.lora.learner import Stage


def served(node: Node, queries: int, first: int = 0, *, keep: bool = False) -> None:
    """Put rows into the ring as if they had been served now, with their base vectors or without."""
    rows = slice(first * ROWS, (first + queries) * ROWS)
    kept = {}
    if keep:
        tables = node.tables.kernels
        base = np.empty((queries * ROWS, len(tables.reusable_features), tables.dim), np.float32)
        kept = {"version": tables.version, "base": base}
        tables.gather(node.feed.sparse[rows], base)
    assert node.replay.rings[0].append(
        first * ROWS, node.clock.now, node.feed.dense[rows], node.feed.sparse[rows], **kept
    )


def adapter(node: Node) -> list[np.ndarray]:
    return [part for f in range(2) for part in node.state.writer.arrays(f)]


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
    assert node.trainer.log.basis_samples == 64
    updates = node.trainer.updates
    np.testing.assert_array_equal(updates.sample, np.arange(64, 256))
    np.testing.assert_array_equal(updates.each(updates.epoch), [2, 3, 4])
    np.testing.assert_array_equal(updates.count, [64, 64, 64])
    assert set(updates.label_ns) == {DELAY_NS}


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
            if node.trainer.log.guard_trips > trips:
                trips = node.trainer.log.guard_trips
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
    assert node.trainer.log.diverged
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
    np.testing.assert_array_equal(node.trainer.updates.sample, np.arange(64, 128))


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
    assert len(node.trainer.updates.sample) == 0
    assert node.replay.rings[0].appended == 0


BAG = (5, 1)  # of small_node's two features; only the first one's base vectors are worth keeping


def test_a_node_of_several_ids_a_feature_learns() -> None:
    node = small_node(queries=64, hotness=BAG)
    before = log_loss(node, 64)
    for _ in range(20):
        served(node, 64)
        node.clock.now += DELAY_NS
        while node.trainer.step():
            pass
    assert log_loss(node, 64) < before - 0.05
    assert node.replay.reuse_bytes is None


def test_with_reuse_the_same_samples_give_the_same_adapter_bit_by_bit() -> None:
    # The kernels add a bag's base rows up in the same order wherever they do it.
    found = []
    for reuse in (False, True):
        node = small_node(queries=64, hotness=BAG, base_stride=2)
        node.trainer.reset(reuse=reuse)
        for _ in range(3):
            served(node, 64, keep=reuse)
            node.clock.now += DELAY_NS
            while node.trainer.step():
                pass
        found.append(adapter(node))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    bytes_ = node.replay.reuse_bytes
    assert bytes_ is not None
    samples, row = 3 * 64 * ROWS, 4 * node.tables.kernels.dim
    assert (bytes_.features, bytes_.saved) == (1, samples * 5 * row)
    assert bytes_.written == bytes_.read == samples * (row + 8)
    assert bytes_.net == samples * (5 * row - 2 * (row + 8))
    node.trainer.reset()
    assert node.replay.reuse_bytes is None


def test_base_vectors_of_an_old_version_are_pooled_anew() -> None:
    found, saved = [], []
    for reuse in (False, True):
        node = small_node(queries=64, hotness=BAG)
        node.trainer.reset(reuse=reuse)
        served(node, 32, keep=reuse)
        with node.tables.changing():
            for table in node.tables.arrays:
                table[:] = table * 1.5
        served(node, 32, first=32, keep=reuse)
        node.clock.now += DELAY_NS
        while node.trainer.step():
            pass
        found.append(adapter(node))
        saved.append(node.replay.reuse_bytes)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert saved[1] is not None
    row = 4 * node.tables.kernels.dim
    assert saved[1].saved == 32 * ROWS * 5 * row, "only what was served since is of any use"
    assert saved[1].read == 64 * ROWS * (row + 8)


def test_what_was_pooled_while_the_tables_change_is_never_used() -> None:
    node = small_node(queries=64, hotness=BAG)
    node.trainer.reset(reuse=True)
    with node.tables.changing():
        served(node, 64, keep=True)
        node.clock.now += DELAY_NS
        assert node.trainer.step() == 64
    while node.trainer.step():
        pass
    assert node.replay.reuse_bytes is not None
    assert node.replay.reuse_bytes.saved == 0
    assert node.replay.reuse_bytes.net < 0


def test_where_no_feature_has_enough_ids_reuse_keeps_nothing_and_says_so() -> None:
    node = small_node(queries=64, hotness=(2, 1))
    node.trainer.reset(reuse=True)
    served(node, 64)
    node.clock.now += DELAY_NS
    while node.trainer.step():
        pass
    bytes_ = node.replay.reuse_bytes
    assert bytes_ is not None
    assert (bytes_.features, bytes_.saved, bytes_.written, bytes_.read) == (0, 0, 0, 0)


def test_batches_that_are_let_pass_save_nothing() -> None:
    node = small_node(queries=64, hotness=BAG, learning_rate=30.0, guard_window=32, base_stride=1)
    node.trainer.reset(reuse=True)
    looked_up = 0
    for _ in range(10):
        served(node, 64, keep=True)
        node.clock.now += DELAY_NS
        while True:
            looking = node.trainer.stage is not Stage.OFF
            n = node.trainer.step()
            if n == 0:
                break
            looked_up += n if looking else 0
    assert node.trainer.log.guard_trips > 0
    bytes_ = node.replay.reuse_bytes
    assert bytes_ is not None
    assert bytes_.saved == looked_up * 5 * 4 * node.tables.kernels.dim
    assert bytes_.written == 10 * 64 * ROWS * (4 * node.tables.kernels.dim + 8)


def test_a_smaller_step_takes_fewer_samples_and_gives_up_no_more() -> None:
    node = small_node(queries=64, batch=64)
    served(node, 64)
    now = node.clock.now + DELAY_NS
    node.replay.batch = 16
    assert node.replay.take(now) == 16
    assert node.replay.sample[:16].tolist() == list(range(16))
    node.replay.batch = 64
    assert node.replay.take(now) == 64
    assert node.replay.skipped == 0


def test_a_rows_first_step_is_in_proportion_to_its_gradient_and_no_kick() -> None:
    node = small_node(queries=64)
    served(node, 64)
    node.clock.now += DELAY_NS
    assert node.trainer.step() == 64, "for the basis"
    assert node.trainer.step() == 64
    for f in range(2):
        A, _, adapted = node.state.writer.arrays(f)
        assert len(adapted) > 0
        moved = np.linalg.norm(A, axis=1)
        # The learning rate is 0.3, and so long was every first step from an accumulator of 0.
        assert moved.max() < 0.25
        assert moved.std() > 0.1 * moved.mean(), "steps differ as gradients do"
