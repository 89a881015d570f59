"""What is said of stored tensors: which file it was, and what in it was not used."""

import hashlib
from collections.abc import Iterable

from lorabench.model.stored.tensors import LeftOut, Stored, named


def digest(stored: Stored) -> str:
    """Return what tells files from others without reading them as a whole.

    SHA-256 (hex) of sizes, modification times and how each file begins, a MiB in all: production
    files are too large to be hashed before every run.
    """
    found = hashlib.sha256()
    head = max((1 << 20) // max(len(stored.files), 1), 1 << 12)
    for path in sorted(stored.files):
        status = path.stat()
        found.update(f"{status.st_size} {status.st_mtime_ns}".encode())
        with path.open("rb") as file:
            found.update(file.read(head))
    return found.hexdigest()


def said(left_out: Iterable[LeftOut]) -> list[str]:
    """Return what was left out in sentences, one a reason."""
    by_reason: dict[str, list[str]] = {}
    for one in left_out:
        by_reason.setdefault(one.why, []).append(one.name)
    return [f"left out {named(names)} ({why})" for why, names in by_reason.items()]
