"""Stamps that were cut are told from queries that came at once, and spread within their step."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.targets.load import open_traffic
from lorabench.targets.ties import find_ties, spread
from lorabench.targets.trace import NS, read_trace

SECONDS = 200
RNG = np.random.default_rng(3)
Stamps = NDArray[np.int64]


def poisson(rate: float, seconds: float = SECONDS, seed: int = 0) -> Stamps:
    rng = np.random.default_rng(seed)
    count = rng.poisson(rate * seconds)
    return np.sort(rng.integers(0, int(seconds * NS), count)) + 1_700_000_000 * NS


def cut(stamps: Stamps, step: float) -> Stamps:
    return np.asarray(np.floor(stamps / (step * NS)) * (step * NS), np.int64)


def diurnal(low: float, high: float) -> Stamps:
    """A quiet night, in which the mean gap is long, and a busy hour."""
    night = poisson(low, 50 * SECONDS)
    return np.concatenate([night, poisson(high, seed=1) + 50 * SECONDS * NS])


def batches(stamps: Stamps, size: int) -> Stamps:
    return np.repeat(stamps, size)


COARSE: dict[str, tuple[Callable[[], Stamps], float]] = {
    "whole seconds": (lambda: cut(poisson(100), 1.0), 1.0),
    "twice the mean gap": (lambda: cut(poisson(20), 0.1), 0.1),
    "ms at a high rate": (lambda: cut(poisson(10_000, 5), 0.001), 0.001),
    "minutes": (lambda: cut(poisson(1, 50 * SECONDS), 60.0), 60.0),
    "ticks of 1/64 s": (lambda: cut(poisson(300), 1 / 64), 1 / 64),
    "thirds of a second in ms": (
        lambda: np.round(cut(poisson(50), 1 / 3) / 1e6).astype(np.int64) * 1_000_000,
        1 / 3,
    ),
    "rounded, not cut": (lambda: cut(poisson(100) + NS // 2, 1.0), 1.0),
    "half past each second": (lambda: cut(poisson(100), 1.0) + NS // 2, 1.0),
    "one exact stamp among them": (
        lambda: np.sort(np.append(cut(poisson(100), 1.0), poisson(100)[777])),
        1.0,
    ),
    "a log of whole seconds merged with an exact one": (
        lambda: np.sort(np.concatenate([cut(poisson(20), 1.0), poisson(20, seed=5)])),
        1.0,
    ),
    "whole seconds, idle at night": (lambda: cut(diurnal(0.05, 10), 1.0), 1.0),
    "three stamps in all": (lambda: np.repeat(np.arange(3), 5) * NS, 1.0),
    "as regular as can be": (lambda: cut(np.arange(1000) * (NS * 10 // 11), 1.0), 1.0),
}

FINE: dict[str, Callable[[], Stamps]] = {
    "exact": lambda: poisson(100),
    "us": lambda: cut(poisson(1000), 1e-6),
    "a third of the mean gap": lambda: cut(poisson(1000, 20), 0.0003),
    "regular": lambda: np.arange(1000) * 10_000_000,
    "real batches": lambda: batches(poisson(3), 20),
    "real batches, in us": lambda: cut(batches(poisson(30), 5), 1e-6),
    "a few that came at once": lambda: np.sort(np.append(poisson(100), poisson(100)[5:500:50])),
}


@pytest.mark.parametrize("name", COARSE)
def test_stamps_coarser_than_the_gaps_are_known(name: str) -> None:
    make, step = COARSE[name]
    stamps = make()
    ties = find_ties(stamps)
    assert ties.coarse
    assert ties.step_ns == pytest.approx(step * NS, rel=1e-3)
    counts = np.unique(stamps, return_counts=True)[1]
    assert ties.tied == counts[counts > 1].sum()


@pytest.mark.parametrize("name", FINE)
def test_what_came_at_once_is_counted_but_not_doubted(name: str) -> None:
    stamps = FINE[name]()
    ties = find_ties(stamps)
    assert not ties.coarse
    assert ties.tied == (len(stamps) - len(np.unique(stamps, return_counts=False)) > 0) * ties.tied
    assert ties.tied >= len(stamps) - len(np.unique(stamps))


@pytest.mark.parametrize("name", COARSE)
def test_what_is_spread_stays_within_its_step_and_ties_no_more(name: str) -> None:
    make, step = COARSE[name]
    stamps = make()
    moved, order = spread(stamps, find_ties(stamps), np.random.default_rng(1))
    assert (np.diff(moved) >= 0).all()
    assert sorted(order) == list(range(len(stamps)))
    by = moved - stamps[order]
    assert ((by >= 0) & (by < 1.001 * step * NS)).all()
    assert not find_ties(moved).coarse
    again, _ = spread(stamps, find_ties(stamps), np.random.default_rng(1))
    other, _ = spread(stamps, find_ties(stamps), np.random.default_rng(2))
    assert np.array_equal(moved, again)
    assert not np.array_equal(moved, other)


def test_spread_whole_seconds_are_as_bursty_as_the_exact_stamps_were() -> None:
    exact = poisson(100)
    moved, _ = spread(cut(exact, 1.0), find_ties(cut(exact, 1.0)), RNG)
    counts = [
        np.bincount((stamps - exact[0]) // (NS // 100), minlength=100 * SECONDS)
        for stamps in (exact, moved - moved[0] + exact[0])
    ]
    # A Poisson process has as much variance as mean; whole seconds have a hundred times that.
    for found in counts:
        assert found.var() / found.mean() == pytest.approx(1, abs=0.1)


def test_exact_stamps_beside_those_that_were_cut_stay_where_they_are() -> None:
    exact = poisson(20, seed=5)
    stamps = np.sort(np.concatenate([cut(poisson(20), 1.0), exact]))
    moved, order = spread(stamps, find_ties(stamps), RNG)
    kept = np.isin(stamps[order], exact)
    assert (moved[kept] == stamps[order][kept]).mean() > 0.9


@given(st.lists(st.integers(0, 50), min_size=2, max_size=60), st.sampled_from([1, 7, NS]))
def test_any_stamps_are_spread_and_lose_no_arrival(stamps: list[int], unit: int) -> None:
    given_ = np.sort(np.array(stamps, np.int64)) * unit
    ties = find_ties(given_)
    moved, order = spread(given_, ties, np.random.default_rng(0))
    assert (np.diff(moved) >= 0).all()
    assert sorted(order) == list(range(len(given_)))
    assert ties.tied == sum(stamps.count(one) > 1 for one in stamps)


def write(path: Path, stamps: Stamps, rows: bool = False) -> Path:
    lines = (
        f"{stamp // NS}.{stamp % NS:09d}{f',{1 + i % 9}' if rows else ''}\n"
        for i, stamp in enumerate(stamps)
    )
    path.write_text("".join(lines))
    return path


def test_a_trace_of_whole_seconds_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    path = write(tmp_path / "log", cut(poisson(100, 20), 1.0))
    with pytest.raises(InputError) as caught:
        read_trace(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line 2: found ")
    assert "arrivals at the moment of another on steps of 1 s, with a mean gap of 0.0" in message
    assert "--spread-ties" in message
    assert "--keep-ties" in message
    assert "\n" not in message


def test_asked_for_it_is_spread_by_seed_or_kept_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "log", cut(poisson(100, 20), 1.0), rows=True)
    one, same, other = (open_traffic(str(path), "32", ties="spread", seed=s) for s in (1, 1, 2))
    assert one.trace is not None
    assert same.trace is not None
    assert other.trace is not None
    np.testing.assert_array_equal(one.trace.times_s, same.trace.times_s)
    assert not np.array_equal(one.trace.times_s, other.trace.times_s)
    assert one.describe()["parameters"]["ties"] == "spread"
    assert one.describe()["parameters"]["step_s"] == pytest.approx(1)
    (note,) = one.notes
    assert note.endswith("spread within their steps, at moments drawn by --seed")
    kept = open_traffic(str(path), "32", ties="keep")
    assert kept.trace is not None
    assert len(np.unique(kept.trace.times_s)) <= 21
    assert kept.describe()["parameters"]["ties"] == "kept"
    (note,) = kept.notes
    assert "latencies may be those of bursts" in note
    assert kept.trace.rows is not None
    assert one.trace.rows is not None
    assert sorted(kept.trace.rows) == sorted(one.trace.rows)


def test_a_query_keeps_its_rows_when_it_is_moved(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"{second},{1 + second}\n" * 5 for second in range(40)))
    trace = read_trace(path, "spread")
    assert trace.rows is not None
    assert (np.abs(trace.times_s + 0.5 - trace.rows) <= 1).all()


def test_a_trace_whose_stamps_are_fine_says_how_many_are_shared(tmp_path: Path) -> None:
    exact = open_traffic(str(write(tmp_path / "a", poisson(100, 20))), "32")
    assert (exact.notes, exact.describe()["parameters"]) == ((), {})
    batched = open_traffic(str(write(tmp_path / "b", batches(poisson(3), 20))), "32")
    (note,) = batched.notes
    assert note.endswith("served at once, as they were recorded")
    assert batched.describe()["parameters"]["tied"] == len(batches(poisson(3), 20))


def test_ways_with_ties_are_of_recorded_arrivals() -> None:
    with pytest.raises(InputError, match="--spread-ties: found --arrivals bursts, expected a file"):
        open_traffic("bursts", "32", ties="spread")


def test_seconds_since_1970_keep_their_nanoseconds(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("1700000000.000000001\n1700000000.000000004\n1700000001\n")
    np.testing.assert_array_equal(read_trace(path).times_s, [0, 3e-9, 0.999999999])
