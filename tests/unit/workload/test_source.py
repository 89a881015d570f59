"""Recognising sources, walking them without end, and dividing them."""

import gzip
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from processed_rows import Logs
from pyarrow import csv
from stores import write_store

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.criteo import COLUMNS, read_criteo
from lorabench.workload.generator import generate_blocks
from lorabench.workload.ingest import ingest
from lorabench.workload.inputs import CriteoInput
from lorabench.workload.manifest import Format
from lorabench.workload.source import (
    RowSource,
    open_source,
)
from lorabench.workload.spec import load_spec
from lorabench.workload.store import Store

TINY = load_spec("tiny")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    blocks = generate_blocks(TINY, seed=1, rows=200)
    write_store(tmp_path / "store", (blocks,), TINY)
    return tmp_path / "store"


def test_a_preset_is_generated() -> None:
    source: RowSource = open_source("tiny", None, 3)
    assert (source.kind, source.basis, source.spec) == ("generated", "measured-synthetic", TINY)
    assert sum(len(block) for block in source.blocks()) == TINY.rows
    first = next(source.blocks(start=100))
    np.testing.assert_array_equal(first.sparse, next(generate_blocks(TINY, 3, start=100)).sparse)


def test_a_folder_is_a_store_with_a_spec_of_its_own(store: Path) -> None:
    source = open_source(None, store, 0)
    assert (source.kind, source.basis, source.spec) == ("store", "measured-synthetic", TINY)
    assert source.digest == Store.open(store).digest
    with pytest.raises(InputError, match="found --preset tiny beside a workload folder"):
        open_source("tiny", store, 0)


def test_stored_raw_rows_stay_real(criteo_rows: Path, tmp_path: Path) -> None:
    blocks = read_criteo(criteo_rows, TINY.sparse.cardinality)
    write_store(tmp_path / "store", (blocks,), TINY, kind="ingested")
    assert open_source(None, tmp_path / "store", 0).basis == "measured-real"


def test_a_file_is_criteo_rows_with_the_kaggle_tables_unless_told_otherwise(
    criteo_rows: Path,
) -> None:
    source = open_source(None, criteo_rows, 0)
    assert (source.kind, source.basis) == ("criteo-tsv", "measured-real")
    assert source.spec == load_spec("criteo-kaggle")
    assert sum(len(block) for block in source.blocks(1000)) == 999
    small = open_source("tiny", criteo_rows, 0)
    assert small.spec == TINY
    top = Block.concat(list(small.blocks())).sparse.max(axis=0)
    assert (top < TINY.table_rows).all()


def test_a_checkpoints_tables_replace_those_of_the_preset(criteo_rows: Path) -> None:
    tables = tuple(range(2, 28))
    plain = open_source("tiny", criteo_rows, 0)
    source = open_source("tiny", criteo_rows, 0, tables)
    assert source.spec.table_rows == tables
    assert source.spec.model == plain.spec.model
    assert source.spec.digest != plain.spec.digest
    assert source.digest != plain.digest
    expected = next(read_criteo(criteo_rows, [rows - 1 for rows in tables]))
    np.testing.assert_array_equal(next(source.blocks()).sparse, expected.sparse)
    for wrong, words in (((5,), "found 1 tables"), ((*tables[:-1], 1), "1 rows for C26")):
        with pytest.raises(InputError, match=words):
            open_source("tiny", criteo_rows, 0, wrong)


def test_gzip_makes_no_difference_to_the_rows(criteo_rows: Path, tmp_path: Path) -> None:
    packed = tmp_path / "rows.tsv.gz"
    packed.write_bytes(gzip.compress(criteo_rows.read_bytes()))
    plain = Block.concat(list(open_source(None, criteo_rows, 0).blocks()))
    same = Block.concat(list(open_source(None, packed, 0).blocks()))
    np.testing.assert_array_equal(plain.sparse, same.sparse)


