"""The touch curve, and the traces and counts that it is made from."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.updates.speck import encrypt
from lorabench.updates.touch import TouchCurve
from lorabench.updates.touch_count import count
from lorabench.updates.touch_trace import TouchTrace, TouchWriter

TABLES, HOTNESS = (50, 7), (1, 2)
TOLD = {"format": "lorabench.touch/1", "table_rows": TABLES, "resolution_s": 1.0}


def stream(seed: int, rows: int, gap_s: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Return times in ns and ids of two tables, of which the second is looked up twice."""
    rng = np.random.default_rng(seed)
    time_ns = np.cumsum(rng.exponential(gap_s * 1e9, rows)).astype(np.int64)
    ids = [rng.zipf(1.3, rows) % TABLES[0], *(rng.integers(0, TABLES[1], (2, rows)))]
    return time_ns, np.stack(ids, axis=1).astype(np.int32)


def written(path: Path, time_ns: np.ndarray, ids: np.ndarray, batch: int = 97) -> TouchTrace:
    with TouchWriter(path, TABLES, HOTNESS) as writer:
        for at in range(0, len(time_ns), batch):
            writer.add(time_ns[at : at + batch], ids[at : at + batch])
    return TouchTrace.open(path)


def touched(time_ns: np.ndarray, ids: np.ndarray) -> set[tuple[int, int, int]]:
    """Return stretch, table and row of all touches, in plain Python."""
    tables = (0, 1, 1)
    rows = zip(time_ns // 10**9, ids, strict=True)
    return {(int(t), f, int(r)) for t, row in rows for f, r in zip(tables, row, strict=True)}


def test_the_cipher_gives_the_published_vector() -> None:
    # Beaulieu et al. 2013, appendix C: Speck64/128.
    key = bytes.fromhex("00010203 08090a0b 10111213 18191a1b")
    (found,) = encrypt(key, np.array([0x3B7265747475432D], np.uint64))
    assert found == 0x8C6FA548454E028B


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 200))
def test_a_trace_has_each_row_once_a_stretch_under_one_name(tmp, seed, rows, batch) -> None:
    time_ns, ids = stream(seed, rows)
    trace = written(tmp / "t.parquet", time_ns, ids, batch)
    read = pq.read_table(trace.path).to_pydict()
    found = list(zip(*read.values(), strict=True))
    expected = touched(time_ns, ids)
    assert len(set(found)) == len(found)
    count_of = lambda keys: sorted(map(list(keys).count, set(keys)))  # noqa: E731
    assert sorted((t, f) for t, f, _ in found) == sorted((t, f) for t, f, _ in expected)
    # The same rows, as often each; which is which is not to be seen.
    assert count_of([(f, r) for _, f, r in found]) == count_of([(f, r) for _, f, r in expected])
    assert not {r for _, _, r in found} & set(range(1000))
    assert found == sorted(found, key=lambda touch: (touch[0], touch[2]))


