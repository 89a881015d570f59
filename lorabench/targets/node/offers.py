"""Served rows on their way from a server into the replay ring, while it has nothing else to do."""

import time

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.replay import ReplayRing
from lorabench.targets.node.exchange import NOT_ISSUED, Queries
from lorabench.targets.node.memory import Feed
from lorabench.targets.target import Answers

NEVER = 1 << 62
"""A moment that does not come, ns."""

# Answered queries whose rows may wait to be offered to the trainer while the server is busy.
_MOST_PENDING = 64


class Offers:
    """Answered rows on their way into the replay ring.

    They are offered while the server has nothing else to do, a query at a time and only as long as
    the next will be done before the next arrival (``kernels/serve/offer.h``). Where it never rests,
    as many go after a batch as came with it, once too many have come together. Base vectors, whose
    place the next batch needs, go at once.
    """

    def __init__(self, ring: ReplayRing, feed: Feed, queries: Queries, answers: Answers) -> None:
        self._ring = ring
        self._feed = feed
        self._at = 0
        self._spent_ns = 0
        ring.offer_from(feed.dense, feed.sparse, queries.first_row, queries.rows, answers.done)

    @property
    def spent_ns(self) -> int:
        """Time that offering took."""
        return self._spent_ns + self._ring.offered_ns

    def later(self, at: int, end: int) -> None:
        """Take note of a batch of queries `at` to `end`."""
        if end - self._at > _MOST_PENDING:
            self._at = self._ring.offer(self._at, self._at + end - at, NEVER)

    def begin_anew(self, answered: int) -> None:
        """Offer what is left of a schedule that is gone through again."""
        self.until(answered, NEVER)
        self._at = 0

    def until(self, answered: int, deadline_ns: int) -> None:
        """Offer what has been answered, in order, as long as there is time."""
        if self._at < answered:
            self._at = self._ring.offer(self._at, answered, deadline_ns)

    def until_issued(self, answered: int, arrivals: NDArray[np.int64]) -> None:
        """Offer likewise where nobody knows the next arrival, until there is one."""
        while self._at < answered and arrivals[answered] == NOT_ISSUED:
            self._at = self._ring.offer(self._at, self._at + 1, NEVER)

    def now(
        self,
        first_row: list[int],
        rows: list[int],
        served_ns: int,
        version: int,
        base: NDArray[np.float32],
    ) -> None:
        """Offer the queries of a batch with the base vectors of its rows, `base` [B, K, D]."""
        begun = time.monotonic_ns()
        begin = 0
        for first, count in zip(first_row, rows, strict=True):
            of, to = slice(first, first + count), slice(begin, begin + count)
            self._ring.append(
                first,
                served_ns,
                self._feed.dense[of],
                self._feed.sparse[of],
                version=version,
                base=base[to],
            )
            begin += count
        self._at += len(rows)
        self._spent_ns += time.monotonic_ns() - begun
