"""What the files of a machine are read as: a value or a reason, never another error."""

from pathlib import Path

import pytest

from lorabench.host.files import Files, UnreadableError


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "it is no regular file"),
        (
            lambda path: path.symlink_to(path),
            "it cannot be read (Too many levels of symbolic links)",
        ),
    ],
)
def test_a_file_that_cannot_be_read_has_a_reason(tmp_path: Path, make, why: str) -> None:
    make(tmp_path / "file")
    files = Files(tmp_path)
    with pytest.raises(UnreadableError) as caught:
        files.read("/file")
    assert (caught.value.path, caught.value.why) == ("/file", why)
    assert files.get("/file") is None
    with pytest.raises(UnreadableError, match=r"/file: "):
        files.first("/file", "/other")
    assert files.names("/file/below") == []
    assert not files.writable("/file/below")


def test_a_path_that_no_file_can_have_is_no_error(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for path in ("/nul\0", "/" + "long" * 5000):
        assert files.get(path) is None
        assert not files.is_folder(path)
        assert not files.writable(path)
        assert files.names(path) == []


def test_no_control_character_gets_from_a_file_to_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0 one\ttwo\n\x1b[31mthree\x7f \xff\n")
    assert Files(tmp_path).read("/file") == "one\ttwo\n[31mthree \ufffd"
