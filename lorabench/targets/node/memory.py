"""The shared memory of a round, as the parent makes it: rows to serve, adapter, rings, load lines.

The parent fills a feed before a round and the servers map it read-only, so that reading and
parsing a workload is never part of a latency. Labels lie in a region of their own, whose descriptor
only the trainer inherits: a server cannot see what it has to predict.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.serve import LOAD_BYTES
from lorabench.isolation.numa import verify_placement
from lorabench.isolation.plan import MemoryPlan
from lorabench.lora.layout import AdapterPlan
from lorabench.lora.writer import Adapter
from lorabench.memory import MemoryPolicy, Region, RegionHandle
from lorabench.model.tables import TableSet
from lorabench.targets.node.exchange import Exchange
from lorabench.workload.block import Block, dense_features
from lorabench.workload.features import DenseSpec


@dataclass(frozen=True)
class FeedHandle:
    """What another process needs to map a feed."""

    features: RegionHandle
    rows: int
    num_dense: int
    num_columns: int


class Feed:
    """Rows of a workload: dense float32 [N, num_dense] and sparse int32 [N, C].

    Use `create` in the parent and `attach` in a server.
    """

    def __init__(self, region: Region, handle: FeedHandle) -> None:
        self._region = region
        self.handle = handle
        self.dense: NDArray[np.float32] = region.array(np.float32, (handle.rows, handle.num_dense))
        self.sparse: NDArray[np.int32] = region.array(
            np.int32, (handle.rows, handle.num_columns), handle.rows * handle.num_dense * 4
        )

    @classmethod
    def create(cls, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> "Feed":
        """Copy rows into shared memory."""
        rows, num_dense = dense.shape
        num_columns = sparse.shape[1]
        region = Region.create("feed", 4 * rows * (num_dense + num_columns))
        feed = cls(region, FeedHandle(region.handle, rows, num_dense, num_columns))
        feed.dense[:] = dense
        feed.sparse[:] = sparse
        return feed

    @classmethod
    def attach(cls, handle: FeedHandle) -> "Feed":
        """Map, read-only, and take all page faults now."""
        region = Region.attach(handle.features, writable=False)
        region.mapping.populate()
        return cls(region, handle)

    def close(self) -> None:
        """Let go of the memory."""
        self._region.close()


@dataclass(frozen=True)
class PlacedMemory:
    """Memory whose nodes are the plan's choice and not the first touch's.

    Use `create`.

    Parameters
    ----------
    tables : TableSet
        A copy of the tables, placed.
    plan : MemoryPlan
        Where the rest comes from.
    trainer_nodes : tuple of int
        Where the trainer's own memory comes from.
    """

    tables: TableSet
    plan: MemoryPlan
    trainer_nodes: tuple[int, ...]

    @classmethod
    def create(
        cls, tables: TableSet, plan: MemoryPlan, trainer_nodes: tuple[int, ...]
    ) -> "PlacedMemory":
        """Copy tables to where the plan wants them: pages in use are not moved.

        Raises
        ------
        InputError
            A second copy does not fit into memory.
        MachineError
            The kernel does not place it as it is told.
        """
        copy = TableSet.create(tables.layout, plan.tables)
        for target, source in zip(copy.arrays, tables.arrays, strict=True):
            target[:] = source
        copy.region.settle()
        _verify(copy.region, plan.tables)
        return cls(copy, plan, trainer_nodes)


@dataclass(frozen=True)
class SeatMemory:
    """What one case that learns has to itself: an adapter, empty at first, and a ring a server."""

    adapter: Adapter
    rings: Sequence[Region]

    @classmethod
    def create(
        cls, adapter: AdapterPlan, ring_bytes: int, servers: int, plan: MemoryPlan | None
    ) -> Self:
        """Make it; parameters are those of `RoundMemory.create`."""
        return cls(
            Adapter(adapter, None if plan is None else plan.adapter),
            [
                Region.create("ring", ring_bytes, None if plan is None else plan.replay[server])
                for server in range(servers)
            ],
        )

    def verify(self, plan: MemoryPlan) -> None:
        """Make sure that it is where the plan wants it."""
        _verify(self.adapter.sides, plan.adapter)
        for ring, policy in zip(self.rings, plan.replay, strict=True):
            _verify(ring, policy)

    def close(self) -> None:
        """Let go of it."""
        self.adapter.close()
        for ring in self.rings:
            ring.close()


@dataclass(frozen=True)
class RoundMemory:
    """What the processes of a round share, tables apart.

    Use `create`.

    Attributes
    ----------
    feed : Feed
        Rows to serve.
    labels : Region
        Of these rows, int8.
    seats : sequence of SeatMemory
        Of each case that learns.
    load : Region
        A load line a server.
    exchange : Exchange
        Schedules and answers.
    """

    feed: Feed
    labels: Region
    seats: Sequence[SeatMemory]
    load: Region
    exchange: Exchange

    @classmethod
    def create(
        cls,
        rows: Block,
        dense: DenseSpec,
        adapter: AdapterPlan,
        *,
        ring_bytes: int,
        servers: int,
        seats: int,
        plan: MemoryPlan | None,
    ) -> Self:
        """Make it, and fill in the rows.

        Parameters
        ----------
        rows : Block
            What is served.
        dense : DenseSpec
            How dense values become the model's inputs.
        adapter : AdapterPlan
            What each adapter has room for.
        ring_bytes : int
            Of each replay ring.
        servers, seats : int
            How many there are.
        plan : MemoryPlan or None
            Which nodes adapters and rings come from; None lets them come from wherever they are
            first touched.

        Raises
        ------
        MachineError
            The kernel refuses a node.
        """
        labels = Region.create("labels", len(rows))
        labels.array(np.int8, (len(rows),))[:] = rows.label
        return cls(
            feed=Feed.create(dense_features(rows.dense, dense), rows.sparse),
            labels=labels,
            seats=[SeatMemory.create(adapter, ring_bytes, servers, plan) for _ in range(seats)],
            load=Region.create("load", LOAD_BYTES * servers),
            exchange=Exchange(servers),
        )

    def verify(self, plan: MemoryPlan) -> None:
        """Make sure that it is where the plan wants it.

        Raises
        ------
        MachineError
            It is not.
        """
        for seat in self.seats:
            seat.verify(plan)

    def close(self) -> None:
        """Let go of it."""
        for seat in self.seats:
            seat.close()
        for region in (self.labels, self.load):
            region.close()
        self.feed.close()
        self.exchange.close()


def _verify(region: Region, policy: MemoryPolicy) -> None:
    region.mapping.populate()
    verify_placement(region, policy)
