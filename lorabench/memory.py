"""Memory that several processes map: memfds, how they get onto huge pages and NUMA nodes.

For the tables, the adapter, the replay rings and the rows of a round. A memfd has no name in any
file system, so the memory is gone with the last process that holds it, however that one ended.
Huge pages are taken the best way the machine allows, and what was obtained is read back from
``/proc/PID/smaps`` and not assumed (a mapping can ask for huge pages and quietly get none).
Nodes are set by ``mbind`` before the first touch, since pages that several processes map are not
moved afterwards; the policy is the memfd's, so it holds whoever touches a page first (of reserved
huge pages it is not, and they are touched at once). Which nodes is not decided here
(`lorabench.isolation.plan`).

Longer than 400 lines: how a region is laid out, which pages it gets and which nodes these come from
are settled by the same few system calls, in one order.
"""

import errno
import mmap
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.memory import HUGE_PAGE_BYTES, MAX_NODES, Mapping, allowed_nodes
from lorabench.errors import InputError, MachineError

MFD_HUGE_2MB = 21 << 26  # linux/memfd.h: log2 of the page size, shifted by MFD_HUGE_SHIFT

# Interleaving huge pages takes a system call and, for its duration, a mapping for each part; the
# kernel's limit of mappings a process is 65,530.
_MOST_PARTS = 1 << 14

