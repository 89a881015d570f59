"""Whether a disk has room for a result, which is better known before a run than after it."""

import shutil
from pathlib import Path

from lorabench.errors import InputError


def free_bytes(path: Path) -> int | None:
    """Return how much room a file has that is to be written; None where its disk does not say.

    Raises
    ------
    InputError
        Its folder cannot be looked at.
    """
    try:
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        found = shutil.disk_usage(folder)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return found.free if found.total else None


def check_room(path: Path, needed_bytes: int) -> None:
    """Find out before the work begins whether its result has room.

    Raises
    ------
    InputError
        It has not.
    """
    free = free_bytes(path)
    if free is not None and free < needed_bytes:
        raise InputError(
            f"{path}: found {free:,} bytes free on its disk, expected at least {needed_bytes:,} "
            "for the result; make room, or write it to another disk (-o)"
        )
