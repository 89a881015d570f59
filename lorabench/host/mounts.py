"""What is mounted where: the one reader of ``/proc/mounts`` and ``/proc/self/mountinfo``.

The second says more (which folder of a file system is mounted: a container's, say), but recordings
of machines often have the first alone. proc(5) describes both.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

from lorabench.host.files import Files
from lorabench.host.formats import unescape


@dataclass(frozen=True)
class Mount:
    """A mounted file system.

    Attributes
    ----------
    point : str
        Where, as the machine names it.
    kind : str
        Type of the file system: ``cgroup2``, ``resctrl``.
    options : frozenset of str
        Of the mount and of the file system.
    root : str
        Which of its folders is mounted there; "/" also where nothing says so.
    """

    point: str
    kind: str
    options: frozenset[str]
    root: str = "/"

    def folder(self, path: str) -> str | None:
        """Return where a folder of the file system lies; None where it is not in what is mounted.

        Examples
        --------
        >>> Mount("/sys/fs/cgroup", "cgroup2", frozenset(), "/docker/a").folder("/docker/a/b")
        '/sys/fs/cgroup/b'
        """
        inside = self.root in ("/", path) or path.startswith(f"{self.root}/")
        below = path[len(self.root.rstrip("/")) :].strip("/")
        # Both are told from the root of a namespace, and may lie above it.
        if not inside or ".." in below.split("/"):
            return None
        return str(PurePosixPath(self.point) / below)

    @property
    def above(self) -> int:
        """How many folders without a name lie between what is mounted and a namespace's root.

        Examples
        --------
        >>> Mount("/sys/fs/cgroup", "cgroup2", frozenset(), "/../..").above
        2
        """
        parts = self.root.strip("/").split("/")
        return len(parts) if set(parts) == {".."} else 0


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Read the text of either file; lines that are none are left out, later mounts come later.

    Examples
    --------
    >>> parse_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0")[0].kind
    'cgroup2'
    >>> parse_mounts("41 33 0:35 /a /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset")[0].root
    '/a'
    """
    found = []
    for line in text.splitlines():
        first, separator, second = line.partition(" - ")
        left, right = first.split(), second.split()
        if separator and len(left) >= 6 and len(right) >= 3:
            found.append(_mount(left[4], right[0], f"{left[5]},{right[2]}", left[3]))
        elif not separator and len(left) >= 4:
            found.append(_mount(left[1], left[2], left[3]))
    return tuple(found)


def _mount(point: str, kind: str, options: str, root: str = "/") -> Mount:
    where = str(PurePosixPath(unescape(point)))
    return Mount(where, kind, frozenset(options.split(",")), unescape(root))


def read_mounts(files: Files) -> tuple[Mount, ...]:
    """Read what is mounted on a machine; nothing where it cannot be read."""
    text = files.get("/proc/self/mountinfo") or files.get("/proc/mounts")
    return parse_mounts(text or "")


def unwritable(files: Files, path: str) -> str | None:
    """Return why nothing can be written at a path, in words; None where this user may.

    The mount decides before any permission does, and for root as well: what the copy of a machine
    may be written to says nothing of that. Containers have their control groups and resctrl
    mounted read-only unless they are privileged.

    Parameters
    ----------
    files : Files
        The machine.
    path : str
        As the machine names it.
    """
    inside = [
        mount
        for mount in read_mounts(files)
        if path == mount.point or path.startswith(f"{mount.point.rstrip('/')}/")
    ]
    # The innermost, and of several on one point the last, which hides the others.
    over = max(enumerate(inside), key=lambda at: (len(at[1].point), at[0]), default=None)
    if over is not None and "ro" in over[1].options:
        return "mounted read-only"
    return None if files.writable(path) else "not writable"
