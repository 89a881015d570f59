"""What a record says of updates, and what several slices are as one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from records import NS, record

from lorabench.targets.target import Record
from lorabench.targets.training import Updates


def test_the_first_server_that_reaches_an_epoch_or_a_later_one_counts() -> None:
    served = record([0] * 5, [10, 20, 0, 40, 30], epoch=[0, 1, -1, 1, 3], server=[0, 1, 0, 0, 1])
    assert served.first_answered(np.array([0, 1, 2, 3])).tolist() == [10, 20, 30, 30]


def test_an_epoch_that_nothing_was_served_from_has_no_answer() -> None:
    served = record([0] * 2, [10, 20], epoch=[0, 1])
    assert served.first_answered(np.array([2])).tolist() == [-1]


@given(st.lists(st.integers(1, 9), max_size=12), st.data())
def test_updates_keep_every_sample_by_runs_of_those_that_came_together(
    counts: list[int], data: st.DataObject
) -> None:
    first = np.cumsum([0, *(n + data.draw(st.integers(0, 3)) for n in counts)])[:-1]
    label = data.draw(st.lists(st.integers(0, 3), min_size=len(counts), max_size=len(counts)))
    sample = np.concatenate(
        [np.zeros(0, np.int64), *(np.arange(n) + a for n, a in zip(counts, first, strict=True))]
    )
    label_ns = np.repeat(np.array(label, np.int64), counts)
    found = Updates.of_batch(sample.astype(np.int64), label_ns, 7, 99)
    np.testing.assert_array_equal(found.sample, sample)
    np.testing.assert_array_equal(np.repeat(found.label_ns, found.count), label_ns)
    assert len(found.first) <= max(len(counts), 0)
    assert found.runs.tolist() == [len(found.first)]
    assert found.size.tolist() == [len(sample)]
    both = Updates.joined([found, found])
    np.testing.assert_array_equal(both.sample, np.tile(sample, 2))
    assert set(both.each(both.epoch)) <= {7}


def test_slices_are_one_record_whose_heads_do_not_count() -> None:
    one = record([0, 200, 900], [100, 300, 950], window_ns=(100, 1000), late_ns=[0, -1, 5])
    two = record([1000, 1200], [1100, 0], window_ns=(1100, 2000))
    both = Record.joined([one, two])
    assert both.scheduled.tolist() == [0, 200, 900, 1000, 1200]
    assert both.slices.tolist() == [0, 0, 0, 1, 1]
    assert both.counted.tolist() == [False, True, True, False, False]
    assert both.measured_s == 1800 / NS
    assert both.measured(np.array([50, 100, 999, 1000, 1099, 1100, 1999, 2000])).tolist() == [
        *(False, True, True, False),
        *(False, True, True, False),
    ]
    thrice = Record.joined([both, one])
    assert thrice.slices.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
