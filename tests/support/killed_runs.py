"""Kill a run at every line of its code, and see that cleaning up leaves the machine as it was.

A program of its own: ``killed_runs.py KIND FOLDER`` prints how many times it killed. The run makes
changes of one kind through the journal. It is run once to count the lines that it executes, in
lorabench and in the part here that makes the changes; then it is run again for each line, in a
forked process that kills itself when it comes to that line for the first time (and for the last, of
settings): before an entry is noted, between that and the change, after it, and in the middle of
undoing. In the end the same is done to the cleaning up itself. Tracing (sys.settrace) finds the
lines, so that the code under test needs no hook.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import lorabench.isolation
from lorabench.host.cgroups import locate
from lorabench.host.files import Files
from lorabench.host.processes import start_time, threads
from lorabench.host.resctrl.info import groups
from lorabench.host.resctrl.schemata import Schemata
from lorabench.isolation import cgroups
from lorabench.isolation.affinity import pin_threads, thread_affinities
from lorabench.isolation.journal import Journal, cleanup
from lorabench.isolation.resctrl.group import Group, group_name
from lorabench.isolation.undo import Affinity, Process, Setting

TRACED = (str(Path(lorabench.isolation.__file__).parent), __file__)

# A harmless one: how many messages the kernel's log takes at once.
SYSCTL = Path("/proc/sys/kernel/printk_ratelimit_burst")


class Settings:
    """A scratch file, and a setting of the kernel where this user may write it."""

    def __init__(self, folder: Path) -> None:
        choice = folder / "choice"
        choice.write_text("always [madvise] never\n")
        plain = folder / "plain"
        plain.write_text("1\n")
        self.changes = {choice: "never", plain: "2"}
        if os.access(SYSCTL, os.W_OK):
            old = SYSCTL.read_text()
            atexit.register(SYSCTL.write_text, old)
            self.changes[SYSCTL] = str(int(old) + 1)

    def change(self, journal: Journal) -> None:
        for path, new in self.changes.items():
            journal.record(Setting.before(path, new))
            path.write_text(new)

    def state(self) -> object:
        # Of a choice, a scratch file shows the word alone once it was written.
        return [
            path.read_text().replace("always [madvise] never", "madvise") for path in self.changes
        ]


class Affinities:
    """The CPUs of a process of somebody else's."""

    def __init__(self, folder: Path) -> None:
        self.bystander = bystander()
        first = min(os.sched_getaffinity(0))
        thread = max(thread_affinities(self.bystander))
        os.sched_setaffinity(thread, {first})  # not all threads alike
        self.cpus = frozenset({max(os.sched_getaffinity(0))})

    def change(self, journal: Journal) -> None:
        journal.record(Affinity.before(self.bystander, self.cpus))
        pin_threads(self.bystander, self.cpus)

    def state(self) -> object:
        return thread_affinities(self.bystander)


class Cgroups:
    """A group in each hierarchy, with a process in it."""

    def __init__(self, folder: Path) -> None:
        self.offer = cgroups.survey()
        self.bystander = bystander()
        self.cpus = frozenset({max(os.sched_getaffinity(0))})

    def change(self, journal: Journal) -> None:
        group = cgroups.make(journal, "trainer", cgroups.Limits(self.cpus, idle=True), self.offer)
        group.add(self.bystander)

    def state(self) -> object:
        here = locate(Files())
        left = [str(path) for at in here for path in Path(at.point).rglob("lorabench-*")]
        return left, locate(Files(), str(self.bystander))


