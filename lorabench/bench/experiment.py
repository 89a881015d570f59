"""What an experiment is: it measures cases and can tell at any moment what it has found so far.

`lorabench.bench.runner` runs any of them. An experiment knows nothing of files, terminals, exit
codes or of how a document is put together.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from lorabench.bench.turns import Turns
from lorabench.host.missing import Missing
from lorabench.results import schema
from lorabench.results.metrics import MetricTable


class Observer(Protocol):
    """Whoever wants to know how a run is getting on."""

    def stage(self, text: str, done: float) -> None:
        """Something that is not a case is going on; `done` is the share of it."""

    def case(self, number: int, total: int, text: str) -> None:
        """Case `number` of `total` begins."""


class Room(Protocol):
    """Whoever knows how much room there is."""

    def __call__(self, least_bytes: int, most_bytes: int | None = None) -> None:
        """Refuse a run that needs more."""


def _any_room(least_bytes: int, most_bytes: int | None = None) -> None:
    """Take all, where nothing is written."""


@dataclass
class Findings:
    """What an experiment has to say.

    Parameters
    ----------
    config : dict
        The fully resolved configuration.
    hashed : dict or None
        What of it makes two runs the same run; None for all of it.
    table : MetricTable
        What was measured.
    claims, series, rounds, unavailable, notes : sequence
        As the document has them.
    environment : dict
        What is known of where it was measured, beside what is asked of every machine.
    machine : dict or None
        What stands in the place of that, where another machine than this one was looked at.
    raw : mapping of str to array
        Samples for the file beside the document.
    logs : mapping of str to bytes
        Logs that others wrote, by their names in the folder beside the document.
    partial : bool
        It ended before its time, though nothing failed.
    sequential : schema.Sequential or None
        When it looked at its verdicts, where it ended once they were known.
    """

    config: dict[str, Any]
    hashed: dict[str, Any] | None = None
    table: MetricTable = field(default_factory=MetricTable)
    claims: Sequence[schema.Claim] = ()
    series: Sequence[schema.Series] = ()
    rounds: Sequence[schema.Round] = ()
    unavailable: Sequence[Missing] = ()
    notes: Sequence[str] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] | None = None
    raw: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    logs: Mapping[str, bytes] = field(default_factory=dict)
    partial: bool = False
    sequential: schema.Sequential | None = None


class Experiment(ABC):
    """One run of a command.

    Parameters
    ----------
    options : dataclass
        As of its command; their ranges have been checked.

    Attributes
    ----------
    alone : bool
        It would measure another run on this machine, and be measured by it.
    turns : Turns
        When it has the machine, where another run takes turns with it.
    room : callable
        Asked whether there is room on the disk as soon as it is known what goes beside the
        document: for so many bytes at least and, where it may become more, at most. It refuses
        (`InputError`) what has none.
    """

    alone: ClassVar[bool] = False

    def __init__(self, options: Any) -> None:
        self.options = options
        self.turns = Turns()
        self.room: Room = _any_room

    def preview(self) -> "Preview | None":
        """Return what ``--dry-run`` prints; None where the run is wanted."""
        return None

    def also_written(self) -> Sequence[str]:
        """Return further files that the run will write, so that they are tried before it begins."""
        return ()

    def keeps_logs(self) -> bool:
        """Whether there will be logs of others, so that their folder is tried before it begins."""
        return False

    @abstractmethod
    def measure(self, observer: Observer) -> None:
        """Measure all cases; what is finished is in `findings` from then on."""

    @abstractmethod
    def findings(self) -> Findings | None:
        """Return what has been found so far; None while there is nothing worth keeping."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what it holds, however the run has ended."""


@dataclass(frozen=True)
class Preview:
    """What a run would do.

    Parameters
    ----------
    lines : sequence of str
        For people.
    document : dict
        For ``--json``.
    """

    lines: Sequence[str]
    document: dict[str, Any]
