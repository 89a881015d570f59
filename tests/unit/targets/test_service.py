"""What the host held up, told apart from what a guest does to itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import record

from lorabench.targets.service import STALL_NS, ServiceTime, measured_stalls, stalls
from lorabench.targets.target import Record

NORM = ServiceTime(100_000.0, 10_000.0)
MS = 1_000_000


def one_by_one(took_ms: list[float], **columns: object) -> Record:
    """Queries a millisecond apart on a server that is idle in between, of 10 rows each."""
    scheduled = [n * 10 * MS for n in range(len(took_ms))]
    done = [at + round(took * MS) for at, took in zip(scheduled, took_ms, strict=True)]
    columns = {"late_ns": [0] * len(took_ms), **columns}
    return record(scheduled, done, rows=10, window_ns=(0, 10 * MS * len(took_ms)), **columns)


def test_a_slow_batch_of_a_thread_to_which_nothing_happened_is_a_stall() -> None:
    found = stalls(one_by_one([0.2, 4.2, 0.2]), NORM)
    assert found.at_ns.tolist() == [14_200_000]
    assert found.held_ns == pytest.approx([4.0 * MS])
    assert found.touched.tolist() == [False, True, False]


@pytest.mark.parametrize(
    "own", [{"switches": [0, 1, 0]}, {"faults": [0, 3, 0]}, {"delay_ns": [0, 3 * MS, 0]}]
)
def test_what_the_guest_does_to_itself_is_none(own: dict[str, list[int]]) -> None:
    found = stalls(one_by_one([0.2, 4.2, 0.2], **own), NORM)
    assert len(found.at_ns) == 0
    assert not found.touched.any()


def test_a_late_wake_up_is_one_and_a_few_microseconds_in_the_run_queue_do_not_excuse_it() -> None:
    late = {"late_ns": [0, 3 * MS, 0], "delay_ns": [0, 20_000, 0]}
    assert stalls(one_by_one([0.2, 0.2, 0.2], **late), NORM).held_ns.tolist() == [3 * MS]


def test_a_batch_that_is_only_a_little_slow_is_none() -> None:
    at_most = 0.2 + STALL_NS / MS
    assert not stalls(one_by_one([0.2, at_most, 0.2]), NORM).touched.any()


def test_what_an_answer_is_held_back_for_on_purpose_is_none() -> None:
    held = ServiceTime(0.0, 400_000.0)
    assert not stalls(one_by_one([4.2, 4.2]), NORM, held_back=held).touched.any()


def test_a_stall_touches_all_that_is_served_before_the_server_rests_again() -> None:
    # Batches back to back: the second is held up, the third waits for it, the fourth comes later.
    served = record(
        [0, 10, 20, 50 * MS],
        [100_000, 5 * MS, 5_200_000, 50_200_000],
        started=[0, 100_000, 5 * MS, 50 * MS],
        late_ns=[0, -1, -1, 0],
        window_ns=(0, 100 * MS),
    )
    assert stalls(served, NORM).touched.tolist() == [False, True, True, False]


def test_servers_and_slices_do_not_touch_each_other() -> None:
    served = record(
        [0, 0, 10, 10],
        [5 * MS, 200_000, 5_200_000, 400_000],
        started=[0, 0, 5 * MS, 200_000],
        server=[0, 1, 0, 1],
        late_ns=[0, 0, -1, -1],
    )
    assert stalls(served, NORM).touched.tolist() == [True, False, True, False]
    both = Record.joined([served, record([20], [220_000 + 20], late_ns=[-1])])
    assert stalls(both, NORM).touched.tolist() == [True, False, True, False, False]


def test_where_a_quota_had_the_servers_stopped_nothing_is_a_stall_of_the_host() -> None:
    stopped = np.array([[10.0, 2.0, 0.1]])
    first = one_by_one([0.2, 4.2, 0.2], throttled=stopped)
    assert len(stalls(first, NORM).at_ns) == 0
    both = Record.joined([first, one_by_one([0.2, 4.2, 0.2])])
    assert both.stopped.tolist() == [True, False]
    assert len(stalls(both, NORM).at_ns) == 1


def test_only_stalls_in_what_is_measured_are_counted() -> None:
    served = record(
        [0, 50 * MS], [5 * MS, 55 * MS], late_ns=[0, 0], window_ns=(20 * MS, 100 * MS), rows=10
    )
    count, held_s = measured_stalls(served, stalls(served, NORM))
    assert count == 1
    assert held_s == pytest.approx(0.0048)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 200_000)), min_size=4, max_size=60))
def test_a_norm_is_a_line_that_is_never_negative_and_no_outlier_moves(
    batches: list[tuple[int, int]],
) -> None:
    parts = []
    for rows, more in batches:
        took = 100_000 + 50_000 * rows + more * (len(parts) % 7 == 0)
        parts.append(record([0], [took], rows=rows))
    norm = ServiceTime.fitted(Record.joined(parts))
    assert norm is not None
    assert norm.fixed_ns >= 0
    assert norm.row_ns >= 0
    took = np.concatenate([part.done for part in parts])
    for rows in {rows for rows, _ in batches}:
        assert took.min() * 0.2 <= norm.of(rows) <= took.max() * 1.5


def test_without_a_batch_there_is_no_norm() -> None:
    assert ServiceTime.fitted(record([0], [0])) is None
