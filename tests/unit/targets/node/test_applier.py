"""Pushes: which rows, and when; who applies them writes them all, and nothing else."""

import numpy as np
import pytest
from small_node import Clock

from lorabench.model.tables import TableLayout, TableSet
from lorabench.targets.load import Schedule
from lorabench.targets.node.applier import Applier, Staging
from lorabench.targets.node.push import Push, delta_push, stream_push

LAYOUT = TableLayout((40_000, 3, 60_000), 8, (1, 1, 2))
RNG = np.random.default_rng(0)
SPARSE = np.stack([RNG.integers(0, v, 3000) for v in (40_000, 3, 60_000, 60_000)], axis=1)
SPARSE = SPARSE.astype(np.int32)
LATE_NS = 1 << 62


def filled(seed: int) -> TableSet:
    tables = TableSet.create(LAYOUT)
    tables.initialise(np.random.default_rng(seed))
    return tables


def rows_of(push: Push, table: int, piece: int | None = None) -> np.ndarray:
    """The rows of a table, in the order in which they are written."""
    pieces = push.offsets if piece is None else push.offsets[piece : piece + 1]
    return np.concatenate([push.rows[each[table] : each[table + 1]] for each in pieces])


def touched(table: int) -> set[int]:
    columns = ([0], [1], [2, 3])[table]
    return set(SPARSE[:, columns].ravel().tolist())


@pytest.mark.parametrize("share", [0.01, 0.1, 1.0])
def test_a_delta_has_its_share_of_all_rows_ascending_those_of_the_traffic_first(
    share: float,
) -> None:
    push = delta_push(SPARSE, LAYOUT, share, seed=1)
    assert push.due_ns is None
    assert len(push.rows) == pytest.approx(share * sum(LAYOUT.rows), rel=0.1)
    assert (push.offsets[1:, 0] == push.offsets[:-1, -1]).all(), "no row is left out or sent twice"
    hot = 0
    for table, rows in enumerate(LAYOUT.rows):
        found = rows_of(push, table)
        assert (np.diff(found) > 0).all()
        assert (found >= 0).all()
        assert (found < rows).all()
        hot += len(touched(table) & set(found.tolist()))
    there = sum(len(touched(table)) for table in range(3))
    # Where all that was touched fits, all of it is there; else there is nothing else.
    assert hot == (len(push.rows) if share == 0.01 else there)
    again = delta_push(SPARSE, LAYOUT, share, seed=1)
    np.testing.assert_array_equal(push.rows, again.rows)


def test_a_stream_has_the_rows_of_each_batch_once_when_its_labels_have_arrived() -> None:
    arrivals = np.array([5, 20, 30], np.int64)
    count = np.array([2, 3, 2], np.int32)
    served = Schedule(arrivals, np.zeros(3, np.int32), count, skipped_rows=10)
    push = stream_push(SPARSE, served, LAYOUT, batch=4, delay_s=1e-6)
    # Samples 10 to 13 and 14 to 16; a batch has arrived with its last sample's label.
    assert push.due_ns is not None
    assert push.due_ns.tolist() == [1020, 1030]
    for piece, (begin, end) in enumerate([(10, 14), (14, 17)]):
        for table, columns in enumerate(([0], [1], [2, 3])):
            wanted = np.unique(SPARSE[begin:end, columns])
            np.testing.assert_array_equal(rows_of(push, table, piece), wanted)
    nothing = stream_push(SPARSE, served.between(9, 9), LAYOUT, batch=4, delay_s=0.0)
    assert nothing.offsets.shape == (0, 4)
    staging = Staging(nothing, tables := filled(0))
    assert Applier(staging, tables, clock=Clock(), until_ns=LATE_NS).step() == 0


def test_what_is_staged_is_written_and_nothing_else() -> None:
    sender, server = filled(1), filled(2)
    before = [table.copy() for table in server.arrays]
    push = delta_push(SPARSE, LAYOUT, 0.5, seed=0)
    assert len(push.offsets) > 1
    version = server.kernels.version
    applier = Applier(Staging(push, sender), server, clock=Clock(), until_ns=LATE_NS)
    written = [applier.step() for _ in push.offsets]
    assert sum(written) == applier.rows == len(push.rows)
    for table, sent, old in zip(server.arrays, sender.arrays, before, strict=True):
        new = np.zeros(len(table), np.bool_)
        new[rows_of(push, next(n for n, one in enumerate(server.arrays) if one is table))] = True
        np.testing.assert_array_equal(table, np.where(new[:, None], sent, old))
    assert server.kernels.version == version + 2 * len(written), "a change each, and none under way"


def test_a_delta_is_written_over_and_over_at_its_pace_and_counts_until_its_slice_ends() -> None:
    tables, clock = filled(0), Clock()
    push = delta_push(SPARSE, LAYOUT, 0.9, seed=0)
    pieces, row_bytes = np.diff(push.offsets[:, [0, -1]])[:, 0], LAYOUT.dim * 4
    applier = Applier(
        Staging(push, tables), tables, clock=clock, bytes_per_s=1e9 * row_bytes, until_ns=10**9
    )
    assert applier.step() == pieces[0], "the first is there at once"
    assert applier.step() == 0, "and the next has its time"
    clock.now = int(pieces[0])  # a row a ns
    assert applier.step() == pieces[1]
    assert applier.step() == 0
    clock.now = 10**9 + 1
    for _ in range(3 * len(pieces)):
        assert applier.step() > 0
    assert applier.rows == pieces[:2].sum()
    assert applier.left == 0


def test_a_stream_is_written_as_it_arrives_and_what_is_left_is_known() -> None:
    tables, clock = filled(0), Clock()
    served = Schedule(np.array([10, 20, 30]), np.zeros(3, np.int32), np.full(3, 4, np.int32))
    push = stream_push(SPARSE, served, LAYOUT, batch=4, delay_s=0.0)
    applier = Applier(Staging(push, tables), tables, clock=clock, until_ns=LATE_NS)
    assert applier.step() == 0
    clock.now = 20
    assert [applier.step() > 0 for _ in range(3)] == [True, True, False]
    assert applier.left == len(push.rows) - applier.rows > 0
    clock.now = 99
    assert applier.step() == len(rows_of(push, 0, 2)) + len(rows_of(push, 1, 2)) + len(
        rows_of(push, 2, 2)
    )
    assert (applier.left, applier.step()) == (0, 0)


def test_base_vectors_are_out_of_date_while_rows_are_written_over_and_good_afterwards() -> None:
    tables = filled(0)
    version = tables.kernels.version
    with tables.rewriting():
        with tables.changing():
            assert tables.kernels.version % 2 == 1
        assert tables.kernels.version not in (version, version + 1)
    assert tables.kernels.version == version
