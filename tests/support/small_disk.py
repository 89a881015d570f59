"""A small disk of one's own: a tmpfs in a mount namespace, so that nobody else sees it."""

import ctypes
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

_CLONE_NEWNS = 0x00020000


def why_not() -> str:
    """Return why there can be none here; empty where there can."""
    if os.geteuid() != 0:
        return "a tmpfs of one's own takes root"
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.stderr.strip()


def on_small_disk(folder: Path, size_bytes: int, act: Callable[[], None]) -> None:
    """Do something in a fork of this process for which `folder` is a disk of so many bytes.

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
            for arguments in (
                ("--make-rprivate", "/"),
                ("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)),
            ):
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


def fill(folder: Path, left_bytes: int) -> None:
    """Fill a disk but for so many bytes, give or take a page."""
    with (folder / "ballast").open("wb") as file:
        while (free := os.statvfs(folder)).f_bavail * free.f_frsize > left_bytes:
            file.write(b"x" * 4096)
            file.flush()
