"""The one run of a machine, and the sweep that leaves the machine as it was.

No list is kept of what a run changes. Everything that it makes and that could outlive it bears its
owner (`lorabench.host.owner`): the names of control groups and of resctrl groups, the environment
of processes, and, where a controller had to be enabled for a group's children, an empty group
beside them whose name says which (`lorabench.isolation.cgroups`). A sweep takes away what has no
living owner. One is made at the beginning of every run, one of its own things at its end, and one
by ``lorabench doctor --cleanup``. It can be cut short anywhere and made again. It never touches
what has another name, what has an owner that lives or of whom that cannot be told from here (a
container's), and what is another user's (root's touches all users').

Two runs would measure each other, so a run holds a name in the abstract socket namespace, which one
process at a time can have, whatever its user, and which the kernel frees when that process ends,
however it ends. Commands that only read take no lock. ``LORABENCH_RUN_DIR`` makes it another name,
for runs that cannot measure each other: containers with cores of their own, tests.
"""

import errno
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from lorabench.errors import MachineError
from lorabench.host.files import Files
from lorabench.host.mounts import read_mounts
from lorabench.host.owner import PREFIX, VARIABLE, Owner, read_name, run_domain
from lorabench.host.processes import start_time
from lorabench.host.resctrl import find_mount
from lorabench.isolation import cgroups
from lorabench.isolation.undoing import Report, signals_held

_MACHINE = Files()
_LOCK = "\0lorabench.run"
_MARK = f"{VARIABLE}=".encode()
# How long the holder of the lock may take to listen for who asks.
_INTRODUCTION_S = 1.0
# How long a process may take to vanish once it has been killed: it may have gigabytes to give back.
_GONE_S = 10.0


@contextmanager
def run_lock(
    say: Callable[[str], None], machine: Files = _MACHINE, *, within: int | None = None
) -> Iterator[Owner]:
    """Be the one run of this machine, and leave it as it was.

    Sweeps first what a killed run has left; at the end, what this run has left.

    Parameters
    ----------
    say : callable
        Is told, in a line, what had to be undone for a killed run, and what could not be undone at
        the end where an exception is under way that must not be replaced.
    machine : Files
        Where file systems are mounted.
    within : int, optional
        A process that may be the one run of this machine, and whose part this one is then: it
        gives turns to runs that so never measure each other.

    Yields
    ------
    Owner
        This run.

    Raises
    ------
    MachineError
        Another run is under way; or something cannot be undone, of a killed run or of this one.
    """
    with _locked(within):
        report = sweep(machine=machine)
        if report.failed:
            raise MachineError(
                f"{report}; undo it by hand, or run lorabench doctor --cleanup as a user who may"
            )
        if report.undone or report.notes:
            say(str(report))
        owner, before = Owner.this(), os.environ.get(VARIABLE)
        os.environ[VARIABLE] = owner.token
        try:
            yield owner
        except BaseException:
            line = _leave(owner, before, machine)
            if line:
                say(line)
            raise
        line = _leave(owner, before, machine)
        if "could not undo" in line:
            raise MachineError(line)
        if line:
            say(line)


def _leave(owner: Owner, before: str | None, machine: Files) -> str:
    """Sweep up behind this run; what there is to say of it."""
    os.environ.pop(VARIABLE)
    if before is not None:
        os.environ[VARIABLE] = before
    report = sweep(lambda other: other == owner, machine=machine)
    if not report.failed:
        return "; ".join(report.notes)
    failed = f"could not undo what {report.run} had changed: {', '.join(report.failed)}"
    again = "the next run, or lorabench doctor --cleanup, tries again"
    return "; ".join((*report.notes, failed, again))


def cleanup(machine: Files = _MACHINE) -> Report:
    """Undo what killed runs left.

    Returns
    -------
    Report
        What was undone and what could not be; empty where nothing had been left.

    Raises
    ------
    MachineError
        A run is under way.
    """
    with _locked():
        return sweep(machine=machine)


def _ended(owner: Owner) -> bool:
    return owner.gone


def sweep(whose: Callable[[Owner], bool] = _ended, *, machine: Files = _MACHINE) -> Report:
    """Take away what runs have left behind.

    Parameters
    ----------
    whose : callable
        Of which owners; by default those that have ended.
    machine : Files
        Where file systems are mounted; processes are those of this machine.
    """
    report = Report()
    with signals_held():
        # First, so that groups are empty: who was killed counts in them until it is gone.
        for pid, start, owner in _processes(whose):
            report.pids.add(owner.pid)
            report.attempt(f"process {pid}", partial(end_process, pid, start))
        for folder, owner in _resctrl_groups(machine, whose):
            report.pids.add(owner.pid)
            report.attempt(f"resctrl group {folder}", partial(_remove, folder))
        for parent, owner in _cgroups(machine, whose):
            report.pids.add(owner.pid)
            cgroups.tidy(parent, owner, report, last=True)
    return report


