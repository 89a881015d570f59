"""What the trainer learns from: the servers' replay rings, joined with labels that come later.

A server appends what it served; a sample may be learned from once its label has arrived, a label
delay after it was served. Samples of one server are taken in the order in which it served them.
The trainer prefers fresh samples: what lags more than a few batches behind is given up unread and
counted, because an update from it would come too late to be worth its time.

With data reuse the rings also hold the base vectors that the servers pooled, of the tables where
that saves bytes (``Tables.reusable_features``). Vectors from before the tables last changed are
pooled anew. What reuse saves is counted here, and what it costs: `ReuseBytes`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.lookup import Tables
from lorabench.memory import Region
from lorabench.targets.node.samples import open_ring
from lorabench.targets.training import ReuseBytes

# Batches that may wait before the oldest samples are given up.
BACKLOG_BATCHES = 8


class Replay:
    """Batches of labelled samples from one ring a server.

    Parameters
    ----------
    rings : sequence of Region
        One a server; the memory of its ring.
    tables : Tables
        Base tables, whose ids the samples are.
    labels : int8 [N]
        Label of every sample, by its number.
    label_delay_ns : int
        From a prediction to its label.
    batch : int
        Most samples of a batch.
    num_dense : int
        Dense features of a sample.

    Attributes
    ----------
    sample, label_ns : int64 [batch]
        Number of each sample of the last batch, and when its label arrived.
    dense : float32 [batch, num_dense]
    sparse : int32 [batch, C]
    skipped : int
        Samples given up because they lagged.
    drain : bool
        Give none up, however much they lag.
    batch : int
        Most samples that are taken now, at most as many as there is room for.
    """

    def __init__(
        self,
        rings: Sequence[Region],
        tables: Tables,
        labels: NDArray[np.int8],
        *,
        label_delay_ns: int,
        batch: int,
        num_dense: int,
    ) -> None:
        self._regions = rings
        self._tables = tables
        self._labels = labels
        self._delay = label_delay_ns
        self._most = self.batch = batch
        self._keys = np.zeros((batch, 2), np.int64)
        self.dense = np.zeros((batch, num_dense), np.float32)
        self.sparse = np.zeros((batch, tables.columns), np.int32)
        self._versions = np.zeros(batch, np.int64)
        self._base = np.zeros((batch, len(tables.reusable_features), tables.dim), np.float32)
        self.drain = False
        self.reset()

    @property
    def sample(self) -> NDArray[np.int64]:
        """Numbers of the batch's samples."""
        return self._keys[:, 0]

    @property
    def label_ns(self) -> NDArray[np.int64]:
        """When each sample's label arrived."""
        return self._keys[:, 1] + self._delay

    @property
    def dropped(self) -> int:
        """Samples that found their ring full."""
        return sum(ring.dropped for ring in self.rings)

    @property
    def reuse_bytes(self) -> ReuseBytes | None:
        """What data reuse came to since the last reset; None where it is off."""
        if not self._reuse:
            return None
        tables = self._tables
        size = self.rings[0].base_bytes
        return ReuseBytes(
            features=len(tables.reusable_features),
            saved=self._reused * tables.reusable_rows * tables.dim * 4,
            written=sum(ring.appended for ring in self.rings) * size,
            read=self._taken * size,
        )

    def reset(self, *, reuse: bool = False) -> None:
        """Empty the rings; only while no server appends.

        Parameters
        ----------
        reuse : bool
            Lay them out for base vectors; the servers' ends have to agree (`open_ring`).
        """
        dense = self.dense.shape[1]
        self.rings = [
            open_ring(region, self._tables, dense, reuse=reuse) for region in self._regions
        ]
        for ring in self.rings:
            ring.reset()
        self._reuse = reuse
        self._taken = self._reused = self._first = 0
        self.skipped = 0

    def take(self, now_ns: int) -> int:
        """Fill the batch with labelled samples, as many as there are; return how many.

        Of several rings as many each, whatever one of them leaves to the others.
        """
        before = now_ns - self._delay
        count = len(self.rings)
        backlog = BACKLOG_BATCHES * -(-self._most // count)
        # Each ring's share is the same but for a remainder, and another ring is the first each
        # time: where more waits than a batch holds, no server's samples wait for ever.
        share, more = divmod(self.batch, count)
        n = 0
        for turn in range(count):
            ring = self.rings[(self._first + turn) % count]
            surplus = ring.due(before) - backlog
            if surplus > 0 and not self.drain:
                ring.skip(surplus)
                self.skipped += surplus
            end = n + share + (turn < more)
            n += ring.take(
                before,
                self._keys[n:end],
                self.dense[n:end],
                self.sparse[n:end],
                versions=self._versions[n:end],
                base=self._base[n:end] if ring.base_bytes else None,
            )
        self._first = (self._first + max(1, more)) % count
        self._taken += n
        return n

    def base(self, n: int) -> NDArray[np.float32] | None:
        """Pooled base vectors of the first `n` samples of the batch, all of them up to date.

        Returns
        -------
        float32 [n, K, D] or None
            None where none are kept.
        """
        if not self._reuse or not self._tables.reusable_features:
            return None
        base = self._base[:n]
        # The version is read before the rows are: where the tables change meanwhile, what is
        # gathered here is as good as what the trainer would have gathered without reuse.
        version = self._tables.version
        old = np.flatnonzero((self._versions[:n] != version) | (version % 2 == 1))
        if len(old):
            fresh = np.empty((len(old), *base.shape[1:]), np.float32)
            self._tables.gather(self.sparse[old], fresh)
            base[old] = fresh
        self._reused += n - len(old)
        return base

    def labels(self, n: int) -> NDArray[np.int8]:
        """Labels of the first `n` samples of the batch, int8 [n]."""
        return self._labels[self.sample[:n]]
