"""What the trainer learns from: the servers' replay rings, joined with labels that come later.

A server appends what it served; a sample may be learned from once its label has arrived, a label
delay after it was served. Samples of one server are taken in the order in which it served them.
The trainer prefers fresh samples: what lags more than a few batches behind is given up unread and
counted, because an update from it would come too late to be worth its time.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lorabench._hotpath import ReplayRing

# Batches that may wait before the oldest samples are given up.
BACKLOG_BATCHES = 8


class Replay:
    """Batches of labelled samples from one ring a server.

    Parameters
    ----------
    rings : sequence of ReplayRing
        One a server.
    labels : int8 [N]
        Label of every sample, by its number.
    label_delay_ns : int
        From a prediction to its label.
    batch : int
        Most samples of a batch.
    num_dense, num_sparse : int
        Features of a sample.

    Attributes
    ----------
    sample, label_ns : int64 [batch]
        Number of each sample of the last batch, and when its label arrived.
    dense : float32 [batch, num_dense]
    sparse : int32 [batch, F]
    skipped : int
        Samples given up because they lagged.
    drain : bool
        Give none up, however much they lag.
    """

    def __init__(
        self,
        rings: Sequence[ReplayRing],
        labels: NDArray[np.int8],
        *,
        label_delay_ns: int,
        batch: int,
        num_dense: int,
        num_sparse: int,
    ) -> None:
        self.rings = rings
        self._labels = labels
        self._delay = label_delay_ns
        self._batch = batch
        self._keys = np.zeros((batch, 2), np.int64)
        self.dense = np.zeros((batch, num_dense), np.float32)
        self.sparse = np.zeros((batch, num_sparse), np.int32)
        self.skipped = 0
        self.drain = False

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

    def reset(self) -> None:
        """Empty the rings; only while no server appends."""
        for ring in self.rings:
            ring.reset()
        self.skipped = 0

    def take(self, now_ns: int) -> int:
        """Fill the batch with labelled samples, as many as there are; return how many."""
        before = now_ns - self._delay
        share = -(-self._batch // len(self.rings))
        n = 0
        for ring in self.rings:
            surplus = ring.due(before) - BACKLOG_BATCHES * share
            if surplus > 0 and not self.drain:
                ring.skip(surplus)
                self.skipped += surplus
            end = min(n + share, self._batch)
            n += ring.take(before, self._keys[n:end], self.dense[n:end], self.sparse[n:end])
        return n

    def labels(self, n: int) -> NDArray[np.int8]:
        """Labels of the first `n` samples of the batch, int8 [n]."""
        return self._labels[self.sample[:n]]
