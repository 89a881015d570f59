"""The throttle's law against what it promises, and the pauses that its answer becomes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.targets.node.throttle import TRACE_COLUMNS, Pacer, Throttle, ThrottleRule

NS = 1_000_000_000
MS = 1_000_000
OWN = ThrottleRule(limit_s=0.01, due_high=16, shared=False)
SHARED = ThrottleRule(limit_s=0.01, due_high=16, shared=True)


class Load:
    """A server's counters, moved on by so much in every tick of 2 ms."""

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self.now = 0
        self.counters = [0, 0, 0, 0]
        self.queries = self.late = 0.0

    def run(
        self,
        seconds: float,
        *,
        busy: float = 0.5,
        qps: float = 500.0,
        late: float = 0.0,
        due: int = 1,
    ) -> list[float]:
        duties = []
        for _ in range(round(seconds / 0.002)):
            self.now += 2 * MS
            self.queries += 0.002 * qps
            self.late += 0.002 * qps * late
            self.counters[0] += int(busy * 2 * MS)
            self.counters[1:3] = int(self.queries), int(self.late)
            self.counters[3] = due
            duties.append(self.throttle.update(self.now, [tuple(self.counters)]))  # type: ignore[list-item]
        return duties


def test_a_server_that_keeps_its_limit_lets_the_trainer_work_all_the_time() -> None:
    # One in a hundred later than the p99 is what a p99 is.
    assert min(Load(Throttle(OWN, 1)).run(20.0, late=0.01)) == 1.0


def test_late_queries_that_a_stop_ends_halve_the_duty_and_it_grows_back() -> None:
    throttle = Throttle(OWN, 1)
    load = Load(throttle)
    duty, duties = 1.0, []
    for _ in range(1500):
        # The trainer is the cause: it makes queries late while it works, and only then.
        (duty,) = load.run(0.002, qps=1000.0, late=0.5 * duty)
        duties.append(duty)
    working = [found for found in duties if found]
    assert min(working) <= 0.25
    assert min(working) >= OWN.least_duty
    assert 0.0 in duties
    assert load.run(0.7, late=0.0)[-1] == 1.0


def test_late_queries_that_a_stop_does_not_end_were_not_the_trainers_doing() -> None:
    duties = np.array(Load(Throttle(OWN, 1)).run(20.0, qps=1000.0, late=0.2))
    assert set(duties) == {0.0, 1.0}
    # It looks again from time to time, and that is all it costs.
    assert (duties == 1.0).mean() > 0.9


def test_what_was_late_while_no_alarm_was_taken_is_not_held_against_the_trainer() -> None:
    load = Load(Throttle(OWN, 1))
    load.run(0.5, qps=1000.0, late=0.25)
    assert min(load.run(3.0, qps=1000.0, late=0.0)[30:]) == 1.0


def test_one_stall_that_makes_ten_late_at_once_counts_as_one() -> None:
    throttle = Throttle(OWN, 1)
    throttle.update(0, [(0, 0, 0, 0)])
    assert throttle.update(2 * MS, [(0, 10, 10, 1)]) == 0.0
    for tick in range(2, 31):
        assert throttle.update(2 * tick * MS, [(0, 10, 10, 1)]) == 0.0
    assert throttle.update(62 * MS, [(0, 60, 10, 1)]) == 0.5


def test_a_queue_stops_the_trainer_at_once_and_its_end_lets_it_go_on() -> None:
    throttle = Throttle(OWN, 2)
    assert throttle.update(0, [(0, 0, 0, 1), (0, 0, 0, 15)]) == 1.0
    assert throttle.update(2 * MS, [(0, 0, 0, 1), (0, 0, 0, 16)]) == 0.0
    assert throttle.update(4 * MS, [(0, 0, 0, 0), (0, 0, 0, 4)]) == 1.0


def test_a_busy_server_stops_a_trainer_on_its_own_core_within_100_ms_and_no_other() -> None:
    for rule, stops in ((SHARED, True), (OWN, False)):
        load = Load(Throttle(rule, 1))
        assert min(load.run(2.0, busy=0.35)) == 1.0
        during = load.run(0.1, busy=1.0)
        assert (during[-1] == 0.0) is stops
        assert load.run(0.2, busy=0.35)[-1] == 1.0


