"""Deltas are applied whole or not at all, and a poisoned one is put back to the byte."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lorabench.lora.guard import log_loss
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.full import FullTrainer
from lorabench.model.tables import TableLayout, TableSet
from lorabench.strategies.base import table_logits
from lorabench.updates.apply import Applied, Bound, Reason, Refused, ServedTables
from lorabench.updates.delta import Delta, Version

LAYOUT = TableLayout((50, 30), 4)
EMPTY = np.empty(0, np.int32)


@pytest.fixture
def served() -> Iterator[ServedTables]:
    tables = TableSet.create(LAYOUT)
    tables.initialise(np.random.default_rng(0))
    yield ServedTables(tables, Version(10, 1.0))
    tables.region.close()


def rows(*values: int) -> NDArray[np.int32]:
    return np.array(values, np.int32)


def ones(*counts: int) -> tuple[NDArray[np.float32], ...]:
    return tuple(np.ones((count, LAYOUT.dim), np.float32) for count in counts)


DELTA = Delta(20, 2.0, (rows(3, 7), rows(0)), ones(2, 1), (rows(9), EMPTY))


def contents(served: ServedTables) -> list[NDArray[np.float32]]:
    return [table.copy() for table in served.tables.arrays]


def test_rows_are_written_and_evicted_ones_served_as_zero(served: ServedTables) -> None:
    before = contents(served)
    version = served.tables.kernels.version
    found = served.apply(DELTA)
    # A row is 4 bytes of its number and 16 of its values.
    assert found == Applied(Version(20, 2.0), 3, 1, 4 * 20)
    before[0][[3, 7]] = 1
    before[0][9] = 0
    before[1][0] = 1
    for mine, expected in zip(served.tables.arrays, before, strict=True):
        np.testing.assert_array_equal(mine, expected)
    assert served.version == Version(20, 2.0)
    assert served.counts.applied == 1
    assert served.tables.kernels.version == version + 2


def test_a_quiet_interval_moves_the_clock_alone(served: ServedTables) -> None:
    before = contents(served)

    def unasked() -> NDArray[np.float32]:
        raise AssertionError

    quiet = Delta(10, 3.0, (EMPTY, EMPTY), ones(0, 0))
    assert served.apply(quiet, unasked) == Applied(Version(10, 3.0), 0, 0, 0)
    assert served.version == Version(10, 3.0)
    for mine, expected in zip(served.tables.arrays, before, strict=True):
        np.testing.assert_array_equal(mine, expected)


NAN = np.array([[1, np.nan, 1, 1]], np.float32)


@pytest.mark.parametrize(
    ("delta", "reason", "text"),
    [
        (replace(DELTA, step=9), Reason.STALE, "step 9 of 2 s, expected one after step 10 of 1 s"),
        (replace(DELTA, time_s=0.5), Reason.STALE, "step 20 of 0.5 s, expected one after step 10"),
        (replace(DELTA, step=10, time_s=1.0), Reason.STALE, "step 10 of 1 s, expected"),
        (replace(DELTA, rows=(rows(3),)), Reason.OTHER_TABLES, "rows of 1 tables, expected 2"),
        (replace(DELTA, evicted=(EMPTY,)), Reason.OTHER_TABLES, "expected 2"),
        (replace(DELTA, values=ones(2, 2)), Reason.OTHER_TABLES, "table 1: found values [2, 4]"),
        (
            replace(DELTA, rows=(rows(3, 7), rows(30))),
            Reason.OUT_OF_RANGE,
            "table 1: found row 30, expected 0 to 29",
        ),
        (replace(DELTA, rows=(rows(-1, 7), rows(0))), Reason.OUT_OF_RANGE, "table 0: found row -1"),
        (replace(DELTA, evicted=(rows(50), EMPTY)), Reason.OUT_OF_RANGE, "found row 50"),
        (replace(DELTA, rows=(rows(7, 7), rows(0))), Reason.DUPLICATE, "found row 7 again"),
        (replace(DELTA, evicted=(rows(3), EMPTY)), Reason.DUPLICATE, "found row 3 again"),
        (
            replace(DELTA, values=(ones(2)[0], NAN)),
            Reason.NON_FINITE,
            "table 1, row 0: found a value that is NaN or infinite",
        ),
    ],
)
def test_a_delta_that_cannot_be_served_changes_nothing(
    served: ServedTables, delta: Delta, reason: Reason, text: str
) -> None:
    before = contents(served)
    found = served.apply(delta)
    assert isinstance(found, Refused)
    assert found.reason is reason
    assert text in found.text
    assert not found.rolled_back
    assert served.counts.refused == {reason: 1}
    assert (served.counts.applied, served.version) == (0, Version(10, 1.0))
    for mine, expected in zip(served.tables.arrays, before, strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_what_ends_scoring_leaves_the_tables_as_they_were(served: ServedTables) -> None:
    before = contents(served)
    calls = []

    def interrupted() -> NDArray[np.float32]:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return np.zeros(3, np.float32)

    with pytest.raises(KeyboardInterrupt):
        served.apply(DELTA, interrupted)
    assert served.version == Version(10, 1.0)
    for mine, expected in zip(served.tables.arrays, before, strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_a_poisoned_delta_is_put_back_to_the_byte_and_a_sound_one_is_kept() -> None:
    """A real model on rows that it can learn; the canary is of samples that it has not seen."""
    layout = TableLayout((40, 40), 8)
    rng = np.random.default_rng(1)
    sparse = rng.integers(0, 40, (6000, 2)).astype(np.int32)
    dense = rng.standard_normal((6000, 2)).astype(np.float32)
    labels = (sparse.sum(axis=1) % 3 == 0).astype(np.int8)
    net = DenseNet(DlrmShape(2, 2, 8, (8,), (16,)))
    net.initialise(0)
    trained = TableSet.create(layout)
    trained.initialise(rng)
    mine = trained.copy()
    served = ServedTables(mine)
    kernels = mine.kernels
    seen = slice(0, 4000)
    last = slice(4000, 6000)

    def canary() -> NDArray[np.float32]:
        logits = table_logits(net, kernels, dense[last], sparse[last])
        return log_loss(logits, labels[last].astype(np.float32))

    trainer = FullTrainer(trained, net, "adagrad", 0.05)
    for begin in range(seen.start, seen.stop, 100):
        part = slice(begin, begin + 100)
        trainer.step(dense[part], sparse[part], labels[part])
    every = tuple(np.arange(size, dtype=np.int32) for size in layout.rows)
    sound = Delta(4000, 1.0, every, tuple(table.copy() for table in trained.arrays))
    found = served.apply(sound, canary)
    assert isinstance(found, Applied)
    assert found.loss_after is not None
    assert found.loss_before is not None
    assert found.loss_after < found.loss_before
    before = contents(served)

    # A tenth of the rows, as an overflow of the trainer would leave them.
    few = tuple(one[::10] for one in every)
    poisoned = Delta(4100, 2.0, few, tuple(-50 * table[::10] for table in trained.arrays))
    refused = served.apply(poisoned, canary)
    assert isinstance(refused, Refused)
    assert refused.rolled_back
    assert refused.reason is Reason.WORSE
    assert served.counts.rolled_back == {Reason.WORSE: 1}
    assert served.version == sound.version
    for mine_after, expected in zip(served.tables.arrays, before, strict=True):
        np.testing.assert_array_equal(mine_after.view(np.uint32), expected.view(np.uint32))
    for one in (trained, mine):
        one.region.close()


LOSSES = st.lists(st.floats(0, 10, width=32), min_size=1, max_size=40)


@given(LOSSES)
def test_losses_that_do_not_rise_are_within_the_bound(losses: list[float]) -> None:
    before = np.array(losses, np.float32)
    assert not Bound().exceeded(before, before)
    assert not Bound().exceeded(before, before * np.float32(0.5))


def test_a_rise_has_to_matter_and_to_be_told_from_none() -> None:
    before = np.full(1000, 0.5, np.float32)
    bound = Bound(share=0.02, z=3)
    assert not bound.exceeded(before, before + np.float32(0.009))
    assert bound.exceeded(before, before + np.float32(0.011))
    noise = np.tile(np.array([-0.4, 0.4], np.float32), 500)
    assert not bound.exceeded(before, before + np.float32(0.011) + noise)
    assert bound.exceeded(before, np.full(1000, np.nan, np.float32))
    # Broken before, mended now.
    assert not bound.exceeded(np.full(1000, np.nan, np.float32), before)
    assert not bound.exceeded(before[:0], before[:0])
