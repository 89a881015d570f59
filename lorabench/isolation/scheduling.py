"""Scheduling class and nice value of every thread of a process: set, verified, put back.

How willingly the trainer gives way on a core that it shares with a server. Linux keeps the class
per thread and a new thread inherits it, so everything here goes over /proc/PID/task, as `affinity`
does; sched(7) describes the classes. They are weighed within a cgroup (and, where autogroup is on,
within a session): of two threads in different cpu cgroups the groups' weights decide and not the
threads' classes, so trainer and servers in groups of their own need `cgroups`' idle group instead.

A thread may always give way more. To give way less again, it needs CAP_SYS_NICE, or an RLIMIT_NICE
that reaches down to its nice value: without either, leaving SCHED_IDLE is refused, and so is
lowering a nice value. `cannot_leave` says beforehand whether that is so.
"""

import os
import threading
from dataclasses import dataclass

from lorabench.errors import MachineError
from lorabench.host.missing import Missing
from lorabench.host.processes import change_threads, read_threads

_NAMES = {
    os.SCHED_OTHER: "SCHED_OTHER",
    os.SCHED_BATCH: "SCHED_BATCH",
    os.SCHED_IDLE: "SCHED_IDLE",
    os.SCHED_FIFO: "SCHED_FIFO",
    os.SCHED_RR: "SCHED_RR",
}


@dataclass(frozen=True)
class SchedulingClass:
    """How a thread is scheduled.

    Attributes
    ----------
    policy : int
        ``os.SCHED_OTHER`` and its like.
    nice : int
        From -20 to 19; a SCHED_IDLE thread's does not count.
    priority : int
        Of a real-time policy; 0 for all others.
    """

    policy: int
    nice: int = 0
    priority: int = 0

    def __str__(self) -> str:
        name = _NAMES.get(self.policy, f"policy {self.policy}")
        return f"{name}, nice {self.nice}" + (f", priority {self.priority}" * bool(self.priority))


NORMAL = SchedulingClass(os.SCHED_OTHER)
"""What a process has unless somebody says otherwise."""
BATCH = SchedulingClass(os.SCHED_BATCH)
"""Never preempts on waking up; otherwise its share is that of `NORMAL`."""
IDLE = SchedulingClass(os.SCHED_IDLE)
"""Gives way at once to any thread that is not idle, for a weight of 3 to 1,024."""


def schedule_threads(pid: int, wanted: SchedulingClass) -> None:
    """Give all threads of a process a scheduling class.

    Parameters
    ----------
    pid : int
        The process.
    wanted : SchedulingClass
        What its threads shall have.

    Raises
    ------
    MachineError
        The kernel refuses; the threads before the one named have the class already.
    ProcessLookupError
        The process has ended.
    """

    def write(thread: int) -> None:
        try:
            _write(thread, wanted)
        except ProcessLookupError:
            raise
        except OSError as error:
            raise MachineError(
                f"cannot give thread {thread} of process {pid} the class {wanted} in place of "
                f"{_read(thread)}: {error.strerror}; {_RIGHTS}, or start a new process"
            ) from None

    change_threads(pid, _read, wanted, write)


def thread_classes(pid: int) -> dict[int, SchedulingClass]:
    """Read how each thread of a process is scheduled: thread id -> class.

    Raises
    ------
    ProcessLookupError
        The process has ended.
    """
    return read_threads(pid, _read)


def verify_classes(pid: int, wanted: SchedulingClass) -> None:
    """Make sure that every thread of a process has a scheduling class.

    Raises
    ------
    MachineError
        Some have another; the message lists them.
    ProcessLookupError
        The process has ended.
    """
    strays = {t: str(found) for t, found in thread_classes(pid).items() if found != wanted}
    if strays:
        raise MachineError(
            f"process {pid}: found threads that are not {wanted}: {strays}; "
            "something changed them after they had been set"
        )


def cannot_leave(entered: SchedulingClass) -> Missing | None:
    """Try whether a thread of this process may return from a class to the one it has now.

    A thread of its own enters it and ends after the attempt, so that nothing is left changed.

    Returns
    -------
    Missing or None
        Why not; None where it may.
    """
    refusals: list[OSError] = []

    def attempt() -> None:
        # Threads are scheduled one by one, and 0 is the calling one.
        before = _read(0)
        try:
            _write(0, entered)
            _write(0, before)
        except OSError as error:
            refusals.append(error)

    probe = threading.Thread(target=attempt)
    probe.start()
    probe.join()
    if not refusals:
        return None
    return Missing(
        f"leaving {entered}",
        f"the kernel refuses a thread to enter and leave it ({refusals[0].strerror})",
        _RIGHTS,
    )


_RIGHTS = "that takes CAP_SYS_NICE or a limit that allows it (ulimit -e 20, as root)"


def _read(thread: int) -> SchedulingClass:
    return SchedulingClass(
        os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK,
        os.getpriority(os.PRIO_PROCESS, thread),
        os.sched_getparam(thread).sched_priority,
    )


def _write(thread: int, wanted: SchedulingClass) -> None:
    os.sched_setscheduler(thread, wanted.policy, os.sched_param(wanted.priority))
    if os.getpriority(os.PRIO_PROCESS, thread) != wanted.nice:
        os.setpriority(os.PRIO_PROCESS, thread, wanted.nice)
