"""A file is written whole or not at all."""

import tempfile
from pathlib import Path

import pytest

from lorabench import replacing as module
from lorabench.errors import InputError
from lorabench.replacing import replacing, temporary_folder


def test_a_temporary_folder_is_made_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with temporary_folder() as folder:
        assert Path(folder).is_dir()
    assert not Path(folder).exists()
    # What tempfile has found before; none of these places is there.
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with temporary_folder() as folder:
        assert folder.startswith("/dev/shm/lorabench-")
    monkeypatch.setattr(module, "_LAST_RESORT", str(tmp_path / "neither"))
    with pytest.raises(InputError, match=r"gone: found no folder .* expected one .* in TMPDIR"):
        temporary_folder()


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with replacing(path) as partial:
        partial.write_bytes(b"whole")
        assert not path.exists()

    def cut_short() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_short()
    assert path.read_bytes() == b"whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]
