"""Which program measured: its version and, in a checkout, the commit."""

import contextlib
import subprocess
from pathlib import Path

import lorabench
from lorabench.results.schema import Program


def program() -> Program:
    """Return the program: its version and, in a checkout, the commit."""
    root = Path(lorabench.__file__).parents[1]
    git = None
    if (root / ".git").exists():
        with contextlib.suppress(OSError):
            found = subprocess.run(
                ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=12"],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            git = found.stdout.strip() or None
    return Program(version=lorabench.__version__, git=git)
