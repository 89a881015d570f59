"""Files that are written whole or not at all: under another name first, then renamed.

A reader finds what was there before or all of what is written, never a part of it, whatever ends
the writer. Who writes says what it means when that fails.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lorabench.errors import InputError

# In memory, where tempfile does not look.
_LAST_RESORT = "/dev/shm"


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder that is gone once it is no longer needed, where there is room for one.

    Raises
    ------
    InputError
        There is none: ``TMPDIR`` is not there, read-only or full, and so are the usual places.
    """
    for folder in (None, _LAST_RESORT):
        with contextlib.suppress(OSError):
            return tempfile.TemporaryDirectory(prefix="lorabench-", dir=folder)
    asked = os.environ.get("TMPDIR", "/tmp")
    raise InputError(
        f"{asked}: found no folder for temporary files there, nor in {_LAST_RESORT}; expected one "
        "that is there, has room and may be written: name it in TMPDIR"
    )


def partial_name(path: Path) -> Path:
    """Return what `path` is written as at first: a file beside it, to be renamed."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name to write under; once the block ends, what is there replaces `path` in one step.

    Where the block raises, `path` stays as it was, and nothing is left of what was begun.

    Raises
    ------
    OSError
        It cannot be brought to the disk or renamed.
    """
    partial = partial_name(path)
    try:
        yield partial
        # The name must not reach the disk before the bytes do.
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
