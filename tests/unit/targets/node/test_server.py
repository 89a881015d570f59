"""The open-loop server: order, batching, clocks, and what it serves after a publish."""

import threading
import time

import numpy as np
import pytest
from small_node import DELAY_NS, ROWS, Node, small_node

from lorabench.targets.load import Schedule
from lorabench.targets.node.exchange import (
    NOT_ISSUED,
    NOWHERE,
    Bell,
    Exchange,
    IssuingEnd,
    Queries,
    open_part,
)
from lorabench.targets.node.messages import Go, Serve
from lorabench.targets.node.settings import Wait
from lorabench.targets.service import ServiceTime
from lorabench.targets.target import Answers

NS = 1_000_000_000


def serve(
    node: Node,
    scheduled: list[int],
    *,
    first_row: list[int] | None = None,
    rows: list[int] | None = None,
    for_ns: int = 60 * NS,
    adapted: bool = True,
    **job: object,
) -> Answers:
    n = len(scheduled)
    sizes = np.array([ROWS] * n if rows is None else rows, np.int32)
    queries = Queries(
        np.array(scheduled, np.int64),
        np.arange(n) * ROWS if first_row is None else np.array(first_row),
        sizes,
    )
    answers = Answers.unserved(n, int(sizes.sum()))
    asked = Serve(NOWHERE, seat=0 if adapted else None, tell=adapted, **job)  # type: ignore[arg-type]
    served = node.server.serve(asked, queries, answers, lambda: Go(time.monotonic_ns(), for_ns))
    if not asked.cycle:
        assert served.queries == (answers.done > 0).sum()
        assert served.last_ns == answers.done.max(initial=0)
    return answers


@pytest.mark.parametrize("wait", ["block", "spin"])
def test_no_query_is_taken_up_before_its_arrival_and_all_are_answered(wait: str) -> None:
    node = small_node()
    scheduled = [i * 2_000_000 for i in range(20)]
    record = serve(node, scheduled, wait=wait)
    assert (record.started >= scheduled).all()
    assert (record.done > record.started).all()
    slept = record.late_ns >= 0
    assert slept.any()
    assert (record.started[slept] - record.late_ns[slept] == np.array(scheduled)[slept]).all()


@pytest.mark.parametrize("wait", ["block", "spin"])
@pytest.mark.parametrize("adapted", [False, True])
def test_what_a_load_generator_hands_over_is_served_like_what_was_scheduled(
    wait: Wait, adapted: bool
) -> None:
    exchange, asked = Exchange(1), 12
    node = small_node(bell=Bell(exchange.handle.issued[0], exchange.handle.answered))
    sizes = np.full(asked + 3, ROWS, np.int32)  # three are never handed over
    server = np.zeros(asked + 3, np.int32)
    unknown = Schedule(np.full(asked + 3, NOT_ISSUED), server, sizes)
    (part,) = exchange.offer(unknown, 64 * ROWS, 1)
    end = IssuingEnd(exchange.handle, server, int(sizes.sum()))
    heard: list[int] = []
    handed: list[int] = []

    def issue() -> None:
        for burst in (1, 1, 6, 4):
            for _ in range(burst):
                end.issue()
            handed.append(burst)
            while len(heard) < sum(handed):
                heard.extend(end.answered())
        end.close()

    generator = threading.Thread(target=issue)

    def go() -> Go:
        generator.start()
        return Go(start_ns, 60 * NS)

    start_ns = time.monotonic_ns()
    job = Serve(part, seat=0 if adapted else None, tell=adapted, wait=wait, live=True)
    served = node.server.serve(job, *open_part(exchange.handle, part), go)
    generator.join()
    record, issued = exchange.collect(), exchange.issued() - start_ns
    assert served.queries == asked
    assert heard == list(range(asked))
    assert (record.started[:asked] >= issued[:asked]).all()
    assert (record.done[:asked] > record.started[:asked]).all()
    assert (record.done[asked:] == 0).all()
    for query in range(asked):
        np.testing.assert_allclose(
            record.prediction.reshape(-1, ROWS)[query], node.predict(query), rtol=1e-4, atol=1e-6
        )
    node.clock.now = time.monotonic_ns() + DELAY_NS
    assert node.replay.take(node.clock.now) == (asked * ROWS if adapted else 0)
    exchange.close()


def test_what_is_due_is_batched_up_to_the_largest_batch_in_order() -> None:
    record = serve(small_node(), [0] * 10)
    assert list(record.batch) == [4] * 8 + [2] * 2
    assert (np.diff(record.started) >= 0).all()


def test_a_query_is_not_held_back_for_one_that_is_not_due() -> None:
    record = serve(small_node(), [0, 40_000_000])
    assert list(record.batch) == [1, 1]
    assert record.done[0] < 40_000_000


def test_what_is_unserved_at_the_stop_is_marked_so() -> None:
    record = serve(small_node(), [0] * 3, for_ns=-1, adapted=False)
    assert list(record.done) == [0, 0, 0]
    assert list(record.epoch) == [-1, -1, -1]


@pytest.mark.parametrize("hotness", [(), (5, 1), (2, 30)])
def test_predictions_are_those_of_the_model_whatever_the_batch(hotness: tuple[int, ...]) -> None:
    node = small_node(hotness=hotness)
    for scheduled in ([0] * 7, [i * 3_000_000 for i in range(7)]):
        for adapted in (False, True):
            record = serve(node, scheduled, adapted=adapted)
            for query in range(7):
                np.testing.assert_allclose(
                    record.prediction.reshape(-1, ROWS)[query],
                    node.predict(query),
                    rtol=1e-4,
                    atol=1e-6,
                )
            assert set(record.epoch) == ({0} if adapted else {-1})


