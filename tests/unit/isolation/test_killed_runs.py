"""Runs killed at every line; ``tests/support/killed_runs.py`` does it and says how."""

import subprocess
import sys

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


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Kill runs that make all kinds of changes that can be made here; how often, for each kind."""
    kinds = [kind for kind in killed_runs.KINDS if lacking(kind) is None]
    ran = subprocess.run(
        [sys.executable, killed_runs.__file__, tmp_path_factory.mktemp("killed"), *kinds],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    # What other killed runs on this machine had left is told before.
    return dict.fromkeys(kinds, int(ran.stdout.splitlines()[-1]))


@pytest.mark.parametrize("kind", killed_runs.KINDS)
def test_wherever_a_run_is_killed_cleaning_up_leaves_the_machine_as_it_was(
    kind: str, killed: dict[str, int]
) -> None:
    if (why := lacking(kind)) is not None:
        pytest.skip(why)
    # The lock, the sweeps and the undoing alone have more lines than this.
    assert killed[kind] > 100
