"""CPU affinity of every thread of a process: set, and verified after the fact.

Linux keeps affinity per thread and a new thread inherits it from the one that starts it, so setting
it for a process id alone leaves threads behind that a library had already started (torch's pool,
for one). Everything here goes over /proc/PID/task.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

from lorabench.errors import MachineError
from lorabench.host.processes import change_threads, read_threads


def pin_threads(pid: int, cpus: frozenset[int]) -> None:
    """Confine all threads of a process to `cpus`.

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

    def pin(thread: int) -> None:
        try:
            os.sched_setaffinity(thread, cpus)
        except ProcessLookupError:
            raise
        except OSError as error:
            raise MachineError(
                f"cannot pin thread {thread} of process {pid} to CPUs {sorted(cpus)}: "
                f"{error.strerror}; expected CPUs that are online and allowed to this process"
            ) from None

    change_threads(pid, _affinity, cpus, pin)


def _affinity(thread: int) -> frozenset[int]:
    return frozenset(os.sched_getaffinity(thread))


def thread_affinities(pid: int) -> dict[int, frozenset[int]]:
    """Read where each thread of a process may run: thread id -> CPUs.

    Raises
    ------
    ProcessLookupError
        The process has ended.
    """
    return read_threads(pid, _affinity)


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


@contextlib.contextmanager
def process_on(cpus: frozenset[int]) -> Iterator[None]:
    """Keep this process on these CPUs while the context lasts."""
    before = thread_affinities(os.getpid())
    pin_threads(os.getpid(), cpus)
    try:
        yield
    finally:
        restore_threads(before)
