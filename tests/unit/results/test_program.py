import shutil
import subprocess
from pathlib import Path

import lorabench
from lorabench.results.program import program


def test_the_program_is_named_by_version_and_commit():
    found = program()
    assert found.version == lorabench.__version__
    root = Path(lorabench.__file__).parents[1]
    if (root / ".git").exists() and shutil.which("git"):
        assert found.git is not None
        named, head = (
            subprocess.run(
                ["git", "-C", root, "rev-parse", f"{name}^{{commit}}"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for name in (found.git.removesuffix("-dirty"), "HEAD")
        )
        assert named == head
    else:
        assert found.git is None


def test_where_git_is_not_installed_the_version_alone_names_it(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program().git is None
