"""A child process that cannot outlive its parent, however that one ends.

The kernel's parent-death signal does it (prctl(2), PR_SET_PDEATHSIG): a child that merely asks now
and then would survive a SIGKILL of its parent while it blocks. Linux only, like the bench.
"""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; end at once if it already has.

    Call it first of all, from the main thread, in a process that the parent's main thread
    started: the signal is tied to that thread.

    Parameters
    ----------
    parent : int
        Process id of the parent that this process was started by.

    Raises
    ------
    OSError
        The kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    # The parent may have died before the promise was made; then nobody is left to signal it.
    if os.getppid() != parent:
        os._exit(0)