class Processes:
    """Processes that would outlive the run: nothing but the journal ends them."""

    def __init__(self, folder: Path) -> None:
        self.pids = folder / "pids"
        self.pids.touch()

    def change(self, journal: Journal) -> None:
        for _ in range(2):
            # It waits to be told, or ends with whoever started it: nothing runs before it is noted.
            child = subprocess.Popen(
                ["sh", "-c", "read word && exec sleep 600"],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
            with self.pids.open("a") as file:
                file.write(f"{child.pid}\n")
            journal.record(Process.of(child.pid))
            assert child.stdin is not None
            child.stdin.write(b"go\n")
            child.stdin.close()

    def state(self) -> object:
        running = map(int, self.pids.read_text().split())
        # Killed by the journal, or about to read the end of its input.
        return [pid for pid in running if start_time(pid) is not None and b"sleep" in name(pid)]


class ResctrlGroups:
    """A group of resctrl's double, with a process in it."""

    def __init__(self, folder: Path) -> None:
        import resctrl_double

        mounts = contextlib.ExitStack()
        atexit.register(mounts.close)
        self.root = mounts.enter_context(
            resctrl_double.mounted(resctrl_double.Machine(), folder / "resctrl")
        )
        self.bystander = bystander()

    def change(self, journal: Journal) -> None:
        schemata = Schemata.parse("L3:0=f\n")
        group = Group.create(self.root, group_name("trainer"), schemata, journal.record)
        group.move(self.bystander)

    def state(self) -> object:
        home = {*map(int, (self.root / "tasks").read_text().split())}
        return groups(self.root), sorted(threads(self.bystander) - home)


class Scopes(Settings):
    """Settings again, each within a scope that ends before the run does."""

    def change(self, journal: Journal) -> None:
        for path, new in self.changes.items():
            with journal.scope():
                journal.record(Setting.before(path, new))
                path.write_text(new)


def bystander() -> int:
    """Start a process with three threads that lives as long as this one."""
    code = "import sys, threading; stop = threading.Event(); " + (
        "threading.Thread(target=stop.wait, daemon=True).start(); " * 2
        + "print(flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    atexit.register(child.wait)
    atexit.register(child.kill)  # called first
    return child.pid


def name(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/comm").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


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


def moments(act: Callable[[], object], folder: Path, also_last: bool) -> list[int]:
    """List when to kill: the first time that each line is come to, and perhaps the last."""
    log = folder / "lines"

    def count() -> None:
        met: list[Line] = []
        traced(act, met.append)
        first = {at: number for number, at in reversed(list(enumerate(met)))}
        last = {at: number for number, at in enumerate(met)} if also_last else {}
        log.write_text(" ".join(map(str, sorted({*first.values(), *last.values()}))))

    assert forked(count) == 0
    return [int(word) for word in log.read_text().split()]


def killed_at(moment: int, act: Callable[[], object]) -> bool:
    """Run `act` and have it killed; False if it came to its end first."""

    def run() -> None:
        left = iter(range(moment, -1, -1))

        def meet(_: Line) -> None:
            if next(left) == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        traced(act, meet)

    code = forked(run)
    assert code in (0, -signal.SIGKILL), f"it ended with {code}"
    return code != 0


def kill_everywhere(kind: Any, folder: Path) -> Iterator[bool]:
    """Kill the run, then the cleaning up after it, at every moment; check each time."""
    before = kind.state()

    def run() -> None:
        with Journal.open("killed", print, folder / "run") as journal:
            kind.change(journal)

    def run_and_die() -> None:
        with Journal.open("killed", print, folder / "run") as journal:
            kind.change(journal)
            os.kill(os.getpid(), signal.SIGKILL)

    def clean() -> None:
        report = cleanup(folder / "run")
        assert not report.failed, str(report)

    def check(moment: int, what: str) -> None:
        clean()
        after = kind.state()
        assert after == before, f"{what} killed at {moment}: found {after}, expected {before}"
        assert [entry.name for entry in (folder / "run").iterdir()] in ([], ["lock"])

    for moment in moments(run, folder, type(kind) is Settings):
        yield killed_at(moment, run)
        (folder / "run").mkdir(mode=0o700, exist_ok=True)
        check(moment, "the run")
    assert forked(run_and_die) == -signal.SIGKILL
    assert kind.state() != before or isinstance(kind, Scopes)
    for moment in moments(clean, folder, type(kind) is Settings):
        assert forked(run_and_die) == -signal.SIGKILL
        yield killed_at(moment, clean)
        check(moment, "cleaning up")


def main() -> None:
    folder = Path(sys.argv[2])
    kinds: dict[str, Any] = {
        "settings": Settings,
        "scopes": Scopes,
        "affinities": Affinities,
        "cgroups": Cgroups,
        "processes": Processes,
        "resctrl": ResctrlGroups,
    }
    kind = kinds[sys.argv[1]](folder)
    print(sum(kill_everywhere(kind, folder)))  # noqa: T201


if __name__ == "__main__":
    main()
