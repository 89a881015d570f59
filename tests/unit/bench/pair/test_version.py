"""What an interpreter tells of its lorabench, and what there is to say of one that has none."""

import sys
from pathlib import Path

import pytest
from fake_version import fake_python

import lorabench
from lorabench.bench.pair.version import Version, last_line
from lorabench.bench.turns import PROTOCOL
from lorabench.errors import InputError


def test_this_version_takes_turns() -> None:
    found = Version.ask(sys.executable)
    assert (found.version, found.turns) == (lorabench.__version__, PROTOCOL)
    assert found.takes_turns


def test_one_that_has_not_heard_of_them_takes_none(tmp_path: Path) -> None:
    assert not Version.ask(fake_python(tmp_path / "old", "", None, turns=False)).takes_turns


def test_what_lies_in_the_working_folder_is_not_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CI compares from within a checkout of one of the two."""
    (tmp_path / "lorabench").mkdir()
    (tmp_path / "lorabench/__init__.py").write_text("__version__ = 'of the checkout'\n")
    monkeypatch.chdir(tmp_path)
    assert Version.ask(fake_python(tmp_path / "fake", "", None)).version == "0.0"


def test_what_has_no_lorabench_is_refused_in_one_line(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\n")
    silent.chmod(0o755)
    for python, said in {
        str(tmp_path / "none"): "cannot be started (No such file or directory)",
        str(tmp_path): "cannot be started (Permission denied)",
        str(bare): "found ModuleNotFoundError: No module named 'lorabench'",
        str(silent): "found nothing",
    }.items():
        with pytest.raises(InputError) as error:
            Version.ask(python)
        assert str(error.value) == (
            f"{python}: {said}; expected a Python that has lorabench installed"
        )


def test_a_last_line_is_one_that_can_be_printed() -> None:
    assert last_line("Traceback\n  in f\nValueError: a\x1b[31mb\n\n") == "ValueError: a[31mb"
    assert last_line("\n \n") == ""