def test_queries_of_different_sizes_are_scored_row_by_row_and_offered_to_the_trainer() -> None:
    node = small_node()
    sizes = [1, ROWS, 2, 1, ROWS, 3, 1]
    first = [0, 5, 20, 21, 40, 60, 7]
    record = serve(node, [0] * 7, first_row=first, rows=sizes)
    asked = np.concatenate([np.arange(a, a + n) for a, n in zip(first, sizes, strict=True)])
    every = np.concatenate([node.predict(query) for query in range(64)])
    np.testing.assert_allclose(record.prediction, every[asked], rtol=1e-4, atol=1e-6)
    assert node.replay.take(time.monotonic_ns() + DELAY_NS) == len(asked)
    assert node.replay.sample[: len(asked)].tolist() == asked.tolist()


def test_a_served_prediction_changes_after_a_publish_to_w_plus_a_times_b() -> None:
    node = small_node()
    before = serve(node, [0] * 40)
    node.clock.now = time.monotonic_ns() + DELAY_NS
    while node.trainer.step():
        pass
    epoch = node.state.writer.epoch
    assert epoch > 1
    after = serve(node, [0] * 40)
    assert set(after.epoch) == {epoch}
    assert not np.allclose(after.prediction, before.prediction, atol=1e-3)
    for query in range(40):
        np.testing.assert_allclose(
            after.prediction.reshape(-1, ROWS)[query], node.predict(query), rtol=1e-4, atol=1e-5
        )


def test_served_rows_are_offered_to_the_trainer_in_order_and_only_beside_one() -> None:
    node = small_node()
    serve(node, [0] * 9, adapted=False)
    node.clock.now = time.monotonic_ns() + DELAY_NS
    assert node.replay.take(node.clock.now) == 0
    done = serve(node, [0] * 9).done
    first, last = int(done.min()), int(done.max())
    assert node.replay.take(first + DELAY_NS - 1) == 0, "labels have not arrived yet"
    assert node.replay.take(last + DELAY_NS) == 9 * ROWS
    np.testing.assert_array_equal(node.replay.sample[: 9 * ROWS], np.arange(9 * ROWS))
    np.testing.assert_array_equal(node.replay.sparse[: 9 * ROWS], node.feed.sparse[: 9 * ROWS])
    np.testing.assert_array_equal(node.replay.dense[: 9 * ROWS], node.feed.dense[: 9 * ROWS])
    np.testing.assert_array_equal(node.replay.labels(9 * ROWS), node.labels[: 9 * ROWS])


def test_base_vectors_that_are_worth_it_go_along_with_the_samples_and_nothing_else_changes() -> (
    None
):
    node = small_node(hotness=(5, 1))
    while node.state.writer.epoch < 3:  # served from an adapter that is not empty
        serve(node, [0] * 40)
        node.clock.now = time.monotonic_ns() + DELAY_NS
        while node.trainer.step():
            pass
    node.replay.reset(reuse=True)
    with node.tables.changing():
        for table in node.tables.arrays:
            table[:] = table / 2
    record = serve(node, [0] * 9, reuse=True)
    n = 9 * ROWS
    assert node.replay.take(time.monotonic_ns() + DELAY_NS) == n
    np.testing.assert_array_equal(node.replay.sparse[:n], node.feed.sparse[:n])
    base = node.replay.base(n)
    assert base is not None
    rows = node.tables.arrays[0][node.feed.sparse[:n, :5]]
    np.testing.assert_allclose(base[:, 0], rows.sum(axis=1), rtol=1e-5, atol=1e-6)
    assert node.replay.reuse_bytes is not None
    assert node.replay.reuse_bytes.saved == n * 5 * 4 * node.tables.kernels.dim, "all up to date"
    node.replay.reset()
    np.testing.assert_array_equal(serve(node, [0] * 9).prediction, record.prediction)


def test_a_server_whose_ring_the_trainer_has_not_laid_out_for_base_vectors_says_so() -> None:
    with pytest.raises(ValueError, match="ring: found one laid out for 0 floats"):
        serve(small_node(hotness=(5, 1)), [0], reuse=True)


def test_queries_are_gone_through_again_until_the_time_is_up_where_that_is_asked_for() -> None:
    node = small_node()
    record = serve(node, [0] * 6, for_ns=NS // 5, adapted=False, cycle=True)
    assert (record.done > 0).all()
    assert record.done.max() > NS // 6, "the last pass began long after the first had ended"


def test_an_answer_is_held_back_for_as_long_as_is_planted() -> None:
    held = ServiceTime(fixed_ns=2_000_000, row_ns=100_000)
    record = serve(small_node(), [0] * 8, adapted=False, slowdown=held)
    assert (record.done - record.started >= held.of(4 * ROWS)).all()


def test_rows_are_offered_one_by_one_while_there_is_time_and_none_is_lost_where_there_is_none() -> (
    None
):
    node = small_node(queries=64)
    done = serve(node, [0] * 300, first_row=[4 * (n % 60) for n in range(300)]).done
    taken = 0
    while n := node.replay.take(int(done.max()) + DELAY_NS):
        taken += n
    assert taken + node.replay.dropped + node.replay.skipped == 300 * ROWS


def test_what_the_kernel_does_to_the_server_is_written_down_batch_by_batch() -> None:
    node = small_node()
    record = serve(node, [i * 1_000_000 for i in range(30)], adapted=False)
    assert (record.switches >= 0).all()
    assert (record.delay_ns >= 0).all()
    assert record.faults[1:].max() == 0, "no page is touched for the first time in the loop"
