"""Click logs that others have made ready: id i is row i, in every layout, and strays are named."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processed_rows import SPARSE, Logs

from lorabench.errors import InputError
from lorabench.workload.block import Block, dense_features
from lorabench.workload.given import processed_input
from lorabench.workload.ingest import Ids, ingest
from lorabench.workload.source import RowSource, open_source
from lorabench.workload.spec import load_spec

ROWS = 300
BOUNDS = (0, 90, 91, 300)
LOGS = Logs.draw(ROWS)


def rows_of(source: RowSource, start: int = 0) -> Block:
    return Block.concat(list(source.blocks(start)))


def check(source: RowSource, start: int = 0) -> None:
    """Hold a source against what was written."""
    found = rows_of(source, start)
    np.testing.assert_array_equal(found.sparse, LOGS.ids[start:])
    np.testing.assert_array_equal(found.label, LOGS.label[start:])
    logs = source.kind == "torchrec-npy"
    np.testing.assert_array_equal(found.dense, (LOGS.logarithms() if logs else LOGS.dense)[start:])
    assert (np.diff(found.time_ns) > 0).all()
    assert source.spec.table_rows == tuple(LOGS.counts)
    assert (source.rows, source.counted, source.basis) == (ROWS, True, "measured-real")
    np.testing.assert_allclose(
        dense_features(found.dense, source.spec.dense),
        LOGS.logarithms()[start:] if logs else np.log(LOGS.dense[start:].astype(np.float32) + 1),
        rtol=1e-6,
    )


def test_the_whole_processed_file_is_read(tmp_path: Path) -> None:
    path = LOGS.write_whole(tmp_path / "kaggleAdDisplayChallenge_processed.npz")
    source = open_source(None, path, 0)
    assert source.kind == "dlrm-npz"
    check(source)
    check(source, 250)
    assert source.spec.dense.transform == ("log1p",) * 13
    assert any("ids are rows of the tables, as they are" in note for note in source.notes)
    # Beside what the reference leaves of its work, the folder is that file.
    for day in range(2):
        np.savez(tmp_path / f"train_day_{day}_processed.npz", **LOGS.cut(0, 9))
    np.savez(tmp_path / "train_day_0.npz", X_cat_t=LOGS.ids.T)
    again = open_source(None, tmp_path, 0)
    check(again)
    assert "left out 2 files like train_day_0_processed.npz" in " ".join(again.notes)


@pytest.mark.parametrize("stem", ["train_day", "day"])
def test_memory_mapped_days_are_one_stream(tmp_path: Path, stem: str) -> None:
    source = open_source(None, LOGS.write_days(tmp_path, BOUNDS, stem), 0)
    assert source.kind == "dlrm-npz"
    for start in (0, 89, 90, 91, 200):
        check(source, start)
    day = open_source(None, tmp_path / f"{stem}_2_reordered.npz", 0)
    np.testing.assert_array_equal(rows_of(day).sparse, LOGS.ids[91:])
    assert day.spec.table_rows == tuple(LOGS.counts)


def test_days_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    source = open_source(None, LOGS.write_days(tmp_path, range(0, ROWS + 1, 25)), 0)
    check(source)


def test_the_binary_form_is_read(tmp_path: Path) -> None:
    LOGS.write_days(tmp_path, BOUNDS)
    path = LOGS.write_binary(tmp_path / "terabyte_processed_train.bin")
    source = open_source(None, path, 0)
    assert source.kind == "dlrm-bin"
    check(source, 7)
    for day in range(3):
        path.with_name(f"train_day_{day}_reordered.npz").unlink()
    path.with_name("other.bin").write_bytes(b"of something else")
    check(open_source(None, tmp_path, 0))


def test_torchrecs_arrays_are_read(tmp_path: Path) -> None:
    folder = LOGS.write_arrays(tmp_path, BOUNDS)
    source = open_source(None, folder, 0)
    assert source.kind == "torchrec-npy"
    check(source)
    check(source, 95)
    assert source.spec.dense.transform == ("identity",) * 13
    words = " ".join(source.notes)
    assert "dense values are taken as they are" in words
    assert "the largest of all 300 rows' ids" in words
    for part in ("dense", "sparse", "labels"):
        one = open_source(None, folder / f"day_2_{part}.npy", 0)
        np.testing.assert_array_equal(rows_of(one).sparse, LOGS.ids[91:])


def test_three_arrays_need_no_other_name(tmp_path: Path) -> None:
    np.save(tmp_path / "dense.npy", LOGS.logarithms())
    np.save(tmp_path / "sparse.npy", LOGS.ids)
    np.save(tmp_path / "labels.npy", LOGS.label)
    check(open_source(None, tmp_path, 0))


def test_torchrecs_multi_hot_ids_are_read(tmp_path: Path) -> None:
    LOGS.write_arrays(tmp_path, (0, ROWS))
    (tmp_path / "day_0_sparse.npy").unlink()
    ids = {str(f): np.stack([LOGS.ids[:, f]] * (1 + f % 3), axis=1) for f in range(SPARSE)}
    np.savez(tmp_path / "day_0_sparse_multi_hot.npz", **ids)
    source = open_source(None, tmp_path, 0)
    assert source.spec.sparse.hotness == tuple(1 + f % 3 for f in range(SPARSE))
    np.testing.assert_array_equal(
        rows_of(source).sparse, np.concatenate(list(ids.values()), axis=1)
    )


def test_a_checkpoints_tables_hold_the_ids(tmp_path: Path) -> None:
    path = LOGS.write_whole(tmp_path / "rows.npz")
    counts = [int(one) for one in LOGS.counts]
    assert open_source(None, path, 0, tuple(counts)).spec.table_rows == tuple(counts)
    larger = open_source(None, path, 0, (*counts[:-1], counts[-1] + 5))
    assert "1 tables of the checkpoint have more rows than" in " ".join(larger.notes)
    smaller = (*counts[:3], counts[3] - 1, *counts[4:])
    expected = f"found a table of {counts[3] - 1} rows for feature 4"
    with pytest.raises(InputError, match=expected):
        open_source(None, path, 0, smaller)
    with pytest.raises(InputError, match="found 2 tables, expected 26"):
        open_source(None, path, 0, (5, 5))
    arrays = LOGS.write_arrays(tmp_path, (0, ROWS)) / "day_0_sparse.npy"
    stray = int((LOGS.ids[:, 3] == counts[3] - 1).argmax())
    with pytest.raises(InputError) as refused:
        open_source(None, arrays, 0, smaller)
    assert f"row {stray + 1}: found id {counts[3] - 1} of feature 4" in str(refused.value)
    assert f"0 to {counts[3] - 2} (the checkpoint's); --wrap-ids" in str(refused.value)
    wrapped = open_source(None, arrays, 0, smaller, wrap_ids=True)
    np.testing.assert_array_equal(rows_of(wrapped).sparse, LOGS.ids % np.array(smaller))
    assert wrapped.digest != open_source(None, arrays, 0).digest


def test_raw_ids_wrap_round_into_the_presets_tables(tmp_path: Path) -> None:
    ids = np.random.default_rng(1).integers(0, 2**32, (ROWS, SPARSE))
    for name, rows in {"dense": LOGS.logarithms(), "sparse": ids, "labels": LOGS.label}.items():
        np.save(tmp_path / f"day_0_{name}.npy", rows)
    with pytest.raises(InputError, match=r"expected the row of a table, .*; --wrap-ids"):
        open_source("tiny", tmp_path, 0)
    source = open_source("tiny", tmp_path, 0, wrap_ids=True)
    np.testing.assert_array_equal(rows_of(source).sparse, ids % np.array(source.spec.table_rows))
    with pytest.raises(InputError, match="found the 22 tables of avazu"):
        open_source("avazu", tmp_path, 0, wrap_ids=True)


def test_digests_tell_rows_apart(tmp_path: Path) -> None:
    one = LOGS.write_whole(tmp_path / "one.npz")
    two = Logs.draw(ROWS, seed=1).write_whole(tmp_path / "two.npz")
    digests = [open_source(None, path, 0).digest for path in (one, two, one)]
    assert digests[0] == digests[2]
    assert digests[0] != digests[1]


def save(path: Path, **arrays: object) -> None:
    np.savez(path, **{"counts": LOGS.counts, **LOGS.cut(0, ROWS), **arrays})  # type: ignore[arg-type]


def test_strange_values_are_named_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    label, dense, ids = LOGS.label.copy(), LOGS.dense.astype(float), LOGS.ids.astype(float)
    label[5], dense[7, 2], ids[9, 4] = -1, np.inf, 1.5
    for change, words in (
        ({"y": label}, r"y, row 6: found -1, expected a label, 0 or 1"),
        ({"X_int": dense}, r"X_int, row 8, column 3: found inf, expected a number"),
        ({"X_cat": ids}, r"X_cat, row 10, column 5: found 1\.5, expected the row of a table"),
        ({"X_cat": LOGS.ids - 1}, r"X_cat, row 1, column 1: found -1, expected the row"),
        ({"X_cat": LOGS.ids[:-1]}, r"X_cat: found 299 rows, expected the 300 of .*: y"),
        ({"X_cat": LOGS.ids[:, 0]}, r"X_cat: found shape \[300\], expected rows and columns"),
        ({"y": LOGS.dense}, r"y: found shape \[300, 13\], expected a label a row"),
        ({"counts": LOGS.counts[:4]}, r"found 4 counts, expected one for each of 26"),
        ({"counts": LOGS.counts * 0}, r"counts: found \[0, 0, 0, 0, 0\], expected positive"),
        ({"counts": LOGS.counts * 0.5}, r"expected positive integers"),
        (
            {"counts": np.maximum(1, LOGS.counts - 1)},
            r"found id 1 of feature 2, expected .* 0 to 0",
        ),
    ):
        save(path, **change)
        with pytest.raises(InputError, match=words):
            rows_of(open_source(None, path, 0))
    save(path, X_int=np.where(dense > 4000, np.nan, dense))
    assert np.isnan(rows_of(open_source(None, path, 0)).dense).any()


def test_what_is_no_set_of_rows_is_refused_with_the_reason(tmp_path: Path) -> None:
    LOGS.write_days(tmp_path, BOUNDS)
    np.savez(tmp_path / "train_day_0.npz", X_cat_t=LOGS.ids.T, X_int=LOGS.dense, y=LOGS.label)
    np.savez(tmp_path / "other.npz", a=LOGS.ids, b=LOGS.label)
    np.save(tmp_path / "alone.npy", LOGS.ids)
    for name, words in {
        "train_fea_count.npz": "found the arrays counts, .* it belongs to rows",
        "train_day_count.npz": "found the arrays total_per_file, .* it belongs to rows",
        "train_day_0.npz": "its ids are not numbered yet",
        "other.npz": "found the arrays a, b, expected X_int, X_cat and y",
        "alone.npy": "found an array alone, expected NAME_dense.npy",
    }.items():
        with pytest.raises(InputError, match=words):
            open_source(None, tmp_path / name, 0)


def test_several_sets_of_rows_in_a_folder_are_refused(tmp_path: Path) -> None:
    LOGS.write_days(tmp_path, BOUNDS)
    LOGS.write_whole(tmp_path / "kaggle_processed.npz")
    with pytest.raises(
        InputError, match=r"several sets of rows .kaggle_processed.npz, train_day_0"
    ):
        open_source(None, tmp_path, 0)
    both = tmp_path / "arrays"
    both.mkdir()
    LOGS.write_arrays(both, (0, ROWS))
    LOGS.write_arrays(both, (0, ROWS), "_contig_freq")
    with pytest.raises(InputError, match=r"found day_0_sparse.npy and day_0_sparse_contig_freq"):
        open_source(None, both, 0)
    check(open_source(None, both / "day_0_sparse_contig_freq.npy", 0))
    (both / "day_0_labels.npy").unlink()
    with pytest.raises(InputError, match=r"found no day_0_labels.npy, expected it beside"):
        open_source(None, both / "day_0_sparse.npy", 0)
    (both / "other_dense.npy").touch()
    with pytest.raises(InputError, match="found arrays of day_0 and of other"):
        open_source(None, both, 0)


def test_a_day_of_another_length_than_was_counted_is_refused(tmp_path: Path) -> None:
    LOGS.write_days(tmp_path, BOUNDS)
    np.savez(tmp_path / "train_day_1_reordered.npz", **LOGS.cut(0, 5))
    with pytest.raises(InputError, match=r"_1_reordered.npz: found 5 rows, expected 1 by"):
        open_source(None, tmp_path, 0)
    (tmp_path / "train_day_1_reordered.npz").unlink()
    assert "days 1 are not there" in " ".join(open_source(None, tmp_path, 0).notes)


@given(st.binary(min_size=1, max_size=700))
def test_a_file_of_any_bytes_is_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "rows.bin"
    for start in (b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\0\0\0\0" * 40):
        path.write_bytes(start + content)
        try:
            source = open_source("tiny", path, 0)
        except InputError as error:
            assert str(error).count("\n") == 0, error  # noqa: PT017
        else:
            assert len(rows_of(source)) == source.rows


@pytest.mark.parametrize("ids", ["hash", "exact"])
def test_taken_in_they_are_the_same_rows(
    tmp_path: Path, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorabench.workload.processed._BATCH_ROWS", 7)
    path = LOGS.write_arrays(tmp_path, BOUNDS)
    source, spec = processed_input(path, load_spec("tiny"), None, wrap=False)
    ingest(tmp_path / "in", source, spec, ids=ids)
    stored, given = open_source(None, tmp_path / "in", 0), open_source("tiny", path, 0)
    assert stored.spec.table_rows == tuple(LOGS.counts)
    assert stored.spec.dense.transform == ("identity",) * 13
    for name in ("label", "dense", "sparse", "time_ns"):
        found, expected = (getattr(rows_of(one), name) for one in (stored, given))
        np.testing.assert_array_equal(found, expected)


def test_labels_that_stand_for_none_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = LOGS.write_arrays(tmp_path, (0, ROWS))
    np.save(tmp_path / "day_0_labels.npy", np.full((ROWS, 1), -1))
    source = open_source(None, data, 0)
    assert not source.labelled
    assert not rows_of(source).label.any()
    monkeypatch.setattr("lorabench.workload.processed._BATCH_ROWS", 50)
    np.save(tmp_path / "day_0_labels.npy", np.where(np.arange(ROWS) < 280, -1, 0))
    with pytest.raises(InputError, match="row 281: found 0, expected -1, as in the rows before"):
        rows_of(open_source(None, data, 0))
    assert "rows have no labels (-1 in each)" in " ".join(source.notes)


def test_what_torchrec_itself_writes_is_read(
    tmp_path: Path, criteo_rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    criteo = pytest.importorskip("torchrec.datasets.criteo", reason="make install brings torchrec")
    # iopath, through which it opens files, is not asked for: these lie on this machine.
    local = SimpleNamespace(open=open, set_strict_kwargs_checking=lambda _strict: None)
    factory = SimpleNamespace(get=lambda _key: local)
    for name in ("iopath", "iopath.common", "iopath.common.file_io"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["iopath.common.file_io"].PathManagerFactory = lambda: factory  # type: ignore[attr-defined]
    work, folder = tmp_path / "work", tmp_path / "contiguous"
    work.mkdir()
    folder.mkdir()
    names = [str(work / f"day_{{}}_{part}.npy") for part in ("dense", "sparse", "labels")]
    for day in (0, 1):
        criteo.BinaryCriteoUtils.tsv_to_npys(str(criteo_rows), *(n.format(day) for n in names))
    sparse = [str(work / f"day_{day}_sparse.npy") for day in (0, 1)]
    criteo.BinaryCriteoUtils.sparse_to_contiguous(sparse, str(folder), frequency_threshold=2)
    for day in (0, 1):
        for part in ("dense", "labels"):
            (work / f"day_{day}_{part}.npy").rename(folder / f"day_{day}_{part}.npy")
    source = open_source(None, folder, 0)
    found, expected = rows_of(source), rows_of(open_source(None, criteo_rows, 0))
    assert len(found) == 2 * len(expected)
    np.testing.assert_array_equal(found.label, np.tile(expected.label, 2))
    numbered = [np.load(folder / f"day_{day}_sparse_contig_freq.npy") for day in (0, 1)]
    np.testing.assert_array_equal(found.sparse, np.concatenate(numbered))
    assert source.spec.table_rows == tuple(np.concatenate(numbered).max(axis=0) + 1)
    np.testing.assert_array_equal(found.dense[: len(expected)], np.load(folder / "day_0_dense.npy"))


def test_taking_in_goes_on_behind_what_is_done_if_it_is_still_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorabench.workload.processed._BATCH_ROWS", 40)
    path = LOGS.write_whole(tmp_path / "rows.npz")
    source, _ = processed_input(path, load_spec("tiny"), None, wrap=False)
    every = list(source.batches(0, "", keep_bad=False, jobs=1))
    rest = list(source.batches(3, every[2].read, keep_bad=False, jobs=1))
    assert [batch.read for batch in rest] == [batch.read for batch in every[3:]]
    np.testing.assert_array_equal(rest[0].ids.T, LOGS.ids[120:160])
    with pytest.raises(InputError, match="up to row 120: found other rows than those taken in"):
        list(source.batches(3, every[1].read, keep_bad=False, jobs=1))
    with pytest.raises(InputError, match="found fewer rows than were taken in before"):
        list(source.batches(99, "", keep_bad=False, jobs=1))
