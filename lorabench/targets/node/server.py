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
from multiprocessing.connection import Connection

import numpy as np
import torch
from numpy.typing import NDArray

from lorabench._kernels.adapter import AdapterReader
from lorabench._kernels.lookup import Tables
from lorabench._kernels.replay import ReplayRing
from lorabench._kernels.serve import LoadLine, set_timer_slack, sleep_until
from lorabench.isolation.affinity import pin_threads, verify
from lorabench.lora.writer import attach_reader
from lorabench.memory import Region
from lorabench.model.dlrm import DenseNet, InferenceNet
from lorabench.model.tables import TableSet
from lorabench.targets.node.exchange import Queries, open_part
from lorabench.targets.node.memory import Feed
from lorabench.targets.node.messages import Ready, Serve, Served, ServerSetup
from lorabench.targets.node.model import dense_net
from lorabench.targets.node.samples import open_ring
from lorabench.targets.node.settings import Wait
from lorabench.targets.target import Answers

# Answered queries whose rows may wait to be offered to the trainer.
_MOST_PENDING = 64


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
        self._base = np.zeros((most, len(tables.reusable_features), tables.dim), np.float32)
        self._version = 0

    def _score(
        self, first_row: list[int], rows: list[int], *, adapted: bool, keep: bool = False
    ) -> tuple[int, NDArray[np.float32]]:
        """Score queries by their rows of the feed; the epoch and the probabilities, one a row.

        With `keep` the base vectors that are worth keeping stay behind, with their version.
        """
        n = 0
        # Copied out of the feed although the kernel could read ids there: with 20 ids a feature
        # that took 2 % longer a query, since a copy streams into the cache what the kernel then
        # reads out of step with the rows. The replay ring is filled from the feed and not from
        # here, so a sample is copied once on its way there.
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

    def serve(self, job: Serve, queries: Queries, answers: Answers) -> int:
        """Serve a schedule to its end, or to `stop_ns`, whichever comes first.

        Parameters
        ----------
        job : Serve
            When and how.
        queries : Queries
            What is asked; none of more rows than `query_rows`.
        answers : Answers
            Where the answers go, with room for a wake-up a query.

        Returns
        -------
        int
            How many wake-ups there were.
        """
        # It takes the page faults too: none is left for the loop.
        answers.clear()
        ring = open_ring(self._ring, self._tables, self._dense.shape[1], reuse=job.reuse)
        offers = _Offers(ring, self._feed)
        set_timer_slack(1)
        wakeups = self._answer(job, queries, answers, offers)
        offers.flush()
        return wakeups

    def _answer(self, job: Serve, queries: Queries, answers: Answers, offers: _Offers) -> int:
        """Run the loop; return how often it slept."""
        started, done, batch, epochs = answers.started, answers.done, answers.batch, answers.epoch
        # Python's integers: taking them out of arrays one by one would cost more in the loop.
        first_row, rows = queries.first_row.tolist(), queries.rows.tolist()
        ends = np.cumsum(queries.rows).tolist()
        deadlines = queries.arrivals + job.start_ns
        keep = job.reuse and bool(self._tables.reusable_features)
        total, parent = len(deadlines), os.getppid()
        wakeups = at = 0
        now = time.monotonic_ns()
        while at < total and now < job.stop_ns:
            deadline = int(deadlines[at])
            if now < deadline:
                offers.flush()
                now = _await(deadline, job.wait)
                answers.late_ns[wakeups] = now - deadline
                wakeups += 1
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
            first = ends[end - 1] - len(probabilities)
            answers.prediction[first : ends[end - 1]] = probabilities
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
        return wakeups


def use_one_thread() -> None:
    """Keep torch in the calling thread: a server is one core."""
    torch.set_num_threads(1)


def run_server(setup: ServerSetup, link: Connection) -> None:
    """Be a server until the parent hangs up."""
    pin_threads(os.getpid(), setup.cpus)
    use_one_thread()
    tables = TableSet.attach(setup.model.tables)
    load = Region.attach(setup.load, writable=True)
    server = Server(
        tables.kernels,
        dense_net(setup.model),
        Feed.attach(setup.feed),
        query_rows=setup.query_rows,
        max_batch=setup.max_batch,
        reader=attach_reader(setup.adapter, setup.server),
        ring=Region.attach(setup.ring, writable=True),
        load=LoadLine(load.mapping, setup.server),
    )
    server.warm()
    verify(os.getpid(), setup.cpus)
    link.send(Ready(tables.region.page_sizes()))
    while True:
        job: Serve = link.recv()
        # A CPU that went offline is found out here, and a cpuset that came and went is undone.
        pin_threads(os.getpid(), setup.cpus)
        verify(os.getpid(), setup.cpus)
        link.send(Served(server.serve(job, *open_part(setup.exchange, job.part))))
