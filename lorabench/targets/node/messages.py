"""What the parent of a node's processes and they say to each other, one frozen dataclass a message.

Pickled, over a socket whose other end only the parent holds. Messages are few and small: rows,
schedules and answers lie in shared memory, of which a process is told the descriptors of what it
reads or writes, and no other.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lorabench.lora.writer import AdapterHandle, ReaderHandle
    from lorabench.memory import PageSizes, RegionHandle
    from lorabench.model.dlrm import DlrmShape
    from lorabench.model.tables import TablesHandle
    from lorabench.strategies.base import StrategySpec
    from lorabench.targets.node.exchange import ExchangeHandle, Part
    from lorabench.targets.node.memory import FeedHandle
    from lorabench.targets.node.settings import TrainerSettings, Wait
    from lorabench.targets.target import TrainReport


@dataclass(frozen=True)
class ModelSetup:
    """The model, which servers and trainer share: its tables' memory, its net's weights."""

    tables: "TablesHandle"
    shape: "DlrmShape"
    weights: "dict[str, NDArray[np.float32]]"


@dataclass(frozen=True)
class ServerSetup:
    """Become server number `server`, on `cpus` for good."""

    model: ModelSetup
    feed: "FeedHandle"
    adapter: "ReaderHandle"
    ring: "RegionHandle"
    load: "RegionHandle"
    exchange: "ExchangeHandle"
    server: int
    cpus: frozenset[int]
    query_rows: int
    max_batch: int

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Of the memory that it maps."""
        regions = (
            self.model.tables.region,
            self.feed.features,
            self.adapter.sides,
            self.adapter.pins,
            self.ring,
            self.load,
        )
        return (*(region.fd for region in regions), self.exchange.queries, self.exchange.answers)


@dataclass(frozen=True)
class TrainerSetup:
    """Become the trainer; where it runs is said anew for each condition.

    With `memory_nodes` its private memory comes from these nodes.
    """

    model: ModelSetup
    labels: "RegionHandle"
    adapter: "AdapterHandle"
    rings: "tuple[RegionHandle, ...]"
    load: "RegionHandle"
    num_dense: int
    label_delay_ns: int
    strategy: "StrategySpec"
    batch: int
    memory_nodes: tuple[int, ...] | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Of the memory that it maps."""
        regions = (
            self.model.tables.region,
            self.labels,
            self.adapter.sides,
            self.adapter.pins,
            *self.rings,
            self.load,
        )
        return tuple(region.fd for region in regions)


@dataclass(frozen=True)
class Serve:
    """Server: answer the queries of one condition.

    Parameters
    ----------
    start_ns : int
        When the schedule begins, in the ns of `time.monotonic_ns`.
    stop_ns : int
        When to give up on what is still unserved.
    part : Part
        Where its queries and answers lie.
    adapted : bool
        Serve from the adapter, append to the replay ring and tell the load; otherwise plain lookups
        alone.
    wait : {"block", "spin"}
        What to do until the next arrival.
    reuse : bool
        Keep the pooled base vectors that are worth it in the replay ring, which the trainer has to
        have laid out for them.
    """

    start_ns: int
    stop_ns: int
    part: "Part"
    adapted: bool
    wait: "Wait" = "block"
    reuse: bool = False


@dataclass(frozen=True)
class Prepare:
    """Trainer: start over with an empty adapter, placed like this.

    With `drain` it learns from all that the rings hold, however old: for measuring how fast it is
    when nothing keeps it waiting.
    """

    settings: "TrainerSettings"
    drain: bool = False


@dataclass(frozen=True)
class Train:
    """Trainer: learn until told to stop."""


@dataclass(frozen=True)
class Stop:
    """Trainer: stop and report."""


@dataclass(frozen=True)
class Ready:
    """The process is set up; `table_pages` is what it maps the tables with."""

    table_pages: "PageSizes"


@dataclass(frozen=True)
class Served:
    """The server's answers are written; it slept `wakeups` times between them."""

    wakeups: int


@dataclass(frozen=True)
class Failed:
    """The process met an exception; `text` is its traceback, or what the user can act on."""

    text: str
    actionable: bool = False


ToServer = ServerSetup | Serve
ToTrainer = TrainerSetup | Prepare | Train | Stop
FromServer = Ready | Served | Failed
FromTrainer: TypeAlias = "Ready | TrainReport | Failed"  # TrainReport comes with numpy
