"""A file is written whole or not at all."""

from pathlib import Path

import pytest

from lorabench.replacing import replacing


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
