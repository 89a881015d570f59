"""The rows of a round in shared memory: what the servers are asked to score.

The conductor fills a feed before a round and the servers map it read-only, so that reading and
parsing a workload is never part of a latency. Labels lie in a region of their own, which only the
trainer is given: a server cannot see what it has to predict.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench.memory import Region, RegionHandle


@dataclass(frozen=True)
class FeedHandle:
    """What another process needs to map a feed."""

    features: RegionHandle
    rows: int
    num_dense: int
    num_columns: int


class Feed:
    """Rows of a workload: dense float32 [N, num_dense] and sparse int32 [N, C].

    Use `create` in the conductor and `attach` in a server.
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
