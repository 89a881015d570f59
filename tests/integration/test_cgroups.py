"""cgroup v2 on a kernel of its own: ``tests/support/cgroups_guest.py`` is what runs there."""

from pathlib import Path

import cgroups_guest
import guest
import pytest


def test_groups_are_made_wherever_version_2_allows_them_and_leave_no_trace(tmp_path: Path) -> None:
    missing = guest.missing()
    if missing:
        pytest.skip(f"CGROUP V2 IS NOT TESTED: {missing}")
    ran = guest.run(Path(cgroups_guest.__file__), tmp_path, timeout_s=280)
    assert ran.exit_code == 0, f"{ran.stderr}\n{ran.console}"
    assert ran.stdout == "all as it should be\n"
