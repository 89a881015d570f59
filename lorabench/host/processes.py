"""Processes and their threads, as /proc shows them: which there are, and which one a pid means.

Linux keeps affinity and scheduling class per thread, so what is to hold for a process has to be set
on every id in /proc/PID/task, again and again until no new thread turns up. What is set is the
caller's business (`affinity`, `scheduling`). The format is that of proc(5).
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from lorabench.host.procfs import parse_task_stat

_T = TypeVar("_T")


def threads(pid: int) -> frozenset[int]:
    """List the threads of a process.

    Raises
    ------
    ProcessLookupError
        The process has ended.
    """
    try:
        return frozenset(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"there is no process {pid}") from None


def read_threads(pid: int, read: Callable[[int], _T]) -> dict[int, _T]:
    """Read something of each thread of a process; threads that end meanwhile are left out.

    Raises
    ------
    ProcessLookupError
        The process has ended.
    """
    found = {}
    for thread in threads(pid):
        try:
            found[thread] = read(thread)
        except ProcessLookupError:
            continue
    return found


def change_threads(
    pid: int, read: Callable[[int], _T], wanted: _T, write: Callable[[int], None]
) -> None:
    """Have `write` change each thread of a process for which `read` does not find what is `wanted`.

    A thread that is started meanwhile inherits the old value or the new one; looking again until
    none with an old one appears finds them all.

    Raises
    ------
    ProcessLookupError
        The process has ended.
    """
    done: set[int] = set()
    while strays := {t for t, found in read_threads(pid, read).items() if found != wanted} - done:
        for thread in strays:
            try:
                write(thread)
            except ProcessLookupError:
                continue  # it ended since it was listed
        done |= strays


def descendants(pid: int) -> frozenset[int]:
    """List a process and all that it has started, directly or not.

    Not by psutil, which asks first when the machine was booted: not every ``/proc/stat`` says that
    (lxc/lxcfs 28).
    """
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                text = (entry / "stat").read_text(errors="replace")
                # Behind the command's name, which may hold anything: the state, then the parent.
                parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    found, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return frozenset(found)


def start_time(pid: int) -> int | None:
    """Read when a process started, in clock ticks since boot; None where it has ended.

    Together with the pid it names a process for good: a pid is given again, but not within the same
    tick. A zombie has ended.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    stat = parse_task_stat(text)
    return None if stat.state in {"Z", "X", "x"} else stat.start_ticks