def test_a_busy_share_between_the_two_thresholds_changes_nothing() -> None:
    load = Load(Throttle(SHARED, 1))
    assert load.run(1.0, busy=0.8)[-1] == 1.0
    load.run(1.0, busy=1.0)
    assert load.run(1.0, busy=0.8)[-1] == 0.0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 100 * MS),
            st.integers(0, 200 * MS),
            st.integers(0, 50),
            st.integers(0, 50),
            st.integers(0, 40),
        ),
        max_size=60,
    ),
    st.booleans(),
)
def test_whatever_the_servers_tell_the_duty_is_a_share(
    steps: list[tuple[int, int, int, int, int]], shared: bool
) -> None:
    throttle = Throttle(SHARED if shared else OWN, 1)
    now, total = 0, np.zeros(3, np.int64)
    for passed, busy, queries, late, due in steps:
        now += passed
        total += (busy, queries, min(late, queries))
        duty = throttle.update(now, [(int(total[0]), int(total[1]), int(total[2]), due)])
        assert duty == 0.0 or OWN.least_duty <= duty <= 1.0
        assert (duty == 0.0) >= (due >= OWN.due_high)
        assert 0.0 <= throttle.busy <= 1.0


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


@pytest.mark.parametrize("duty", [0.05, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("threads", [1, 4])
def test_a_fixed_duty_is_kept_over_time(duty: float, threads: int) -> None:
    clock = Clock()
    pacer = Pacer(duty, threads, clock=clock)
    worked = 0
    while clock.now < 20 * NS:
        rest_s = pacer.wait_s()
        if rest_s == 0.0:
            clock.now += 7 * MS
            worked += 7 * MS
            pacer.worked(0.007 * threads)
        else:
            clock.now += int(rest_s * NS) + 1
    assert worked / clock.now == pytest.approx(duty, rel=0.02)


def test_a_stopped_trainer_asks_again_soon_and_is_written_down() -> None:
    clock, due = Clock(), [0]
    pacer = Pacer(
        1.0, 1, throttle=Throttle(OWN, 1), read=lambda now: [(0, 0, 0, due[0])], clock=clock
    )
    assert pacer.wait_s() == 0.0
    clock.now, due[0] = 1 * MS, 20
    assert 0.0 < pacer.wait_s() <= 0.01
    clock.now, due[0] = 2 * MS, 0
    assert pacer.wait_s() == 0.0
    for tick in range(3, 100):
        clock.now = tick * MS
        pacer.wait_s()
    trace = pacer.trace
    assert trace.shape[1] == len(TRACE_COLUMNS)
    assert trace[:3, 1].tolist() == [1.0, 0.0, 1.0]
    assert (np.diff(trace[:, 0]) <= 11 * MS).all()
    assert Pacer(0.5, 1).trace.shape == (0, len(TRACE_COLUMNS))


def test_a_pause_in_which_servers_served_others_is_as_if_it_had_not_been() -> None:
    rule = ThrottleRule(0.01, 16, shared=False)
    without, with_pause = Throttle(rule, 1), Throttle(rule, 1)
    late = queries = 0
    offset = 0
    for step in range(400):
        if step == 150:
            offset = 60 * NS
            with_pause.resume(step * 2_000_000 + offset - 1_000_000, [(0, 0, 0, 0)])
            without.resume(step * 2_000_000 - 1_000_000, [(0, 0, 0, 0)])
            late = queries = 0
        queries += 5
        late += 2 if 100 <= step < 200 else 0
        counters = [(0, queries, late, 0)]
        expected = without.update(step * 2_000_000, counters)
        assert with_pause.update(step * 2_000_000 + offset, counters) == expected


def test_what_keeps_to_a_share_of_its_own_rests_where_the_law_stops_and_nowhere_else() -> None:
    clock = Clock()
    law = Throttle(ThrottleRule(0.01, 16, shared=False), 1)
    law._grown = 0.5
    due = [0]
    pacer = Pacer(
        1.0, 1, throttle=law, read=lambda _: [(0, 0, 0, due[0])], clock=clock, stops_only=True
    )
    for _ in range(20):
        clock.now += 1_000_000
        assert pacer.wait_s() == 0.0
        pacer.worked(0.005)
    due[0] = 16
    clock.now += 1_000_000
    assert pacer.wait_s() > 0.0