# What is left free on a node that memory is bound to: the kernel kills who asks for the last page.
_NODE_RESERVE_BYTES = 64 << 20

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

    Attributes
    ----------
    page_bytes : int
        Of its pages; a huge region's length is in huge ones, also where the machine gives none.
    """

    method: PageMethod = "4k"
    page_bytes: ClassVar[int] = mmap.PAGESIZE

    def __init__(self, fd: int, length: int, *, writable: bool) -> None:
        self.fd = fd
        self.mapping = Mapping(fd, length, writable=writable)

    @classmethod
    def mapped_bytes(cls, length: int) -> int:
        """Return what a region for so many bytes maps: whole pages.

        Examples
        --------
        >>> Region.mapped_bytes(1) == Region.page_bytes, HugeRegion.mapped_bytes(3 << 20) >> 20
        (True, 4)
        """
        return -(-length // cls.page_bytes) * cls.page_bytes

    @classmethod
    def create(cls, name: str, length: int, policy: MemoryPolicy | None = None) -> Self:
        """Make a region of ordinary pages, all zero, writable here.

        Parameters
        ----------
        name : str
            Shown in ``/proc/PID/maps``.
        length : int
            Bytes, more than 0.
        policy : MemoryPolicy, optional
            Which NUMA nodes its pages are to come from; without one, from the node of whoever
            touches them first.

        Raises
        ------
        MachineError
            The kernel refuses the policy, or the nodes that it is bound to have too little memory.
        """
        try:
            fd = os.memfd_create(f"lorabench-{name}")
        except OSError as error:
            # EPERM, ENOSYS: a sandbox, or a container's filter of system calls.
            raise MachineError(
                f"memory '{name}': the kernel gives no memfd ({error.strerror}), expected one of "
                f"{length:,} bytes; have the container's seccomp profile allow memfd_create"
            ) from None
        try:
            os.ftruncate(fd, length)
            region = cls(fd, length, writable=True)
            if policy is not None:
                _check_room(name, length, policy)
                region._place(name, policy)
        except BaseException:
            os.close(fd)
            raise
        return region

    @classmethod
    def attach(cls, handle: RegionHandle, *, writable: bool) -> Self:
        """Map a region that another process made."""
        return cls(handle.fd, handle.length, writable=writable)

    @property
    def handle(self) -> RegionHandle:
        """What to hand to a child that inherits the descriptor."""
        return RegionHandle(self.fd, self.mapping.length)

    @property
    def name(self) -> str:
        """What it was called when it was made."""
        file = str(Path(f"/proc/self/fd/{self.fd}").readlink())
        return file.removeprefix("/memfd:lorabench-").removesuffix(" (deleted)")

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
            Path("/proc/self/smaps").read_text(errors="replace"),
            self.mapping.start,
            self.mapping.length,
        )

    def node_bytes(self) -> dict[int, int]:
        """Ask the kernel (``move_pages``) on which NUMA node each page lies: node -> bytes.

        Only pages that this process has touched are seen; ``mapping.populate()`` touches all. It
        takes about 50 ms a GiB.

        Raises
        ------
        MachineError
            The kernel does not say.
        """
        nodes = np.empty(-(-self.mapping.length // mmap.PAGESIZE), dtype=np.int32)
        try:
            self.mapping.page_nodes(mmap.PAGESIZE, nodes)
        except OSError as error:
            raise numa_refusal(f"memory '{self.name}': cannot ask where it lies", error) from None
        counts = np.bincount(nodes[nodes >= 0])
        return {int(node): int(counts[node]) * mmap.PAGESIZE for node in np.flatnonzero(counts)}

    def _place(self, name: str, policy: MemoryPolicy) -> None:
        """Set where the pages are to come from, none of which is there yet."""
        set_policy(f"memory '{name}'", policy, self.mapping.bind, self.mapping.policy)

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

    page_bytes = HUGE_PAGE_BYTES

    @classmethod
    def create(cls, name: str, length: int, policy: MemoryPolicy | None = None) -> Self:
        """Make a region whose length is rounded up to whole huge pages; else as `Region.create`."""
        length = cls.mapped_bytes(length)
        try:
            fd = os.memfd_create(f"lorabench-{name}", os.MFD_HUGETLB | MFD_HUGE_2MB)
            try:
                os.ftruncate(fd, length)
                region = cls(fd, length, writable=True)
                region.method = "hugetlb"
                if policy is not None:
                    region._place(name, policy)
                # They are reserved for the machine, and neither for a node nor within the limit of
                # a control group: where one has too few this is an error, and a later touch would
                # be a SIGBUS.
                region.mapping.populate(write=True)
            except BaseException:
                os.close(fd)
                raise
        except OSError as error:
            # ENOMEM, EFAULT: too few reserved; EINVAL, ENOSYS, EPERM: the kernel has none to give.
            if error.errno not in _NO_HUGETLB:
                raise
        else:
            return region
        region = super().create(name, length, policy)
        try:
            region.mapping.advise_huge()
        except OSError:  # EINVAL: a kernel without transparent huge pages
            return region
        return region

    def _place(self, name: str, policy: MemoryPolicy) -> None:
        if self.method == "hugetlb":
            # Of these files, unlike others in memory, the policy is the mapping's and not the
            # file's: all pages are taken before anybody else maps it.
            super()._place(name, policy)
            return
        if policy.mode == "bind":
            super()._place(name, policy)
            return
        # A collapse takes the huge page from one node, where most of the small ones were: of an
        # even mixture always from the same. So whole huge pages are dealt out, by a mapping of its
        # own, since each part splits it; the policy stays with the file.
        dealer = Mapping(self.fd, self.mapping.length)
        set_policy(f"memory '{name}'", policy, dealer.bind, dealer.policy)
        huge_pages = self.mapping.length // HUGE_PAGE_BYTES
        part = -(-huge_pages // _MOST_PARTS) * HUGE_PAGE_BYTES
        for turn, offset in enumerate(range(0, self.mapping.length, part)):
            node = policy.nodes[turn % len(policy.nodes)]
            dealer.bind("bind", (node,), offset, min(part, self.mapping.length - offset))

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


# What making a region on reserved huge pages fails with where there are none for it.
_NO_HUGETLB = (errno.ENOMEM, errno.EFAULT, errno.EINVAL, errno.ENOSYS, errno.EPERM)

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


def node_available(meminfo: str) -> int:
    """Sum what a NUMA node can give without swapping: what is free, and what can be given up.

    Parameters
    ----------
    meminfo : str
        Text of ``/sys/devices/system/node/nodeN/meminfo``.

    Returns
    -------
    int
        Bytes.
    """
    fields = dict(re.findall(r"^Node \d+ ([\w()]+): +(\d+) kB$", meminfo, re.MULTILINE))
    givable = ("MemFree", "Active(file)", "Inactive(file)", "SReclaimable")
    return 1024 * sum(int(fields.get(name, 0)) for name in givable)


def _check_room(name: str, length: int, policy: MemoryPolicy) -> None:
    """Refuse what the nodes cannot hold; who is bound to a full node is killed by the kernel."""
    if policy.mode != "bind":
        return
    files = [Path(f"/sys/devices/system/node/node{node}/meminfo") for node in policy.nodes]
    available = sum(node_available(file.read_text()) for file in files if file.is_file())
    if any(file.is_file() for file in files) and length + _NODE_RESERVE_BYTES > available:
        raise MachineError(
            f"memory '{name}': found {available / 2**30:.2f} GiB available on "
            f"node {_listed(policy.nodes)}, expected at least "
            f"{(length + _NODE_RESERVE_BYTES) / 2**30:.2f} GiB to {policy}; interleave it, or use "
            "smaller tables"
        )


def set_policy(
    what: str,
    policy: MemoryPolicy,
    apply: Callable[[str, tuple[int, ...]], None],
    read: Callable[[], tuple[str, tuple[int, ...]]],
) -> None:
    """Apply a policy and read it back.

    Parameters
    ----------
    what : str
        Which memory, for the message.
    policy : MemoryPolicy
        The policy.
    apply, read : callable
        The system calls of a mapping or of the process.

    Raises
    ------
    MachineError
        The kernel refuses, or keeps another policy.
    """
    try:
        apply(policy.mode, policy.nodes)
        kept = read()
    except OSError as error:
        raise numa_refusal(f"{what}: cannot {policy}", error) from None
    # Of several nodes the kernel drops those that it cannot use, and says nothing.
    if kept != (policy.mode, policy.nodes):
        raise MachineError(
            f"{what}: cannot {policy}: the kernel makes that {kept[0]} with nodes "
            f"{_listed(kept[1])}; {_may_use()}"
        )


def numa_refusal(what: str, error: OSError) -> MachineError:
    """Return why a system call for NUMA placement failed, and the way out.

    Parameters
    ----------
    what : str
        What was wanted, as "cannot ...".
    error : OSError
        What it failed with.
    """
    match error.errno:
        case errno.ENOSYS:
            why = "the kernel is built without NUMA; use one with CONFIG_NUMA"
        case errno.EPERM:
            why = (
                "the kernel forbids it here; a container needs CAP_SYS_NICE, or a seccomp profile "
                "that allows mbind, get_mempolicy, set_mempolicy and move_pages"
            )
        case errno.EINVAL:
            why = _may_use()
        case _:
            why = f"{error.strerror}"
    return MachineError(f"{what}: {why}")


def _may_use() -> str:
    try:
        nodes = allowed_nodes()
    except OSError as error:
        return f"which nodes this process may use, the kernel does not say ({error.strerror})"
    return f"expected nodes with memory that this process may use: {_listed(nodes)}"


def _listed(nodes: tuple[int, ...]) -> str:
    return ", ".join(map(str, nodes)) or "(none)"
