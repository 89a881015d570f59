"""Memory that several processes map: memfds, and how they get onto huge pages.

For the tables, the adapter, the replay rings and the rows of a round. A memfd has no name in any
file system, so the memory is gone with the last process that holds it, however that one ended.
Huge pages are taken the best way the machine allows, and what was obtained is read back from
``/proc/PID/smaps`` and not assumed (a mapping can ask for huge pages and quietly get none).
"""

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from lorabench._hotpath import HUGE_PAGE_BYTES, Mapping
from lorabench.errors import InputError

# The most that Linux can be built for (NODES_SHIFT of its Kconfig).
MAX_NODES = 1024

MFD_HUGE_2MB = 21 << 26  # linux/memfd.h: log2 of the page size, shifted by MFD_HUGE_SHIFT

ScalarT = TypeVar("ScalarT", bound=np.generic)
PageMethod = Literal["hugetlb", "thp", "collapse", "4k"]
PlacementMode = Literal["bind", "interleave"]


@dataclass(frozen=True)
class MemoryPolicy:
    """Which NUMA nodes pages come from (mbind(2)).

    Parameters
    ----------
    mode : {"bind", "interleave"}
        Bound pages come from these nodes or not at all, the nearest to whoever touches them first;
        interleaved ones are dealt out to the nodes in turn.
    nodes : tuple of int
        At least one; kept in ascending order, each once.

    Raises
    ------
    InputError
        No such policy: it may come from a plan that somebody wrote.
    """

    mode: PlacementMode
    nodes: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.mode not in get_args(PlacementMode):
            raise InputError(
                f"memory policy: found mode {self.mode!r}, expected "
                f"{' or '.join(get_args(PlacementMode))}"
            )
        if not self.nodes:
            raise InputError("memory policy: found no node, expected at least one")
        for node in self.nodes:
            if not 0 <= node < MAX_NODES:
                raise InputError(f"memory policy: found node {node}, expected 0 to {MAX_NODES - 1}")
        object.__setattr__(self, "nodes", tuple(sorted(set(self.nodes))))

    def __str__(self) -> str:
        nodes = ", ".join(map(str, self.nodes))
        verb = "bind to" if self.mode == "bind" else "interleave over"
        return f"{verb} node{'s' if len(self.nodes) > 1 else ''} {nodes}"


@dataclass(frozen=True)
class PageSizes:
    """What a mapping is made of, in bytes, as smaps reports it."""

    resident: int
    huge: int

    @property
    def huge_fraction(self) -> float:
        """Share of the resident bytes that huge pages map."""
        return self.huge / self.resident if self.resident else 0.0


@dataclass(frozen=True)
class RegionHandle:
    """What another process needs to map a region: an inherited descriptor and its length."""

    fd: int
    length: int


