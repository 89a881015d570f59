"""A schedule on its way to the servers, and their answers on the way back, in shared memory.

What is asked lies in one memfd, which the servers map read-only, and the answers in another, in
which each writes its own part while it serves. Queries lie server after server, so that a part is
a slice of every column and the serving loop writes to it as to arrays of its own. Over the sockets
go only the places of the parts.

Schedules differ in length, so both are sized anew for each, while no server serves. Then all pages
are new: those of the answers come from the node of the server that first writes them.

Where a load generator with a clock of its own hands queries over (`IssuingEnd`), servers know in
advance what each asks and not when it comes. Its arrival is then written when it is handed over, by
`CLOCK_MONOTONIC` and not by the case's clock, and an eventfd wakes the server; another one wakes
whoever waits for answers. One aligned store of 8 bytes is all that is handed over, so nothing has
to be ordered with it.
"""

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench.memory import Region, RegionHandle
from lorabench.targets.load import Schedule
from lorabench.targets.target import Answers

NOT_ISSUED = 1 << 62
"""Arrival of a query that has not been handed over yet: it is due at no time."""

CLOSED = NOT_ISSUED + 1
"""What stands there when none will be handed over any more."""


@dataclass(frozen=True)
class ExchangeHandle:
    """What a server needs to map an exchange: descriptors.

    Parameters
    ----------
    queries, answers : int
        Of their memory.
    issued : tuple of int
        The eventfd of each server, that wakes it when a query is handed over.
    answered : int
        The eventfd that a server rings when it has answered.
    """

    queries: int
    answers: int
    issued: tuple[int, ...]
    answered: int


@dataclass(frozen=True)
class Part:
    """Which part of an exchange is a server's.

    Parameters
    ----------
    total : tuple of int
        Queries and rows of all servers.
    queries, rows : tuple of int
        Begin and end of its own.
    """

    total: tuple[int, int]
    queries: tuple[int, int]
    rows: tuple[int, int]


NOWHERE = Part((0, 0), (0, 0), (0, 0))
"""No query at all."""


@dataclass(frozen=True, eq=False)
class Queries:
    """What is asked: columns, in the order of arrival at each server.

    Attributes
    ----------
    arrivals : int64 [N]
        ns after the start, rising.
    first_row : int64 [N]
        First of the feed's rows that each query asks to score.
    rows : int32 [N]
        How many.
    """

    arrivals: NDArray[np.int64]
    first_row: NDArray[np.int64]
    rows: NDArray[np.int32]


# Columns of each memfd and whether they hold a value a query (0) or a row (1); widest first, so
# that each is aligned.
_QUERIES = (("arrivals", np.int64, 0), ("first_row", np.int64, 0), ("rows", np.int32, 0))
_ANSWERS = (
    ("started", np.int64, 0),
    ("done", np.int64, 0),
    ("epoch", np.int64, 0),
    ("late_ns", np.int64, 0),
    ("delay_ns", np.int64, 0),
    ("batch", np.int32, 0),
    ("switches", np.int32, 0),
    ("faults", np.int32, 0),
    ("prediction", np.float32, 1),
)
_Layout = tuple[tuple[str, type[np.generic], int], ...]


class Exchange:
    """The parent's end: hands a schedule out and takes the answers in.

    Parameters
    ----------
    servers : int
        How many can be woken by a load generator.
    """

    def __init__(self, servers: int = 0) -> None:
        self._memory = Region.create("queries", 8), Region.create("answers", 8)
        self._bells = [os.eventfd(0) for _ in range(servers + 1)]
        *issued, answered = self._bells
        queries, found = (region.fd for region in self._memory)
        self.handle = ExchangeHandle(queries, found, tuple(issued), answered)

    def offer(self, schedule: Schedule, available: int, servers: int) -> list[Part]:
        """Write down a schedule, and return each server's part; only while no server serves.

        Parameters
        ----------
        schedule : Schedule
            What is asked.
        available : int
            Rows of the feed.
        servers : int
            How many servers there are.
        """
        total = len(schedule), schedule.total_rows
        _resize(self.handle.queries, _QUERIES, total)
        _resize(self.handle.answers, _ANSWERS, total)
        queries = Queries(**_columns(self.handle.queries, _QUERIES, total, writable=True))
        order = _by_server(schedule.server)
        queries.arrivals[:] = schedule.arrivals[order]
        queries.first_row[:] = schedule.first_rows(available)[order]
        queries.rows[:] = schedule.rows[order]
        self._offered = schedule
        of_query = np.searchsorted(schedule.server[order], np.arange(servers + 1)).tolist()
        of_row = np.append(0, np.cumsum(queries.rows, dtype=np.int64))[of_query].tolist()
        return [
            Part(total, (of_query[n], of_query[n + 1]), (of_row[n], of_row[n + 1]))
            for n in range(servers)
        ]

    def collect(self) -> Answers:
        """Copy the answers out, in the schedule's order, once all servers are done."""
        schedule = self._offered
        total = len(schedule), schedule.total_rows
        written = _columns(self.handle.answers, _ANSWERS, total, writable=True)
        found = Answers.unserved(*total)
        places = (
            _by_server(schedule.server),
            _by_server(np.repeat(schedule.server, schedule.rows)),
        )
        for name, _, of in _ANSWERS:
            getattr(found, name)[places[of]] = written[name]
        return found

    def issued(self) -> NDArray[np.int64]:
        """Return when each query was handed over, in the schedule's order, ns of the machine's."""
        schedule = self._offered
        total = len(schedule), schedule.total_rows
        written = _columns(self.handle.queries, _QUERIES, total, writable=False)["arrivals"]
        found = np.empty(len(schedule), np.int64)
        found[_by_server(schedule.server)] = written
        return found

    def close(self) -> None:
        """Let go of the memory."""
        for region in self._memory:
            region.close()
        for bell in self._bells:
            os.close(bell)
        self._bells.clear()


