"""What a co-located trainer tells of itself: what it published, and what happened beside."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lorabench.targets.trace import NS

if TYPE_CHECKING:
    from lorabench.lora.basis import LearnLog


@dataclass(frozen=True, eq=False)
class ReuseBytes:
    """What data reuse saved, and what it cost, in bytes.

    Attributes
    ----------
    features : int
        Features whose base vectors are kept; 0: nothing is, since nothing would be saved.
    saved : int
        Table rows that the trainer did not read. A batch that is also looked at by the base alone
        counts once: the second time its rows would be in the cache.
    written, read : int
        Base vectors and versions, into the rings by the servers and out of them by the trainer.
    """

    features: int
    saved: int
    written: int
    read: int

    @property
    def net(self) -> int:
        """What is left of the saving; below 0 where it cost more."""
        return self.saved - self.written - self.read


@dataclass(frozen=True, eq=False)
class Applied:
    """What an applier wrote into the served tables in a slice.

    Attributes
    ----------
    rows, size : int
        Rows, and the bytes of their values.
    left : int
        Rows that had arrived and were not written by then.
    throttle : float64 [n, 4]
        As of `TrainReport`.
    """

    rows: int
    size: int
    left: int
    throttle: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence["Applied"]) -> "Applied | None":
        """Return several slices as one, None where there are none."""
        if not parts:
            return None
        return cls(
            sum(part.rows for part in parts),
            sum(part.size for part in parts),
            sum(part.left for part in parts),
            np.concatenate([part.throttle for part in parts]),
        )


@dataclass(frozen=True, eq=False)
class Updates:
    """What was learned and published, in that order: R runs of samples in B batches.

    A run is what a batch took of one query: samples in a row, whose labels arrived together. Kept
    by runs and not by samples, so that what is written down grows with the queries.

    Attributes
    ----------
    first, count, label_ns : int64 [R]
        Number of each run's first sample, how many there are, and when their labels arrived.
    runs, size : int64 [B]
        Runs and samples of each batch.
    epoch, published_ns : int64 [B]
        The first epoch that includes a batch, and when it was published.
    """

    first: NDArray[np.int64]
    count: NDArray[np.int64]
    label_ns: NDArray[np.int64]
    runs: NDArray[np.int64]
    size: NDArray[np.int64]
    epoch: NDArray[np.int64]
    published_ns: NDArray[np.int64]

    @classmethod
    def of_batch(
        cls, sample: NDArray[np.int64], label_ns: NDArray[np.int64], epoch: int, published_ns: int
    ) -> "Updates":
        """Return the updates of a single batch, given sample by sample."""
        apart = (np.diff(sample) != 1) | (np.diff(label_ns) != 0)
        begin = np.append(0, np.flatnonzero(apart) + 1) if len(sample) else np.zeros(0, np.int64)
        count = np.diff(np.append(begin, len(sample)))
        once = (np.array([v], np.int64) for v in (len(begin), len(sample), epoch, published_ns))
        return cls(sample[begin], count, label_ns[begin], *once)

    @classmethod
    def joined(cls, parts: Sequence["Updates"]) -> "Updates":
        """Return several updates as one, none where there are none."""
        none = np.zeros(0, np.int64)
        return cls(
            *(
                np.concatenate([none, *(getattr(part, column.name) for part in parts)])
                for column in fields(cls)
            )
        )

    @property
    def sample(self) -> NDArray[np.int64]:
        """Numbers of all samples, in the order in which they were learned."""
        before = np.cumsum(self.count) - self.count
        return np.repeat(self.first - before, self.count) + np.arange(self.count.sum())

    def each(self, column: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for every run what a column [B] has for its batch, [R]."""
        return np.repeat(column, self.runs)

    def samples_per_s(self) -> float | None:
        """Samples/s from the first publish to the last; None where too little was published."""
        if len(self.size) < 2:
            return None
        # The first batch's own time lies before its publish.
        passed_ns = float(self.published_ns[-1] - self.published_ns[0])
        return float(self.size[1:].sum()) / (passed_ns / NS)


@dataclass(frozen=True, eq=False)
class TrainReport:
    """What the trainer did until the end of a slice; times in ns of its case's clock.

    Attributes
    ----------
    updates : Updates
        What it published in the slice.
    learner : LearnLog
        What happened beside the learning, since the case began.
    publish_deferred : int
        How often a reader still held the idle side, since then.
    replay_dropped, replay_skipped : int
        Samples since then that found their ring full, and that were given up because they lagged.
    slots_used : tuple of int
        Of each table, now.
    epoch : int
        The last one.
    throttle : float64 [n, 4]
        What the throttle did in the slice (`lorabench.targets.node.throttle.Pacer.trace`); empty
        without one.
    reuse : ReuseBytes or None
        What data reuse saved and cost since the case began; None without it.
    steps : int
        Steps with something to do in the slice.
    cpu_s : float
        CPU time that these steps took.
    applied : Applied or None
        What was written of a push, where that was done instead of learning.
    """

    updates: Updates
    learner: "LearnLog"
    publish_deferred: int
    replay_dropped: int
    replay_skipped: int
    slots_used: tuple[int, ...]
    epoch: int
    throttle: NDArray[np.float64]
    reuse: ReuseBytes | None
    steps: int
    cpu_s: float
    applied: Applied | None = None
