"""What the trainer of a node is told before a condition."""

from dataclasses import dataclass

from lorabench.isolation.scheduling import NORMAL, SchedulingClass
from lorabench.targets.node.throttle import ThrottleRule


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
    rerank_s : float or None
        Time between two changes of rank that no signal asks for; None for none.
    """

    cpus: frozenset[int]
    threads: int
    scheduling: SchedulingClass = NORMAL
    duty: float = 1.0
    throttle: ThrottleRule | None = None
    batch: int | None = None
    reuse: bool = False
    rerank_s: float | None = None
