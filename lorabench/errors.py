"""The errors that are for the person at the terminal.

Whatever derives from `LorabenchError` is turned by the command line into one clear line and an
exit code, and so is what the machine refuses (`told`). Everything else is a bug and keeps its
traceback.
"""

import errno
import os
import re
import sys


class LorabenchError(Exception):
    """Something the user can act on; `exit_code` is what the command exits with."""

    exit_code = 2


class InputError(LorabenchError):
    """Bad usage or bad input: says where, what was found and what was expected (exit 2)."""


class MachineError(LorabenchError):
    """The machine lacks what was demanded (exit 3)."""

    exit_code = 3


class GateError(LorabenchError):
    """A gate failed, or a claim was missed under ``--strict`` (exit 1)."""

    exit_code = 1


class UndecidedError(LorabenchError):
    """A gate's data could not have shown a change of its size (exit 4)."""

    exit_code = 4


class StreamError(LorabenchError):
    """Nothing more can be printed (exit 2).

    Parameters
    ----------
    error : OSError
        What came of it.

    Attributes
    ----------
    unread : bool
        Whoever reads it has had enough, as ``head`` has: nothing that needs telling.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"stdout: cannot be written ({error.strerror or error}), expected a terminal, a pipe "
            "or a file with room"
        )
        self.unread = error.errno == errno.EPIPE


# What a kernel refuses for want of something, whatever the program asks for.
_LACKS = {
    errno.ENOSPC: "make room on the disk (or set TMPDIR and XDG_CACHE_HOME to one with room)",
    errno.EDQUOT: "make room within the quota",
    errno.EROFS: "write somewhere else",
    errno.EIO: "look at the kernel's log",
    errno.ENOMEM: "end other programs, or take smaller tables (--scale)",
    errno.EMFILE: "raise the limit (ulimit -n)",
    errno.ENFILE: "end other programs",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or end other programs",
    errno.ENOSYS: "use a kernel that has it",
    errno.EPERM: "ask for the permission, or do without",
    errno.EACCES: "ask for the permission, or do without",
    errno.ESTALE: "look at the network's disk",
    errno.ETIMEDOUT: "look at the network's disk",
}
_TORCH_MEMORY = re.compile(r"can't allocate memory|out of memory|Cannot allocate memory")
_TORCH_FILE = re.compile(r"inline_container\.cc|PytorchStream(Writer|Reader) failed")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x1f\x7f]")
# Bytes of a name that Python could not read as text (PEP 383); no other program takes them so.
_NO_TEXT = re.compile("[\udc80-\udcff]")
_LONGEST_NAME = 4096
_LONGEST = 200


def told(error: BaseException) -> LorabenchError | None:
    """Return what the user can act on in an error; None where it is a bug.

    Beside our own errors that is what the machine refuses, which no program can foresee: an error
    of the system that names a file or says what is lacking (`_LACKS`), memory that ran out, a
    process that psutil may not see or that has ended, what torch says of memory and files, and
    names of files that a library cannot take.
    Other errors of the system, such as a bad descriptor, come from a wrong call.

    Parameters
    ----------
    error : BaseException
        Any.
    """
    if isinstance(error, LorabenchError):
        return error
    if isinstance(error, OSError):
        return _system(error)
    return _name(error) if isinstance(error, UnicodeEncodeError) else _library(error)


def _library(error: BaseException) -> LorabenchError | None:
    """Return what a library says of the machine, most of which it says in errors of its own."""
    psutil = sys.modules.get("psutil")
    if psutil is not None and isinstance(error, psutil.Error):
        return MachineError(f"{_line(error)}; expected a process that runs and that may be seen")
    # torch says so in a RuntimeError, with what a terminal obeys and a place in its sources.
    torch = isinstance(error, RuntimeError) and "torch" in sys.modules
    if isinstance(error, MemoryError) or (torch and _TORCH_MEMORY.search(str(error))):
        return MachineError(f"out of memory ({_line(error)}); {_LACKS[errno.ENOMEM]}")
    if torch and _TORCH_FILE.search(str(error)):
        return MachineError(f"torch could not use a file ({_line(error)}); {_LACKS[errno.ENOSPC]}")
    return None


def _name(error: UnicodeEncodeError) -> InputError | None:
    """Return which file's name a library could not take; None where it was none."""
    if len(error.object) > _LONGEST_NAME or not _NO_TEXT.search(error.object):
        return None
    return InputError(
        f"{_line(error.object)}: found a name that is no UTF-8 here, expected one that is (rename "
        "it, or set LC_ALL=C.UTF-8)"
    )


def _system(error: OSError) -> LorabenchError | None:
    said = os.strerror(error.errno) if error.errno else _line(error)
    way_out = _LACKS.get(error.errno or 0)
    end = f"; {way_out}" if way_out else ""
    if error.filename is not None:
        name = os.fsdecode(error.filename) if not isinstance(error.filename, int) else "a file"
        return InputError(f"{name}: {said}{end}")
    return MachineError(f"the system refuses something: {said}{end}") if way_out else None


def _line(error: BaseException | str) -> str:
    text = " ".join(_ESCAPES.sub(" ", str(error)).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
