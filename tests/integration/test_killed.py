"""A run of the command that is killed: what it leaves, and who puts it right."""

import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from command import COMMAND, SHORT

from lorabench.host.cgroups import locate
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.isolation.places import survey


def groups_of(pid: int) -> list[str]:
    """List control groups that a run has made."""
    points = [Path(at.point) for at in locate(Files())]
    return [f"cgroup {path}" for point in points for path in point.rglob(f"lorabench-{pid}-*")]


def workers_of(pid: int) -> list[str]:
    """List processes that a run has started."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if f"LORABENCH_OWNER={pid}-".encode() in (entry / "environ").read_bytes():
                found.append(entry.name)
    return found


@pytest.mark.parametrize("made", [workers_of, groups_of])
def test_a_killed_run_is_cleaned_up_after(
    environment: dict[str, str], tmp_path: Path, made: Callable[[int], list[str]]
) -> None:
    condition = "pinned+cgroup"
    offer = survey()
    for place in (offer.cpuset, offer.cpu):
        if isinstance(place, Missing):
            if made is groups_of:
                pytest.skip(f"{place.what}: {place.why}; {place.enable}")
            condition = "pinned"
    mine = environment | {"LORABENCH_RUN_DIR": str(tmp_path)}
    arguments = [*SHORT[:-1], condition, "-o", tmp_path / "out.json"]
    with subprocess.Popen(
        [COMMAND, "colocate", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=mine,
    ) as run:
        while not made(run.pid):
            if run.poll() is not None:
                pytest.fail(f"the run ended first: {run.communicate()[1]}")
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
    left = groups_of(run.pid)
    assert bool(left) or made is workers_of
    ran = subprocess.run(
        [COMMAND, "doctor", "--cleanup"], capture_output=True, text=True, env=mine, check=True
    )
    if left:
        assert f"undid what the run of pid {run.pid} had changed" in ran.stdout
        assert set(left) <= set(ran.stdout.splitlines())
    assert groups_of(run.pid) == workers_of(run.pid) == []
