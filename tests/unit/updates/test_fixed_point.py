"""What pushes come to that follow one another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.updates.fixed_point import PushCycle
from lorabench.updates.link import Handling, Link, Scale, Sync
from lorabench.updates.payload import PAYLOADS
from lorabench.updates.touch import TouchCurve

TB = 10**12
BY_NAME = {one.name: one for one in PAYLOADS}
LINE = TouchCurve.linear(0.1, 600)


def pushes(
    payload: str, *, emt: int = 200 * TB, curve: TouchCurve = LINE, **link: float
) -> PushCycle:
    sync = Sync(Link(**{"bits_per_s": 100e9, **link}), Scale(emt, emt))
    return PushCycle(sync, BY_NAME[payload], 128, curve)


def iterated(found: PushCycle, first_s: float) -> float:
    """Return the period of pushes back to back, push after push."""
    for _ in range(100):
        first_s = found.cost(first_s).total_s
    return first_s


def test_ten_per_cent_in_ten_minutes_at_200_tb_have_no_fixed_point() -> None:
    found = pushes("touched-rows")
    assert found.cost(600).total_s == pytest.approx(1600)
    settled = found.settle(600)
    assert (settled.fixed_point_s, settled.share) == (None, 1.0)
    assert settled.period_s == settled.cost.total_s == pytest.approx(16_000)
    assert iterated(found, 600) == pytest.approx(16_000)


def test_a_link_that_outruns_the_rows_keeps_the_interval() -> None:
    settled = pushes("touched-rows", emt=50 * TB).settle(600)
    assert (settled.period_s, settled.share) == (600, pytest.approx(0.1))
    assert settled.fixed_point_s == 0
    # With a round trip, the shortest period is that over what the link has to spare: 1 - 2/3.
    waiting = pushes("touched-rows", emt=50 * TB, round_trip_s=3.0).settle(600)
    assert waiting.fixed_point_s == pytest.approx(9.0)


def test_a_concave_curve_has_the_fixed_point_that_is_known_in_closed_form() -> None:
    # 20 % in 10 minutes, then a tenth as fast: 0.2 + 0.02 (t - 600) / 600 of 50 TB at 12.5 GB/s.
    curve = TouchCurve.of([(600, 0.2), (6600, 0.4)])
    found = pushes("touched-rows", emt=50 * TB, curve=curve)
    settled = found.settle(600)
    expected = 4000 * (0.2 - 0.02) / (1 - 4000 * 0.02 / 600)
    assert settled.fixed_point_s == pytest.approx(expected)
    assert settled.period_s == pytest.approx(expected)
    assert settled.cost.total_s == pytest.approx(expected)
    assert [iterated(found, first_s) for first_s in (1, 600, 60_000)] == pytest.approx(
        [expected] * 3
    )


def test_what_is_sent_at_most_bounds_the_fixed_point() -> None:
    settled = pushes("priority-5").settle(600)
    assert settled.share == 0.05
    assert settled.fixed_point_s == pytest.approx(800 * 520 / 512)


@pytest.mark.parametrize(("name", "row"), [("delta", 520), ("delta-int8", 144), ("full", 5120)])
def test_a_row_takes_its_values_its_key_and_its_scale_and_offset(name, row) -> None:
    # Of 20 TB of touched rows of 512 bytes; full sends ten times as many.
    assert pushes(name).cost(600).size == pytest.approx(20 * TB * row / 512)


@pytest.mark.parametrize("name", ["none", "lora"])
def test_what_sends_nothing_takes_no_time(name) -> None:
    settled = pushes(name, round_trip_s=1.0).settle(600)
    assert (settled.period_s, settled.cost.size, settled.cost.total_s) == (600, 0, 0)


@given(
    st.lists(st.tuples(st.floats(1, 1e5), st.floats(1e-3, 1)), min_size=1, max_size=5),
    st.floats(0.01, 300),
    st.floats(0, 10),
    st.floats(0, 1e-10),
)
def test_pushes_back_to_back_come_to_it_from_above(points, terabytes, rtt_s, apply) -> None:
    emt = round(terabytes * TB)
    sync = Sync(Link(100e9, round_trip_s=rtt_s), Scale(emt, emt, 4), Handling(apply, apply))
    found = PushCycle(sync, BY_NAME["delta"], 64, TouchCurve.of(points))
    at = found.back_to_back_s()
    assert found.cost(at).total_s == pytest.approx(at, rel=1e-6, abs=1e-6)
    # A push of any longer period takes less than that: it is the last such point.
    for longer in (at * 1.01 + 1e-3, at * 2 + 1):
        assert found.cost(longer).total_s < longer
