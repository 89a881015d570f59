"""Mounts of one's own, as a small disk: in a mount namespace, so that nobody else sees them."""

import ctypes
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

_CLONE_NEWNS = 0x00020000


def why_not() -> str:
    """Return why there can be none here; empty where there can."""
    if os.geteuid() != 0:
        return "mounts of one's own take root"
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.stderr.strip()


def with_mounts(mounts: Sequence[Sequence[str]], act: Callable[[], None]) -> None:
    """Do something in a fork of this process that sees mounts of its own.

    Parameters
    ----------
    mounts : sequence of sequence of str
        Arguments of mount(8), one after the other.
    act : callable
        What to do.

    Raises
    ------
    AssertionError
        It failed; its traceback has been printed.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            for arguments in (("--make-rprivate", "/"), *mounts):
                subprocess.run(["mount", *arguments], check=True)
            act()
            code = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def on_small_disk(folder: Path, size_bytes: int, act: Callable[[], None]) -> None:
    """Do something in a fork of this process for which `folder` is a disk of so many bytes."""
    with_mounts([("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder))], act)


def fill(folder: Path, left_bytes: int) -> None:
    """Fill a disk but for so many bytes, give or take a page."""
    with (folder / "ballast").open("wb") as file:
        while (free := os.statvfs(folder)).f_bavail * free.f_frsize > left_bytes:
            file.write(b"x" * 4096)
            file.flush()
