"""A log of HdrHistogram's: its reader finds every query again, to a thousandth."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.report.hlog import DIGITS, LONGEST_NS, Interval, render, tag

AT = datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)


def interval(case: str = "solo", start_s: float = 0.0, *latencies_ns: int) -> Interval:
    return Interval(case, start_s, 1.5, np.array(latencies_ns or (1_000_000,), np.int64))


def read(path: Path, *intervals: Interval) -> list[HdrHistogram]:
    path.write_bytes(render(AT, ["a comment\nof two lines"], intervals))
    reader = HistogramLogReader(str(path), HdrHistogram(1, LONGEST_NS, DIGITS))
    try:
        return list(iter(reader.get_next_interval_histogram, None))
    finally:
        reader.close()


def test_each_interval_is_a_line_with_its_tag_in_the_order_of_time(tmp_path: Path) -> None:
    found = read(tmp_path / "log", interval("naive", 2.0), interval("solo", 0.5), interval("x", 3))
    assert [one.get_tag() for one in found] == ["solo", "naive", "x"]
    begins = [one.get_start_time_stamp() / 1e3 - AT.timestamp() for one in found]
    assert begins == pytest.approx([0.5, 2.0, 3.0], abs=1e-3)
    lengths = [one.get_end_time_stamp() - one.get_start_time_stamp() for one in found]
    assert lengths == pytest.approx([1500] * 3)


def test_the_head_says_what_it_is_and_when_it_began() -> None:
    text = render(AT, ["ns"], [interval("solo", 0.0, 2_500_000)]).decode().splitlines()
    assert text[:5] == [
        "#ns",
        "#[Histogram log format version 1.3]",
        "#[StartTime: 1767323045.250 (seconds since epoch), Fri Jan 02 03:04:05 UTC 2026]",
        "#[BaseTime: 1767323045.250 (seconds since epoch)]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    assert text[5].startswith("Tag=solo,0.000,1.500,2.500,HISTFAAA")


@settings(max_examples=20)
@given(st.lists(st.integers(0, LONGEST_NS), min_size=1, max_size=8))
def test_every_latency_is_within_a_thousandth(
    tmp_path_factory: pytest.TempPathFactory, latencies: list[int]
) -> None:
    (found,) = read(tmp_path_factory.mktemp("log") / "log", interval("solo", 0.0, *latencies))
    assert found.get_total_count() == len(latencies)
    for rank, latency in enumerate(sorted(latencies), 1):
        value = found.get_value_at_percentile(100 * rank / len(latencies))
        assert value == pytest.approx(latency, rel=1e-3, abs=1)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_tag_has_nothing_that_ends_it_and_no_two_cases_share_one(case: str) -> None:
    assert not set(tag(case)) & set(", \n\r\t")
    assert tag(case).isprintable()
    assert unquote(tag(case)) == case


def test_a_tag_is_the_case_where_it_can_be() -> None:
    for case in ("solo", "pinned+throttle", "shared+idle@0.25", "host2/cpu3"):
        assert tag(case) == case
    assert tag("D=16, zipf") == "D=16%2C%20zipf"


def test_a_latency_of_more_than_an_hour_is_refused() -> None:
    with pytest.raises(InputError, match=r"^solo: found a latency of 3,601 s, expected at most"):
        render(AT, [], [interval("solo", 0.0, 3_601_000_000_000)])


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hdrh.histogram", None)
    with pytest.raises(InputError, match=r"pip install 'lorabench\[hlog\]'"):
        render(AT, [], [interval()])