def test_digests_tell_data_apart(criteo_rows: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tsv"
    copy.write_bytes(criteo_rows.read_bytes())
    shorter = tmp_path / "shorter.tsv"
    shorter.write_bytes(criteo_rows.read_bytes().rpartition(b"\n1\t")[0] + b"\n")
    assert open_source(None, copy, 0).digest == open_source(None, criteo_rows, 1).digest
    assert open_source("tiny", None, 0).digest == open_source("tiny", None, 0).digest
    digests = {
        open_source("tiny", None, 0).digest,
        open_source("tiny", None, 1).digest,
        open_source("demo", None, 0).digest,
        open_source(None, copy, 0).digest,
        open_source("tiny", copy, 0).digest,
        open_source(None, shorter, 0).digest,
    }
    assert len(digests) == 6


def test_a_large_file_is_known_by_size_time_and_head(
    criteo_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorabench.workload.opened.HASHED_WHOLE_BYTES", 1000)
    path = tmp_path / "rows.tsv"
    path.write_bytes(criteo_rows.read_bytes())
    digest = open_source(None, path, 0).digest
    assert open_source(None, path, 0).digest == digest
    os.utime(path, ns=(0, 1))
    assert open_source(None, path, 0).digest != digest


def test_what_cannot_be_opened_is_an_input_error(tmp_path: Path) -> None:
    bad = tmp_path / "bad.tsv"
    bad.write_text("1\t2\n")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    cases = [
        (None, None, "neither --preset nor --data"),
        ("no-such", None, "unknown preset"),
        (None, tmp_path / "absent", "No such file"),
        (None, tmp_path, r"no workload\.json"),
        (None, bad, "found the columns column1, column2 .tab-separated, without a header."),
        (None, fifo, "neither a file nor a folder"),
    ]
    for preset, data, words in cases:
        with pytest.raises(InputError, match=words):
            open_source(preset, data, 0)


@pytest.mark.parametrize("form", ["arrow", "parquet", "criteo-tsv"])
def test_what_generate_writes_is_synthetic_in_every_form_and_part(
    tmp_path: Path, form: Format
) -> None:
    parts = [generate_blocks(TINY, seed=1, start=start, rows=100) for start in (0, 100)]
    manifest = write_store(tmp_path / "rows", parts, TINY, form=form)
    whole = open_source(None, tmp_path / "rows", 0)
    assert (whole.kind, whole.basis, whole.rows) == ("store", "measured-synthetic", 200)
    expected = Block.concat(list(whole.blocks()))
    path = tmp_path / "rows" / manifest.parts[1].name
    alone = open_source(None, path, 0)
    assert alone.basis == "measured-synthetic"
    assert alone.rows == 100
    found = Block.concat(list(alone.blocks()))
    np.testing.assert_array_equal(found.dense, expected.dense[100:])
    lines = form == "criteo-tsv"
    # A file of lines is read as any is; the folder says what its ids are.
    assert (alone.kind == "criteo-tsv") == lines
    assert (found.sparse == expected.sparse[100:]).all() != lines
    assert bool(whole.notes) == lines
    moved = path.rename(tmp_path / path.name)
    if lines:
        assert open_source(None, moved, 0).basis == "measured-real"


def test_rows_that_were_generated_stay_so_when_they_are_taken_in(tmp_path: Path) -> None:
    manifest = write_store(
        tmp_path / "rows", [generate_blocks(TINY, seed=1, rows=90)], TINY, form="criteo-tsv"
    )
    path = tmp_path / "rows" / manifest.parts[0].name
    ingest(tmp_path / "in", CriteoInput([path]), TINY)
    assert open_source(None, tmp_path / "in", 0).basis == "measured-synthetic"
    moved = path.rename(tmp_path / "lines.tsv")
    ingest(tmp_path / "other", CriteoInput([moved]), TINY)
    assert open_source(None, tmp_path / "other", 0).basis == "measured-real"


COLUMNS_MAP = """
label = "clicked"
time = "at"
dense = ["price"]
sparse = ["user", "item"]
"""


def table(rows: int, start: int = 0) -> pa.Table:
    """Rows of two ids, a price and a time, ten a second."""
    number = np.arange(start, start + rows)
    return pa.table(
        {
            "at": 1_700_000_000 + number // 10,
            "user": number % 7,
            "item": [f"item {n % 11}" for n in number],
            "price": number / 8,
            "clicked": number % 3 == 0,
            "other": number,
        }
    )


@pytest.fixture
def columns(tmp_path: Path) -> Path:
    path = tmp_path / "map.toml"
    path.write_text(COLUMNS_MAP)
    return path


def test_columns_are_read_as_a_workload_from_any_row_on(tmp_path: Path, columns: Path) -> None:
    folder = tmp_path / "days" / "date=1"
    folder.mkdir(parents=True)
    for part, start in enumerate(range(0, 120, 10)):  # part-10 comes behind part-9
        pq.write_table(table(10, start), folder / f"part-{part}.parquet")
    (folder / "_metadata.parquet").write_bytes(b"PAR1")
    pq.write_table(table(120), tmp_path / "all.parquet")
    csv.write_csv(table(120), tmp_path / "all.csv")
    whole = None
    for data in (tmp_path / "days", tmp_path / "all.parquet", tmp_path / "all.csv"):
        source = open_source("tiny", data, 0, columns=columns)
        assert (source.kind, source.basis, source.counted) == ("columns", "measured-real", False)
        assert (source.rows, source.spec.num_dense, source.spec.num_sparse) == (120, 1, 2)
        assert source.spec.rows_per_s == pytest.approx(10, rel=0.2)
        found = Block.concat(list(source.blocks()))
        whole = whole or found
        np.testing.assert_array_equal(found.dense[:, 0], np.arange(120, dtype=np.float32) / 8)
        np.testing.assert_array_equal(found.label, np.arange(120) % 3 == 0)
        np.testing.assert_array_equal(found.time_ns, np.arange(120) // 10 * 10**9)
        np.testing.assert_array_equal(found.sparse, whole.sparse)
        later = Block.concat(list(source.blocks(37)))
        np.testing.assert_array_equal(later.sparse, found.sparse[37:])
        np.testing.assert_array_equal(later.time_ns, found.time_ns[37:])
        words = " ".join(source.notes)
        assert "other" in words  # which is left out
        assert "ids of a feature are hashed to 1,000,000 rows" in words
    assert len(set(whole.sparse[:, 0].tolist())) == 7


def test_columns_go_into_the_tables_of_a_checkpoint(tmp_path: Path, columns: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(table(90), path)
    source = open_source(None, path, 0, (5, 8), columns=columns)
    assert source.spec.table_rows == (5, 8)
    assert (Block.concat(list(source.blocks())).sparse.max(axis=0) < [5, 8]).all()
    assert source.digest != open_source(None, path, 0, columns=columns).digest
    with pytest.raises(InputError, match="found 3 tables, expected 2"):
        open_source(None, path, 0, (5, 8, 9), columns=columns)


def test_a_known_layout_needs_no_map(criteo_rows: Path, tmp_path: Path) -> None:
    named = tmp_path / "rows.csv"
    lines = criteo_rows.read_text().replace("\t", ",")
    named.write_text(",".join(COLUMNS) + "\n" + lines)
    source = open_source("tiny", named, 0)
    assert source.kind == "columns"
    found = Block.concat(list(source.blocks()))
    expected = Block.concat(list(open_source("tiny", criteo_rows, 0).blocks()))
    np.testing.assert_array_equal(found.sparse, expected.sparse)
    np.testing.assert_array_equal(found.dense, expected.dense)


def test_options_that_say_nothing_of_the_rows_are_refused(
    store: Path, criteo_rows: Path, tmp_path: Path, columns: Path
) -> None:
    logs = Logs.draw(99).write_whole(tmp_path / "rows.npz")
    for data, options, words in (
        (None, {"columns": columns}, "--columns: found no --data beside it"),
        (None, {"wrap_ids": True}, "--wrap-ids: found no --data beside it"),
        (store, {"columns": columns}, "expected rows that lorabench did not write"),
        (store, {"wrap_ids": True}, "expected rows that lorabench did not write"),
        (criteo_rows, {"wrap_ids": True}, "expected processed rows of the reference DLRM or"),
        (logs, {"columns": columns}, "--columns: found .* expected Parquet or CSV"),
    ):
        with pytest.raises(InputError, match=words):
            open_source(None if data else "tiny", data, 0, **options)
