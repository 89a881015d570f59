"""Real rows as a workload: the rows they were, however they came and however often killed."""

import gzip
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lorabench.errors import InputError
from lorabench.workload import ingest as module
from lorabench.workload.block import Block
from lorabench.workload.criteo import criteo_lines, read_criteo
from lorabench.workload.generator import generate_blocks
from lorabench.workload.ingest import ingest
from lorabench.workload.inputs import CriteoInput
from lorabench.workload.manifest import part_name
from lorabench.workload.spec import load_spec
from lorabench.workload.store import Store

TINY = load_spec("tiny")
ROWS = 60_000


@pytest.fixture(scope="module")
def lines() -> bytes:
    """Three chunks of text and a bit."""
    blocks = generate_blocks(TINY, 3, rows=ROWS)
    return b"".join(bytes(criteo_lines(block)) for block in blocks)


@pytest.fixture(autouse=True)
def _a_chunk_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNKS_A_PART", 1)


def rows_of(folder: Path) -> Block:
    return Block.concat(list(Store.open(folder).blocks()))


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def test_takes_in_the_rows_that_the_reader_reads(tmp_path: Path, lines: bytes) -> None:
    path = tmp_path / "day_0"
    path.write_bytes(lines)
    manifest = ingest(tmp_path / "out", CriteoInput([path]), TINY, jobs=2)
    assert len(manifest.parts) >= 3
    found = rows_of(tmp_path / "out")
    expected = Block.concat(list(read_criteo(path, TINY.sparse.cardinality, rows_per_s=1000.0)))
    for name in ("label", "time_ns", "dense", "sparse"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    spec = manifest.spec
    assert (spec.rows, spec.rows_per_s) == (ROWS, pytest.approx(1000.0))
    assert spec.labels.base_rate == pytest.approx(expected.label.mean())
    assert spec.sparse.missing[19] == pytest.approx((expected.sparse[:, 19] == 0).mean())
    assert manifest.kind == "ingested"


def test_packed_split_and_piped_lines_are_the_same_rows(
    tmp_path: Path, lines: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    whole.write_bytes(lines)
    ingest(tmp_path / "a", CriteoInput([whole]), TINY)
    whole.write_bytes(gzip.compress(lines, 1))
    ingest(tmp_path / "b", CriteoInput([whole]), TINY)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    cut = lines.index(b"\n", len(lines) // 2) + 1
    days = tmp_path / "day_0", tmp_path / "day_1.gz"
    days[0].write_bytes(lines[:cut].rstrip(b"\n"))
    days[1].write_bytes(gzip.compress(lines[cut:], 1))
    ingest(tmp_path / "c", CriteoInput(days), TINY, form="parquet")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    ingest(tmp_path / "d", CriteoInput([Path("-")]), TINY)
    expected = rows_of(tmp_path / "a")
    for folder in ("c", "d"):
        found = rows_of(tmp_path / folder)
        for name in ("label", "time_ns", "dense", "sparse"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_exact_dictionaries_number_ids_as_they_first_appear(tmp_path: Path, lines: bytes) -> None:
    path = tmp_path / "day_0"
    path.write_bytes(lines)
    manifest = ingest(tmp_path / "out", CriteoInput([path]), TINY, ids="exact")
    found = rows_of(tmp_path / "out").sparse
    raw = [line.split(b"\t")[14:] for line in lines.splitlines()]
    for f in (0, 2, 19):
        numbers: dict[bytes, int] = {}
        expected = [numbers.setdefault(row[f], len(numbers) + 1) if row[f] else 0 for row in raw]
        assert found[:, f].tolist() == expected
        assert manifest.spec.sparse.cardinality[f] == len(numbers)


class _Killed(BaseException):
    pass


def killed_behind(folder: Path, path: Path, ids: module.Ids, parts: int) -> None:
    """Leave what a run leaves that is killed behind so many parts."""
    calls = iter(range(100))
    write_rows = module.write_rows

    def killed(*arguments: object) -> int:
        if next(calls) == parts:
            raise _Killed
        return write_rows(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "write_rows", killed)
        with pytest.raises(_Killed):
            ingest(folder, CriteoInput([path]), TINY, ids=ids)


@pytest.mark.parametrize("ids", ["hash", "exact"])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_run_that_ended_early_goes_on_to_the_same_bytes(
    tmp_path: Path, lines: bytes, ids: module.Ids, parts: int
) -> None:
    path = tmp_path / "day_0"
    path.write_bytes(lines)
    ingest(tmp_path / "whole", CriteoInput([path]), TINY, ids=ids)
    killed_behind(tmp_path / "out", path, ids, parts)
    ingest(tmp_path / "out", CriteoInput([path]), TINY, ids=ids, jobs=2)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def flipped(side: Path) -> None:
    """Exchange two ids of a map: still a file of the right form, of as many ids."""
    with np.load(side) as kept:
        maps = dict(kept)
    most = max(maps, key=lambda name: len(maps[name]))
    maps[most][:2] = maps[most][1::-1].copy()
    np.savez(side, **maps)


def truncated(side: Path) -> None:
    side.write_bytes(side.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [flipped, truncated, Path.unlink])
@pytest.mark.parametrize("number", [0, 1])
def test_maps_of_ids_that_were_damaged_are_made_anew_with_their_part(
    tmp_path: Path,
    lines: bytes,
    damage: Callable[[Path], None],
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "day_0"
    path.write_bytes(lines)
    ingest(tmp_path / "whole", CriteoInput([path]), TINY, ids="exact")
    killed_behind(tmp_path / "out", path, "exact", 2)
    damage(tmp_path / "out" / ".unfinished" / f"{number:05d}.npz")
    written: list[Path] = []
    write_rows = module.write_rows

    def told(half: Path, *arguments: object) -> int:
        written.append(half)
        return write_rows(half, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "write_rows", told)
    ingest(tmp_path / "out", CriteoInput([path]), TINY, ids="exact")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert written[0].name.startswith(part_name(number, "arrow"))


def test_an_input_that_changed_is_not_gone_on_with(tmp_path: Path, lines: bytes) -> None:
    path = tmp_path / "day_0"
    bad = lines.rindex(b"\n", 0, -1) + 1
    path.write_bytes(lines[:bad] + b"2" + lines[bad + 1 :])
    with pytest.raises(InputError, match=f"line {ROWS}, column 1"):
        ingest(tmp_path / "out", CriteoInput([path]), TINY)
    for content, words in (
        (lines[:1].replace(b"0", b"x") + b"1" + lines[1:], "found other lines than those taken in"),
        (lines[: lines.rindex(b"\n", 0, 4 << 20) + 1], "found fewer lines than were taken in"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            ingest(tmp_path / "out", CriteoInput([path]), TINY)
    path.write_bytes(lines)
    assert ingest(tmp_path / "out", CriteoInput([path]), TINY).rows == ROWS


def with_bad(lines: bytes) -> bytes:
    rows = lines.splitlines(keepends=True)
    rows[5] = b"nonsense\n"
    rows[30_000] = b"\n"
    rows[59_999] = b"0\t\x00\n"
    return b"".join(rows)


def test_bad_lines_are_named_and_left_out_up_to_a_number(tmp_path: Path, lines: bytes) -> None:
    path = tmp_path / "day_0"
    path.write_bytes(with_bad(lines))
    with pytest.raises(InputError, match="line 6: found 1 column"):
        ingest(tmp_path / "out", CriteoInput([path]), TINY)
    assert not (tmp_path / "out").exists()
    named: list[InputError] = []
    with pytest.raises(InputError, match=r"line 60000: .*\(bad line 3 of --skip-bad 2\)"):
        ingest(tmp_path / "out", CriteoInput([path]), TINY, skip_bad=2, on_bad=named.append)
    shutil.rmtree(tmp_path / "out")
    manifest = ingest(tmp_path / "out", CriteoInput([path]), TINY, skip_bad=3, on_bad=named.append)
    assert [str(error).split(":")[0].split(" ")[-1] for error in named[-3:]] == [
        "6",
        "30001",
        "60000",
    ]
    assert (manifest.rows, manifest.skipped) == (ROWS - 3, 3)
    assert len(rows_of(tmp_path / "out")) == ROWS - 3


def test_a_file_of_bad_lines_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "day_0"
    path.write_bytes(b"x\n" * 5)
    with pytest.raises(InputError, match="found no good row"):
        ingest(tmp_path / "out", CriteoInput([path]), TINY, skip_bad=10)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "found an empty file"),
        (b"a" * 10_000_000, "over 65536 bytes without an end"),
        (b"\x00" * 100_000, "binary data"),
        (gzip.compress(b"0\t" * 1000, mtime=0)[:-9], "broken gzip stream"),
    ],
    ids=["empty", "a line of 10 MB", "NUL bytes", "a truncated gzip"],
)
def test_what_is_no_criteo_file_is_refused_in_one_line(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "day_0"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        ingest(tmp_path / "out", CriteoInput([path]), TINY)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_preset_must_have_the_columns(tmp_path: Path) -> None:
    content = TINY.model_dump()
    content["dense"].update(count=1, missing=0.0, location=0.0, scale=1.0, quantiles=())
    spec = type(TINY).model_validate(content)
    words = "found 13 dense and 26 sparse columns, expected the 1 and 26 of tiny"
    with pytest.raises(InputError, match=words):
        ingest(tmp_path / "out", CriteoInput([tmp_path / "x"]), spec)
