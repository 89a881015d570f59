"""A server beside its lookups: it sleeps until the next arrival, tells its load, is witnessed."""

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.memory import Mapping

LOAD_BYTES: int

def sleep_until(deadline_ns: int) -> None:
    """Block until ``time.monotonic_ns()`` reaches `deadline_ns` (`clock_nanosleep`, absolute)."""

def set_timer_slack(slack_ns: int) -> None:
    """Set the calling thread's timer slack: how late the kernel may wake it. Linux: 50 us."""

def set_time_slice(slice_ns: int) -> int:
    """Ask for this time slice for the calling thread, and for those that it starts.

    Of two threads of one scheduling class the one with the shorter slice may interrupt the other
    when it wakes up; it has no more of the CPU for that. It takes no privilege.

    Returns
    -------
    int
        The slice that it has then, in ns: the kernel allows 0.1 to 100 ms. 0 where there is none to
        choose (Linux before 6.12).

    Raises
    ------
    OSError
        The kernel refuses.
    """

def calculate(cpu_ns: int) -> float:
    """Calculate in registers for so many ns of this thread's CPU time, without the GIL.

    Returns
    -------
    float
        Of no meaning.
    """

class Witness:
    """What the kernel did to the calling thread, which must be the one that made this.

    Costs two system calls a look. Where the kernel keeps no ``schedstat``, delays are -1.

    Raises
    ------
    OSError
        The kernel does not say.
    """

    def __new__(cls) -> Witness: ...
    def moved(self) -> tuple[int, int, int]:
        """Return involuntary switches, page faults and ns in the run queue since the last look."""

class LoadLine:
    """What server number `server` tells about its load; the server's end of a line.

    Parameters
    ----------
    mapping : Mapping
        Writable memory of `LOAD_BYTES` a server, all zero at first.
    server : int
        Its number, from 0.
    """

    def __new__(cls, mapping: Mapping, server: int) -> LoadLine: ...
    def begin(self, now_ns: int, arrivals: NDArray[np.int64], at: int) -> None:
        """Tell that a batch which begins with arrival `at` is taken up, and how many are due."""

    def end(
        self, now_ns: int, answered_ns: int, arrivals: NDArray[np.int64], at: int, end: int
    ) -> None:
        """Tell that arrivals `at` to `end` (int64 [N], ns, rising) were answered, and when.

        `now_ns` is when the server is free again: what it does for a batch after the answer counts
        as busy, not as latency.
        """

class LoadLines:
    """The load of all servers; the trainer's end of their lines.

    Parameters
    ----------
    mapping : Mapping
        Writable memory of `LOAD_BYTES` a server.
    servers : int
        How many, at least 1.
    """

    def __new__(cls, mapping: Mapping, servers: int) -> LoadLines: ...
    @property
    def servers(self) -> int:
        """How many servers there are."""

    def reset(self, limit_ns: int) -> None:
        """Set all counters to zero, and from when on an answer counts as late; 0 for never.

        Only while no server serves.
        """

    def read(self, now_ns: int) -> list[tuple[int, int, int, int]]:
        """Read every server's counters.

        Returns
        -------
        list of tuple of int
            Of each server, since the last reset: ns spent on batches (the one in hand included),
            queries answered, of those late, and queries that were due when the batch in hand was
            taken up (0 where there is none).
        """
