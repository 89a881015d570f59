"""Times of day, as locales write them, over midnight."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.experiments.headroom.recordings.clock import (
    Clock,
    days_between,
    time_of_day,
    twelve_hours,
)

FORMS = {
    "24": "%H:%M:%S",
    "12": "%I:%M:%S %p",
    "dots": "%H.%M.%S",
    "zone": "%H:%M:%S+0000",
    "kanji": "%H時%M分%S秒",
}


@given(
    st.integers(0, 86_399),
    st.lists(st.integers(1, 11 * 3600), min_size=1, max_size=12),
    st.sampled_from(sorted(FORMS)),
)
def test_times_go_on_over_midnight_in_any_form(first: int, gaps: list[int], form: str) -> None:
    at = [datetime(2026, 2, 20, tzinfo=UTC) + timedelta(seconds=first)]
    for gap in gaps:
        at.append(at[-1] + timedelta(seconds=gap))
    clock = Clock()
    read = []
    for one in at:
        found = time_of_day(f"{one.strftime(FORMS[form])}   all  94.00")
        assert found is not None
        assert found[1] == "all  94.00"
        read.append(clock.at(found[0]))
    assert None not in read
    assert [b - a for a, b in pairwise(read)] == gaps


def test_twelve_hours_without_a_mark_go_on_at_noon_and_midnight() -> None:
    written = ["11:50:01", "12:00:01", "12:50:01", "01:00:01", "11:00:01", "12:59:01", "01:09:01"]
    times = [found[0] for text in written if (found := time_of_day(text))]
    assert twelve_hours(times)
    clock = Clock(halves=True)
    hours = [round((clock.at(one) or -1) / 3600, 1) for one in times]
    assert hours == [11.8, 12.0, 12.8, 13.0, 23.0, 25.0, 25.2]


def test_a_clock_that_is_set_back_is_no_midnight() -> None:
    clock = Clock()
    for text, expected in (("02:50:00", 10_200.0), ("02:00:00", None)):
        found = time_of_day(text)
        assert found is not None
        assert clock.at(found[0]) == expected


@pytest.mark.parametrize(
    "text", ["Average: all", "", "all 1 2", "25:00:00 x", "13:00:00 PM", "1:2"]
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert time_of_day(text) is None


@pytest.mark.parametrize(
    ("before", "after", "days"),
    [
        ("02/20/2026", "02/21/2026", 1),
        ("20/02/2026", "21/02/2026", 1),
        ("20.02.26", "01.03.26", 9),
        ("2026-02-28", "2026-03-01", 1),
        ("2026年12月31日", "2027年01月01日", 1),
        ("02/21/2026", "02/20/2026", None),
        ("today", "tomorrow", None),
    ],
)
def test_days_between_two_dates_are_told_whatever_their_order(before, after, days) -> None:
    assert days_between(before, after) == days
