"""What a node is told for a run and for each of its cases."""

from dataclasses import dataclass
from typing import Literal

from lorabench.isolation.mechanism import PushKind
from lorabench.isolation.scheduling import NORMAL, SchedulingClass
from lorabench.targets.node.push import Push
from lorabench.targets.node.throttle import ThrottleRule
from lorabench.targets.service import ServiceTime

Wait = Literal["block", "spin"]

# A case whose queue only grows is given up on after this many times its schedule.
_PATIENCE = 3


@dataclass(frozen=True)
class Serving:
    """How queries are served; the same in every case.

    Parameters
    ----------
    query_rows : int
        Most candidate rows of a query.
    max_batch : int
        Most queries scored together.
    wait : {"block", "spin"}
        What a server does between arrivals.
    """

    query_rows: int
    max_batch: int
    wait: Wait


@dataclass(frozen=True)
class Sham:
    """A loop that only calculates, in the trainer's stead.

    Parameters
    ----------
    burst_s : float
        CPU time of a piece of work, as long as the trainer's steps are.
    share : float
        CPU time to take a second, all threads together.
    """

    burst_s: float
    share: float


@dataclass(frozen=True)
class Applying:
    """Rows of a push are written into the served tables, in the trainer's stead.

    Parameters
    ----------
    kind : {"delta", "stream"}
        Of push (`lorabench.targets.node.push`).
    bytes_per_s : float or None
        Most that is written a second; None for as much as one core can, or as arrives.
    """

    kind: PushKind
    bytes_per_s: float | None = None


@dataclass(frozen=True)
class TrainerSettings:
    """Where the trainer runs, on what terms, how it is disturbed.

    Parameters
    ----------
    cpus : frozenset of int
        Where.
    threads : int
        Of torch.
    scheduling : SchedulingClass
        Of all its threads.
    duty : float
        Share of the time that it works, above 0 and at most 1.
    throttle : ThrottleRule or None
        The law that changes the duty with the servers' load; None for none.
    batch : int or None
        Most samples of a step, which nothing interrupts; None for as many as the run allows.
    reuse : bool
        Take the base vectors that servers gathered anyway from the replay rings.
    rank_change_s : float or None
        Time between two changes of rank that no signal asks for; None for none.
    sham : Sham or None
        Calculate instead of learning; None for no sham.
    applying : Applying or None
        Apply a push instead of learning; None for none.
    """

    cpus: frozenset[int]
    threads: int
    scheduling: SchedulingClass = NORMAL
    duty: float = 1.0
    throttle: ThrottleRule | None = None
    batch: int | None = None
    reuse: bool = False
    rank_change_s: float | None = None
    sham: Sham | None = None
    applying: Applying | None = None

    @property
    def learns(self) -> bool:
        """Whether it is a trainer's at all."""
        return self.sham is None and self.applying is None


@dataclass(frozen=True)
class NodeCase:
    """One slice of a case of a node: what its trainer is told, and what is measured when.

    A case has a clock, which stands still between its slices.

    Parameters
    ----------
    name : str
        What the record is called.
    settings : TrainerSettings or None
        The trainer's; None leaves it idle and serves plain lookups.
    cpus : frozenset of int
        Whose busy and stolen time is counted.
    window_s : tuple of float
        Begin and end of what is measured, by the case's clock.
    begin_s : float
        What that clock reads when the slice begins.
    seat : int
        Which adapter and rings are the case's, where it learns.
    anew : bool
        Start over with an empty adapter; otherwise go on where the last slice left it.
    watch : bool
        Follow the trainer's CPU time throughout.
    slowdown : ServiceTime or None
        What every answer is held back for, on purpose.
    push : Push or None
        What is applied from this slice on; None for what was before, or nothing.
    """

    name: str
    settings: TrainerSettings | None
    cpus: frozenset[int]
    window_s: tuple[float, float]
    begin_s: float = 0.0
    seat: int = 0
    anew: bool = True
    watch: bool = False
    slowdown: ServiceTime | None = None
    push: Push | None = None

    @property
    def patience_s(self) -> float:
        """When to stop serving, by the case's clock."""
        return self.begin_s + (self.window_s[1] - self.begin_s) * _PATIENCE