class Region:
    """A memfd and this process's mapping of it.

    Parameters
    ----------
    fd : int
        The memfd; the region owns it and closes it when it is closed.
    length : int
        Bytes.
    writable : bool
        How this process maps it.
    """

    method: PageMethod = "4k"

    def __init__(self, fd: int, length: int, *, writable: bool) -> None:
        self.fd = fd
        self.mapping = Mapping(fd, length, writable=writable)

    @classmethod
    def create(cls, name: str, length: int) -> Self:
        """Make a region of ordinary pages, all zero, writable here.

        Parameters
        ----------
        name : str
            Shown in ``/proc/PID/maps``.
        length : int
            Bytes, more than 0.
        """
        fd = os.memfd_create(f"lorabench-{name}")
        try:
            os.ftruncate(fd, length)
            return cls(fd, length, writable=True)
        except OSError:
            os.close(fd)
            raise

    @classmethod
    def attach(cls, handle: RegionHandle, *, writable: bool) -> Self:
        """Map a region that another process made."""
        return cls(handle.fd, handle.length, writable=writable)

    @property
    def handle(self) -> RegionHandle:
        """What to hand to a child that inherits the descriptor."""
        return RegionHandle(self.fd, self.mapping.length)

    def array(
        self, dtype: type[ScalarT], shape: tuple[int, ...], offset: int = 0
    ) -> NDArray[ScalarT]:
        """View part of the region as an array; read-only where the mapping is."""
        count = int(np.prod(shape))
        flat = np.frombuffer(memoryview(self.mapping), dtype=dtype, count=count, offset=offset)
        return flat.reshape(shape)

    def page_sizes(self) -> PageSizes:
        """Read this process's smaps: how much of the mapping lies on huge pages."""
        return page_sizes(
            Path("/proc/self/smaps").read_text(), self.mapping.start, self.mapping.length
        )

    def settle(self) -> None:
        """Do what is left to do for the pages once the region is filled: here nothing."""

    def close(self) -> None:
        """Close the descriptor; the memory goes when the last mapping does."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class HugeRegion(Region):
    """A region for tables: on huge pages where the machine gives any.

    The ladder: reserved huge pages (``MFD_HUGETLB``), transparent ones on fault (`madvise`, where
    ``shmem_enabled`` allows it), transparent ones after the fact (``MADV_COLLAPSE``, which asks
    for no privilege and ignores that setting), 4 KiB. `settle` is called when the region is
    filled, since only what is there can be collapsed.
    """

    @classmethod
    def create(cls, name: str, length: int) -> Self:
        """Make a region whose length is rounded up to whole huge pages."""
        length = -(-length // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
        try:
            fd = os.memfd_create(f"lorabench-{name}", os.MFD_HUGETLB | MFD_HUGE_2MB)
            try:
                os.ftruncate(fd, length)
                region = cls(fd, length, writable=True)
            except OSError:
                os.close(fd)
                raise
        except OSError as error:
            # ENOMEM: too few reserved; EINVAL, ENOSYS, EPERM: the kernel has none to give.
            if error.errno not in (errno.ENOMEM, errno.EINVAL, errno.ENOSYS, errno.EPERM):
                raise
        else:
            region.method = "hugetlb"
            return region
        region = super().create(name, length)
        try:
            region.mapping.advise_huge()
        except OSError:  # EINVAL: a kernel without transparent huge pages
            return region
        return region

    def settle(self) -> None:
        """Move what has been filled onto huge pages, and note how they were obtained."""
        if self.method == "hugetlb":
            return
        if self.page_sizes().huge_fraction > 0.5:
            self.method = "thp"
            return
        try:
            self.mapping.collapse()
        except OSError:
            # EINVAL: older than Linux 6.1; ENOMEM, EAGAIN: no free huge page was found. Either
            # way 4 KiB pages serve, and the result says so.
            return
        if self.page_sizes().huge_fraction > 0.5:
            self.method = "collapse"


_HEADER = re.compile(r"^([0-9a-f]+)-[0-9a-f]+ ", re.MULTILINE)
_FIELD = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)


def page_sizes(smaps: str, start: int, length: int) -> PageSizes:
    """Sum what lies between two addresses in the text of an smaps file.

    Parameters
    ----------
    smaps : str
        Text of ``/proc/PID/smaps``.
    start : int
        Address at which a mapping begins.
    length : int
        Bytes of that mapping. Advice can split it; what begins behind it may be another's.

    Returns
    -------
    PageSizes
        Both 0 where no mapping begins there.
    """
    headers = list(_HEADER.finditer(smaps))
    resident = huge = 0
    for place, header in enumerate(headers, start=1):
        end = headers[place].start() if place < len(headers) else len(smaps)
        if not start <= int(header[1], 16) < start + length:
            continue
        body = smaps[header.end() : end]
        fields = {name: int(kib) * 1024 for name, kib in _FIELD.findall(body)}
        hugetlb = fields.get("Shared_Hugetlb", 0) + fields.get("Private_Hugetlb", 0)
        resident += fields.get("Rss", 0) + hugetlb
        huge += hugetlb + fields.get("ShmemPmdMapped", 0) + fields.get("FilePmdMapped", 0)
    return PageSizes(resident, huge)