def _mine(path: Path) -> bool:
    """Whether a thing is this user's to take away."""
    return os.geteuid() in (0, path.stat().st_uid)


def _processes(whose: Callable[[Owner], bool]) -> Iterator[tuple[int, int, Owner]]:
    """List pid, start and owner of processes that runs have started; never this one."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            owner = _started_by(entry)
            if owner is not None and whose(owner) and _mine(entry):
                start = start_time(int(entry.name))
                # The pid may have gone to another process since the first look.
                if start is not None and _started_by(entry) == owner:
                    yield int(entry.name), start, owner


def _started_by(process: Path) -> Owner | None:
    for word in (process / "environ").read_bytes().split(b"\0"):
        if word.startswith(_MARK):
            return Owner.parse(word[len(_MARK) :].decode(errors="replace"))
    return None


def _owned(folder: Path, whose: Callable[[Owner], bool]) -> Iterator[tuple[Path, Owner]]:
    """List the folders in a folder that bear an owner."""
    entries: list[Path] = []
    with suppress(OSError):  # it is gone, or not for this user to read
        entries = sorted(folder.iterdir())
    for entry in entries:
        found = read_name(entry.name)
        with suppress(OSError):  # somebody else may have taken it away meanwhile
            if found is not None and whose(found[0]) and _mine(entry):
                yield entry, found[0]


def _resctrl_groups(machine: Files, whose: Callable[[Owner], bool]) -> Iterator[tuple[Path, Owner]]:
    mount = find_mount(machine.root)
    if mount is not None:
        yield from _owned(mount.root, whose)


def _cgroups(machine: Files, whose: Callable[[Owner], bool]) -> list[tuple[Path, Owner]]:
    """List groups that have children of such owners, each with the owner."""
    found: dict[tuple[Path, Owner], None] = {}
    for mount in read_mounts(machine):
        if mount.kind in ("cgroup", "cgroup2"):
            for folder, names, _ in os.walk(machine.under(mount.point)):
                if any(name.startswith(PREFIX) for name in names):
                    found |= {
                        (Path(folder), owner): None for _, owner in _owned(Path(folder), whose)
                    }
    return list(found)


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        folder.rmdir()


def end_process(pid: int, start: int) -> None:
    """Kill a process that started at a time, and wait until it is gone; nothing if it is.

    Raises
    ------
    MachineError
        It does not end.
    OSError
        The kernel refuses.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError as error:
        # Before Linux 5.3, or forbidden: a pid that is given again meanwhile is all but impossible
        # right behind the look at its start time.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        _end_by_pid(pid, start)
        return
    try:
        # The handle holds on to the process; only now is it certain whose it is.
        if start_time(pid) != start:
            return
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        gone = select.poll()
        gone.register(handle, select.POLLIN)
        if not gone.poll(_GONE_S * 1e3):
            raise MachineError(f"it was killed and has not ended within {_GONE_S:.0f} s")
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _end_by_pid(pid: int, start: int) -> None:
    give_up = time.monotonic() + _GONE_S
    while start_time(pid) == start:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if time.monotonic() > give_up:
            raise MachineError(f"it was killed and has not ended within {_GONE_S:.0f} s")
        time.sleep(0.01)


@contextmanager
def _locked(within: int | None = None) -> Iterator[None]:
    """Hold the name that one process at a time can have, or know that `within` has it.

    Raises
    ------
    MachineError
        Another run has it.
    """
    apart = run_domain()
    name = f"{_LOCK}.{apart}" if apart else _LOCK
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ours:
        try:
            ours.bind(name)
            ours.listen(socket.SOMAXCONN)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise MachineError(f"cannot take the machine's lock ({error.strerror})") from None
            pid, holder = _holder(name)
            if pid is None or pid != within:
                raise _refusal(holder) from None
        yield


def _holder(name: str) -> tuple[int | None, str]:
    """Return who has the name, by pid and in words: the kernel tells whoever connects."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ours:
        ours.settimeout(_INTRODUCTION_S)
        try:
            ours.connect(name)
        except OSError:  # it has not come to listen yet, or has just ended
            return None, "a process that does not say which"
        size = struct.calcsize("3i")
        pid, user, _ = struct.unpack(
            "3i", ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
    if pid == 0:
        return None, "a process outside this container"
    words = b""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
    command = words.replace(b"\0", b" ").decode(errors="replace")
    return pid, f"pid {pid} of user {user}" + (f": {command}" if command else "")


def _refusal(holder: str) -> MachineError:
    # A command line may hold anything, and this is to be one line on a terminal.
    line = "".join(c for c in " ".join(holder.split()) if c.isprintable())
    return MachineError(
        f"a run is under way on this machine ({line[:200]}), expected none: two would measure each "
        "other; wait until it ends, or end it"
    )
