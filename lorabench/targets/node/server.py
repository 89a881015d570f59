"""The open-loop server: score each query as soon after its scheduled arrival as the core allows.

Arrivals are drawn beforehand and do not wait for answers, so a slow answer delays the queries
behind it and their latency, which runs from the scheduled arrival, shows it: coordinated omission
cannot occur (Tene's argument; wrk2, MLPerf LoadGen's server scenario). Between arrivals the server
blocks until an absolute deadline. It takes what is due, up to a largest batch, and never waits for
more. See ``docs/methodology.md``.
"""

import gc
import os
import sys
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lorabench._hotpath import (
    AdapterReader,
    LoadLine,
    ReplayRing,
    Tables,
    set_timer_slack,
    sleep_until,
)
from lorabench.memory import Region
from lorabench.model.dlrm import DenseNet, InferenceNet
from lorabench.targets.node.memory import Feed
from lorabench.targets.node.samples import open_ring

Wait = Literal["block", "spin"]

# Answered queries whose rows may wait to be offered to the trainer.
_MOST_PENDING = 64


@dataclass(frozen=True)
class ServeJob:
    """One condition's queries for one server.

    Parameters
    ----------
    start_ns : int
        When the schedule begins, in the ns of `time.monotonic_ns`.
    stop_ns : int
        When to give up on what is still unserved.
    scheduled : int64 [N]
        Arrivals, ns after `start_ns`, rising.
    first_row : int64 [N]
        First of the feed's rows that each query asks to score.
    rows : int64 [N]
        How many, at most the server's `query_rows`.
    adapted : bool
        Serve from the adapter, append to the replay ring and tell the load; otherwise plain lookups
        alone.
    wait : {"block", "spin"}
        What to do until the next arrival.
    reuse : bool
        Keep the pooled base vectors that are worth it in the replay ring, which the trainer has to
        have laid out for them.
    """

    start_ns: int
    stop_ns: int
    scheduled: NDArray[np.int64]
    first_row: NDArray[np.int64]
    rows: NDArray[np.int64]
    adapted: bool
    wait: Wait = "block"
    reuse: bool = False


@dataclass(frozen=True)
class ServeRecord:
    """What became of each query, in schedule order; times in ns after the job's start.

    Attributes
    ----------
    started, done : int64 [N]
        When its batch was taken up and finished; 0 in `done` for queries never served.
    batch : int32 [N]
        Queries in its batch.
    epoch : int64 [N]
        Adapter epoch it was served from; -1 without an adapter.
    prediction : float32 [sum of rows]
        Click probabilities, query after query.
    late_ns : int64 [W]
        For every time the server slept: how much after the deadline it ran again.
    """

    started: NDArray[np.int64]
    done: NDArray[np.int64]
    batch: NDArray[np.int32]
    epoch: NDArray[np.int64]
    prediction: NDArray[np.float32]
    late_ns: NDArray[np.int64]


class _Offers:
    """Answered rows on their way into the replay ring.

    While queries wait, whatever is done for the trainer makes them wait longer. So rows are offered
    when the server is about to sleep, or when too many have come together; only base vectors, whose
    place the next batch needs, go at once.
    """

    def __init__(self, ring: ReplayRing, feed: Feed) -> None:
        self._ring = ring
        self._feed = feed
        self._pending: list[tuple[int, int, int]] = []

    def later(self, first_row: list[int], rows: list[int], served_ns: int) -> None:
        """Note queries by their rows of the feed."""
        self._pending += [(f, n, served_ns) for f, n in zip(first_row, rows, strict=True)]
        if len(self._pending) > _MOST_PENDING:
            self.flush()

    def flush(self) -> None:
        """Offer what was noted, in the order in which it was answered."""
        for first, count, served_ns in self._pending:
            to = slice(first, first + count)
            self._ring.append(first, served_ns, self._feed.dense[to], self._feed.sparse[to])
        self._pending.clear()

    def now(
        self,
        first_row: list[int],
        rows: list[int],
        served_ns: int,
        version: int,
        base: NDArray[np.float32],
    ) -> None:
        """Offer the queries of a batch with the base vectors of its rows, `base` [B, K, D]."""
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


def _await(deadline_ns: int, wait: Wait) -> int:
    """Sleep, or spin, until a moment; return when it is over."""
    if wait == "block":
        sleep_until(deadline_ns)
        return time.monotonic_ns()
    while (now := time.monotonic_ns()) < deadline_ns:
        pass
    return now