@dataclass(frozen=True)
class Bell:
    """A server's end of queries that are handed over while it serves.

    Parameters
    ----------
    issued, answered : int
        As of `ExchangeHandle`, `issued` its own.
    """

    issued: int
    answered: int

    def wait(self, arrivals: NDArray[np.int64], at: int, *, spin: bool) -> int:
        """Wait until query `at` is handed over; return its arrival, or `CLOSED`."""
        while (due := int(arrivals[at])) == NOT_ISSUED:
            if not spin:
                os.eventfd_read(self.issued)  # what was rung before only has it look once more
        return due

    def ring(self) -> None:
        """Tell that something is answered."""
        os.eventfd_write(self.answered, 1)


class IssuingEnd:
    """A load generator's end: hands queries over, one after the other, and hears of answers.

    Parameters
    ----------
    handle : ExchangeHandle
        Of an exchange in which a schedule is offered whose arrivals are all `NOT_ISSUED`.
    server : int32 [N]
        Who serves each query of that schedule.
    rows : int
        Rows of all queries.
    """

    def __init__(self, handle: ExchangeHandle, server: NDArray[np.int32], rows: int) -> None:
        total = len(server), rows
        self._handle = handle
        self._arrivals = _columns(handle.queries, _QUERIES, total, writable=True)["arrivals"]
        self._done = _columns(handle.answers, _ANSWERS, total, writable=False)["done"]
        order = _by_server(server)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        # Python's integers: they are cheaper than an array's to take one by one.
        self._place, self._server = place.tolist(), server.tolist()
        self._query = order.tolist()
        ends = np.searchsorted(server[order], np.arange(len(handle.issued) + 1)).tolist()
        self._next, self._ends = ends[:-1], ends[1:]
        self._issued = 0

    def issue(self) -> int:
        """Hand the next query over; return its number in the schedule."""
        number = self._issued
        self._arrivals[self._place[number]] = time.monotonic_ns()
        os.eventfd_write(self._handle.issued[self._server[number]], 1)
        self._issued = number + 1
        return number

    def answered(self) -> list[int]:
        """Wait for answers; return the numbers of the queries that are answered since last time.

        There may be none: who waits is also woken by `wake`.
        """
        os.eventfd_read(self._handle.answered)
        found: list[int] = []
        for server, end in enumerate(self._ends):
            at = self._next[server]
            while at < end and self._done[at]:
                found.append(self._query[at])
                at += 1
            self._next[server] = at
        return found

    def wake(self) -> None:
        """Let whoever waits for answers look up, from another thread."""
        os.eventfd_write(self._handle.answered, 1)

    def close(self) -> None:
        """Tell the servers that none will come any more."""
        self._arrivals[self._arrivals == NOT_ISSUED] = CLOSED
        for bell in self._handle.issued:
            os.eventfd_write(bell, 1)


def open_part(handle: ExchangeHandle, part: Part) -> tuple[Queries, Answers]:
    """Map one server's part: what it is asked, read-only, and where its answers go."""
    queries = _columns(handle.queries, _QUERIES, part.total, writable=False)
    answers = _columns(handle.answers, _ANSWERS, part.total, writable=True)
    cuts = slice(*part.queries), slice(*part.rows)
    return (
        Queries(**{name: queries[name][cuts[of]] for name, _, of in _QUERIES}),
        Answers(**{name: answers[name][cuts[of]] for name, _, of in _ANSWERS}),
    )


def _by_server(server: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the order in which servers follow one another, each one's own order kept."""
    # Of 16 bits numpy sorts by radix: a schedule that measures capacity has millions of rows.
    return np.argsort(server.astype(np.uint16), kind="stable")


def _resize(fd: int, layout: _Layout, total: tuple[int, int]) -> None:
    """Give a memfd new pages, all zero, for columns of so many queries and rows."""
    os.ftruncate(fd, 0)
    os.ftruncate(fd, _bytes(layout, total))


def _bytes(layout: _Layout, total: tuple[int, int]) -> int:
    # Nothing cannot be mapped, and a schedule may be empty.
    return max(8, sum(np.dtype(kind).itemsize * total[of] for _, kind, of in layout))


def _columns(
    fd: int, layout: _Layout, total: tuple[int, int], *, writable: bool
) -> dict[str, NDArray[Any]]:
    """Map a memfd and view its columns."""
    region = Region.attach(RegionHandle(fd, _bytes(layout, total)), writable=writable)
    found: dict[str, NDArray[Any]] = {}
    offset = 0
    for name, kind, of in layout:
        found[name] = region.array(kind, (total[of],), offset)
        offset += found[name].nbytes
    return found
