"""What is trained elsewhere and sent: ``full``, ``delta`` and ``delta-int8``.

A training cluster learns at full precision; every push takes rows as they are there at that moment,
and they are served once they have been sent and written (`lorabench.updates.link`). The next push
starts when an interval has passed and the last one has ended.
"""

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

from lorabench.strategies.base import StrategySpec
from lorabench.strategies.deployment import Deployment
from lorabench.strategies.ideal import Ideal
from lorabench.strategies.pushed import Pushed
from lorabench.updates.cluster import FULL_PRECISION
from lorabench.updates.delta import Delta, Encoding
from lorabench.updates.payload import KEY_BYTES, SCALE_AND_OFFSET_BYTES, VALUE_BYTES
from lorabench.updates.quantise import quantise


class Shipping(Pushed):
    """What a training cluster learned, in pushes; parameters as of `Strategy`.

    Whoever derives from it says which rows a push takes (`select`) and how large it is (`size`).
    """

    default_rate = Ideal.default_rate
    default_decay = Ideal.default_decay
    trained_by = FULL_PRECISION
    by_interval = True

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        self.cluster = spec.cluster(deployment)
        super().__init__(spec, deployment)
        self._next_s: float | None = None
        self._progress = deployment.progress
        self._windows = deployment.progress.windows_ended

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

    def advance(self, now_s: float) -> None:
        """Let pushes land and begin; those that take no time do both at once.

        Rows are taken when time is let go on, and not before: of what is due in between the
        cluster knows no earlier state.
        """
        if self._next_s is None:
            self._next_s = now_s + self._pushes.interval_s
        self._land(now_s)
        if self._due(now_s):
            flight = self.send(self.select(self._began, now_s), now_s)
            self._next_s = max(now_s + self._pushes.interval_s, flight.lands_s)
            self._land(now_s)

    def _due(self, now_s: float) -> bool:
        """Whether a push is to begin now."""
        if not self._pushes.at_window_ends:
            return self._next_s is not None and now_s >= self._next_s
        ended, self._windows = self._windows, self._progress.windows_ended
        return self._windows > ended


class Full(Shipping):
    """All rows, every time.

    Those that nothing touched since the last push are the same at both ends: they cost time on the
    link and nothing here.
    """

    forms: ClassVar[tuple[str, ...]] = ("full",)
    # A file of all rows would be none of a delta.
    encoding: ClassVar[Encoding | None] = None

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
    encoding: ClassVar[Encoding | None] = "fp32"

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
    encoding = "int8"

    def __init__(self, spec: StrategySpec, deployment: Deployment) -> None:
        super().__init__(spec, deployment)
        self._pushes = replace(self._pushes, sync=self._pushes.sync.of_int8)

    @property
    def row_bytes(self) -> int:
        """Of a row on the link: its key, scale, offset and values."""
        return KEY_BYTES + SCALE_AND_OFFSET_BYTES + self.layout.dim

    def received(self, delta: Delta) -> Delta:
        """Return the rows as 8 bits give them back."""
        values = tuple(quantise(rows).rows() if len(rows) else rows for rows in delta.values)
        return replace(delta, values=values)
