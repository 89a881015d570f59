"""Time that the threads of processes wait for a CPU, summed while they come and go."""

import os
from collections.abc import Iterator
from contextlib import suppress

from lorabench.host.procfs import RunQueue, parse_task_schedstat

# More threads than this are not asked one by one: it would take more of a core than they do.
MOST_THREADS = 2048


class Threads:
    """Sum of the run queues of threads that come and go.

    A thread that appears counts from its start, which was after the last look; of one that ends,
    what it did since the last look is lost. A counter that went back belongs to another thread with
    the same number.
    """

    def __init__(self) -> None:
        self._last: dict[int, RunQueue] = {}
        self._first = True
        self.total = RunQueue(0.0, 0)
        self.skipped = False

    def see(self, threads: Iterator[tuple[int, RunQueue]]) -> None:
        """Take what the threads say now."""
        found: dict[int, RunQueue] = {}
        for thread, now in threads:
            if len(found) == MOST_THREADS:
                self.skipped = True
                break
            before = self._last.get(thread)
            if before is None or now.turns < before.turns or now.delay_s < before.delay_s:
                before = now if self._first else RunQueue(0.0, 0)
            self.total += RunQueue(now.delay_s - before.delay_s, now.turns - before.turns)
            found[thread] = now
        self._last = found
        self._first = False


def read_at(folder: int, name: str) -> str:
    """Read a small file of an open folder."""
    file = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(file, 4096).decode(errors="replace")
    finally:
        os.close(file)


def task_queues(folder: int) -> Iterator[tuple[int, RunQueue]]:
    """Read the run queue of every thread of the process whose folder is open."""
    tasks = os.open("task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    try:
        for name in os.listdir(tasks):  # noqa: PTH208 - of a descriptor
            # A thread may end while its brothers are read.
            with suppress(FileNotFoundError, ProcessLookupError, ValueError):
                yield int(name), parse_task_schedstat(read_at(tasks, f"{name}/schedstat"))
    finally:
        os.close(tasks)
