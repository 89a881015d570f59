"""The Makefile's promises that need no installation: what it lists, and how it refuses."""

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FROM_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"}
MAKEFILE = (REPOSITORY / "Makefile").read_text()


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Without the options and variables of the make that may be running this test.
    env = {name: value for name, value in os.environ.items() if name not in FROM_MAKE}
    return subprocess.run(
        ["make", "--directory", REPOSITORY, "--no-print-directory", *arguments],
        env=env | {"LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_alone_lists_every_target():
    listed = set(re.findall(r"^  make (\S+) +\S", make().stdout, re.MULTILINE))
    assert listed == set(re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.MULTILINE))


def test_a_machine_without_a_python_is_told_in_one_line(tmp_path: Path):
    run = make("install", f"VENV={tmp_path / 'venv'}", "PYTHON=/no/such/python")
    assert run.returncode == 2
    message, makes_own = run.stderr.splitlines()
    assert "'/no/such/python' is no Python 3.11 or newer" in message
    assert "make PYTHON=" in message
    assert makes_own.startswith("make: ***")
    assert not list(tmp_path.iterdir())


def test_a_machine_without_a_compiler_is_told_the_command_in_one_line(tmp_path: Path):
    # Nothing to install: otherwise root's run would try to help itself first.
    arguments = (f"VENV={tmp_path / 'venv'}", f"PYTHON={sys.executable}", "SYSTEM_PACKAGES=")
    run = make("install", "CC=/no/such/cc", *arguments)
    assert run.returncode == 2
    message, makes_own = run.stderr.splitlines()
    assert "no '/no/such/cc'" in message
    assert "make system-packages" in message
    assert makes_own.startswith("make: ***")
    assert not list(tmp_path.iterdir())


def test_an_installed_environment_is_not_installed_again(tmp_path: Path):
    (tmp_path / ".lorabench-installed").touch()
    run = make("install", f"VENV={tmp_path}", "PYTHON=/no/such/python")
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""


def test_a_commit_to_compare_with_that_is_not_there_is_told_in_one_line(tmp_path: Path):
    versions = REPOSITORY / ".ci" / "versions"
    run = subprocess.run(
        [versions, sys.prefix, tmp_path / "versions", "no-such-commit"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    (message,) = run.stderr.splitlines()
    assert "found no commit 'no-such-commit'" in message
    assert not list(tmp_path.iterdir())


def test_what_bench_ci_is_asked_for_is_no_command_of_the_shell(tmp_path: Path):
    (tmp_path / ".lorabench-installed").touch()
    asked = [
        f"{name}=x\";touch '{tmp_path}/{name}';echo \"`touch '{tmp_path}/quoted'`"
        for name in ("BASE", "ON_UNKNOWN", "COLOCATE_ARGS", "KERNELS_GATES")
    ]
    run = make("bench-ci", f"VENV={tmp_path}", *asked)
    # The script runs, and ends since this environment is none.
    assert f"{tmp_path}/bin/python: No such file" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".lorabench-installed"]
