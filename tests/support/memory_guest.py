"""Try limits of control groups and reserved huge pages for real: a program for the guest.

As root, in a group with a limit on memory and one on huge pages: what can be had is what the limits
leave, the cache of files among that, and a region that the second limit does not hold lies on
ordinary pages instead of ending its writer. It ends with 0 if all was as it should be.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lorabench.host.memory import available_memory
from lorabench.memory import HugeRegion

ROOT = Path("/sys/fs/cgroup")
HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
MIB = 1 << 20


def region_on(method: str, size: int) -> HugeRegion:
    """Make a region that was obtained in this way, and write all of it."""
    region = HugeRegion.create("t", size)
    assert (region.method == "hugetlb") == (method == "hugetlb"), region.method
    region.array(np.uint8, (size,))[:] = 1
    return region


def huge_pages(group: Path) -> None:
    """Use up what a limit on huge pages leaves of those that are free."""
    assert available_memory().huge_bytes == 8 * MIB, available_memory()
    first = region_on("hugetlb", 6 * MIB)
    assert available_memory().huge_bytes == 2 * MIB, available_memory()
    # Enough are free, and the kernel promises them; it is the touch that the limit forbids.
    second = region_on("4k", 4 * MIB)
    first.close()
    second.close()
    assert (group / "hugetlb.2MB.events").read_text().split() != ["max", "0"]


def ordinary_pages(group: Path) -> None:
    """Fill a group with memory, which is no more to be had, and with files, which are."""

    def charged() -> int:
        return int((group / "memory.current").read_text())

    def left() -> int:
        found = available_memory()
        assert found.bound_by == str(group / "memory.max"), found
        return found.ordinary_bytes

    before, used = left(), charged()
    assert before <= 256 * MIB, before
    # Whoever reads a file first is charged for it: one that nobody here has any use for.
    (arrow, *_) = (Path(np.__file__).parents[1] / "pyarrow").glob("libarrow.so*")
    with arrow.open("rb") as file:
        file.read(24 * MIB)
    assert charged() - used > 16 * MIB, (used, charged())
    assert before - left() < (charged() - used) / 2, (before, left(), used, charged())
    before, used = settled(left), charged()
    region = region_on("4k", 64 * MIB)
    after, taken = settled(left), charged() - used
    # What else the group is charged meanwhile is no more to be had either.
    assert 60 * MIB < taken < 80 * MIB, taken
    assert abs((before - after) - taken) < 4 * MIB, (before, after, taken)
    region.close()


def settled(read: Callable[[], int]) -> int:
    """Return a number once it has stood still for longer than the kernel lets statistics lag.

    A group's charge is exact at once; what of it are files is added up every two seconds.
    """
    value = read()
    for _ in range(20):
        time.sleep(3)
        value, last = read(), value
        if abs(value - last) < MIB // 4:
            return value
    raise AssertionError(f"{read()} does not settle, {value} before")


@contextlib.contextmanager
def limited() -> Iterator[Path]:
    """Be in a group with limits, and leave nothing of it behind: other programs run next."""
    (ROOT / "cgroup.subtree_control").write_text("+memory +hugetlb")
    group = ROOT / "limited"
    group.mkdir()
    try:
        (group / "memory.max").write_text(str(256 * MIB))
        (group / "hugetlb.2MB.max").write_text(str(8 * MIB))
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield group
    finally:
        (ROOT / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()
        (ROOT / "cgroup.subtree_control").write_text("-memory -hugetlb")


def main() -> None:
    if not (ROOT / "cgroup.procs").exists():
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", ROOT], check=True)
    free = available_memory()
    assert free.bound_by == "/proc/meminfo", free
    try:
        HUGE_PAGES.write_text("16")
        reserved = available_memory()
        assert reserved.huge_bytes == 32 * MIB, reserved
        assert 16 * MIB < free.ordinary_bytes - reserved.ordinary_bytes < 64 * MIB, (free, reserved)
        with limited() as group:
            huge_pages(group)
            ordinary_pages(group)
    finally:
        HUGE_PAGES.write_text("0")


if __name__ == "__main__":
    main()
    sys.stdout.write("all as it should be\n")
