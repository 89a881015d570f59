"""What a condition is: a place for the trainer and the mechanisms that hold it in check.

``PLACE+MECHANISM+...``, or the name of a bundle. Pure: which of them a machine offers is found
elsewhere (`lorabench.isolation`), what each does to a process is the worker's, and what a condition
means is written in ``docs/isolation.md``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from lorabench.errors import InputError
from lorabench.host.missing import Missing
from lorabench.isolation.scheduling import BATCH, IDLE, NORMAL, SchedulingClass

Place = Literal["naive", "pinned", "shared"]
Mechanism = Literal["numa", "rdt", "cgroup", "batch", "idle", "throttle", "reuse", "rank-change"]

PLACES: tuple[Place, ...] = get_args(Place)
MECHANISMS: tuple[Mechanism, ...] = get_args(Mechanism)

BUNDLES: dict[str, tuple[Mechanism, ...]] = {
    "numa": ("numa",),
    "rdt": ("numa", "rdt"),
    "isolated": ("numa", "rdt", "cgroup", "batch", "throttle", "reuse"),
}
"""Names for `pinned` with these mechanisms; `numa` in `rdt`, and all in `isolated`, where the
machine offers them."""

# Without this mechanism a bundle is not what its name says.
_CORE: dict[str, Mechanism] = {"numa": "numa", "rdt": "rdt"}


@dataclass(frozen=True)
class Condition:
    """An isolation condition.

    Parameters
    ----------
    name : str
        As it was asked for, and as it stands in results.
    place : {"naive", "pinned", "shared"}
        Wherever the OS puts the trainer, on cores of its own, or on the servers' cores.
    mechanisms : tuple of str
        What holds it in check, in the order of `MECHANISMS`.
    """

    name: str
    place: Place
    mechanisms: tuple[Mechanism, ...] = ()

    def has(self, mechanism: Mechanism) -> bool:
        """Whether a mechanism is part of it."""
        return mechanism in self.mechanisms

    @property
    def without_reuse(self) -> "Condition":
        """What is left of a bundle where no base vector is worth keeping; others stay whole."""
        if self.name not in BUNDLES:
            return self
        return Condition(self.name, self.place, tuple(m for m in self.mechanisms if m != "reuse"))

    @property
    def scheduling(self) -> SchedulingClass:
        """Scheduling class of the trainer."""
        if self.has("idle"):
            return IDLE
        return BATCH if self.has("batch") else NORMAL


def parse_condition(name: str, option: str = "--conditions") -> Condition:
    """Read a condition's name.

    Parameters
    ----------
    name : str
        A place, a bundle, or a place and mechanisms joined by ``+``.
    option : str
        Where it was given, for the message.

    Raises
    ------
    InputError
        It is none of these, or mechanisms exclude each other.
    """
    if name in BUNDLES:
        return Condition(name, "pinned", BUNDLES[name])
    place, *parts = name.split("+")
    # `rerank` is what `rank-change` was called before.
    wanted = ["rank-change" if part == "rerank" else part for part in parts]
    if place not in PLACES:
        raise InputError(
            f"{option}: found {name!r}, expected {', '.join((*PLACES, *BUNDLES))}, or one of the "
            f"first {len(PLACES)} and mechanisms, such as pinned+throttle"
        )
    for mechanism in wanted:
        if mechanism not in MECHANISMS:
            raise InputError(
                f"{option}: found {mechanism!r} in {name!r}, expected some of "
                f"{', '.join(MECHANISMS)}"
            )
    if len(set(wanted)) < len(wanted):
        raise InputError(f"{option}: found {name!r}, expected each mechanism once")
    if {"batch", "idle"} <= set(wanted):
        raise InputError(f"{option}: found {name!r}, expected one scheduling class, batch or idle")
    if place == "naive" and {"numa", "rdt", "cgroup"} & set(wanted):
        raise InputError(
            f"{option}: found {name!r}, expected pinned with numa, rdt or cgroup: a trainer that "
            "may run anywhere has no memory or cache of its own"
        )
    if place == "shared" and {"numa", "rdt"} & set(wanted):
        raise InputError(
            f"{option}: found {name!r}, expected pinned with numa or rdt: both are planned for "
            "cores that the trainer has to itself"
        )
    return Condition(
        name,
        next(p for p in PLACES if p == place),
        tuple(m for m in MECHANISMS if m in wanted),
    )


def resolve(
    condition: Condition, missing: Mapping[Mechanism, Missing]
) -> Condition | tuple[Missing, ...]:
    """Fit a condition to a machine.

    Parameters
    ----------
    condition : Condition
        As it was asked for.
    missing : mapping of str to Missing
        Mechanisms that the machine does not offer, with the reason.

    Returns
    -------
    Condition or tuple of Missing
        What can be run: a bundle without what is missing, anything else whole; or why it cannot.
    """
    lacking = [m for m in condition.mechanisms if m in missing]
    needed = lacking
    if condition.name in BUNDLES:
        core = _CORE.get(condition.name)
        needed = [m for m in lacking if m == core]
    if needed:
        return tuple(Missing(condition.name, missing[m].why, missing[m].enable) for m in needed)
    kept = tuple(m for m in condition.mechanisms if m not in missing)
    return Condition(condition.name, condition.place, kept)
