"""A serving cluster's copy of the tables, to which pushes of rows come over a link.

What is pushed, and when, say those that derive from it: rows that a training cluster sends
(`lorabench.strategies.shipping`), or that were recorded (`lorabench.strategies.recorded`).
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lorabench.strategies.base import Strategy, StrategySpec, table_logits
from lorabench.strategies.deployment import Deployment
from lorabench.updates.apply import Applied, Refused, ServedTables
from lorabench.updates.delta import Delta, Encoding
from lorabench.updates.link import Cost
from lorabench.updates.rows import RowNumbers

Floats = NDArray[np.float32]

_CANARY_BATCHES = 4


@dataclass(frozen=True, eq=False)
class Flight:
    """A push on its way.

    Attributes
    ----------
    delta : Delta
        What it carries.
    lands_s : float
        When it is served, in the stream's own time.
    cost : Cost
        What it takes.
    """

    delta: Delta
    lands_s: float
    cost: Cost


class Pushed(Strategy):
    """Tables to which pushes come; parameters as of `Strategy`.

    Attributes
    ----------
    encoding : {"fp32", "int8"} or None
        How its pushes can be recorded as files; None where they cannot.
    on_push : callable or None
        Told each push as it begins.
    """

    encoding: ClassVar[Encoding | None] = None
    learns_here = False
    ships_deltas = True
    copies = 1

    def __init__(
        self,
        spec: StrategySpec,  # noqa: ARG002 - of those that derive from it
        deployment: Deployment,
    ) -> None:
        self.layout = deployment.model.tables.layout
        self.net = deployment.model.net.freeze()
        self.served = ServedTables(deployment.model.tables.copy())
        self.kernels = self.served.tables.kernels
        self.numbers = RowNumbers(self.layout)
        self.on_push: Callable[[Delta], None] | None = None
        self._pushes = deployment.when
        self._canary: deque[tuple[Floats, NDArray[np.int32], NDArray[np.int8]]] = deque(
            maxlen=_CANARY_BATCHES
        )
        self._flights: deque[Flight] = deque()
        self._began = 0
        self._landed: list[Cost] = []
        self._shares: list[float] = []
        self._sent_bytes = 0.0

    @abstractmethod
    def size(self, delta: Delta) -> int:
        """Return the bytes of a push on the link, for tables as large as these."""

    def received(self, delta: Delta) -> Delta:
        """Return what comes out at the other end of the link."""
        return delta

    def send(self, delta: Delta, begin_s: float) -> Flight:
        """Put a push on the link."""
        if self.on_push is not None:
            self.on_push(delta)
        cost = self._pushes.sync.cost(self.size(delta))
        self._began += 1
        self._sent_bytes += cost.size
        self._shares.append(delta.count / self.numbers.count)
        flight = Flight(delta, begin_s + cost.total_s, cost)
        self._flights.append(flight)
        return flight

    def _land(self, now_s: float) -> None:
        while self._flights and self._flights[0].lands_s <= now_s:
            flight = self._flights.popleft()
            outcome = self.land(self.received(flight.delta))
            if isinstance(outcome, Refused):
                self.refused(flight.delta)
            else:
                self._landed.append(flight.cost)

    def land(self, delta: Delta) -> Applied | Refused:
        """Serve the rows of a push, unless they are unfit or make the canary worse."""
        return self.served.apply(delta, self._canary_losses if self._canary else None)

    @abstractmethod
    def refused(self, delta: Delta) -> None:
        """Take note that a push was not served: its rows have to be sent again."""

    def _canary_losses(self) -> Floats:
        """Return the log losses of the latest labelled samples by the served tables alone."""
        losses = []
        for dense, sparse, labels in self._canary:
            logits = table_logits(self.net, self.kernels, dense, sparse)
            losses.append(np.logaddexp(np.float32(0), logits) - labels * logits)
        return np.concatenate(losses, dtype=np.float32)

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the logits [B] of the tables as last pushed."""
        return table_logits(self.net, self.kernels, dense, sparse)

    def learn(
        self, dense: NDArray[np.float32], sparse: NDArray[np.int32], labels: NDArray[np.int8]
    ) -> None:
        """Keep the batch for a canary, and learn nothing: the cluster does."""
        self._canary.append((dense, sparse, labels))

    @property
    def step(self) -> int | None:
        """Samples that had been learned when the last push that landed was taken."""
        return self.served.version.step

    def final_metrics(self) -> Mapping[str, Sequence[float]]:
        """Return how much was sent, and how long it took."""
        found: dict[str, list[float]] = {
            "pushes": [float(len(self._landed))],
            "pushed_bytes": [self._sent_bytes],
            "undo_bytes": [float(self.served.counts.undo_bytes)],
            "pushes_refused": [
                float(self.served.counts.refused.total() + self.served.counts.rolled_back.total())
            ],
        }
        costs = self._landed or [one.cost for one in self._flights]
        if costs:
            found["push_share"] = self._shares
            found["push_s"] = [cost.total_s for cost in costs]
            found["push_apply_s"] = [cost.apply_s for cost in costs]
        return found

    def close(self) -> None:
        """Let go of the copy."""
        self.served.tables.region.close()
