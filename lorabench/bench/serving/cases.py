"""What a serving node is measured in: the servers alone, or beside a trainer or an applier.

A name given by a user is parsed once, into the condition that a case holds; from there on the case
is handed down, and nothing is found again by its name.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lorabench.isolation.conditions import Condition
from lorabench.isolation.machine import Machine
from lorabench.isolation.mechanism import PushKind
from lorabench.results.case import Case, Label
from lorabench.targets.node.settings import Applying, Sham, TrainerSettings
from lorabench.targets.node.throttle import ThrottleRule

# What isolates best is what a verdict is about, if it was run: these bundles first.
_STRONGEST = ("isolated", "rdt", "numa")

# A change of rank that no signal asks for, to be held against the same condition without it.
_RANK_CHANGE_S = 1.0

# On cores that it shares, a throttled trainer makes so many steps of one batch: the throttle is
# asked between steps, and on a busy core a trainer takes ten times a step's CPU time to finish it.
_SHARED_STEPS = 4


@dataclass(frozen=True, eq=False)
class ServingCase(Case):
    """A case of a serving node.

    Parameters
    ----------
    condition : Condition or None
        Where the trainer is and what holds it in check; None for serving alone.
    duty : float
        Share of the time in which it may work, above 0 and at most 1.
    sham : bool
        Something that only calculates stands where the condition has its trainer.
    planted : float
        Share by which every answer takes longer, on purpose.
    """

    condition: Condition | None = None
    duty: float = 1.0
    sham: bool = False
    planted: float = 0.0

    @property
    def learns(self) -> bool:
        """Whether a trainer learns beside the servers."""
        return self.condition is not None and not self.sham and self.applies is None

    @property
    def applies(self) -> PushKind | None:
        """The push that is applied beside the servers; None where none is."""
        return None if self.condition is None else self.condition.applies

    def has(self, mechanism: str) -> bool:
        """Whether a mechanism is part of it."""
        return self.condition is not None and mechanism in self.condition.mechanisms

    @property
    def without_rank_change(self) -> Condition | None:
        """The condition that a change of rank is held against; None where there is none."""
        if self.condition is None or not self.has("rank-change"):
            return None
        kept = tuple(m for m in self.condition.mechanisms if m != "rank-change")
        return replace(self.condition, mechanisms=kept)


SOLO = ServingCase("solo")
SOLO_REPEAT = ServingCase("solo_repeat")
SOLO_ALL = ServingCase("solo_all")

PLANTED = ServingCase("planted", planted=0.2)
"""Serving alone, but slower by a fifth: whoever cannot see that has seen nothing."""

CONTROLS = (SOLO, SOLO_REPEAT)
"""The denominator: serving alone, twice, so that a run also shows how far it agrees with itself."""


def sham_of(case: ServingCase) -> ServingCase:
    """Return the control of a case: as busy a core in the same place, and nothing learned."""
    return ServingCase("sham", condition=case.condition, sham=True)


def shams(cases: Iterable[ServingCase]) -> dict[ServingCase, ServingCase]:
    """Return each sham and the case that it is the control of."""
    found = list(cases)
    return {
        sham: case
        for sham in found
        if sham.sham
        for case in found
        if case.learns and (case.condition, case.duty) == (sham.condition, sham.duty)
    }


def case_of(condition: Condition, duty: float | None = None) -> ServingCase:
    """Return the case of a condition, at a duty where one is swept."""
    if duty is None:
        return ServingCase(condition.name, condition=condition)
    labels: dict[str, Label] = {"condition": condition.name, "duty": duty}
    return ServingCase(f"{condition.name}@{duty:g}", labels, condition, duty)


def trainer_settings(
    case: ServingCase,
    machine: Machine,
    *,
    batch: int,
    rule: ThrottleRule | None,
    sham: Sham | None = None,
    bytes_per_s: float | None = None,
) -> TrainerSettings | None:
    """Return what the trainer is told before a case; None where there is none.

    The servers stay where the plan has them in every case, so that a ratio to `solo` shows what the
    trainer does and nothing else.

    Parameters
    ----------
    case : ServingCase
        Which.
    machine : Machine
        Where.
    batch : int
        Most samples of a step of the run.
    rule : ThrottleRule or None
        Law of a throttle, for a case that has one.
    sham : Sham or None
        What a sham does.
    bytes_per_s : float or None
        Most that is applied of a delta a second, for a case that does that.
    """
    condition = case.condition
    if condition is None:
        return None
    cpus = {
        "naive": machine.topology.allowed,
        "pinned": frozenset(machine.plan.trainer_cpus),
        "shared": frozenset(machine.plan.serving_cpus),
    }[condition.place]
    throttled = case.has("throttle")
    small = throttled and condition.place == "shared"
    applying = None
    if case.applies is not None:
        applying = Applying(case.applies, bytes_per_s if case.applies == "delta" else None)
    return TrainerSettings(
        cpus,
        # A push is applied by one thread.
        len(cpus) if applying is None else 1,
        scheduling=condition.scheduling,
        # A sweep asks what is too much; an unconfined trainer takes what it gets.
        duty=case.duty
        if "duty" in case.labels or condition.place != "pinned"
        else machine.plan.trainer_share,
        throttle=rule if throttled else None,
        batch=max(1, batch // _SHARED_STEPS) if small else None,
        reuse=case.has("reuse"),
        rank_change_s=_RANK_CHANGE_S if case.has("rank-change") else None,
        sham=sham if case.sham else None,
        applying=applying,
    )


def strongest(cases: Iterable[ServingCase]) -> ServingCase | None:
    """Return the case that a verdict is about; None where none of them isolates.

    The bundles go first, what isolates most before what isolates less; then of those with cores of
    their own, and then of those that share, the one with most mechanisms, the last if there are
    several.
    """
    found: list[tuple[tuple[int, int, int], ServingCase]] = []
    for number, case in enumerate(cases):
        condition = case.condition
        if condition is None or not case.learns:
            continue
        if condition.place == "naive" or case.has("rank-change"):
            continue
        checked = set(condition.mechanisms) - {"reuse"}
        if condition.name in _STRONGEST:
            found.append(((2 + len(_STRONGEST) - _STRONGEST.index(condition.name), 0, 0), case))
        elif condition.place == "pinned":
            found.append(((1, len(checked), number), case))
        elif checked:
            found.append(((0, len(checked), number), case))
    return max(found, key=lambda one: one[0])[1] if found else None
