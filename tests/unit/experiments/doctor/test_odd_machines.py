"""Machines that nobody here has, whole: what doctor says of each and what the plan makes of it.

Both are held against what they were; ``python tests/support/odd_snapshots.py`` writes them anew.
"""

from pathlib import Path

import odd_machines
import pytest
from odd_snapshots import SNAPSHOTS, snapshot


@pytest.mark.parametrize("name", odd_machines.MACHINES)
def test_an_odd_machine_is_planned_for_and_shown_as_it_was(name: str, tmp_path: Path):
    assert snapshot(name, tmp_path) == (SNAPSHOTS / f"{name}.json").read_text()
