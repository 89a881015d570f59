"""Runs killed at every line; ``tests/support/killed_runs.py`` does it and says how."""

import os
import subprocess
import sys
from pathlib import Path

import killed_runs
import pytest
import resctrl_double

from lorabench.host.missing import Missing
from lorabench.isolation.places import survey


def lacking(kind: str) -> str | None:
    """Why a kind of change cannot be made here."""
    if kind == "resctrl":
        return resctrl_double.missing()
    offer = survey()
    refused = [place for place in (offer.cpuset, offer.cpu) if isinstance(place, Missing)]
    return f"{refused[0].what}: {refused[0].why}" if kind == "cgroups" and refused else None


@pytest.mark.parametrize("kind", ["processes", "cgroups", "resctrl"])
def test_wherever_a_run_is_killed_cleaning_up_leaves_the_machine_as_it_was(
    kind: str, tmp_path: Path
) -> None:
    if (why := lacking(kind)) is not None:
        pytest.skip(why)
    ran = subprocess.run(
        [sys.executable, killed_runs.__file__, kind, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert ran.returncode == 0, ran.stderr
    # The lock, the sweeps and the undoing alone have more lines than this.
    assert int(ran.stdout) > 100
