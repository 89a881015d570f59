"""The example of every --help works as it is shown."""

import subprocess
from pathlib import Path

import pytest
from command import COMMAND as PROGRAM

from lorabench.cli.commands import COMMANDS


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_it_works_as_shown(command, environment: dict[str, str], tmp_path: Path) -> None:
    path = {"PATH": f"{PROGRAM.parent}:{environment['PATH']}"}
    run = subprocess.run(
        command.example,
        shell=True,
        cwd=tmp_path,
        env=environment | path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    # What it writes, or the printed result where nothing is written without -o.
    assert list(tmp_path.iterdir()) or run.stdout
