"""What only an attempt shows: whether this process may do what the machine's files promise.

A container's system-call filter, a security module or a missing privilege is not written in sysfs.
Each attempt uses what a run would use, on a page or on a thread of its own, and leaves nothing
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

from lorabench._kernels.memory import HUGE_PAGE_BYTES, Mapping
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
class ProbeResult:
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
class Probes:
    """What has been tried out.

    Attributes
    ----------
    hugetlb : ProbeResult
        A memfd on reserved huge pages.
    collapse : ProbeResult
        ``MADV_COLLAPSE`` on a filled memfd.
    tables : ProbeResult
        The huge pages that tables get, by whichever step of the ladder.
    perf : ProbeResult
        A counter of the processor's cycles in user mode.
    perf_software : ProbeResult
        A counter of the kernel's.
    nice : ProbeResult
        CAP_SYS_NICE.
    nice_limit : int
        The lowest nice value that RLIMIT_NICE grants.
    clock_resolution_s : float
        Of the monotonic clock.
    """

    hugetlb: ProbeResult
    collapse: ProbeResult
    tables: ProbeResult
    perf: ProbeResult
    perf_software: ProbeResult
    nice: ProbeResult
    nice_limit: int
    clock_resolution_s: float

    @classmethod
    def attempt(cls) -> Self:
        """Try everything out."""
        limit = resource.getrlimit(resource.RLIMIT_NICE)[0]
        return cls(
            hugetlb=_try(_hugetlb),
            collapse=_try(_collapse),
            tables=_try(_tables),
            perf=_try(lambda: _perf("hardware")),
            perf_software=_try(lambda: _perf("software")),
            nice=_try(_may_nice),
            # setrlimit(2): the ceiling of the nice value is 20 less the limit.
            nice_limit=-20 if limit == resource.RLIM_INFINITY else max(-20, min(20 - limit, 20)),
            clock_resolution_s=time.clock_getres(time.CLOCK_MONOTONIC),
        )


def _try(act: Callable[[], ProbeResult | str]) -> ProbeResult:
    try:
        found = act()
    except OSError as error:
        return ProbeResult(False, (error.strerror or str(error)).lower())
    return found if isinstance(found, ProbeResult) else ProbeResult(True, found)


def _hugetlb() -> str:
    fd = os.memfd_create("lorabench-probe", os.MFD_HUGETLB | MFD_HUGE_2MB)
    try:
        os.ftruncate(fd, HUGE_PAGE_BYTES)
        # Mapping reserves the page, or fails; it need not be touched.
        Mapping(fd, HUGE_PAGE_BYTES, writable=True)
    finally:
        os.close(fd)
    return "a reserved huge page was mapped"


def _collapse() -> ProbeResult:
    region = Region.create("probe", HUGE_PAGE_BYTES)
    try:
        memoryview(region.mapping)[:: mmap.PAGESIZE] = bytes(HUGE_PAGE_BYTES // mmap.PAGESIZE)
        region.mapping.collapse()
        huge = region.page_sizes().huge > 0
    finally:
        region.close()
    return ProbeResult(
        huge, "a filled memfd moved onto a huge page" if huge else "it stayed on 4 KiB"
    )


def _tables() -> ProbeResult:
    region = HugeRegion.create("probe", HUGE_PAGE_BYTES)
    try:
        memoryview(region.mapping)[:: mmap.PAGESIZE] = bytes(HUGE_PAGE_BYTES // mmap.PAGESIZE)
        region.settle()
        return ProbeResult(region.method != "4k", region.method)
    finally:
        region.close()


def _perf(kind: str) -> ProbeResult:
    # struct perf_event_attr, its first published size: type, size, config, ..., the bit field.
    attributes = struct.pack("=IIQQQQQ16x", _PERF_TYPES[kind], 64, 0, 0, 0, 0, _PERF_EXCLUDE)
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        return ProbeResult(
            False, f"the system call's number on {platform.machine()} is not known here"
        )
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
    return ProbeResult(counted > 0, f"counted {counted:,}")


def _may_nice() -> ProbeResult:
    found = re.search(
        r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE
    )
    mask = found[1] if found else "0"
    return ProbeResult(bool(int(mask, 16) >> _CAP_SYS_NICE & 1), f"CapEff {mask}")
