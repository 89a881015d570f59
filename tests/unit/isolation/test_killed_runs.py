"""Runs killed at every line; ``tests/support/killed_runs.py`` does it and says how."""

import os
import subprocess
import sys
from pathlib import Path

import killed_runs
import pytest

from lorabench.isolation.capabilities import Missing
from lorabench.isolation.cgroups import survey


def kill_everywhere(kind: str, folder: Path, **environment: str) -> None:
    ran = subprocess.run(
        [sys.executable, killed_runs.__file__, kind, folder],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert ran.returncode == 0, ran.stderr
    # Locks, entries and undoing alone have far more lines than this.
    assert int(ran.stdout) > 200


@pytest.mark.parametrize("kind", ["settings", "scopes", "affinities", "processes"])
def test_wherever_a_run_is_killed_cleaning_up_leaves_the_machine_as_it_was(
    kind: str, tmp_path: Path
) -> None:
    kill_everywhere(kind, tmp_path)


def test_wherever_a_run_with_cgroups_is_killed_cleaning_up_removes_them(tmp_path: Path) -> None:
    offer = survey()
    for place in (offer.cpuset, offer.cpu):
        if isinstance(place, Missing):
            pytest.skip(f"{place.what}: {place.why}")
    kill_everywhere("cgroups", tmp_path)
