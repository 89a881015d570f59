"""What only an attempt shows: whether this process may do what the machine's files promise.

A container's system-call filter, a security module or a missing privilege is not written in sysfs.
Each trial uses what a run would use, on a page or on a thread of its own, and leaves nothing
behind. For this machine alone; a recorded tree has none.
"""

import ctypes
import mmap
import os
import platform
import re
import resource
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lorabench._hotpath import HUGE_PAGE_BYTES, Mapping
from lorabench.host.missing import Missing
from lorabench.isolation.cgroups import Offer, survey
from lorabench.isolation.numa import placement_unavailable
from lorabench.isolation.scheduling import IDLE, cannot_leave
from lorabench.memory import MFD_HUGE_2MB, HugeRegion, Region

# asm/unistd.h of the two architectures that serve; the C library does not wrap it.
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_PERF_FLAG_FD_CLOEXEC = 8
_PERF_TYPES = {"hardware": 0, "software": 1}
# Disabled at first no, kernel and hypervisor excluded: what paranoid level 2 still grants.
_PERF_EXCLUDE = 1 << 5 | 1 << 6
# linux/capability.h.
_CAP_SYS_NICE = 23


@dataclass(frozen=True)
class Trial:
    """How an attempt went.

    Attributes
    ----------
    worked : bool
        It was granted.
    said : str
        What came out, or the kernel's words.
    """

    worked: bool
    said: str


@dataclass(frozen=True)
class Trials:
    """What has been tried out.

    Attributes
    ----------
    hugetlb : Trial
        A memfd on reserved huge pages.
    collapse : Trial
        ``MADV_COLLAPSE`` on a filled memfd.
    mbind : Trial
        Memory bound to a node, and found there.
    tables : Trial
        The huge pages that tables get, by whichever step of the ladder.
    perf : Trial
        A counter of the processor's cycles in user mode.
    perf_software : Trial
        A counter of the kernel's.
    cgroups : Offer
        Where groups can be made, or why not.
    leave_idle : Missing or None
        Why a thread may not go to SCHED_IDLE and come back; None where it may.
    nice : Trial
        CAP_SYS_NICE.
    nice_limit : int
        The lowest nice value that RLIMIT_NICE grants.
    clock_resolution_s : float
        Of the monotonic clock.
    """

    hugetlb: Trial
    collapse: Trial
    mbind: Trial
    tables: Trial
    perf: Trial
    perf_software: Trial
    cgroups: Offer
    leave_idle: Missing | None
    nice: Trial
    nice_limit: int
    clock_resolution_s: float

    @classmethod
    def attempt(cls) -> Self:
        """Try everything out."""
        limit = resource.getrlimit(resource.RLIMIT_NICE)[0]
        return cls(
            hugetlb=_try(_hugetlb),
            collapse=_try(_collapse),
            mbind=_try(_bind),
            tables=_try(_tables),
            perf=_try(lambda: _perf("hardware")),
            perf_software=_try(lambda: _perf("software")),
            cgroups=survey(),
            leave_idle=cannot_leave(IDLE),
            nice=_try(_may_nice),
            # setrlimit(2): the ceiling of the nice value is 20 less the limit.
            nice_limit=-20 if limit == resource.RLIM_INFINITY else max(-20, min(20 - limit, 20)),
            clock_resolution_s=time.clock_getres(time.CLOCK_MONOTONIC),
        )


def _try(act: Callable[[], Trial | str]) -> Trial:
    try:
        found = act()
    except OSError as error:
        return Trial(False, (error.strerror or str(error)).lower())
    return found if isinstance(found, Trial) else Trial(True, found)


def _hugetlb() -> str:
    fd = os.memfd_create("lorabench-trial", os.MFD_HUGETLB | MFD_HUGE_2MB)
    try:
        os.ftruncate(fd, HUGE_PAGE_BYTES)
        # Mapping reserves the page, or fails; it need not be touched.
        Mapping(fd, HUGE_PAGE_BYTES, writable=True)
    finally:
        os.close(fd)
    return "a reserved huge page was mapped"


def _collapse() -> Trial:
    region = Region.create("trial", HUGE_PAGE_BYTES)
    try:
        memoryview(region.mapping)[:: mmap.PAGESIZE] = bytes(HUGE_PAGE_BYTES // mmap.PAGESIZE)
        region.mapping.collapse()
        huge = region.page_sizes().huge > 0
    finally:
        region.close()
    return Trial(huge, "a filled memfd moved onto a huge page" if huge else "it stayed on 4 KiB")


def _bind() -> Trial:
    refused = placement_unavailable()
    return Trial(refused is None, refused or "a page was bound to a node and lies there")


def _tables() -> Trial:
    region = HugeRegion.create("trial", HUGE_PAGE_BYTES)
    try:
        memoryview(region.mapping)[:: mmap.PAGESIZE] = bytes(HUGE_PAGE_BYTES // mmap.PAGESIZE)
        region.settle()
        return Trial(region.method != "4k", region.method)
    finally:
        region.close()


def _perf(kind: str) -> Trial:
    # struct perf_event_attr, its first published size: type, size, config, ..., the bit field.
    attributes = struct.pack("=IIQQQQQ16x", _PERF_TYPES[kind], 64, 0, 0, 0, 0, _PERF_EXCLUDE)
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        return Trial(False, f"the system call's number on {platform.machine()} is not known here")
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(number, attributes, 0, -1, -1, _PERF_FLAG_FD_CLOEXEC)
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    try:
        sum(range(10_000))
        counted = int.from_bytes(os.read(fd, 8), "little")
    finally:
        os.close(fd)
    return Trial(counted > 0, f"counted {counted:,}")


def _may_nice() -> Trial:
    found = re.search(
        r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE
    )
    mask = found[1] if found else "0"
    return Trial(bool(int(mask, 16) >> _CAP_SYS_NICE & 1), f"CapEff {mask}")
