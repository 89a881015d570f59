"""Runs killed at every line; ``tests/support/killed_runs.py`` does it and says how."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import killed_runs
import pytest
import resctrl_double

from lorabench.host.missing import Missing
from lorabench.isolation.cgroups import survey


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory, as run-time folders usually are: thousands of fsyncs wait for no disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


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
    kind: str, folder: Path
) -> None:
    kill_everywhere(kind, folder)


def test_wherever_a_run_with_cgroups_is_killed_cleaning_up_removes_them(folder: Path) -> None:
    offer = survey()
    for place in (offer.cpuset, offer.cpu):
        if isinstance(place, Missing):
            pytest.skip(f"{place.what}: {place.why}")
    kill_everywhere("cgroups", folder)


def test_wherever_a_run_with_resctrl_groups_is_killed_cleaning_up_removes_them(
    folder: Path,
) -> None:
    missing = resctrl_double.missing()
    if missing is not None:
        pytest.skip(missing)
    kill_everywhere("resctrl", folder)
