"""Text files of a machine or of a recorded tree: two ways to read them, for two kinds of reader.

`read_text` and what stands on it are for those who need what a file says: a missing one is None,
one that cannot be read or does not parse is an `InputError`. They go straight to the system calls:
a machine of 1,024 CPUs has thousands of these files, and opening one through `pathlib` takes
several times as long as the kernel does. `Files` is for the table of capabilities, where a file
that is missing, forbidden or nonsense is an answer and no failure: its text, or `UnreadableError`
with the reason. What the text means is for `lorabench.host.formats` and the readers to say.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lorabench.errors import InputError
from lorabench.host.formats import CpuSet, parse_cpu_list, parse_cpu_mask

_CHUNK, _PAGE = 1 << 16, 1 << 12
# /proc/cpuinfo of 8,192 CPUs has 12 MB, in pieces of a page.
_MOST_CHUNKS = 8192

# Files that hold a mask instead of a list.
_MASKS = {
    *("core_cpus", "thread_siblings", "package_cpus", "core_siblings", "die_cpus", "cluster_cpus"),
    *("shared_cpu_map", "cpumap"),
}
# Some kernels print a null byte for an empty nohz_full; and what is read here ends on terminals.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def _contents(descriptor: int, *, attribute: bool = False) -> bytes:
    # In pieces: files under /proc/sys refuse to be read into a large buffer.
    parts = [os.read(descriptor, _CHUNK)]
    while parts[-1] and len(parts) < _MOST_CHUNKS and not (attribute and len(parts[-1]) < _PAGE):
        parts.append(os.read(descriptor, _CHUNK))
    return b"".join(parts)


def read_text(path: str | Path, *, attribute: bool = False) -> str | None:
    """Read a file; None where there is none, since kernels and recordings leave many out.

    Parameters
    ----------
    path : str or Path
        What to read.
    attribute : bool
        It is one of sysfs, or of cgroups: a read gives a page of it, and less only at its end.
        Files of procfs come a record at a time, so that the end has to be read too.

    Raises
    ------
    InputError
        It is there and cannot be read, or is no text.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return _contents(descriptor, attribute=attribute).decode()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: cannot be read (found bytes that are no text)") from None
    finally:
        os.close(descriptor)


def read_number(path: str | Path, base: int = 10) -> int | None:
    """Read a whole number; None where there is no such file.

    Raises
    ------
    InputError
        It holds something else.
    """
    text = read_text(path, attribute=True)
    if text is None:
        return None
    try:
        return int(text, base)
    except ValueError:
        number = "a whole number" if base == 10 else f"a number in base {base}"
        raise InputError(f"{path}: found {text.strip()!r}, expected {number}") from None


def read_cpus(folder: str | Path, *names: str) -> CpuSet | None:
    """Read a set from the first of these files that exists; None where there is none of them.

    Raises
    ------
    InputError
        One is there and does not parse.
    """
    one = SetReader()
    return next(
        (cpus for name in names if (cpus := one.file(f"{folder}/{name}")) is not None), None
    )


class SetRead(NamedTuple):
    """A set of CPUs as a file had it.

    Attributes
    ----------
    cpus : frozenset of int
        The set.
    path : str
        The file.
    bad : tuple of str
        What is wrong with those that were asked before it.
    """

    cpus: CpuSet
    path: str
    bad: tuple[str, ...] = ()


class SetReader:
    """Reads sets of CPUs from many files, most of which say the same: each text is parsed once."""

    def __init__(self) -> None:
        self._parsed: dict[tuple[bool, bytes], CpuSet] = {}

    def __call__(self, folder: str, *names: str) -> SetRead | None:
        """Read the first of these files that exists and parses; None where there is none of them.

        Raises
        ------
        InputError
            Some are there, and none of them parses; says why of the first.
        """
        bad: list[str] = []
        for name in names:
            path = f"{folder}/{name}"
            try:
                found = self.file(path)
            except InputError as error:
                bad.append(str(error))
                continue
            if found is not None:
                return SetRead(found, path, tuple(bad))
        if bad:
            raise InputError(bad[0])
        return None

    def file(self, path: str) -> CpuSet | None:
        """Read a set from a file, a mask where its name says so; None where there is no file.

        Raises
        ------
        InputError
            It does not parse.
        """
        raw = _page(path)
        if raw is None:
            return None
        mask = path.rpartition("/")[2] in _MASKS
        found = self._parsed.get((mask, raw))
        if found is None:
            # Kernels of 2012 end some of these with a zero byte.
            text = (read_text(path, attribute=True) or "").rstrip("\n\0")
            try:
                found = parse_cpu_mask(text) if mask else parse_cpu_list(text)
            except ValueError as error:
                raise InputError(f"{path}: {error}") from None
            if len(raw) < _PAGE:
                self._parsed[mask, raw] = found
        return found


def _page(path: str) -> bytes | None:
    """Read what a file begins with; None where there is none.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _PAGE)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def numbered(folder: str, stem: str) -> set[int]:
    """List entries such as cpu0, cpu1 (and not cpufreq, cpuidle) by their number."""
    try:
        names = [entry.name for entry in Path(folder).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None
    cut = len(stem)
    return {int(name[cut:]) for name in names if name.startswith(stem) and name[cut:].isdecimal()}


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

    root: Path = Path("/")

    @property
    def here(self) -> bool:
        """Whether it is this machine."""
        return self.root == Path("/")

    def under(self, path: str) -> Path:
        """Return where a path of the machine lies on this one."""
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
            descriptor = os.open(self.under(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise UnreadableError(path, "it is no regular file")
                return _CONTROL.sub("", _contents(descriptor).decode(errors="replace")).strip()
            finally:
                os.close(descriptor)
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

    def words(self, path: str) -> list[str]:
        """Read the words of a text file; none where that is impossible."""
        return (self.get(path) or "").split()

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
        return paths[0], self.read(paths[0])

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

    def as_named(self, text: str) -> str:
        """Take the tree's root out of the paths in a text: what the machine itself calls them."""
        return text if self.here else text.replace(f"{self.root}/", "/")

    def is_folder(self, path: str) -> bool:
        """Whether a folder is there."""
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
        """Whether this user may write there; root may not where all is mounted read-only."""
        try:
            return os.access(self.under(path), os.W_OK, effective_ids=True)
        except (OSError, ValueError):
            return False


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "this user may not read it"
    return f"it cannot be read ({error.strerror})"
