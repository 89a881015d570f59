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
    from lorabench.targets.loadgen import LoadTest
    from lorabench.targets.node.exchange import ExchangeHandle, Part
    from lorabench.targets.node.memory import FeedHandle
    from lorabench.targets.node.push import Push
    from lorabench.targets.node.settings import TrainerSettings, Wait
    from lorabench.targets.service import ServiceTime
    from lorabench.targets.training import TrainReport


@dataclass(frozen=True)
class ModelSetup:
    """The model, which servers and trainer share: its tables' memory, its net's weights."""

    tables: "TablesHandle"
    shape: "DlrmShape"
    weights: "dict[str, NDArray[np.float32]]"


@dataclass(frozen=True)
class ServerSetup:
    """Become server number `server`, on `cpus` for good.

    It has an adapter and a replay ring for each seat, of which a case with a trainer takes one.
    """

    model: ModelSetup
    feed: "FeedHandle"
    adapters: "tuple[ReaderHandle, ...]"
    rings: "tuple[RegionHandle, ...]"
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
            *(region for adapter in self.adapters for region in (adapter.sides, adapter.pins)),
            *self.rings,
            self.load,
        )
        exchange = self.exchange
        bells = exchange.issued[self.server], exchange.answered
        return (*(region.fd for region in regions), exchange.queries, exchange.answers, *bells)


@dataclass(frozen=True)
class LoadGeneratorSetup:
    """Become the process in which MLCommons LoadGen runs."""

    exchange: "ExchangeHandle"

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Of the memory that it maps, and of those that it wakes and hears of."""
        exchange = self.exchange
        return (exchange.queries, exchange.answers, *exchange.issued, exchange.answered)


@dataclass(frozen=True)
class TrainerSetup:
    """Become the trainer; where it runs is said anew for each slice.

    `rings` are those of each seat, one a server. With `memory_nodes` its private memory
    comes from these nodes.
    """

    model: ModelSetup
    labels: "RegionHandle"
    adapters: "tuple[AdapterHandle, ...]"
    rings: "tuple[tuple[RegionHandle, ...], ...]"
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
            *(region for adapter in self.adapters for region in (adapter.sides, adapter.pins)),
            *(ring for seat in self.rings for ring in seat),
            self.load,
        )
        return tuple(region.fd for region in regions)


@dataclass(frozen=True)
class Serve:
    """Server: get ready to answer the queries of a slice, say `Ready`, and wait for `Go`.

    Parameters
    ----------
    part : Part
        Where its queries and answers lie.
    seat : int or None
        The adapter to serve from and the replay ring to append to; None for plain lookups alone.
    wait : {"block", "spin"}
        What to do until the next arrival.
    reuse : bool
        Keep the pooled base vectors that are worth it in the replay ring, which the trainer has to
        have laid out for them.
    tell : bool
        Tell the load in its line.
    cycle : bool
        Begin anew whenever all is answered, until the time is up.
    slowdown : ServiceTime or None
        What to hold every answer back for; None for nothing.
    live : bool
        Queries have no arrival yet: a load generator hands them over.
    """

    part: "Part"
    seat: int | None = None
    wait: "Wait" = "block"
    reuse: bool = False
    tell: bool = False
    cycle: bool = False
    slowdown: "ServiceTime | None" = None
    live: bool = False


@dataclass(frozen=True)
class Go:
    """Server, load generator: begin.

    Parameters
    ----------
    start_ns : int
        When the case's clock read 0, in the ns of `time.monotonic_ns`.
    stop_ns : int
        When, by that clock, to give up on what is still unserved.
    """

    start_ns: int
    stop_ns: int


@dataclass(frozen=True, eq=False)
class Issue:
    """Load generator: get a test ready, say `Ready`, wait for `Go`, run it, say `Issued`.

    Parameters
    ----------
    test : LoadTest
        Which.
    server : int32 [N]
        Who serves each query of what is offered.
    rows : int
        Rows of all queries.
    folder : str
        Where LoadGen opens its logs; it may be gone once the load generator says `Ready`.
    """

    test: "LoadTest"
    server: "NDArray[np.int32]"
    rows: int
    folder: str


@dataclass(frozen=True)
class Issued:
    """The load generator has handed all queries over, and has heard of all answers.

    `logs` is what LoadGen wrote, by the names of its files.
    """

    logs: dict[str, bytes]


@dataclass(frozen=True)
class Prepare:
    """Trainer: take a seat, placed and on the terms that the settings give.

    `anew` starts over with an empty adapter and empty rings; otherwise it goes on where the seat
    was left. Without a seat there is nothing to learn (`TrainerSettings.sham`, `applying`); what a
    throttle has seen is then kept by the name of the case. With `drain` it learns from all that
    the rings hold, however old: for measuring how fast it is when nothing keeps it waiting. A
    `push` takes the place of the last of its kind.
    """

    settings: "TrainerSettings"
    seat: int | None
    anew: bool = True
    drain: bool = False
    name: str = ""
    push: "Push | None" = None


@dataclass(frozen=True)
class Train:
    """Trainer: learn until told to stop.

    Parameters
    ----------
    start_ns : int
        As of `Go`.
    begin_ns : int
        What the case's clock reads when the slice begins; nothing is done before.
    end_ns : int or None
        Where the case's clock stands still until the next slice; labels that arrive later are not
        seen before that. None lets it run on.
    """

    start_ns: int
    begin_ns: int = 0
    end_ns: int | None = None


@dataclass(frozen=True)
class Stop:
    """Trainer: stop and report."""


@dataclass(frozen=True)
class Ready:
    """The process is ready for what comes next.

    `table_pages` is what it maps the tables with; None where it does not map them.
    """

    table_pages: "PageSizes | None" = None


@dataclass(frozen=True)
class Served:
    """The server's answers are written.

    Parameters
    ----------
    queries : int
        How many it answered, those that it answered again included.
    last_ns : int
        When it had answered the last, by the case's clock; 0 where it answered none.
    append_ns : int
        What offering rows to the trainer took.
    """

    queries: int
    last_ns: int
    append_ns: int


@dataclass(frozen=True)
class Failed:
    """The process met an exception; `text` is its traceback, or what the user can act on."""

    text: str
    actionable: bool = False


ToServer = ServerSetup | Serve | Go
ToTrainer = TrainerSetup | Prepare | Train | Stop
ToLoadGenerator = LoadGeneratorSetup | Issue | Go
FromServer = Ready | Served | Failed
FromLoadGenerator = Ready | Issued | Failed
FromTrainer: TypeAlias = "Ready | TrainReport | Failed"  # TrainReport comes with numpy