class Server:
    """Serves queries of candidate rows from tables and dense net.

    Parameters
    ----------
    tables : Tables
        Base tables.
    net : DenseNet
        Weights.
    feed : Feed
        The rows to score.
    query_rows : int
        Most candidates of a query.
    max_batch : int
        Most queries scored together.
    reader : AdapterReader
        The adapter.
    ring : Region
        Memory of the replay ring, in which served rows are offered to the trainer.
    load : LoadLine
        Where the trainer is told of the load.
    """

    def __init__(
        self,
        tables: Tables,
        net: DenseNet,
        feed: Feed,
        *,
        query_rows: int,
        max_batch: int,
        reader: AdapterReader,
        ring: Region,
        load: LoadLine,
    ) -> None:
        most = query_rows * max_batch
        self._tables = tables
        self._feed = feed
        self._rows = query_rows
        self._max_batch = max_batch
        self._reader = reader
        self._ring = ring
        self._load = load
        self._net = InferenceNet(net.freeze(), most)
        self._dense: NDArray[np.float32] = self._net.dense.numpy()
        self._embeddings: NDArray[np.float32] = self._net.embeddings.numpy()
        self._sparse = np.zeros((most, tables.columns), np.int32)
        self._base = np.zeros((most, len(tables.kept), tables.dim), np.float32)
        self._version = 0

    def _score(
        self, first_row: list[int], rows: list[int], *, adapted: bool, keep: bool = False
    ) -> tuple[int, NDArray[np.float32]]:
        """Score queries by their rows of the feed; the epoch and the probabilities, one a row.

        With `keep` the base vectors that are worth keeping stay behind, with their version.
        """
        n = 0
        for first, count in zip(first_row, rows, strict=True):
            self._dense[n : n + count] = self._feed.dense[first : first + count]
            self._sparse[n : n + count] = self._feed.sparse[first : first + count]
            n += count
        sparse, out = self._sparse[:n], self._embeddings[:n]
        if adapted and keep:
            self._version = self._tables.version  # before the rows are read
            epoch = self._reader.lookup(self._tables, sparse, out, base=self._base[:n])
        elif adapted:
            epoch = self._reader.lookup(self._tables, sparse, out)
        else:
            epoch = -1
            self._tables.lookup(sparse, out)
        return epoch, self._net(n)

    def warm(self) -> None:
        """Run every batch size once and stop the garbage collector.

        No first-time cost and no collection then falls into a measurement. The loop makes no
        reference cycles, so nothing piles up without the collector.
        """
        for n in range(1, self._max_batch + 1):
            for adapted, keep in ((False, False), (True, True), (True, False)):
                self._score([0] * n, [self._rows] * n, adapted=adapted, keep=keep)
        gc.collect()
        gc.freeze()
        gc.disable()

    def serve(self, job: ServeJob) -> ServeRecord:
        """Serve a schedule to its end, or to `stop_ns`, whichever comes first.

        Parameters
        ----------
        job : ServeJob
            What to serve.
        """
        total = len(job.scheduled)
        started = np.zeros(total, np.int64)
        done = np.zeros(total, np.int64)
        batch = np.zeros(total, np.int32)
        epochs = np.full(total, -1, np.int64)
        # Python's integers: taking them out of arrays one by one would cost more in the loop.
        first_row, rows = job.first_row.tolist(), job.rows.tolist()
        ends = np.cumsum(job.rows).tolist()
        prediction = np.zeros(ends[-1] if total else 0, np.float32)
        late = np.zeros(total, np.int64)
        num_dense = self._dense.shape[1]
        ring = open_ring(self._ring, self._tables, num_dense, reuse=job.reuse)
        offers = _Offers(ring, self._feed)
        keep = job.reuse and bool(self._tables.kept)
        sleeps = 0
        parent = os.getppid()
        deadlines = job.scheduled + job.start_ns
        set_timer_slack(1)
        now = time.monotonic_ns()
        at = 0
        while at < total and now < job.stop_ns:
            deadline = int(deadlines[at])
            if now < deadline:
                offers.flush()
                now = _await(deadline, job.wait)
                late[sleeps] = now - deadline
                sleeps += 1
                if os.getppid() != parent:
                    sys.exit(0)
            end = at + 1
            while end < total and end - at < self._max_batch and deadlines[end] <= now:
                end += 1
            if job.adapted:
                self._load.begin(now, deadlines, at)
            epoch, probabilities = self._score(
                first_row[at:end], rows[at:end], adapted=job.adapted, keep=keep
            )
            finished = time.monotonic_ns()
            prediction[ends[end - 1] - len(probabilities) : ends[end - 1]] = probabilities
            started[at:end] = now - job.start_ns
            done[at:end] = finished - job.start_ns
            batch[at:end] = end - at
            epochs[at:end] = epoch
            if job.adapted:
                if keep:
                    offers.now(first_row[at:end], rows[at:end], finished, self._version, self._base)
                else:
                    offers.later(first_row[at:end], rows[at:end], finished)
                # With base vectors, what is left to do once a batch is answered keeps it busy too.
                self._load.end(time.monotonic_ns(), finished, deadlines, at, end)
            at = end
            now = time.monotonic_ns()
        offers.flush()
        return ServeRecord(started, done, batch, epochs, prediction, late[:sleeps])


def use_one_thread() -> None:
    """Keep torch in the calling thread: a server is one core."""
    torch.set_num_threads(1)
