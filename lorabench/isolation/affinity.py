"""CPU affinity of every thread of a process: set, and verified after the fact.

Linux keeps affinity per thread and a new thread inherits it from the one that starts it, so setting
it for a process id alone leaves threads behind that a library had already started (torch's pool,
for one). Everything here goes over /proc/PID/task.
"""

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path

from lorabench.errors import MachineError


def _threads(pid: int) -> frozenset[int]:
    try:
        return frozenset(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        raise ProcessLookupError(errno.ESRCH, f"there is no process {pid}") from None


def pin_threads(pid: int, cpus: frozenset[int]) -> None:
    """Confine all threads of a process to `cpus`.

    A thread that is started meanwhile inherits the old CPUs or the new ones; looking again until
    none with the old ones appears finds them all.

    Parameters
    ----------
    pid : int
        The process.
    cpus : frozenset of int
        Where its threads may run.

    Raises
    ------
    MachineError
        The kernel refuses these CPUs.
    ProcessLookupError
        The process has ended.
    """
    done: set[int] = set()
    while strays := {t for t, c in thread_affinities(pid).items() if c != cpus} - done:
        for thread in strays:
            try:
                os.sched_setaffinity(thread, cpus)
            except ProcessLookupError:
                pass  # it ended since it was listed
            except OSError as error:
                raise MachineError(
                    f"cannot pin thread {thread} of process {pid} to CPUs {sorted(cpus)}: "
                    f"{error.strerror}; expected CPUs that are online and allowed to this process"
                ) from None
        done |= strays


def thread_affinities(pid: int) -> dict[int, frozenset[int]]:
    """Read where each thread of a process may run: thread id -> CPUs.

    Raises
    ------
    ProcessLookupError
        The process has ended.
    """
    found = {}
    for thread in _threads(pid):
        try:
            found[thread] = frozenset(os.sched_getaffinity(thread))
        except ProcessLookupError:
            continue
    return found


def restore_threads(affinities: Mapping[int, frozenset[int]]) -> None:
    """Put threads back where `thread_affinities` found them; those that ended are left out."""
    for thread, cpus in affinities.items():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(thread, cpus)


def verify(pid: int, cpus: frozenset[int]) -> None:
    """Make sure that no thread of a process may run outside `cpus`.

    Raises
    ------
    MachineError
        Some may; the message lists them.
    ProcessLookupError
        The process has ended.
    """
    strays = {t: sorted(c) for t, c in thread_affinities(pid).items() if not c <= cpus}
    if strays:
        raise MachineError(
            f"process {pid}: found threads outside CPUs {sorted(cpus)}: {strays}; "
            "something moved them after they had been pinned"
        )
