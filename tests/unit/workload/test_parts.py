"""The journal: what a run leaves behind when it ends early, and who may go on with it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.workload.parts import Unfinished, check_part, check_target

RUN = {"command": "test", "seed": 1}


def text(content: str) -> Callable[[Path], int]:
    def write(path: Path) -> int:
        path.write_text(content)
        return len(content)

    return write


def broken(path: Path) -> int:
    path.write_text("half")
    raise OSError(28, "No space left on device")


def noted(side: Path) -> dict[str, int]:
    side.write_bytes(b"what is too large for a note")
    return {"at": 1}


def interrupted(
    folder: Path, parts: int, note: Callable[[Path], object] = lambda _: {"at": 1}
) -> None:
    """Leave what a run leaves that ends behind so many parts."""
    try:
        with Unfinished(folder, RUN) as unfinished:
            for number in range(parts):
                unfinished.part(f"part-{number}.txt", text("one"), note)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_parts_become_a_workload_with_the_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with Unfinished(folder, RUN) as unfinished:
        unfinished.part("part-0.txt", text("one"), lambda _: {"at": 1})
        assert not (folder / "workload.json").exists()
        unfinished.finish("{}")
    assert names(folder) == ["part-0.txt", "workload.json"]
    check_part(folder, unfinished.done[0].part)


def test_a_later_run_takes_up_the_finished_parts_and_their_notes(tmp_path: Path) -> None:
    interrupted(tmp_path, 1)
    with Unfinished(tmp_path, RUN) as unfinished:
        assert [(done.part.rows, done.note) for done in unfinished.done] == [(3, {"at": 1})]
        unfinished.part("part-1.txt", text("two!"), lambda _: {"at": 2})
        unfinished.finish("{}")
    assert (tmp_path / "part-0.txt").read_text() == "one"
    assert names(tmp_path) == ["part-0.txt", "part-1.txt", "workload.json"]


def test_an_error_before_the_first_part_is_whole_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    words = f"{folder}: No space left on device; expected a writable folder with room$"
    with pytest.raises(InputError, match=words), Unfinished(folder, RUN) as unfinished:
        unfinished.part("part-0.txt", broken, lambda _: None)
    assert names(tmp_path) == []


def test_a_disk_that_fills_up_keeps_what_is_whole_and_says_so(tmp_path: Path) -> None:
    interrupted(tmp_path, 1)
    with (
        pytest.raises(InputError, match="1 finished parts are kept: run it again to go on"),
        Unfinished(tmp_path, RUN) as unfinished,
    ):
        unfinished.part("part-1.txt", broken, lambda _: None)
    assert names(tmp_path) == [".unfinished", "part-0.txt"]
    assert not list((tmp_path / ".unfinished").glob("*.half"))


@pytest.mark.parametrize("damage", ["part", "note", "gone"])
def test_a_damaged_part_or_note_is_made_anew_with_all_behind_it(
    tmp_path: Path, damage: str
) -> None:
    interrupted(tmp_path, 3)
    if damage == "part":
        (tmp_path / "part-1.txt").write_text("One")
    elif damage == "note":
        (tmp_path / ".unfinished" / "00001.json").write_text('{"part"')
    else:
        (tmp_path / "part-1.txt").unlink()
    with Unfinished(tmp_path, RUN) as unfinished:
        assert [done.part.name for done in unfinished.done] == ["part-0.txt"]
        for number in (1, 2):
            unfinished.part(f"part-{number}.txt", text("one"), lambda _: None)
        unfinished.finish("{}")
    assert (tmp_path / "part-1.txt").read_text() == "one"


def flipped(path: Path, at: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES = {"flipped": lambda path: flipped(path, 9), "truncated": truncated, "gone": Path.unlink}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_stands_beside_a_note_is_not_believed_unless_it_is_as_it_was_written(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    interrupted(tmp_path, 3, noted)
    with Unfinished(tmp_path, RUN) as unfinished:
        assert [unfinished.side(n).read_bytes()[:4] for n in range(3)] == [b"what"] * 3
        assert len(unfinished.done) == 3
    damage(tmp_path / ".unfinished" / "00001.npz")
    with Unfinished(tmp_path, RUN) as unfinished:
        assert [done.part.name for done in unfinished.done] == ["part-0.txt"]
        assert [unfinished.side(n).exists() for n in range(3)] == [True, False, False]


def test_half_of_what_stands_beside_a_note_is_not_taken_for_that_of_the_next_part(
    tmp_path: Path,
) -> None:
    interrupted(tmp_path, 1)
    half = tmp_path / ".unfinished" / "00001.npz.half"
    half.write_bytes(b"of a part that was never noted")
    with Unfinished(tmp_path, RUN) as unfinished:
        unfinished.part("part-1.txt", text("two!"), lambda _: None)
        assert not unfinished.side(1).exists()
    assert not half.exists()


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0), bit=st.integers(0, 7))
def test_a_note_with_any_bit_flipped_is_not_believed(
    at: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    interrupted(folder, 1, noted)
    note = folder / ".unfinished" / "00000.json"
    flipped(note, at % note.stat().st_size, bit)
    with Unfinished(folder, RUN) as unfinished:
        assert unfinished.done == []


@pytest.mark.parametrize("content", ["", "3", "[]", "{}", '{"sha256": ""}'])
def test_what_is_no_note_is_not_believed(tmp_path: Path, content: str) -> None:
    interrupted(tmp_path, 1)
    (tmp_path / ".unfinished" / "00000.json").write_text(content)
    with Unfinished(tmp_path, RUN) as unfinished:
        assert unfinished.done == []


def test_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    interrupted(tmp_path, 1)
    before = names(tmp_path)
    words = r"found an unfinished workload made otherwise \(another seed\), expected the same"
    with pytest.raises(InputError, match=words), Unfinished(tmp_path, {**RUN, "seed": 2}):
        pass
    assert names(tmp_path) == before


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with (
        Unfinished(tmp_path, RUN) as unfinished,
        pytest.raises(InputError, match="found another run writing to it"),
        Unfinished(tmp_path, RUN),
    ):
        pass
    assert names(tmp_path) == []
    assert unfinished.done == []


def test_killed_after_the_manifest_only_the_journal_goes(tmp_path: Path) -> None:
    with Unfinished(tmp_path, RUN) as unfinished:
        unfinished.part("part-0.txt", text("one"), lambda _: None)
        journal = shutil.copytree(tmp_path / ".unfinished", tmp_path.parent / "kept")
        unfinished.finish("{}")
    shutil.copytree(journal, tmp_path / ".unfinished")
    with pytest.raises(InputError, match="found a finished workload"):
        check_target(tmp_path)
    assert names(tmp_path) == ["part-0.txt", "workload.json"]


def test_a_folder_with_content_and_paths_that_cannot_be_written_are_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "absent" / "store", Path("/proc/store"), tmp_path):
        with (
            pytest.raises(InputError, match=f"^{path}: .*expected"),
            Unfinished(path, RUN) as unfinished,
        ):
            unfinished.part("part-0.txt", text("one"), lambda _: None)
    assert names(tmp_path) == ["file"]


def test_an_empty_folder_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with Unfinished(tmp_path / "empty", RUN) as unfinished:
        unfinished.part("part-0.txt", text("one"), lambda _: None)
        unfinished.finish("{}")
    assert names(tmp_path / "empty") == ["part-0.txt", "workload.json"]


def test_no_part_is_taken_for_whole_by_its_size_alone(tmp_path: Path) -> None:
    with Unfinished(tmp_path, RUN) as unfinished:
        unfinished.part("part-0.txt", text("one"), lambda _: None)
        unfinished.finish("{}")
    part = unfinished.done[0].part
    (tmp_path / "part-0.txt").write_text("eno")
    with pytest.raises(InputError, match="found other bytes than those of its checksum"):
        check_part(tmp_path, part)
    (tmp_path / "part-0.txt").write_text("on")
    with pytest.raises(InputError, match="found 2 bytes, expected 3"):
        check_part(tmp_path, part)
