"""Schedules out to the servers and answers back: every query its own, in shared memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench.targets.load import Schedule
from lorabench.targets.node.exchange import (
    CLOSED,
    NOT_ISSUED,
    Bell,
    Exchange,
    IssuingEnd,
    open_part,
)

ROWS = 50


def drawn(servers: list[int], seed: int = 0) -> Schedule:
    rng = np.random.default_rng(seed)
    n = len(servers)
    return Schedule(
        np.sort(rng.integers(0, 1000, n)),
        np.array(servers, np.int32),
        rng.integers(1, 5, n).astype(np.int32),
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), max_size=30), min_size=1, max_size=3))
def test_each_server_is_asked_its_own_and_answers_come_back_in_the_schedules_order(
    splits: list[list[int]],
) -> None:
    exchange = Exchange()
    for seed, split in enumerate(splits):  # a longer schedule, or a shorter one, after another
        schedule = drawn(split, seed)
        first = schedule.first_rows(ROWS)
        parts = exchange.offer(schedule, ROWS, 4)
        for server, part in enumerate(parts):
            queries, answers = open_part(exchange.handle, part)
            mine = schedule.server == server
            np.testing.assert_array_equal(queries.arrivals, schedule.arrivals[mine])
            np.testing.assert_array_equal(queries.first_row, first[mine])
            np.testing.assert_array_equal(queries.rows, schedule.rows[mine])
            per_query = (answers.started, answers.done, answers.epoch, answers.late_ns)
            for place, column in enumerate((*per_query, answers.delay_ns), 1):
                column[:] = place * queries.arrivals
            answers.batch[:] = queries.rows
            answers.prediction[:] = np.repeat(queries.first_row, queries.rows)
            answers.switches[:], answers.faults[:] = server, 2 * server
        found = exchange.collect()
        per_query = (found.started, found.done, found.epoch, found.late_ns, found.delay_ns)
        for place, column in enumerate(per_query, 1):
            np.testing.assert_array_equal(column, place * schedule.arrivals)
        np.testing.assert_array_equal(found.batch, schedule.rows)
        np.testing.assert_array_equal(found.prediction, np.repeat(first, schedule.rows))
        np.testing.assert_array_equal(found.switches, schedule.server)
        np.testing.assert_array_equal(found.faults, 2 * schedule.server)
    exchange.close()


def test_a_server_cannot_change_what_is_asked() -> None:
    exchange = Exchange()
    parts = exchange.offer(drawn([0, 1, 0]), ROWS, 2)
    queries, _ = open_part(exchange.handle, parts[0])
    with pytest.raises(ValueError, match="read-only"):
        queries.arrivals[0] = 1
    exchange.close()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.integers(0, 30))
def test_a_load_generator_hands_queries_over_in_order_and_hears_of_each_answer_once(
    split: list[int], handed: int
) -> None:
    exchange, schedule = Exchange(3), drawn(split)
    unknown = replace(schedule, arrivals=np.full(len(split), NOT_ISSUED))
    parts = [open_part(exchange.handle, part) for part in exchange.offer(unknown, ROWS, 3)]
    bells = [Bell(bell, exchange.handle.answered) for bell in exchange.handle.issued]
    end = IssuingEnd(exchange.handle, schedule.server, schedule.total_rows)
    seen = [0] * 3
    for number in range(min(handed, len(split))):
        assert end.issue() == number
        server = split[number]
        queries, answers = parts[server]
        at = seen[server]
        due = bells[server].wait(queries.arrivals, at, spin=False)
        assert due == queries.arrivals[at] < NOT_ISSUED
        assert (queries.arrivals[at + 1 :] == NOT_ISSUED).all()
        answers.done[at] = due
        seen[server] += 1
        bells[server].ring()
        assert end.answered() == [number]
    end.close()
    for bell, (queries, _), at in zip(bells, parts, seen, strict=True):
        if at < len(queries.arrivals):
            assert bell.wait(queries.arrivals, at, spin=True) == CLOSED
    issued = exchange.issued()
    assert (np.diff(issued) >= 0).all()
    assert (issued < NOT_ISSUED).sum() == min(handed, len(split))
    exchange.close()