def test_two_traces_of_one_stream_have_no_name_in_common(tmp_path) -> None:
    made = [written(tmp_path / name, *stream(0, 100)) for name in "ab"]
    first, second = (set(pq.read_table(one.path)["row"].to_pylist()) for one in made)
    assert not first & second


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(2, 400))
def test_a_curve_lies_on_or_above_the_mean_of_distinct_rows_by_window(tmp, seed, rows) -> None:
    time_ns, ids = stream(seed, rows)
    found = count(written(tmp / "t.parquet", time_ns, ids)).curve
    touches = touched(time_ns, ids)
    start = int(time_ns[0] // 10**9)
    ticks = int(time_ns[-1] // 10**9) - start + 1
    means = {}
    for length in (1, 2, 4, ticks):
        windows = ticks // length
        if windows:
            seen = {((t - start) // length, f, r) for t, f, r in touches}
            distinct = sum(window < windows for window, _, _ in seen)
            means[length] = distinct / windows / sum(TABLES)
    assert all(found.share(length) >= mean - 1e-12 for length, mean in means.items())
    # All of it is one window and the curve's end, where nothing lies above the figure.
    assert found.known_s == ticks
    assert found.share(ticks) == pytest.approx(max(means[ticks], *means.values()))
    slopes = np.diff(found.shares) / np.diff(found.times_s)
    assert (np.diff(slopes) <= 1e-12).all()


def test_within_little_memory_a_sample_of_the_rows_tells_about_as_much(tmp_path) -> None:
    rng = np.random.default_rng(5)
    rows, tables = 20_000, (30_000, 30_000)
    with TouchWriter(tmp_path / "t", tables, (1, 1)) as writer:
        time_ns = np.arange(rows, dtype=np.int64) * 10**7
        writer.add(time_ns, rng.integers(0, 30_000, (rows, 2)).astype(np.int32))
    trace = TouchTrace.open(tmp_path / "t")
    whole, sampled = count(trace), count(trace, most_rows=4_000)
    assert (whole.sampled, sampled.sampled) == (1.0, 0.125)
    assert sampled.rows <= 4_000 < whole.rows
    for time_s in (1, 10, 100, 200):
        assert sampled.curve.share(time_s) == pytest.approx(whole.curve.share(time_s), rel=0.1)


def test_one_figure_gives_a_line_up_to_all_rows() -> None:
    curve = TouchCurve.linear(0.1, 600)
    assert [curve.share(t) for t in (0, 300, 600, 6000, 1e9)] == pytest.approx([0, 0.05, 0.1, 1, 1])


@pytest.mark.parametrize("at", ["add", "close"])
def test_what_is_not_finished_leaves_nothing_behind(at, tmp_path) -> None:
    time_ns, ids = stream(1, 50)
    with pytest.raises(ValueError), TouchWriter(tmp_path / "t", TABLES, HOTNESS) as writer:  # noqa: PT011,PT012
        writer.add(time_ns, ids)
        if at == "add":
            writer.add(time_ns, ids)
        raise ValueError
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"none/t: cannot be written"):
        TouchWriter(tmp_path / "none" / "t", TABLES, HOTNESS)


def parquet(path: Path, told: object = TOLD, **columns: pa.Array) -> Path:
    standard = {
        "time": pa.array([0.0, 1.0]),
        "table": pa.array([0, 1], pa.int32()),
        "row": pa.array([5, 6], pa.uint64()),
    }
    table = pa.table(standard | columns)
    pq.write_table(table.replace_schema_metadata({"lorabench.touch": json.dumps(told)}), path)
    return path


EMPTY = {
    "time": pa.array([], pa.float64()),
    "table": pa.array([], pa.int32()),
    "row": pa.array([], pa.uint64()),
}


@pytest.mark.parametrize(
    ("told", "columns", "expected"),
    [
        (TOLD | {"format": "other"}, {}, "found no metadata of a touch trace"),
        (TOLD | {"table_rows": [1, 0]}, {}, "found no metadata of a touch trace"),
        ([], {}, "found no metadata of a touch trace"),
        (TOLD, {"row": pa.array(["a", "b"])}, "found the columns"),
        (TOLD, EMPTY, "found no touches"),
        (TOLD, {"time": pa.array([1.0, 0.5])}, r"found times from 1\.0 to 0\.5"),
        (TOLD, {"time": pa.array([0.0, None])}, "found times from 0.0 to None"),
        (TOLD, {"table": pa.array([0, 2], pa.int32())}, r"row 2: found the table 2, expected .* 1"),
        (TOLD, {"table": pa.array([0, None], pa.int32())}, "cannot be read"),
        (TOLD, {"row": pa.array([5, 5], pa.uint64())}, "found the row 5 in the tables 0 and 1"),
        (TOLD | {"table_rows": [1, 1]}, {"table": pa.array([0, 0], pa.int32())}, "found 2 rows of"),
    ],
)
def test_what_is_no_trace_is_refused(told, columns, expected, tmp_path) -> None:
    path = parquet(tmp_path / "t.parquet", told, **columns)
    with pytest.raises(InputError, match=expected) as caught:
        count(TouchTrace.open(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_times_that_go_back_are_told_by_their_row(tmp_path) -> None:
    columns = {
        "time": pa.array([0.0, 2.0, 1.0, 3.0]),
        "table": pa.array([0] * 4, pa.int32()),
        "row": pa.array(range(4), pa.uint64()),
    }
    path = parquet(tmp_path / "t.parquet", **columns)
    with pytest.raises(InputError, match=r"row 3: found the time 1\.0 after 2\.0"):
        count(TouchTrace.open(path))


@pytest.mark.parametrize("content", [None, b"", b"PAR1 not quite PAR1"])
def test_what_is_no_parquet_is_refused(content, tmp_path) -> None:
    path = tmp_path / "t.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"t\.parquet: "):
        TouchTrace.open(path)


@pytest.fixture(scope="module")
def tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")
