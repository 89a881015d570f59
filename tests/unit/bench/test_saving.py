"""Where a result goes when its disk is full by the time that the run ends."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from counting import COUNTING, LAST, MEANWHILE, CountingOptions
from own_mounts import fill, on_small_disk, why_not

from lorabench.bench.command import Output
from lorabench.bench.runner import run
from lorabench.errors import InputError
from lorabench.results.files import read_result
from lorabench.results.raw import open_raw

pytestmark = pytest.mark.skipif(bool(reason := why_not()), reason=reason)

SIZE = 512 << 10
NOISE = 96 << 10


@pytest.fixture
def disk(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A disk that is small within `on_small_disk`, and a state folder elsewhere."""
    monkeypatch.setenv("LORABENCH_RUN_DIR", str(tmp_path_factory.mktemp("run")))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "disk"
    folder.mkdir()
    LAST.clear()
    return folder


def count(disk: Path, *, filled: int | None = None, **options: int) -> None:
    """Count, while the disk is filled but for so many bytes."""
    if filled is not None:
        MEANWHILE.append(partial(fill, disk, filled))
    run(
        COUNTING,
        CountingOptions(ballast=NOISE, **options),
        Output(str(disk / "r.json"), quiet=True),
    )


def refused(act: Callable[[], None], *expected: str) -> str:
    with pytest.raises(InputError) as caught:
        act()
    said = str(caught.value)
    assert "\n" not in said
    for words in expected:
        assert words in said, said
    return said


def spare(disk: Path) -> Path:
    (path,) = (disk.parent / "state/lorabench").glob("count-*.json")
    return path


def test_a_disk_without_room_is_refused_before_anything_is_measured(disk: Path) -> None:
    def act() -> None:
        fill(disk, 8 << 10)
        refused(partial(count, disk), "r.json: found ", "bytes free on its disk, expected at least")
        assert not LAST[-1].counted
        assert [one.name for one in disk.iterdir()] == ["ballast"]

    on_small_disk(disk, SIZE, act)


def test_samples_without_room_are_refused_once_their_size_is_known(disk: Path) -> None:
    def act() -> None:
        fill(disk, NOISE)
        said = refused(partial(count, disk), "r.json: found ", "expected at least")
        assert int(re.findall(r"[\d,]{4,}", said)[1].replace(",", "")) > NOISE
        assert not LAST[-1].counted

    on_small_disk(disk, SIZE, act)


def test_room_that_may_not_suffice_is_told(disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    on_small_disk(disk, SIZE, partial(count, disk))
    assert "what goes beside it may take up to 983,040" in capfd.readouterr().err


def test_what_does_not_fit_at_the_end_is_kept_elsewhere_and_the_rest_where_it_was_to_be(
    disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def act() -> None:
        said = refused(
            partial(count, disk, filled=NOISE // 2),
            f"{disk}/r.npz: cannot be written (No space left on device); all of it is in ",
            f"; {disk}/r.json has it without its raw samples",
        )
        assert f"all of it is in {spare(disk)};" in said
        bare = read_result(disk / "r.json")
        assert (len(bare.metrics), bare.raw, bare.partial) == (3, None, False)
        assert [lack.what for lack in bare.unavailable] == ["its raw samples"]
        assert sorted(one.name for one in disk.iterdir()) == ["ballast", "r.json"]

    on_small_disk(disk, SIZE, act)
    whole = read_result(spare(disk))
    assert len(whole.metrics) == 3
    assert open_raw(spare(disk), whole).path.stat().st_size > NOISE
    shown = capfd.readouterr().out
    assert shown.startswith("counted 3\n")
    assert f"result: {spare(disk)}" in shown


def test_what_was_finished_is_kept_elsewhere_of_an_interrupted_run(disk: Path) -> None:
    def act() -> None:
        with pytest.raises(KeyboardInterrupt) as caught:
            count(disk, filled=0, stop_at=2)
        (note,) = caught.value.__notes__
        assert note.endswith(f"; all of it is in {spare(disk)}")

    on_small_disk(disk, SIZE, act)
    assert read_result(spare(disk)).partial


def test_without_any_room_what_is_printed_is_all_there_is(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(disk / "state"))

    def act() -> None:
        refused(partial(count, disk, filled=0), "; what was printed is all there is of it")
        assert not list(disk.rglob("*.json"))

    on_small_disk(disk, SIZE, act)
    assert capfd.readouterr().out == "counted 3\n"
