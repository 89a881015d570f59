"""The formats in which Linux writes sets of CPUs, the processor's flags, settings and releases.

Text in, values out; nothing is read here. The formats are those of proc(5), of
``Documentation/ABI`` in the kernel's sources and, of paths in lists of mounts, of getmntent(3).
"""

import re
from collections.abc import Iterable

CpuSet = frozenset[int]

_RANGE = re.compile("([0-9]{1,6})(?:-([0-9]{1,6}))?")
_MASK = re.compile("[0-9a-fA-F]{1,8}(,[0-9a-fA-F]{8})*")
_OCTAL = re.compile(r"\\([0-7]{3})")


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


def unescape(path: str) -> str:
    r"""Take back how the kernel writes blanks, line ends and backslashes of a path: octal numbers.

    Examples
    --------
    >>> unescape(r"/my\040groups")
    '/my groups'
    """
    return _OCTAL.sub(lambda code: chr(int(code[1], 8)), path)


def cpu_field(cpuinfo: str, *names: str) -> str:
    """Return the first of these fields of ``/proc/cpuinfo`` that is not empty; else nothing."""
    for name in names:
        for found in re.finditer(rf"^{re.escape(name)}[ \t]*:(.*)$", cpuinfo, re.MULTILINE):
            if found[1].strip():
                return found[1].strip()
    return ""


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """Return the processor's flags in the text of ``/proc/cpuinfo``; Arm calls them features."""
    return frozenset(cpu_field(cpuinfo, "flags", "Features").split())


def chosen(text: str) -> str:
    """Pick the chosen word of a setting such as ``always [madvise] never``; empty without one."""
    found = re.search(r"\[([^\]\s]+)\]", text)
    return found[1] if found else ""


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
