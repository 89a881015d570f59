"""``stream``: touched rows are sent as training goes on, without waiting for an interval.

What FBGEMM's raw embedding streaming does: after each step the rows that it touched are on their
way. There every update of a row is sent; here one that waits for a busy link is replaced by its
newer value, so that what is measured is the best that such a stream can do.
"""

from collections import deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lorabench.strategies.base import StrategySpec
from lorabench.strategies.deployment import Deployment
from lorabench.strategies.shipping import Deltas
from lorabench.updates.apply import Applied, Refused
from lorabench.updates.delta import Delta

_CHUNK_S = 1.0


class Stream(Deltas):
    """Chunks of what waits, the longest waiting first; parameters as of `Strategy`.

    A chunk is what the link carries until time is let go on again, or in a second where that is
    longer. Chunks are encoded, sent and written at the same time, each stage one after the other:
    the next one goes out once the slowest of the three is through with the last.
    """

    forms = ("stream",)
    by_interval = False

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        super().__init__(spec, deployment)
        self._waiting: deque[tuple[int, NDArray[np.int64]]] = deque()
        self._is_waiting = np.zeros(self.numbers.count, np.bool_)
        self._free_s = self._last_s = -np.inf
        self._before = self.cluster.step
        self.cluster.listeners.append(self._enqueue)

    def _enqueue(self, sparse: NDArray[np.int32]) -> None:
        """Let the rows of a step wait, but for those that wait already."""
        rows = self.numbers.of_samples(sparse).ravel()
        rows = np.unique(rows[~self._is_waiting[rows]])
        self._is_waiting[rows] = True
        self._waiting.append((self._before, rows))
        self._before = self.cluster.step

    def advance(self, now_s: float) -> None:
        """Let chunks land, and keep the link busy until time is let go on the next time."""
        self._land(now_s)
        gap_s = max(_CHUNK_S, now_s - self._last_s) if np.isfinite(self._last_s) else _CHUNK_S
        self._last_s = now_s
        carried = gap_s * self._pushes.sync.link.bytes_per_s / self._pushes.sync.scale.factor
        most = int(min(len(self._is_waiting), max(1.0, carried / self.row_bytes)))
        while self._waiting and self._free_s < now_s + gap_s:
            begin_s = max(now_s, self._free_s)
            flight = self.send(self._take(most, begin_s), begin_s)
            cost = flight.cost
            # A host that writes slower than the link carries would else write chunks side by side.
            self._free_s = begin_s + max(cost.encode_s, cost.transfer_s, cost.apply_s)
        self._land(now_s)

    def _take(self, most: int, at_s: float) -> Delta:
        """Take rows that wait, and the step up to which none is waiting any more."""
        parts, step, left = [], self.cluster.step, most
        while self._waiting:
            before, rows = self._waiting.popleft()
            parts.append(rows[:left])
            if len(rows) > left:
                self._waiting.appendleft((before, rows[left:]))
            left -= len(parts[-1])
            if left <= 0:
                break
        if self._waiting:
            # The step that waits longest has not been sent as a whole, those before it have.
            step = self._waiting[0][0]
        rows = np.sort(np.concatenate(parts))
        self._is_waiting[rows] = False
        delta = self.cluster.delta(self.numbers.split(rows), at_s)
        return replace(delta, step=step)

    def land(self, delta: Delta) -> Applied | Refused:
        """Serve a chunk: it is too small for a canary to tell."""
        return self.served.apply(delta)

    def refused(self, delta: Delta) -> None:
        """Let its rows wait again."""
        rows = self.numbers.join(delta.rows)
        rows = rows[~self._is_waiting[rows]]
        self._is_waiting[rows] = True
        self._waiting.appendleft((self.served.version.step, rows))
