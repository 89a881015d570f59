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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
import torch
from numpy.typing import NDArray

from lorabench._kernels.adapter import AdapterReader
from lorabench._kernels.lookup import Tables
from lorabench._kernels.serve import LoadLine, Witness, set_timer_slack, sleep_until
from lorabench.isolation.affinity import pin_threads, verify
from lorabench.lora.writer import attach_reader
from lorabench.memory import Region
from lorabench.model.dlrm import DenseNet, InferenceNet
from lorabench.model.tables import TableSet
from lorabench.targets.node.exchange import CLOSED, Bell, Queries, open_part
from lorabench.targets.node.memory import Feed
from lorabench.targets.node.messages import Go, Ready, Serve, Served, ServerSetup
from lorabench.targets.node.model import dense_net
from lorabench.targets.node.offers import NEVER, Offers
from lorabench.targets.node.samples import open_ring
from lorabench.targets.node.settings import Wait
from lorabench.targets.target import Answers


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
    readers : sequence of AdapterReader
        The adapter of each seat.
    rings : sequence of Region
        Memory of each seat's replay ring, in which served rows are offered to the trainer.
    load : LoadLine
        Where the trainer is told of the load.
    bell : Bell or None
        What wakes it when a load generator hands a query over.
    """

    def __init__(
        self,
        tables: Tables,
        net: DenseNet,
        feed: Feed,
        *,
        query_rows: int,
        max_batch: int,
        readers: Sequence[AdapterReader],
        rings: Sequence[Region],
        load: LoadLine,
        bell: Bell | None = None,
    ) -> None:
        most = query_rows * max_batch
        self._tables = tables
        self._feed = feed
        self._rows = query_rows
        self._max_batch = max_batch
        self._readers = readers
        self._rings = rings
        self._load = load
        self._bell = bell
        self._net = InferenceNet(net.freeze(), most)
        self._dense: NDArray[np.float32] = self._net.dense.numpy()
        self._embeddings: NDArray[np.float32] = self._net.embeddings.numpy()
        self._sparse = np.zeros((most, tables.columns), np.int32)
        self._base = np.zeros((most, len(tables.reusable_features), tables.dim), np.float32)
        self._version = 0

    def _score(
        self, first_row: list[int], rows: list[int], *, seat: int | None, keep: bool = False
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
        if seat is None:
            epoch = -1
            self._tables.lookup(sparse, out)
        elif keep:
            self._version = self._tables.version  # before the rows are read
            epoch = self._readers[seat].lookup(self._tables, sparse, out, base=self._base[:n])
        else:
            epoch = self._readers[seat].lookup(self._tables, sparse, out)
        return epoch, self._net(n)

    def warm(self) -> None:
        """Run every batch size once and stop the garbage collector.

        No first-time cost and no collection then falls into a measurement. The loop makes no
        reference cycles, so nothing piles up without the collector.
        """
        for n in range(1, self._max_batch + 1):
            for seat in (None, *range(len(self._readers))):
                for keep in (False, True):
                    self._score([0] * n, [self._rows] * n, seat=seat, keep=keep)
        gc.collect()
        gc.freeze()
        gc.disable()

    def serve(self, job: Serve, queries: Queries, answers: Answers, go: Callable[[], Go]) -> Served:
        """Get ready, wait for the start, and serve a schedule to its end or until time is up.

        Parameters
        ----------
        job : Serve
            How.
        queries : Queries
            What is asked; none of more rows than `query_rows`.
        answers : Answers
            Where the answers go.
        go : callable
            Called once all is ready; returns when to start and to stop.

        Returns
        -------
        Served
            What came of it, beside the answers.
        """
        # It takes the page faults too: none is left for the loop.
        answers.clear()
        ring = None
        if job.seat is not None:
            ring = open_ring(
                self._rings[job.seat], self._tables, self._dense.shape[1], reuse=job.reuse
            )
        # Python's integers: taking them out of arrays one by one would cost more in the loop.
        first_row, rows = queries.first_row.tolist(), queries.rows.tolist()
        ends = np.cumsum(queries.rows).tolist()
        set_timer_slack(1)
        witness = Witness()
        begin = go()
        loop = _Loop(
            answers=answers,
            first_row=first_row,
            rows=rows,
            ends=ends,
            # What a load generator hands over is written where it lies, by the machine's clock.
            deadlines=queries.arrivals if job.live else queries.arrivals + begin.start_ns,
            start_ns=begin.start_ns,
            witness=witness,
            offers=None if ring is None else Offers(ring, self._feed, queries, answers),
            bell=self._bell if job.live else None,
        )
        served = last_ns = 0
        stop_ns = begin.start_ns + begin.stop_ns
        while True:
            count, now = self._answer(job, loop, stop_ns)
            served += count
            last_ns = int(answers.done[count - 1]) if count else last_ns
            if not (job.cycle and rows and now < stop_ns):
                break
            if loop.offers is not None:
                loop.offers.begin_anew(count)
        if loop.offers is not None:
            loop.offers.until(count, NEVER)
        return Served(served, last_ns, 0 if loop.offers is None else loop.offers.spent_ns)

    def _answer(self, job: Serve, loop: "_Loop", stop_ns: int) -> tuple[int, int]:
        """Go through the schedule once; return how many were answered, and when that was."""
        answers, offers, start_ns = loop.answers, loop.offers, loop.start_ns
        started, done, batch, epochs = answers.started, answers.done, answers.batch, answers.epoch
        first_row, rows, ends, deadlines = loop.first_row, loop.rows, loop.ends, loop.deadlines
        keep = job.reuse and bool(self._tables.reusable_features)
        slowdown, seat, witness = job.slowdown, job.seat, loop.witness
        total, parent = len(deadlines), os.getppid()
        at = 0
        now = time.monotonic_ns()
        while at < total and now < stop_ns:
            if now < int(deadlines[at]):
                now = loop.rest(at, job.wait)
                if os.getppid() != parent:
                    sys.exit(0)
                if now == NEVER:
                    break
            end = at + 1
            while end < total and end - at < self._max_batch and deadlines[end] <= now:
                end += 1
            if job.tell:
                self._load.begin(now, deadlines, at)
            epoch, probabilities = self._score(
                first_row[at:end], rows[at:end], seat=seat, keep=keep
            )
            finished = time.monotonic_ns()
            if slowdown is not None:
                finished = _await(finished + slowdown.of(len(probabilities)), "spin")
            first = ends[end - 1] - len(probabilities)
            answers.prediction[first : ends[end - 1]] = probabilities
            started[at:end] = now - start_ns
            done[at:end] = finished - start_ns
            if loop.bell is not None:
                loop.bell.ring()
            batch[at:end] = end - at
            epochs[at:end] = epoch
            answers.switches[at:end], answers.faults[at:end], answers.delay_ns[at:end] = (
                witness.moved()
            )
            if offers is not None:
                if keep:
                    served_ns = finished - start_ns
                    offers.now(
                        first_row[at:end], rows[at:end], served_ns, self._version, self._base
                    )
                else:
                    offers.later(at, end)
            if job.tell:
                # With base vectors, what is left to do once a batch is answered keeps it busy too.
                self._load.end(time.monotonic_ns(), finished, deadlines, at, end)
            at = end
            now = time.monotonic_ns()
        return at, now


@dataclass(frozen=True, eq=False)
class _Loop:
    """What the loop works on."""

    answers: Answers
    first_row: list[int]
    rows: list[int]
    ends: list[int]
    deadlines: NDArray[np.int64]
    start_ns: int
    witness: Witness
    offers: Offers | None
    bell: Bell | None

    def rest(self, at: int, wait: Wait) -> int:
        """Wait for a query; return when that is over, or `NEVER` where none comes any more."""
        if self.bell is not None:
            if self.offers is not None:
                self.offers.until_issued(at, self.deadlines)
            due = self.bell.wait(self.deadlines, at, spin=wait == "spin")
            if due == CLOSED:
                return NEVER
            now = time.monotonic_ns()
        else:
            due = int(self.deadlines[at])
            if self.offers is not None:
                self.offers.until(at, due)
                if (now := time.monotonic_ns()) >= due:
                    return now
            now = _await(due, wait)
        self.answers.late_ns[at] = now - due
        return now


def use_one_thread() -> None:
    """Keep torch in the calling thread: a server is one core."""
    torch.set_num_threads(1)


def run_server(setup: ServerSetup, link: Connection) -> None:
    """Be a server until the parent hangs up."""
    pin_threads(os.getpid(), setup.cpus)
    use_one_thread()
    tables = TableSet.attach(setup.model.tables)
    load = Region.attach(setup.load, writable=True)
    rings = [Region.attach(handle, writable=True) for handle in setup.rings]
    for ring in rings:
        # Faults beside a trainer alone would make its stalls look like the guest's own.
        ring.mapping.populate(write=True)
    server = Server(
        tables.kernels,
        dense_net(setup.model),
        Feed.attach(setup.feed),
        query_rows=setup.query_rows,
        max_batch=setup.max_batch,
        readers=[attach_reader(handle, setup.server) for handle in setup.adapters],
        rings=rings,
        load=LoadLine(load.mapping, setup.server),
        bell=Bell(setup.exchange.issued[setup.server], setup.exchange.answered),
    )
    server.warm()
    verify(os.getpid(), setup.cpus)
    ready = Ready(tables.region.page_sizes())

    def go() -> Go:
        link.send(ready)
        message: Go = link.recv()
        return message

    link.send(ready)
    while True:
        job: Serve = link.recv()
        # A CPU that went offline is found out here, and a cpuset that came and went is undone.
        pin_threads(os.getpid(), setup.cpus)
        verify(os.getpid(), setup.cpus)
        link.send(server.serve(job, *open_part(setup.exchange, job.part), go))
