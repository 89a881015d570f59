"""Files of sysfs and procfs: read fast, and the kernel's two ways to write a set of numbers.

For whoever reads a machine, this one or a recorded one. It knows formats, not meanings. Reads go
straight to the system calls: a machine of 1,024 CPUs has thousands of these files, and opening one
through `pathlib` takes several times as long as the kernel does.
"""

import os
import re
from collections.abc import Iterable

from lorabench.errors import InputError

CpuSet = frozenset[int]

# Files that hold a mask instead of a list.
_MASKS = {"thread_siblings", "core_siblings", "shared_cpu_map", "cpumap"}

_CHUNK, _PAGE = 65536, 4096

_RANGE = re.compile("([0-9]{1,6})(?:-([0-9]{1,6}))?")
_MASK = re.compile("[0-9a-fA-F]{1,8}(,[0-9a-fA-F]{8})*")


def parse_cpu_list(text: str) -> CpuSet:
    """Read the kernel's list format, for example ``0-3,8,10-11``; empty means no CPU.

    Raises
    ------
    ValueError
        It is no such list.
    """
    cpus: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        found = _RANGE.fullmatch(part)
        if found is None:
            raise ValueError(f"found {part!r}, expected a CPU number or a range such as 0-3")
        low, high = int(found[1]), int(found[2] or found[1])
        if high < low:
            raise ValueError(f"found {part!r}, expected a range that rises")
        cpus.update(range(low, high + 1))
    return frozenset(cpus)


def parse_cpu_mask(text: str) -> CpuSet:
    """Read the kernel's mask format: 32-bit hexadecimal words, the highest CPUs first.

    Raises
    ------
    ValueError
        It is no such mask.

    Examples
    --------
    >>> sorted(parse_cpu_mask("00000001,80000001"))
    [0, 31, 32]
    """
    words = text.strip()
    if not _MASK.fullmatch(words):
        raise ValueError(f"found {words!r}, expected a mask such as 00000000,0000000f")
    mask = int(words.replace(",", ""), 16)
    cpus = []
    while mask:
        lowest = mask & -mask
        cpus.append(lowest.bit_length() - 1)
        mask ^= lowest
    return frozenset(cpus)


def format_cpu_list(cpus: Iterable[int]) -> str:
    """Write CPUs in the kernel's list format."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and parts[-1][-1] == cpu - 1:
            parts[-1][1:] = [cpu]
        else:
            parts.append([cpu])
    return ",".join("-".join(map(str, part)) for part in parts)


def read_text(path: str, *, attribute: bool = False) -> str | None:
    """Read a file; None where there is none, since kernels and recordings leave many out.

    Parameters
    ----------
    path : str
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
        parts = [os.read(descriptor, _CHUNK)]
        while parts[-1] and not (attribute and len(parts[-1]) < _PAGE):
            parts.append(os.read(descriptor, _CHUNK))
        return b"".join(parts).decode()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: cannot be read (found bytes that are no text)") from None
    finally:
        os.close(descriptor)


def read_cpus(folder: str, *names: str) -> CpuSet | None:
    """Read a set from the first of these files that exists; None where there is none of them.

    Raises
    ------
    InputError
        One is there and does not parse.
    """
    for name in names:
        path = f"{folder}/{name}"
        text = read_text(path, attribute=True)
        if text is not None:
            # Kernels of 2012 end some of these with a zero byte.
            text = text.rstrip("\n\0")
            try:
                return parse_cpu_mask(text) if name in _MASKS else parse_cpu_list(text)
            except ValueError as error:
                raise InputError(f"{path}: {error}") from None
    return None


def read_number(path: str) -> int | None:
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
        return int(text)
    except ValueError:
        raise InputError(f"{path}: found {text.strip()!r}, expected a whole number") from None
