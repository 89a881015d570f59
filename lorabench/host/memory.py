"""How much memory can be had without swapping: ordinary pages, and reserved huge ones.

Neither stands in for the other. What the machine keeps as huge pages is in no MemAvailable and
holds nothing but regions on huge pages; such a region lies on reserved pages as a whole or not at
all (`lorabench.memory.HugeRegion`). Control groups bound both kinds, each by a controller of its
own. Huge pages that the kernel would make when asked (``nr_overcommit_hugepages``) are ordinary
ones until then and are counted as such. The files are those of proc(5) and of
``Documentation/admin-guide/mm/hugetlbpage.rst`` in the kernel's sources.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from lorabench.errors import InputError
from lorabench.host.cgroups import huge_pages_left, memory_left
from lorabench.host.files import Files, UnreadableError
from lorabench.host.formats import format_bytes
from lorabench.memory import HugeRegion

_MEMINFO = "/proc/meminfo"
_HUGE = "/sys/kernel/mm/hugepages/hugepages-2048kB"


@dataclass(frozen=True)
class AvailableMemory:
    """What can be had at this moment.

    Attributes
    ----------
    huge_bytes : int
        On reserved pages of 2 MiB that are free and promised to nobody.
    ordinary_bytes : int
        On all other pages.
    bound_by : str
        The file that the ordinary bytes follow from: ``/proc/meminfo``, or the one of a control
        group that sets a limit.
    """

    huge_bytes: int
    ordinary_bytes: int
    bound_by: str = _MEMINFO

    def holds(self, ordinary: int, huge: int = 0) -> bool:
        """Whether there is room for `ordinary` bytes and, of `HugeRegion`, one of `huge` bytes."""
        mapped = HugeRegion.mapped_bytes(huge)
        beside = 0 if mapped <= self.huge_bytes else mapped
        return ordinary + beside <= self.ordinary_bytes

    def __str__(self) -> str:
        ordinary = f"{format_bytes(self.ordinary_bytes)} available ({self.bound_by})"
        if not self.huge_bytes:
            return ordinary
        return f"{ordinary} and {format_bytes(self.huge_bytes)} in free huge pages"


def available_memory(sysroot: Path = Path("/")) -> AvailableMemory:
    """Read what can be had, by the process that reads or that recorded the tree.

    Raises
    ------
    InputError
        A file that says so is missing or does not parse.
    """
    files = Files(sysroot)
    try:
        ordinary = [(_meminfo(files)["MemAvailable"], _MEMINFO)]
        huge = [_free_huge_bytes(files)]
        if left := memory_left(files):
            ordinary.append(left)
        if left := huge_pages_left(files):
            huge.append(left[0])
    except KeyError:
        raise InputError(f"{_MEMINFO}: found no line MemAvailable, expected one") from None
    except UnreadableError as error:
        raise InputError(str(error)) from None
    return AvailableMemory(min(huge), *min(ordinary))


def require_memory(
    what: str, ordinary: int, huge: int = 0, *, advice: str, sysroot: Path = Path("/")
) -> None:
    """Refuse what memory has no room for, before the kernel kills whoever asks for the last page.

    Parameters
    ----------
    what : str
        What it is for, such as "the tables".
    ordinary : int
        Bytes on ordinary pages.
    huge : int
        Bytes of a `HugeRegion`, which lies on reserved huge pages or, where these are too few, on
        ordinary ones too.
    advice : str
        What the user can do about it.
    sysroot : Path
        Where ``proc`` and ``sys`` lie.

    Raises
    ------
    InputError
        There is no room.
    """
    found = available_memory(sysroot)
    if found.holds(ordinary, huge):
        return
    expected = f"at least {format_bytes(ordinary + huge)}"
    if huge and found.huge_bytes:
        expected += (
            f", or {format_bytes(huge)} in huge pages and {format_bytes(ordinary)} beside them"
        )
    raise InputError(f"memory for {what}: found {found}, expected {expected}; {advice}")


def _meminfo(files: Files) -> dict[str, int]:
    """Read ``/proc/meminfo``: bytes of what is in kB, and counts."""
    lines = re.findall(r"^([\w()]+): +(\d+)( kB)?$", files.read(_MEMINFO), re.MULTILINE)
    return {name: int(number) * (1024 if unit else 1) for name, number, unit in lines}


def _free_huge_bytes(files: Files) -> int:
    """Return the bytes of 2 MiB pages that are free, without those that somebody was promised."""
    if files.is_folder(_HUGE):
        free, promised = (files.number(f"{_HUGE}/{name}_hugepages") for name in ("free", "resv"))
    else:
        # Of the machine's default size alone.
        meminfo = _meminfo(files)
        if meminfo.get("Hugepagesize") != HugeRegion.page_bytes:
            return 0
        free, promised = (meminfo.get(f"HugePages_{name}", 0) for name in ("Free", "Rsvd"))
    return max(0, free - promised) * HugeRegion.page_bytes
