"""Processes and their threads, as /proc shows them: which there are, and which one a pid means.

Linux keeps affinity and scheduling class per thread, so what is to hold for a process has to be set
on every id in /proc/PID/task, again and again until no new thread turns up. What is set is the
caller's business (`affinity`, `scheduling`). The format is that of proc(5).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")

# Fields of /proc/PID/stat behind the command's name: state is the third, the start time the 22nd.
_STATE = 0
_START = 19


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


def start_time(pid: int) -> int | None:
    """Read when a process started, in clock ticks since boot; None where it has ended.

    Together with the pid it names a process for good: a pid is given again, but not within the same
    tick. A zombie has ended.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return parse_start_time(text)


def parse_start_time(stat: bytes) -> int | None:
    """Find the start time in the text of a /proc/PID/stat; None of a zombie or a dead process.

    Raises
    ------
    ValueError
        It is no such text.

    Examples
    --------
    >>> parse_start_time(b"7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0")
    4711
    """
    # The name may hold anything, parentheses and spaces too; what follows the last ")" does not.
    fields = stat[stat.rfind(b")") + 1 :].split()
    if len(fields) <= _START or not fields[_START].isdigit():
        raise ValueError(f"found {stat[:200]!r}, expected the fields of /proc/PID/stat")
    return None if fields[_STATE] in {b"Z", b"X", b"x"} else int(fields[_START])
