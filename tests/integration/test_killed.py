"""A run of the command that is killed: what it leaves, and who puts it right."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command import COMMAND, SHORT

from lorabench.host.cgroups import locate
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.host.processes import start_time
from lorabench.isolation.cgroups import survey
from lorabench.isolation.journal import Contents, parse
from lorabench.isolation.undo import CgroupMember, Process

# These take the lock of the machine. A network namespace of its own hides it, so that no other run
# is in the way.
APART = ["unshare", "--net"] if os.geteuid() == 0 and shutil.which("unshare") else []


def groups_of(pid: int) -> list[Path]:
    return [path for at in locate(Files()) for path in Path(at.point).rglob(f"lorabench-{pid}-*")]


def wait_for(journal: Path, kind: type, run: subprocess.Popen[str]) -> Contents:
    """Read the journal of a run as soon as it notes a change of a kind."""
    while run.poll() is None:
        if journal.exists():
            found = parse(journal.read_bytes())
            if any(isinstance(change, kind) for change in found.changes):
                return found
        time.sleep(0.005)
    pytest.fail(f"the run ended first: {run.communicate()[1]}")


@pytest.mark.parametrize("kind", [Process, CgroupMember])
def test_a_killed_run_is_cleaned_up_after(
    environment: dict[str, str], tmp_path: Path, kind: type
) -> None:
    offer = survey()
    condition = "pinned+cgroup"
    for place in (offer.cpuset, offer.cpu):
        if isinstance(place, Missing):
            if kind is not Process:
                pytest.skip(f"{place.what}: {place.why}")
            condition = "pinned"
    mine = environment | {"XDG_RUNTIME_DIR": str(tmp_path)}
    del mine["LORABENCH_RUN_DIR"]
    journal = tmp_path / "lorabench/journal.jsonl"
    arguments = [*SHORT[:-1], condition, "-o", tmp_path / "out.json"]
    with subprocess.Popen(
        [*APART, COMMAND, "colocate", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=mine,
    ) as run:
        noted = wait_for(journal, kind, run)
        run.send_signal(signal.SIGKILL)
    assert journal.exists()
    ran = subprocess.run(
        [*APART, COMMAND, "doctor", "--cleanup"],
        capture_output=True,
        text=True,
        env=mine,
        check=True,
    )
    assert f"undid what the run of pid {run.pid} (lorabench colocate) had changed" in ran.stdout
    assert not journal.exists()
    assert groups_of(run.pid) == []
    for change in noted.changes:
        if isinstance(change, Process):
            assert start_time(change.pid) != change.start
