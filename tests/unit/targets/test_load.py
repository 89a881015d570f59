"""Traffic: each law true to itself, traces exact about what they take, schedules reproducible."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from lorabench.errors import InputError
from lorabench.targets.laws import (
    burst_arrivals,
    diurnal_arrivals,
    poisson_arrivals,
    spike_arrivals,
)
from lorabench.targets.load import (
    MLPERF_SIZES,
    Schedule,
    Traffic,
    open_traffic,
    split_arrivals,
)
from lorabench.targets.trace import read_trace


@given(st.floats(0, 1e4), st.floats(0, 2), st.integers(0, 2**32))
def test_arrivals_are_sorted_and_within_the_duration(
    rate: float, duration: float, seed: int
) -> None:
    arrivals = poisson_arrivals(rate, duration, np.random.default_rng(seed))
    assert arrivals.dtype == np.int64
    assert (np.diff(arrivals) >= 0).all()
    assert ((arrivals >= 0) & (arrivals < duration * 1e9)).all()


def test_gaps_are_exponential_and_each_servers_too() -> None:
    rng = np.random.default_rng(1)
    arrivals = poisson_arrivals(2000.0, 20.0, rng)
    server = split_arrivals(len(arrivals), 4, rng)
    assert stats.kstest(np.diff(arrivals) * 2000.0 / 1e9, "expon").pvalue > 1e-3
    for s in range(4):
        gaps = np.diff(arrivals[server == s])
        assert stats.kstest(gaps * 500.0 / 1e9, "expon").pvalue > 1e-3


def test_counts_vary_as_a_poisson_variable_does() -> None:
    rng = np.random.default_rng(2)
    counts = np.array([len(poisson_arrivals(100.0, 1.0, rng)) for _ in range(2000)])
    assert abs(counts.mean() - 100) < 1.5
    assert 85 < counts.var() < 115


def test_a_spike_is_three_times_the_calm_and_traffic_says_when_it_is() -> None:
    begin, end = Traffic("spike", 32).spike_s(40.0) or (0.0, 0.0)
    assert (begin, end) == (24.0, 32.0)
    arrivals = spike_arrivals(3000.0, 40.0, np.random.default_rng(5)) / 1e9
    during = int(((arrivals >= begin) & (arrivals < end)).sum())
    assert abs(during - 24_000) < 6 * 24_000**0.5
    assert abs(len(arrivals) - during - 32_000) < 6 * 32_000**0.5
    assert Traffic("poisson", 32).spike_s(40.0) is None


def test_queries_are_split_uniformly() -> None:
    server = split_arrivals(40_000, 5, np.random.default_rng(3))
    assert server.dtype == np.int32
    assert stats.chisquare(np.bincount(server, minlength=5)).pvalue > 1e-3


def test_the_digest_depends_on_the_times_and_on_the_split() -> None:
    def schedule(seed: int) -> Schedule:
        return Schedule.draw(Traffic("poisson", 1), 100.0, 1.0, servers=2, seed=(seed,))

    one = schedule(7)
    assert schedule(7).digest == one.digest
    assert replace(one, server=1 - one.server).digest != one.digest
    assert replace(one, arrivals=one.arrivals + 1).digest != one.digest
    assert replace(one, rows=one.rows + 1).digest != one.digest


def test_queries_ask_for_row_after_row_and_go_round_only_where_the_rows_do_not_suffice() -> None:
    rows = np.array([3, 1, 4, 2], np.int32)
    schedule = Schedule(np.zeros(4, np.int64), np.zeros(4, np.int32), rows)
    assert schedule.first_rows(10).tolist() == [0, 3, 4, 8]
    few = schedule.first_rows(6)
    assert few.tolist() == [0, 0, 1, 2]
    assert (few + rows <= 6).all()


def test_nonsense_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="rate_qps: found nan"):
        Traffic("poisson", 1).draw(float("nan"), 1.0, rng)
    with pytest.raises(ValueError, match="duration_s: found -1"):
        Traffic("poisson", 1).draw(1.0, -1, rng)
    with pytest.raises(ValueError, match="servers: found 0"):
        split_arrivals(5, 0, rng)


@given(
    st.sampled_from(["poisson", "bursts", "diurnal"]),
    st.floats(0, 1e4),
    st.floats(0, 2),
    st.integers(0, 2**32),
)
def test_every_law_is_sorted_within_the_duration_and_repeats(
    law: str, rate: float, duration: float, seed: int
) -> None:
    traffic = Traffic(law, "mlperf")
    arrivals, rows = traffic.draw(rate, duration, np.random.default_rng(seed))
    assert (np.diff(arrivals) >= 0).all()
    assert ((arrivals >= 0) & (arrivals < max(duration * 1e9, 1))).all()
    assert len(rows) == len(arrivals)
    again = traffic.draw(rate, duration, np.random.default_rng(seed))
    assert np.array_equal(again[0], arrivals)
    assert np.array_equal(again[1], rows)


def dispersion(arrivals: np.ndarray, duration: float) -> float:
    """Variance over mean of the counts of tenths of a second; 1 for Poisson."""
    counts = np.bincount((arrivals // 100_000_000).astype(int), minlength=int(duration * 10))
    return float(counts.var() / counts.mean())


def test_bursts_keep_the_mean_rate_and_are_burstier_than_poisson() -> None:
    rng = np.random.default_rng(4)
    bursts = burst_arrivals(1000.0, 2000.0, rng)
    assert len(bursts) == pytest.approx(2_000_000, rel=0.02)
    assert dispersion(bursts, 2000.0) > 5
    assert dispersion(poisson_arrivals(1000.0, 2000.0, rng), 2000.0) == pytest.approx(1, abs=0.1)


def test_a_day_has_its_peak_in_the_middle_at_the_asked_rate() -> None:
    arrivals = diurnal_arrivals(1000.0, 1000.0, np.random.default_rng(5))
    rate = np.bincount((arrivals // 10_000_000_000).astype(int), minlength=100) / 10
    assert rate[49:51].mean() == pytest.approx(1000, rel=0.02)
    assert rate[[0, 99]].mean() == pytest.approx(300, rel=0.04)
    assert len(arrivals) == pytest.approx(650_000, rel=0.01)


def test_mlperf_sizes_come_at_their_shares() -> None:
    sizes = Traffic("poisson", "mlperf").sizes(200_000, np.random.default_rng(6))
    assert sizes.mean() == pytest.approx(270, rel=0.01)
    assert (sizes == 200).mean() == pytest.approx(12 / 20, abs=0.01)
    assert set(sizes.tolist()) == set(MLPERF_SIZES)


def test_a_trace_is_stretched_to_the_rate_and_goes_round(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("10, 5\r\n10.5,7\n\n12,9\n13.5,11\n")
    traffic = open_traffic(str(path), "32")
    assert traffic.most_rows == 11
    arrivals, rows = traffic.draw(100.0, 1.0, np.random.default_rng(7))
    # Four arrivals in 40 ms, their gaps as recorded: 0.5, 1.5, 1.5 of 14/3 s.
    assert len(arrivals) == pytest.approx(100, abs=1)
    at = rows.tolist().index(5)
    gaps = np.diff(arrivals[at : at + 5]) / 1e9
    period = 3.5 * 4 / 3
    np.testing.assert_allclose(
        gaps, np.array([0.5, 1.5, 1.5, period - 3.5]) / period * 0.04, rtol=1e-5
    )
    assert rows[at : at + 8].tolist() == [5, 7, 9, 11] * 2
    other, _ = traffic.draw(100.0, 1.0, np.random.default_rng(8))
    assert not np.array_equal(arrivals[:4], other[:4])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "found 0 different times"),
        ("1\n1\n", "found 1 different times"),
        ("1\nx\n", "line 2: found 'x', expected a time in seconds"),
        ("1\n-2\n", "line 2: found '-2'"),
        ("1\nnan\n", "line 2: found 'nan'"),
        ("2\n1\n", "line 2: found 1 s after 2 s, expected times that never fall"),
        ("1,2\n2\n", "line 2: found 1 columns, expected 2"),
        ("1\n2,2\n", "line 2: found 2 columns, expected 1"),
        ("1,0\n2,2\n", "line 1: found '0' rows, expected 1 to 65536"),
        ("1,2,3\n", "line 1: found '1,2,3'"),
        ("9" * 300, "line 1: found 300 bytes"),
    ],
)
def test_a_bad_trace_is_named_with_its_line(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "trace"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_trace(path)
    assert words in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_are_a_trace_or_one_line_of_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    problem = ""
    try:
        assert (np.diff(read_trace(path).times_s) >= 0).all()
    except InputError as error:
        problem = str(error)
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("arrivals", "rows", "words"),
    [
        (
            "poison",
            "32",
            "--arrivals: found 'poison', expected poisson, bursts, diurnal, spike, or a",
        ),
        ("poisson", "0", "--query-rows: found '0', expected 1 to"),
        ("poisson", "many", "--query-rows: found 'many'"),
        ("poisson", "9" * 30, "--query-rows: found"),
    ],
)
def test_what_is_no_traffic_is_refused(arrivals: str, rows: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        open_traffic(arrivals, rows)
    assert words in str(caught.value)
