"""Times of all forms to the nanosecond, the same whether Arrow or Python reads them."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.workload.times import (
    EARLIEST_NS,
    FORMATS,
    LATEST_NS,
    TEXT_FORMATS,
    TimeRule,
    ambiguity,
    read_times,
)


def day(year: int, *rest: int) -> datetime:
    """A day of no zone."""
    return datetime(year, *(rest or (1, 1)))  # noqa: DTZ001 - as files have them


def parsed(text: str, form: str) -> datetime:
    return datetime.strptime(text, form)  # noqa: DTZ007


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Of two digits of a year, 69 and more are of the last century.
TIMES = st.datetimes(day(1990), day(2068))
ZONES = st.sampled_from(
    [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))]
)


def ns(when: datetime) -> int:
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1) * 1000


def read(values: object, rule: TimeRule, kind: pa.DataType | None = None) -> list[int]:
    times, bad = read_times(pa.array(values, kind), rule)
    assert bad == {}
    return times.tolist()


@given(st.lists(TIMES, min_size=1, max_size=5), st.sampled_from((*FORMATS, *TEXT_FORMATS)))
def test_any_format_is_read_as_python_reads_it(times: list[datetime], form: str) -> None:
    texts = [when.replace(tzinfo=UTC).strftime(form) for when in times]
    expected = [ns(parsed(text, form)) for text in texts]
    assert read(texts, TimeRule(format=form)) == expected


@given(st.text("0123456789 -/", max_size=9), st.sampled_from(("%y%m%d%H", "%Y-%m-%d", "%H:%M:%S")))
def test_what_arrow_reads_python_would(text: str, form: str) -> None:
    rule = TimeRule(format=form, origin="start")
    times, bad = read_times(pa.array([text]), rule)
    try:
        expected = ns(parsed(text.strip(), form))
    except ValueError:
        return
    assert (times.tolist(), bad) == ([expected], {})


@given(st.lists(st.tuples(TIMES, ZONES, st.booleans()), min_size=1, max_size=4))
def test_iso_with_and_without_zones(times: list[tuple[datetime, timezone, bool]]) -> None:
    whens = [when.replace(tzinfo=zone) if zoned else when for when, zone, zoned in times]
    texts = [when.isoformat(" " if i % 2 else "T") for i, when in enumerate(whens)]
    inside = [EARLIEST_NS <= ns(when) < LATEST_NS for when in whens]
    found, bad = read_times(pa.array(texts), TimeRule())
    assert [int(one) for one, fits in zip(found, inside, strict=True) if fits] == [
        ns(when) for when, fits in zip(whens, inside, strict=True) if fits
    ]
    assert list(bad) == [i for i, fits in enumerate(inside) if not fits]


@given(
    st.lists(st.integers(EARLIEST_NS, LATEST_NS - 1), min_size=1),
    st.sampled_from(["s", "ms", "us", "ns"]),
)
def test_numbers_in_any_unit_and_type(times: list[int], unit: str) -> None:
    factor = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    whole = [at // factor for at in times]
    expected = [at * factor for at in whole]
    rule = TimeRule(unit)
    assert read(whole, rule) == expected
    assert read([str(at) for at in whole], rule) == expected
    assert read([f"{at}.0" for at in whole], rule) == expected
    assert (
        read(np.array(times, "datetime64[ns]").astype(f"datetime64[{unit}]"), TimeRule())
        == expected
    )


@given(st.lists(st.integers(EARLIEST_NS, LATEST_NS - 10**4), min_size=1, max_size=5))
def test_decimal_seconds_are_exact(times: list[int]) -> None:
    texts = [f"{at // 10**9}.{at % 10**9:09d}" for at in times]
    assert read(texts, TimeRule()) == times
    found = read([float(text) for text in texts], TimeRule())
    assert all(abs(one - at) < 1000 for one, at in zip(found, times, strict=True))


@given(st.lists(st.text(max_size=12) | st.none(), max_size=4), st.sampled_from((None, "%y%m%d%H")))
def test_any_text_is_a_time_or_says_what_is_expected(
    texts: list[str | None], form: str | None
) -> None:
    rule = TimeRule(format=form)
    found, bad = read_times(pa.array(texts, pa.string()), rule)
    assert all(words.startswith("a time") for words in bad.values())
    assert all(i in bad or EARLIEST_NS <= found[i] < LATEST_NS for i in range(len(texts)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-06T10:00:00Z", "2024-05-06T10:00:00"),
        ("2024-05-06 10:00:00+02", "2024-05-06T08:00:00"),
        ("2024-05-06 10:00:00 UTC", "2024-05-06T10:00:00"),
        ("2024-05-06T10:00:00.123456789+01:00", "2024-05-06T09:00:00.123456789"),
        ("2024-05-06T10:00:00,5", "2024-05-06T10:00:00.5"),
        ("2024-05-06", "2024-05-06"),
        ("2024-05", "2024-05-01"),
    ],
)
def test_forms_that_others_write(text: str, expected: str) -> None:
    assert read([text], TimeRule()) == [int(np.datetime64(expected, "ns").astype(np.int64))]


def test_typed_times_say_their_unit_themselves() -> None:
    zoned = pa.array([1714982400000], pa.timestamp("ms", "Europe/Berlin"))
    assert read_times(zoned, TimeRule("ns"))[0].tolist() == [1714982400 * 10**9]
    assert read([19849], TimeRule(), pa.date32()) == [19849 * 86_400 * 10**9]
    assert read([14102100], TimeRule(format="%y%m%d%H")) == [ns(day(2014, 10, 21))]
    assert read([14102100.0], TimeRule(format="%y%m%d%H")) == [ns(day(2014, 10, 21))]
    assert read([1714982400], TimeRule(), pa.uint64()) == [1714982400 * 10**9]


@pytest.mark.parametrize(
    ("value", "rule", "words"),
    [
        (14102100, TimeRule(), 'time_format = "%y%m%d%H" reads it as 2014-10-21 00:00'),
        ("20141021", TimeRule(), 'time_format = "%Y%m%d" reads it as 2014-10-21 00:00'),
        (1413849600000, TimeRule(), 'time_unit = "ms" reads it as 2014-10-21 00:00'),
        (1413849600, TimeRule("ms"), 'time_unit = "s" reads it as 2014-10-21 00:00'),
        ("20141021000000", TimeRule(), 'time_format = "%Y%m%d%H%M%S" reads it as 2014-10-21'),
        (7, TimeRule(), 'not in 1970 (time_origin = "start" takes numbers that count from'),
        ("2101-01-01", TimeRule(), "a time within 1990 to 2100, not in 2101"),
        ("10:00", TimeRule(format="%H:%M"), "a time within 1990 to 2100, not in 1900"),
        ("soon", TimeRule(), "a time: a number of s, ISO 8601, or another form by time_format"),
        ("14-10", TimeRule(format="%y%m%d%H"), "a time of the form %y%m%d%H"),
        ("20240230", TimeRule(format="%Y%m%d"), "a time of the form %Y%m%d"),
        (None, TimeRule(), "a time: a number of s"),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(
    value: object, rule: TimeRule, words: str
) -> None:
    _, bad = read_times(pa.array([value]), rule)
    assert words in bad[0]


def test_out_of_range_timestamps_are_refused() -> None:
    _, bad = read_times(pa.array([5, None], pa.timestamp("ns")), TimeRule())
    assert "not in 1970" in bad[0]
    assert bad[1].startswith("a time")


def test_numbers_of_the_start_may_be_any_but_for_centuries() -> None:
    rule = TimeRule(origin="start")
    assert read([-5, 0, 10**9], rule) == [-5 * 10**9, 0, 10**18]
    _, bad = read_times(pa.array([10**12, 2**62]), rule)
    assert list(bad) == [0, 1]


def test_numbers_that_fit_twice_are_asked_about() -> None:
    hours = pa.array(["2014102100", "2014102101"])
    words = ambiguity(hours, TimeRule(assumed=True))
    assert words is not None
    assert 'time_format = "%Y%m%d%H" or time_unit = "s"' in words
    assert ambiguity(hours, TimeRule()) is None
    assert ambiguity(pa.array([1714982400, 1714982401]), TimeRule(assumed=True)) is None
    assert ambiguity(pa.array([14102100]), TimeRule(assumed=True)) is None
