"""Writing and reading back stores, and what happens when either goes wrong."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lorabench.errors import InputError
from lorabench.workload.block import MISSING_DENSE, Block
from lorabench.workload.generator import generate_blocks
from lorabench.workload.spec import load_spec
from lorabench.workload.store import Store, StoreInfo, row_bytes, write_store

SPEC = load_spec("tiny")
ROWS = 1000
BLOCK_ROWS = 300


def some_blocks() -> Iterator[Block]:
    return generate_blocks(SPEC, seed=5, rows=ROWS, block_rows=BLOCK_ROWS)


def write(folder: Path) -> StoreInfo:
    return write_store(folder, some_blocks(), SPEC, seed=5, kind="generated")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "store")
    return tmp_path / "store"


def assert_equal(found: Block, expected: Block) -> None:
    for name in ("label", "time_ns", "dense", "sparse"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype


@pytest.mark.parametrize("start", [0, 1, 299, 300, 301, 999, 1000])
def test_reads_back_what_was_written_from_any_row(folder: Path, start: int) -> None:
    blocks = list(Store.open(folder).blocks(start))
    if start == ROWS:
        assert blocks == []
        return
    expected = Block.concat(list(some_blocks()))
    assert (expected.dense == MISSING_DENSE).any()
    assert_equal(Block.concat(blocks), expected.slice(start, ROWS))


def test_one_record_batch_a_block_with_the_documented_columns(folder: Path) -> None:
    reader = pa.ipc.open_file(str(folder / "rows.arrow"))
    batches = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
    assert batches == [300, 300, 300, 100]
    assert reader.schema.field("label").type == pa.int8()
    assert reader.schema.field("time").type == pa.timestamp("ns")
    assert reader.schema.names[2:15] == [f"i{i}" for i in range(1, 14)]
    assert reader.schema.names[15:] == [f"c{i}" for i in range(1, 27)]
    table = reader.read_all()
    missing = sum(int((block.dense[:, 0] == MISSING_DENSE).sum()) for block in some_blocks())
    assert table["i1"].null_count == missing > 0


def test_the_manifest_tells_the_provenance(folder: Path) -> None:
    manifest = json.loads((folder / "workload.json").read_text())
    assert manifest["schema"] == "lorabench.workload/1"
    assert (manifest["kind"], manifest["seed"], manifest["rows"]) == ("generated", 5, ROWS)
    data = (folder / "rows.arrow").read_bytes()
    assert manifest["sha256"] == hashlib.sha256(data).hexdigest()
    assert manifest["size_bytes"] == len(data)
    store = Store.open(folder)
    assert (store.spec, store.rows, store.digest) == (SPEC, ROWS, manifest["sha256"])


def test_the_same_rows_make_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = write(tmp_path / "again")
    assert again.digest == Store.open(folder).digest


def test_row_bytes_is_enough_for_a_large_store(tmp_path: Path) -> None:
    blocks = generate_blocks(SPEC, seed=0, rows=20_000)
    info = write_store(tmp_path / "store", blocks, SPEC, seed=0, kind="generated")
    assert info.size_bytes <= 20_000 * row_bytes(SPEC)


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError, RuntimeError])
def test_an_error_on_the_way_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def broken() -> Iterator[Block]:
        yield from some_blocks()
        raise error("on the way")

    with pytest.raises(error):
        write_store(tmp_path / "store", broken(), SPEC, seed=5, kind="generated")
    assert list(tmp_path.iterdir()) == []


def test_no_rows_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no rows"):
        write_store(tmp_path / "store", iter(()), SPEC, seed=5, kind="generated")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    write(tmp_path / "store")
    assert Store.open(tmp_path / "store").rows == ROWS


def test_a_folder_with_content_is_refused_and_kept(folder: Path) -> None:
    before = (folder / "rows.arrow").read_bytes()
    with pytest.raises(InputError, match="found a folder with content"):
        write(folder)
    assert (folder / "rows.arrow").read_bytes() == before
    assert [entry.name for entry in folder.parent.iterdir()] == ["store"]


def test_paths_that_cannot_be_written_are_input_errors(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "absent" / "store", Path("/proc/store")):
        with pytest.raises(InputError, match=f"^{path}: .*expected"):
            write(path)


def test_a_folder_without_a_workload_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no workload\.json, expected a folder written by"):
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


def test_truncated_absent_and_foreign_rows_are_refused(folder: Path) -> None:
    path = folder / "rows.arrow"
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(InputError, match="truncated or replaced"):
        Store.open(folder)
    path.write_bytes(b"x" * len(data))
    with pytest.raises(InputError, match="found no Arrow file"):
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
        write_store(folder, blocks, SPEC, seed=None, kind="criteo-tsv")
        reading = Store.open(folder).blocks()
        assert_equal(next(reading), blocks[0])
        top = SPEC.table_rows[column] - 1
        words = f"batch 2: column c{column + 1}: found {row}, expected a row in 0 to {top}"
        with pytest.raises(InputError, match=words):
            next(reading)


def test_damaged_bytes_are_refused_or_read_as_rows_but_never_crash(folder: Path) -> None:
    path = folder / "rows.arrow"
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = []
    for _ in range(300):
        damaged = bytearray(data)
        # Half of the damage goes to the schema and the footer, where it hurts most.
        places = [int(rng.integers(len(data))), int(rng.integers(-6000, 6000))]
        for place in places:
            damaged[place] = int(rng.integers(256))
        path.write_bytes(damaged)
        try:
            assert sum(map(len, Store.open(folder).blocks())) == ROWS
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 30
    assert all(message.startswith(str(path)) for message in refused)


def test_rows_that_contradict_the_manifest_are_refused(folder: Path) -> None:
    path = folder / "workload.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"rows": ROWS - 1}))
    with pytest.raises(InputError, match="found 1000 rows, expected 999"):
        Store.open(folder)
    spec = manifest["spec"]
    for key in ("cardinality", "zipf", "missing"):
        spec["sparse"][key] = spec["sparse"][key][:-1]
    path.write_text(json.dumps(manifest | {"spec": spec}))
    with pytest.raises(InputError, match=r"found columns 41 .* expected those of its spec: 40"):
        Store.open(folder)
