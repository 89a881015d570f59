"""Text files of a machine or of a recorded tree, and the formats in which Linux writes them.

For the capability table: a file that is missing, forbidden or nonsense is an answer there and no
failure, so reading one gives its text or `UnreadableError` with the reason, never another error.
The formats are those of proc(5), cgroups(7) and ``Documentation/ABI`` in the kernel's sources.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

# Each is 64 KiB at most; /proc/cpuinfo of 8,192 CPUs has 12 MB, in pieces of a page.
_MOST_PIECES = 8192
# Some kernels print a null byte for an empty nohz_full; and what is read here ends on terminals.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class UnreadableError(Exception):
    """A file did not say what it was read for.

    Attributes
    ----------
    path : str
        The file, as the machine names it.
    why : str
        The reason, in words.
    """

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


@dataclass(frozen=True)
class Files:
    """What lies under a root; paths are given and reported as the machine itself names them.

    Parameters
    ----------
    root : Path
        ``/`` for this machine, else the folder of a recorded tree.
    """

    root: Path

    def under(self, path: str) -> Path:
        """Say where a path of the machine lies on this one."""
        return self.root / path.lstrip("/")

    def read(self, path: str) -> str:
        """Read a text file, without the white space round it and without control characters.

        Raises
        ------
        UnreadableError
            It is missing, forbidden or no regular file.
        """
        try:
            # Without O_NONBLOCK a named pipe in somebody's tree would be waited for.
            fd = os.open(self.under(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise UnreadableError(path, "it is no regular file")
                return _CONTROL.sub("", _contents(fd).decode(errors="replace")).strip()
            finally:
                os.close(fd)
        except OSError as error:
            raise UnreadableError(path, _reason(error)) from None
        except ValueError:  # a null byte in a path that came out of a file
            raise UnreadableError(path, "no path can have this name") from None

    def get(self, path: str) -> str | None:
        """Read a text file; None where that is impossible."""
        try:
            return self.read(path)
        except UnreadableError:
            return None

    def as_named(self, text: str) -> str:
        """Take the tree's root out of the paths in a text: what the machine itself calls them."""
        return text if self.root == Path("/") else text.replace(f"{self.root}/", "/")

    def first(self, *paths: str) -> tuple[str, str]:
        """Read the first of these files that can be read; its path and text.

        Raises
        ------
        UnreadableError
            None can; says why of the first.
        """
        for path in paths:
            text = self.get(path)
            if text is not None:
                return path, text
        raise UnreadableError(paths[0], str(self._why(paths[0])))

    def _why(self, path: str) -> str:
        try:
            self.read(path)
        except UnreadableError as error:
            return error.why
        return "it cannot be read"

    def number(self, path: str) -> int:
        """Read a whole number.

        Raises
        ------
        UnreadableError
            It cannot be read, or is no number.
        """
        text = self.read(path)
        if not re.fullmatch("-?[0-9]{1,20}", text):
            raise UnreadableError(path, f"found {text:.40}, expected a number")
        return int(text)

    def is_folder(self, path: str) -> bool:
        """Say whether a folder is there."""
        try:
            return self.under(path).is_dir()
        except (OSError, ValueError):
            return False

    def names(self, path: str) -> list[str]:
        """List a folder, sorted; empty where that is impossible."""
        try:
            return sorted(entry.name for entry in self.under(path).iterdir())
        except (OSError, ValueError):
            return []

    def writable(self, path: str) -> bool:
        """Say whether this user may write there; root may not where all is mounted read-only."""
        try:
            return os.access(self.under(path), os.W_OK, effective_ids=True)
        except (OSError, ValueError):
            return False


def _contents(fd: int) -> bytes:
    # In pieces: files under /proc/sys refuse to be read into a large buffer.
    pieces: list[bytes] = []
    while len(pieces) < _MOST_PIECES and (piece := os.read(fd, 1 << 16)):
        pieces.append(piece)
    return b"".join(pieces)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "this user may not read it"
    return f"it cannot be read ({error.strerror})"


def cpu_field(cpuinfo: str, *names: str) -> str:
    """Find the first of these fields of ``/proc/cpuinfo`` that says something; else it is empty."""
    for name in names:
        for found in re.finditer(rf"^{re.escape(name)}[ \t]*:(.*)$", cpuinfo, re.MULTILINE):
            if found[1].strip():
                return found[1].strip()
    return ""


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """Find the processor's flags in the text of ``/proc/cpuinfo``; Arm calls them features."""
    return frozenset(cpu_field(cpuinfo, "flags", "Features").split())


def chosen(text: str) -> str:
    """Pick the chosen word of a setting such as ``always [madvise] never``; empty without one."""
    found = re.search(r"\[([^\]\s]+)\]", text)
    return found[1] if found else ""


@dataclass(frozen=True)
class Mount:
    """A line of ``/proc/mounts``."""

    point: str
    kind: str
    options: frozenset[str]


def parse_mounts(text: str) -> list[Mount]:
    """Read ``/proc/mounts``; lines that are none are left out, later mounts come later."""
    mounts = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 4:
            # The kernel writes blanks in a path as octal numbers.
            point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[1])
            mounts.append(Mount(point, fields[2], frozenset(fields[3].split(","))))
    return mounts


def parse_membership(text: str) -> dict[str, str]:
    r"""Read ``/proc/PID/cgroup``: controller -> path; version 2 has the empty name.

    Examples
    --------
    >>> parse_membership("3:cpu,cpuacct:/user\n0::/user.slice")
    {'cpu': '/user', 'cpuacct': '/user', '': '/user.slice'}
    """
    found = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if number.isdecimal() and colon and path.startswith("/"):
            for controller in controllers.split(","):
                found[controller] = path
    return found


def parse_release(text: str) -> tuple[int, int] | None:
    """Read major and minor number of a kernel release such as ``6.1.0-18-amd64``."""
    found = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", text)
    return (int(found[1]), int(found[2])) if found else None


def format_bytes(size: float) -> str:
    """Write a size with a binary unit and at most three digits behind the point.

    Examples
    --------
    >>> format_bytes(2 << 20), format_bytes(1536 << 20)
    ('2 MiB', '1.5 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            return f"{size:.4g} {unit}"
        size /= 1024
    raise AssertionError
