"""Try cgroup v2 for real: a program for a machine whose controllers are v2's (the guest).

As root, it lays out groups as systemd does and takes the places of those who may run lorabench: in
the root group, in a scope of its own beside others, alone in a delegated group as an ordinary user,
and killed there. It ends with 0 if all was as it should be, else with a traceback.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # noqa: F401 - while still root: an ordinary user may not read where it lies

from lorabench.errors import MachineError
from lorabench.host.cgroups import locate
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.isolation.cgroups import Limits, grouped
from lorabench.isolation.cleanup import cleanup, run_lock
from lorabench.isolation.places import CgroupParent, survey

ROOT = Path("/sys/fs/cgroup")
NOBODY = 65534
ONE = frozenset({1})


def own() -> Path:
    (at,) = locate(Files())
    return Path(at.folder)


def snapshot() -> list[tuple[str, str, str]]:
    """List every group with its processes and controllers.

    Those of the root group are left out: threads of the kernel come and go there.
    """
    return [
        (
            str(group),
            procs.read_text() if group != ROOT else "",
            (group / "cgroup.subtree_control").read_text(),
        )
        for procs in sorted(ROOT.rglob("cgroup.procs"))
        for group in [procs.parent]
    ]


def child() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"])


def try_out(expected: CgroupParent, killed: bool = False) -> None:
    """Make both groups where they are expected, fill them, and leave no trace."""
    before = snapshot()
    offer = survey()
    assert offer.cpuset == expected, offer.cpuset
    assert not isinstance(offer.cpu, Missing), offer.cpu
    trainer, server = child(), child()
    try:
        limits = {
            "trainer": Limits(ONE, frozenset({1}), idle=True),
            "serving": Limits(frozenset({0, 2}), weight=1000),
        }
        with run_lock(print), grouped(limits, offer) as groups:
            group, serving = groups["trainer"], groups["serving"]
            group.add(trainer.pid)
            serving.add(server.pid)
            for pid, cpus in ((trainer.pid, ONE), (server.pid, {0, 2})):
                assert os.sched_getaffinity(pid) == cpus
            (at,), (beside,) = group.folders, serving.folders
            assert at.parent == beside.parent == expected.folder
            assert (at / "cpuset.mems.effective").read_text() == "1\n"
            assert (at / "cpu.idle").read_text() == "1\n"
            assert (beside / "cpu.weight").read_text() == "1000\n"
            if killed:
                os.kill(os.getpid(), signal.SIGKILL)
    finally:
        for process in (trainer, server):
            process.kill()
            process.wait()
    assert snapshot() == before, (snapshot(), before)


def forked(act: Callable[[], None], group: Path, user: int = 0) -> int:
    """Act in a process of its own, in a group and as a user."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            (group / "cgroup.procs").write_text(str(os.getpid()))
            if user:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            act()
            code = 0
        except BaseException:  # noqa: BLE001
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def delegate(group: Path) -> Path:
    """Give a group to an ordinary user, as systemd's Delegate=yes does."""
    for path in (group, *(group / f"cgroup.{n}" for n in ("procs", "threads", "subtree_control"))):
        os.chown(path, NOBODY, NOBODY)
    return group


def ended(group: Path) -> None:
    """Wait until nothing runs in a group: who was killed stays until it is gone."""
    while (group / "cgroup.procs").read_text():
        time.sleep(0.01)


def in_a_session(slice_: Path, shell: Path) -> None:
    """Beside a shell: root next to the session's group; an ordinary user nowhere, and why."""
    place = CgroupParent(2, "cpuset", slice_, shell)
    assert forked(lambda: try_out(place), shell) == 0

    def refused() -> None:
        offer = survey()
        assert isinstance(offer.cpuset, Missing), offer
        assert "other processes" in offer.cpuset.why, offer
        assert "not writable" in offer.cpuset.why, offer

    # The slice need not be asked for its controllers, it is the user's alone who may not write.
    (slice_ / "cgroup.subtree_control").write_text("+cpuset +cpu")
    delegate(shell)
    assert forked(refused, shell, NOBODY) == 0


def alone(scope: Path) -> None:
    """Alone in a delegated group, as an ordinary user: in children of it; killed, too."""
    delegate(scope)
    place = CgroupParent(2, "cpuset", scope, scope, evacuate=True)
    assert forked(lambda: try_out(place), scope, NOBODY) == 0
    clean = snapshot()
    assert forked(lambda: try_out(place, killed=True), scope, NOBODY) == -signal.SIGKILL
    assert snapshot() != clean

    def tidy() -> None:
        report = cleanup()
        assert not report.failed, report

    assert forked(tidy, ROOT, NOBODY) == 0
    # What was started before the run still runs, and is back where it came from.
    left = [int(pid) for pid in (scope / "cgroup.procs").read_text().split()]
    assert len(left) == 2, left
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    ended(scope)
    assert snapshot() == clean


def beyond(slice_: Path, scope: Path) -> None:
    """CPUs that the group above does not have: the kernel takes them and does not grant them."""
    (slice_ / "cpuset.cpus").write_text("0-1")

    def attempt() -> None:
        said = ""
        try:
            with grouped({"trainer": Limits(cpus=frozenset({1, 2}))}, survey()):
                pass
        except MachineError as error:
            said = str(error)
        assert "found cpus 1 granted, expected 1-2" in said, said

    assert forked(attempt, scope, NOBODY) == 0


def main() -> None:
    os.chmod("/run", 0o755)  # noqa: PTH101
    before = snapshot()
    try_out(CgroupParent(2, "cpuset", ROOT, ROOT))
    (ROOT / "cgroup.subtree_control").write_text("+cpuset +cpu")
    slice_ = ROOT / "user.slice"
    shell, scope = slice_ / "shell.scope", slice_ / "ours.scope"
    for group in (slice_, shell, scope):
        group.mkdir()
    stranger = child()
    (shell / "cgroup.procs").write_text(str(stranger.pid))
    in_a_session(slice_, shell)
    alone(scope)
    beyond(slice_, scope)
    stranger.kill()
    stranger.wait()
    for group in (shell, scope, slice_):
        group.rmdir()
    (ROOT / "cgroup.subtree_control").write_text("-cpuset -cpu")
    assert snapshot() == before


if __name__ == "__main__":
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", ROOT], check=True)
    assert locate(Files())
    main()
    print("all as it should be")  # noqa: T201
