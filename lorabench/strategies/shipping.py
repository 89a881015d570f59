"""What is trained elsewhere and sent: ``full``, ``delta`` and ``delta-int8``.

A training cluster learns at full precision; every push takes rows as they are there at that moment,
and they are served once they have been sent and written (`lorabench.updates.link`). The next push
starts when an interval has passed and the last one has ended.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lorabench.strategies.base import Strategy, StrategySpec, table_logits
from lorabench.strategies.deployment import Deployment
from lorabench.strategies.ideal import Ideal
from lorabench.updates.apply import Applied, Refused, ServedTables
from lorabench.updates.cluster import FULL_PRECISION
from lorabench.updates.delta import Delta
from lorabench.updates.link import Cost
from lorabench.updates.payload import KEY_BYTES, SCALE_AND_OFFSET_BYTES, VALUE_BYTES
from lorabench.updates.quantise import quantise
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


class Shipping(Strategy):
    """A serving cluster's copy of the tables, to which pushes come; parameters as of `Strategy`.

    Whoever derives from it says which rows a push takes (`select`) and how large it is (`size`).
    """

    default_rate = Ideal.default_rate
    default_decay = Ideal.default_decay
    learns_here = False
    ships_deltas = True
    copies = 1
    trained_by = FULL_PRECISION

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        self.cluster = spec.cluster(deployment)
        self.layout = deployment.model.tables.layout
        self._pushes = deployment.when
        self.served = ServedTables(deployment.model.tables.copy())
        self.kernels = self.served.tables.kernels
        self.numbers = RowNumbers(self.layout)
        self._canary: deque[tuple[Floats, NDArray[np.int32], NDArray[np.int8]]] = deque(
            maxlen=_CANARY_BATCHES
        )
        self._flights: deque[Flight] = deque()
        self._next_s: float | None = None
        self._began = 0
        self._landed: list[Cost] = []
        self._shares: list[float] = []
        self._sent_bytes = 0.0

    @abstractmethod
    def select(self, number: int, now_s: float) -> Delta:
        """Take the rows of the next push.

        Parameters
        ----------
        number : int
            How many pushes began before it.
        now_s : float
            When it begins.
        """

    @abstractmethod
    def size(self, delta: Delta) -> int:
        """Return the bytes of a push on the link, for tables as large as these."""

    def received(self, delta: Delta) -> Delta:
        """Return what comes out at the other end of the link."""
        return delta

    def advance(self, now_s: float) -> None:
        """Let pushes land and begin; those that take no time do both at once.

        Rows are taken when time is let go on, and not before: of what is due in between the
        cluster knows no earlier state.
        """
        if self._next_s is None:
            self._next_s = now_s + self._pushes.interval_s
        self._land(now_s)
        if now_s >= self._next_s:
            flight = self.send(self.select(self._began, now_s), now_s)
            self._next_s = max(now_s + self._pushes.interval_s, flight.lands_s)
            self._land(now_s)

    def send(self, delta: Delta, begin_s: float) -> Flight:
        """Put a push on the link."""
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
            logits = table_logits(self.cluster.net, self.kernels, dense, sparse)
            losses.append(np.logaddexp(np.float32(0), logits) - labels * logits)
        return np.concatenate(losses, dtype=np.float32)

    def predict(self, dense: NDArray[np.float32], sparse: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the logits [B] of the tables as last pushed."""
        return table_logits(self.cluster.net, self.kernels, dense, sparse)

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


class Full(Shipping):
    """All rows, every time.

    Those that nothing touched since the last push are the same at both ends: they cost time on the
    link and nothing here.
    """

    forms: ClassVar[tuple[str, ...]] = ("full",)

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        super().__init__(spec, deployment)
        self._since = self._before = 0

    def select(self, number: int, now_s: float) -> Delta:  # noqa: ARG002 - all are alike
        """Take the rows that changed since the last push began."""
        rows = self.cluster.touched_since(self._since)
        self._before, self._since = self._since, self.cluster.step
        return self.cluster.delta(rows, now_s)

    def refused(self, delta: Delta) -> None:  # noqa: ARG002 - one is under way at a time
        """Begin the next push where this one began."""
        self._since = self._before

    def size(self, delta: Delta) -> int:  # noqa: ARG002 - whatever changed
        """Return the bytes of all rows, which need no keys."""
        return self.layout.table_bytes


class Deltas(Full):
    """The rows that training touched since the last push began, with their keys."""

    forms: ClassVar[tuple[str, ...]] = ("delta",)

    @property
    def row_bytes(self) -> int:
        """Of a row on the link: its key and its values."""
        return KEY_BYTES + VALUE_BYTES * self.layout.dim

    def size(self, delta: Delta) -> int:
        """Return the bytes of these rows and their keys."""
        return delta.count * self.row_bytes


class QuantisedDeltas(Deltas):
    """The same in 8 bits, each row with a scale and an offset of its own."""

    forms = ("delta-int8",)

    @property
    def row_bytes(self) -> int:
        """Of a row on the link: its key, scale, offset and values."""
        return KEY_BYTES + SCALE_AND_OFFSET_BYTES + self.layout.dim

    def received(self, delta: Delta) -> Delta:
        """Return the rows as 8 bits give them back."""
        values = tuple(quantise(rows).rows() if len(rows) else rows for rows in delta.values)
        return replace(delta, values=values)
