"""Writing and reading back stores, and what happens when either goes wrong."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stores import write_store

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.criteo import read_criteo
from lorabench.workload.generator import generate_blocks
from lorabench.workload.manifest import Format, Manifest
from lorabench.workload.spec import WorkloadSpec, load_spec
from lorabench.workload.store import Store, check_format, row_bytes

SPEC = load_spec("tiny")
ROWS = 1000
BLOCK_ROWS = 300
FIRST = "part-00000.arrow"


def some_blocks() -> Iterator[Block]:
    return generate_blocks(SPEC, seed=5, rows=ROWS, block_rows=BLOCK_ROWS)


def write(folder: Path, form: Format = "arrow") -> Manifest:
    """Two parts: 600 rows and 400."""
    blocks = list(some_blocks())
    return write_store(folder, (blocks[:2], blocks[2:]), SPEC, form=form)


@pytest.fixture(params=["arrow", "parquet"])
def form(request: pytest.FixtureRequest) -> Format:
    chosen: Format = request.param
    return chosen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "store")
    return tmp_path / "store"


def assert_equal(found: Block, expected: Block) -> None:
    for name in ("label", "time_ns", "dense", "sparse"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype


@pytest.mark.parametrize("start", [0, 1, 299, 300, 301, 599, 600, 601, 999, 1000])
def test_reads_back_what_was_written_from_any_row(tmp_path: Path, form: Format, start: int) -> None:
    write(tmp_path / "store", form)
    blocks = list(Store.open(tmp_path / "store").blocks(start))
    if start == ROWS:
        assert blocks == []
        return
    expected = Block.concat(list(some_blocks()))
    assert np.isnan(expected.dense).any()
    assert_equal(Block.concat(blocks), expected.slice(start, ROWS))


def test_a_multi_hot_workload_reads_back(tmp_path: Path, form: Format) -> None:
    content = SPEC.model_dump()
    content["sparse"]["hotness"] = (3, *(1,) * 25)
    spec = WorkloadSpec.model_validate(content)
    blocks = list(generate_blocks(spec, 5, rows=ROWS))
    write_store(tmp_path / "store", (blocks,), spec, form=form)
    assert_equal(next(Store.open(tmp_path / "store").blocks()), blocks[0])


def test_one_record_batch_a_block_with_the_documented_columns(folder: Path) -> None:
    reader = pa.ipc.open_file(str(folder / FIRST))
    batches = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
    assert batches == [300, 300]
    assert reader.schema.field("label").type == pa.int8()
    assert reader.schema.field("time").type == pa.timestamp("ns")
    assert reader.schema.field("i1").type == pa.float32()
    assert reader.schema.names[2:15] == [f"i{i}" for i in range(1, 14)]
    assert reader.schema.names[15:] == [f"c{i}" for i in range(1, 27)]
    table = reader.read_all()
    first = next(some_blocks()), next(iter(list(some_blocks())[1:]))
    missing = sum(int(np.isnan(block.dense[:, 0]).sum()) for block in first)
    assert table["i1"].null_count == missing > 0


def test_other_programs_read_the_parquet_parts(tmp_path: Path) -> None:
    write(tmp_path / "store", "parquet")
    path = tmp_path / "store" / "part-00000.parquet"
    expected = Block.concat(list(some_blocks())).slice(0, 600)
    for column in (
        pq.read_table(path)["c3"].to_numpy(),
        pd.read_parquet(path)["c3"].to_numpy(),
        pl.read_parquet(path)["c3"].to_numpy(),
    ):
        np.testing.assert_array_equal(column, expected.sparse[:, 2])


def test_raw_criteo_parts_are_raw_criteo_rows(tmp_path: Path) -> None:
    write(tmp_path / "store", "criteo-tsv")
    found = Block.concat(
        [
            block
            for name in ("part-00000.tsv", "part-00001.tsv")
            for block in read_criteo(tmp_path / "store" / name, [2**31 - 2] * 26)
        ]
    )
    expected = Block.concat(list(some_blocks()))
    np.testing.assert_array_equal(found.label, expected.label)
    np.testing.assert_array_equal(found.dense, expected.dense)
    for f in range(26):
        pairs = set(zip(found.sparse[:, f].tolist(), expected.sparse[:, f].tolist(), strict=True))
        assert len(pairs) == len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs})


def test_raw_criteo_parts_are_a_store_without_times(tmp_path: Path) -> None:
    write(tmp_path / "store", "criteo-tsv")
    store = Store.open(tmp_path / "store")
    expected = Block.concat(list(some_blocks()))
    for start in (0, 5, len(expected) - 3):
        found = Block.concat(list(store.blocks(start)))
        for name in ("label", "dense", "sparse"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name)[start:])
    gap = round(1e9 / SPEC.rows_per_s)
    times = Block.concat(list(store.blocks())).time_ns
    np.testing.assert_array_equal(times, gap * np.arange(len(expected)))
    last = Store.open(tmp_path / "store", "part-00001.tsv")
    first = Store.open(tmp_path / "store", "part-00000.tsv")
    assert first.rows + last.rows == len(expected)
    np.testing.assert_array_equal(
        Block.concat(list(last.blocks())).sparse, expected.sparse[first.rows :]
    )
    path = tmp_path / "store" / "part-00001.tsv"
    path.write_bytes(path.read_bytes()[:-1] + b"0")
    with pytest.raises(InputError, match=r"part-00001\.tsv"):
        list(Store.open(tmp_path / "store").blocks())


def test_raw_criteo_lines_want_13_integers_and_26_ids() -> None:
    content = SPEC.model_dump()
    content["sparse"]["hotness"] = (2, *(1,) * 25)
    with pytest.raises(InputError, match="found 13 integers and 27 ids a row"):
        check_format(WorkloadSpec.model_validate(content), "criteo-tsv")


def test_the_manifest_tells_the_provenance(folder: Path) -> None:
    manifest = json.loads((folder / "workload.json").read_text())
    assert manifest["schema"] == "lorabench.workload/3"
    assert (manifest["kind"], manifest["rows"]) == ("generated", ROWS)
    assert [part["rows"] for part in manifest["parts"]] == [600, 400]
    for part in manifest["parts"]:
        data = (folder / part["name"]).read_bytes()
        assert part["sha256"] == hashlib.sha256(data).hexdigest()
        assert part["size_bytes"] == len(data)
    store = Store.open(folder)
    assert (store.spec, store.rows) == (SPEC, ROWS)


def test_the_same_rows_make_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = write(tmp_path / "again")
    assert again.parts == Store.open(folder).manifest.parts


@pytest.mark.parametrize("form", ["arrow", "parquet", "criteo-tsv"])
def test_row_bytes_is_enough_for_a_large_store(tmp_path: Path, form: Format) -> None:
    blocks = generate_blocks(SPEC, seed=0, rows=20_000)
    manifest = write_store(tmp_path / "store", (blocks,), SPEC, form=form)
    assert manifest.parts[0].size_bytes <= 20_000 * row_bytes(SPEC, form)


def test_a_folder_without_a_workload_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no workload\.json, expected a folder written by"):
        Store.open(tmp_path)
    (tmp_path / ".unfinished").mkdir()
    with pytest.raises(InputError, match="found an unfinished workload"):
        Store.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "Invalid JSON"), ("{}", "kind: Field required"), ('{"schema": "other/1"}', "schema: ")],
)
def test_a_foreign_manifest_is_refused(folder: Path, content: str, words: str) -> None:
    (folder / "workload.json").write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        Store.open(folder)
    assert "\n" not in str(caught.value)


def test_truncated_absent_and_foreign_parts_are_refused(tmp_path: Path, form: Format) -> None:
    folder = tmp_path / "store"
    write(folder, form)
    path = folder / f"part-00001.{form}"
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(InputError, match="truncated or replaced"):
        Store.open(folder)
    path.write_bytes(b"x" * len(data))
    with pytest.raises(InputError, match=f"found no {form.capitalize()} file"):
        Store.open(folder)
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        Store.open(folder)


def test_an_id_outside_its_table_is_named_with_its_place(tmp_path: Path) -> None:
    block = Block.concat(list(some_blocks()))
    for column, row in ((0, SPEC.table_rows[0]), (6, -1)):
        sparse = block.sparse.copy()
        sparse[500, column] = row
        blocks = [block.slice(0, 400), replace(block, sparse=sparse).slice(400, ROWS)]
        folder = tmp_path / f"store{column}"
        write_store(folder, (blocks,), SPEC, kind="ingested")
        reading = Store.open(folder).blocks()
        assert_equal(next(reading), blocks[0])
        top = SPEC.table_rows[column] - 1
        words = f"batch 2: column c{column + 1}: found {row}, expected a row in 0 to {top}"
        with pytest.raises(InputError, match=words):
            next(reading)


def test_damaged_bytes_are_refused_and_never_crash(tmp_path: Path, form: Format) -> None:
    folder = tmp_path / "store"
    write(folder, form)
    path = folder / f"part-00000.{form}"
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        # Half of the damage goes to the schema and the footer, where it hurts most.
        for place in (int(rng.integers(len(data))), int(rng.integers(-6000, 6000))):
            damaged[place] = (damaged[place] + int(rng.integers(1, 256))) % 256
        if bytes(damaged) == data:
            continue
        path.write_bytes(damaged)
        with pytest.raises(InputError) as caught:
            list(Store.open(folder).blocks())
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(path))


def test_rows_that_contradict_the_manifest_are_refused(folder: Path) -> None:
    path = folder / "workload.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"rows": ROWS - 1}))
    with pytest.raises(InputError, match="found 999 rows, expected the sum of its parts, 1000"):
        Store.open(folder)
    manifest["parts"][0]["rows"] -= 1
    path.write_text(json.dumps(manifest | {"rows": ROWS - 1}))
    with pytest.raises(InputError, match="found 600 rows, expected 599"):
        Store.open(folder)
    manifest["parts"][0]["rows"] += 1
    spec = manifest["spec"]
    for key in ("cardinality", "zipf", "missing", "hotness", "head"):
        spec["sparse"][key] = spec["sparse"][key][:-1]
    path.write_text(json.dumps(manifest | {"spec": spec}))
    with pytest.raises(InputError, match=r"found columns 41 .* expected those of its spec: 40"):
        Store.open(folder)


def as_the_version_before_wrote_it(folder: Path, form: Format) -> None:
    """Make the dense columns int32, and say so."""
    path = folder / "workload.json"
    manifest = json.loads(path.read_text()) | {"schema": "lorabench.workload/2"}
    for part in manifest["parts"]:
        file = folder / part["name"]
        table = pq.read_table(file) if form == "parquet" else pa.ipc.open_file(str(file)).read_all()
        columns = [
            column.cast(pa.int32()) if name.startswith("i") else column
            for name, column in zip(table.schema.names, table.columns, strict=True)
        ]
        fields = [
            pa.field(field.name, column.type, field.nullable)
            for field, column in zip(table.schema, columns, strict=True)
        ]
        old = pa.table(columns, pa.schema(fields))
        if form == "parquet":
            pq.write_table(old, file)
        else:
            with pa.ipc.new_file(str(file), old.schema) as writer:
                writer.write_table(old)
        data = file.read_bytes()
        part.update(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    path.write_text(json.dumps(manifest))


def test_folders_with_integer_columns_still_load(tmp_path: Path, form: Format) -> None:
    folder = tmp_path / "store"
    write(folder, form)
    as_the_version_before_wrote_it(folder, form)
    store = Store.open(folder)
    assert_equal(Block.concat(list(store.blocks())), Block.concat(list(some_blocks())))
    assert store.spec == SPEC
    path = folder / "workload.json"
    path.write_text(path.read_text().replace("workload/2", "workload/3"))
    with pytest.raises(InputError, match="expected those of its spec"):
        Store.open(folder)


def test_real_numbers_and_those_missing_read_back(tmp_path: Path, form: Format) -> None:
    block = next(some_blocks())
    dense = block.dense.copy()
    dense[:, 0] = np.linspace(-1, 1, BLOCK_ROWS)
    dense[5, 0] = np.nan
    written = replace(block, dense=dense)
    write_store(tmp_path / "store", ((written,),), SPEC, form=form, kind="ingested")
    assert_equal(next(Store.open(tmp_path / "store").blocks()), written)
