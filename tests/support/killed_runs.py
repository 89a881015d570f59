"""Kill a run at every line of its code, and see that cleaning up leaves the machine as it was.

A program of its own: ``killed_runs.py FOLDER KIND...`` prints how many times it killed. The run
makes changes of these kinds. It is run once to count the lines that it executes, in lorabench and
in the part here that makes the changes; then it is run again for each line, in a forked process
that kills itself when it comes to that line for the first time (and for the last, of control
groups, which may lie in several hierarchies): before a thing is made, after it, and in the middle
of undoing. In the end the same is done to the cleaning up itself. Tracing (sys.settrace) finds the
lines, so that the code under test needs no hook.
"""

import atexit
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from children import traces

import lorabench.isolation
from lorabench.host import owner
from lorabench.host.cgroups import locate
from lorabench.host.files import Files
from lorabench.host.owner import VARIABLE, Owner, domain
from lorabench.host.processes import threads
from lorabench.host.resctrl.info import groups
from lorabench.host.resctrl.schemata import Schemata
from lorabench.isolation import places
from lorabench.isolation.cgroups import Limits, grouped
from lorabench.isolation.cleanup import cleanup, run_lock
from lorabench.isolation.resctrl.group import Group
from lorabench.isolation.undoing import undoing

TRACED = (str(Path(lorabench.isolation.__file__).parent), owner.__file__, __file__)


class Cgroups:
    """A group in each hierarchy, with a process of somebody else's in it."""

    def __init__(self, folder: Path) -> None:
        self.offer = places.survey()
        self.bystander = bystander()
        self.limits = {"trainer": Limits(frozenset({max(os.sched_getaffinity(0))}), idle=True)}

    @contextlib.contextmanager
    def changed(self) -> Iterator[None]:
        with grouped(self.limits, self.offer) as made:
            made["trainer"].add(self.bystander)
            yield

    def state(self) -> object:
        return traces(at.point for at in locate(Files())), locate(Files(), str(self.bystander))


class Processes:
    """Processes that would outlive the run: nothing but the sweep ends them."""

    def __init__(self, folder: Path) -> None:
        pass

    @contextlib.contextmanager
    def changed(self) -> Iterator[None]:
        for _ in range(2):
            subprocess.Popen(["sleep", "600"], start_new_session=True)
        yield

    def state(self) -> object:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                started = (entry / "environ").read_bytes()
                mine = re.search(f"{VARIABLE}=[0-9-]+@{domain()}\0".encode(), started)
                if mine and (entry / "comm").read_text() == "sleep\n":
                    found.append(int(entry.name))
        return found


class ResctrlGroups:
    """A group of resctrl's double, with a process of somebody else's in it."""

    def __init__(self, folder: Path) -> None:
        import resctrl_double

        mounts = contextlib.ExitStack()
        atexit.register(mounts.close)
        self.root = mounts.enter_context(
            resctrl_double.mounted(resctrl_double.Machine(), folder / "resctrl")
        )
        self.bystander = bystander()

    @contextlib.contextmanager
    def changed(self) -> Iterator[None]:
        schemata = Schemata.parse("L3:0=f\n")
        group = Group.create(self.root, Owner.this().name("trainer"), schemata)
        with undoing(group.remove):
            group.move(self.bystander)
            yield

    def state(self) -> object:
        home = {*map(int, (self.root / "tasks").read_text().split())}
        return groups(self.root), sorted(threads(self.bystander) - home)


KINDS: dict[str, Any] = {"processes": Processes, "cgroups": Cgroups, "resctrl": ResctrlGroups}


def bystander() -> int:
    """Start a process with three threads that lives as long as this one."""
    code = "import sys, threading; stop = threading.Event(); " + (
        "threading.Thread(target=stop.wait, daemon=True).start(); " * 2
        + "print(flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    atexit.register(child.wait)
    atexit.register(child.kill)  # called first
    return child.pid


Line = tuple[str, int]


def traced(act: Callable[[], object], meet: Callable[[Line], None]) -> None:
    """Run `act`; tell `meet` of each line of ours before it is executed."""

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(TRACED) else None

    def line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            meet((frame.f_code.co_filename, frame.f_lineno))
        return line

    sys.settrace(enter)
    act()
    sys.settrace(None)


def forked(act: Callable[[], None]) -> int:
    """Run `act` in a process of its own; its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        except BaseException:  # noqa: BLE001
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def machine(folder: Path) -> Files:
    """This machine's control groups, and the double of resctrl."""
    (folder / "proc").mkdir()
    (folder / "sys").symlink_to("/sys")
    mounts = Path("/proc/mounts").read_text()
    (folder / "proc/mounts").write_text(f"{mounts}resctrl /resctrl resctrl rw 0 0\n")
    (folder / "resctrl").mkdir(exist_ok=True)
    return Files(folder)


def moments(act: Callable[[], object], folder: Path) -> list[int]:
    """List when to kill: the first time that each line is come to; of `cgroups` also the last."""
    log = folder / "lines"

    def count() -> None:
        met: list[Line] = []
        traced(act, met.append)
        first = {at: number for number, at in reversed(list(enumerate(met)))}
        last = {at: n for n, at in enumerate(met) if at[0].endswith("/cgroups.py")}
        log.write_text(" ".join(map(str, sorted({*first.values(), *last.values()}))))

    assert forked(count) == 0
    return [int(word) for word in log.read_text().split()]


def killed_at(moment: int, act: Callable[[], object]) -> bool:
    """Run `act` and have it killed; False if it came to its end first."""

    def run() -> None:
        left = iter(range(moment, -1, -1))

        def meet(_: Line) -> None:
            # What comes in another number than before may not come to the moment at all.
            if next(left, None) == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        traced(act, meet)

    code = forked(run)
    assert code in (0, -signal.SIGKILL), f"it ended with {code}"
    return code != 0


def kill_everywhere(kinds: Sequence[Any], folder: Path) -> Iterator[bool]:
    """Kill the run, then the cleaning up after it, at every moment; check each time."""
    here = machine(folder)
    before = [kind.state() for kind in kinds]

    def run(die: bool = False) -> None:
        with run_lock(print, here), contextlib.ExitStack() as stack:
            for kind in kinds:
                stack.enter_context(kind.changed())
            if die:
                os.kill(os.getpid(), signal.SIGKILL)

    def run_and_die() -> None:
        run(die=True)

    def clean() -> None:
        report = cleanup(here)
        assert not report.failed, str(report)

    def check(moment: int, what: str) -> None:
        clean()
        after = [kind.state() for kind in kinds]
        if after != before:
            # A process that the kernel was just about to execute had no environment yet.
            clean()
            after = [kind.state() for kind in kinds]
        assert after == before, f"{what} killed at {moment}: found {after}, expected {before}"

    for moment in moments(run, folder):
        yield killed_at(moment, run)
        check(moment, "the run")
    assert forked(run_and_die) == -signal.SIGKILL
    for kind, was in zip(kinds, before, strict=True):
        assert kind.state() != was, f"{type(kind).__name__} changed nothing"
    for moment in moments(clean, folder):
        assert forked(run_and_die) == -signal.SIGKILL
        yield killed_at(moment, clean)
        check(moment, "cleaning up")


def main() -> None:
    folder = Path(sys.argv[1])
    os.environ["LORABENCH_RUN_DIR"] = str(folder)
    kinds = [KINDS[name](folder) for name in sys.argv[2:]]
    print(sum(kill_everywhere(kinds, folder)))  # noqa: T201


if __name__ == "__main__":
    main()
