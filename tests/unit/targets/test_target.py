"""Columns of a record: what was learned, and when answers first came from it."""

import numpy as np

from lorabench.targets.load import Schedule
from lorabench.targets.target import Answers, Record, Updates


def record(done: list[int], epoch: list[int], server: list[int]) -> Record:
    n = len(done)
    answers = Answers.unserved(n, n)
    answers.done[:], answers.epoch[:] = done, epoch
    schedule = Schedule(np.zeros(n, np.int64), np.array(server, np.int32), np.ones(n, np.int32))
    return Record(
        **vars(answers),
        condition="pinned",
        schedule=schedule,
        start_ns=0,
        cpu_busy=0.0,
        steal_s=0.0,
        involuntary_switches=0,
        trainer_cpu_s=0.0,
        trainer_idle_s=0.0,
        trainer_cpus=1,
        trainer_cpu=np.zeros((0, 2)),
    )


def test_the_first_server_that_reaches_an_epoch_or_a_later_one_counts() -> None:
    # Of two servers, in the order of the schedule; the third query was never served.
    found = record([10, 20, 0, 40, 30], [0, 1, -1, 1, 3], [0, 1, 0, 0, 1])
    assert found.first_answered(np.array([0, 1, 2, 3, 4])).tolist() == [10, 20, 30, 30, -1]


def test_where_nothing_was_served_from_an_adapter_no_epoch_was_reached() -> None:
    assert record([10], [-1], [0]).first_answered(np.array([0, 1])).tolist() == [-1, -1]
    assert record([], [], []).first_answered(np.array([1])).tolist() == [-1]


def test_updates_are_joined_in_order_and_a_batchs_values_hold_for_its_samples() -> None:
    one = Updates.of_batch(np.array([7, 8, 9]), np.array([1, 2, 3]), epoch=2, published_ns=10**9)
    two = Updates.of_batch(np.array([4]), np.array([5]), epoch=3, published_ns=3 * 10**9)
    both = Updates.joined([one, two])
    assert both.sample.tolist() == [7, 8, 9, 4]
    assert both.label_ns.tolist() == [1, 2, 3, 5]
    assert both.each(both.epoch).tolist() == [2, 2, 2, 3]
    assert both.samples_per_s() == 0.5, "one sample in the two seconds after the first publish"


def test_without_two_publishes_there_is_no_rate() -> None:
    none = Updates.joined([])
    assert none.each(none.epoch).tolist() == []
    assert none.samples_per_s() is None
    one = Updates.of_batch(np.array([7]), np.array([1]), epoch=2, published_ns=5)
    assert Updates.joined([one]).samples_per_s() is None
