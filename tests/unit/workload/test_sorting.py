"""Rows sorted on disk: in the stable order of all, and gone on with after a kill."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.workload import ingest as ingesting
from lorabench.workload import sorting
from lorabench.workload.block import Block
from lorabench.workload.column_map import ColumnMap
from lorabench.workload.columns import ColumnsInput
from lorabench.workload.ingest import base_for, ingest
from lorabench.workload.inputs import CriteoInput
from lorabench.workload.spec import load_spec
from lorabench.workload.store import Store

MAP = ColumnMap(label="y", time="t", time_origin="start", dense=("a",), sparse=("u",))
FOLDERS = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make runs of a batch, and parts and merged blocks of a few rows."""
    monkeypatch.setattr(sorting, "_RUN_BYTES", 1)
    monkeypatch.setattr(sorting, "_MERGE_BYTES", 1)
    monkeypatch.setattr(sorting, "_BATCH_ROWS", 50)
    monkeypatch.setattr(ingesting, "_CHUNKS_A_PART", 1)


def files(folder: Path, times: list[list[int]]) -> list[Path]:
    """Write a file for each list of times; a row's dense value is its number among all."""
    number = itertools.count()
    paths = []
    for i, of_file in enumerate(times):
        path = folder / f"{i}.csv"
        path.write_text(
            "y,t,a,u\n"
            + "".join(f"{n % 2},{t},{next(number)},u{n}\n" for n, t in enumerate(of_file))
        )
        paths.append(path)
    return paths


def taken_in(folder: Path, paths: list[Path], *, skip_bad: int = 0) -> Block:
    source = ColumnsInput(paths, MAP, ordered=False)
    base = base_for(load_spec("tiny"), source, 1000)
    ingest(folder, source, base, ids="exact", sort=True, skip_bad=skip_bad)
    return Block.concat(list(Store.open(folder).blocks()))


@FOLDERS
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=40), min_size=1, max_size=5))
def test_rows_come_in_the_stable_order_of_their_times(
    tmp_path_factory: pytest.TempPathFactory, times: list[list[int]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("sorted")
    found = taken_in(tmp_path / "out", files(tmp_path, times))
    at = np.array([t for of_file in times for t in of_file])
    order = np.argsort(at, kind="stable")
    assert found.dense[:, 0].tolist() == order.tolist()
    assert found.time_ns.tolist() == ((at[order] - at.min()) * 10**9).tolist()
    assert not (tmp_path / "out" / ".unfinished").exists()


class _Killed(BaseException):
    pass


def killed(monkeypatch: pytest.MonkeyPatch, module: object, name: str, after: int) -> None:
    """Let what is called so many times end the run."""
    calls, real = itertools.count(), getattr(module, name)

    def ending(*arguments: object) -> object:
        if next(calls) == after:
            raise _Killed
        return real(*arguments)

    monkeypatch.setattr(module, name, ending)


TIMES = [[5, 3, 9, 1] * 15, [2, 8, 4] * 20, [7, 0, 6] * 20]


@pytest.mark.parametrize(
    ("module", "name", "after"),
    [(sorting, "settle", 0), (sorting, "settle", 2), (ingesting, "write_rows", 2)],
    ids=["in the first run", "in a later run", "in a part"],
)
def test_a_killed_run_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, name: str, after: int
) -> None:
    paths = files(tmp_path, TIMES)
    paths[1].write_text(paths[1].read_text() + "x,1,1,1\n")
    taken_in(tmp_path / "whole", paths, skip_bad=1)
    with monkeypatch.context() as patch:
        killed(patch, module, name, after)
        with pytest.raises(_Killed):
            taken_in(tmp_path / "out", paths, skip_bad=1)
    left = list(tmp_path.glob("out/.unfinished/sorted-*.json"))
    assert len(left) == (after if name == "settle" else 3)
    taken_in(tmp_path / "out", paths, skip_bad=1)
    one, other = (
        {entry.name: entry.read_bytes() for entry in (tmp_path / name).iterdir()}
        for name in ("whole", "out")
    )
    assert one == other
    assert Store.open(tmp_path / "out").manifest.skipped == 1


def test_a_damaged_run_is_sorted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files(tmp_path, TIMES)
    expected = taken_in(tmp_path / "whole", paths)
    with monkeypatch.context() as patch:
        killed(patch, sorting, "settle", 2)
        with pytest.raises(_Killed):
            taken_in(tmp_path / "out", paths)
    run = tmp_path / "out" / ".unfinished" / "sorted-00001.rows"
    run.write_bytes(run.read_bytes()[:-1] + b"x")
    found = taken_in(tmp_path / "out", paths)
    np.testing.assert_array_equal(found.dense, expected.dense)


def test_an_input_that_changed_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = files(tmp_path, TIMES)
    with monkeypatch.context() as patch:
        killed(patch, sorting, "settle", 1)
        with pytest.raises(_Killed):
            taken_in(tmp_path / "out", paths)
    paths[0].write_text(paths[0].read_text().replace("u1\n", "u2\n"))
    with pytest.raises(InputError, match="found other rows than those taken in before"):
        taken_in(tmp_path / "out", paths)


def test_rows_without_times_are_not_sorted(tmp_path: Path) -> None:
    (path,) = files(tmp_path, [[1]])
    source = CriteoInput([path])
    with pytest.raises(InputError, match=r"found rows without times .*, expected a column map"):
        ingest(tmp_path / "out", source, load_spec("tiny"), sort=True)
    assert not (tmp_path / "out").exists()
