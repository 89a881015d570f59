"""What a condition is: a place for the trainer and the mechanisms that hold it in check.

``PLACE+MECHANISM+...``, or the name of a bundle. ``delta-apply`` and ``stream-apply`` also go with
a bundle, and without a place are `pinned`. What each mechanism needs and does is said in
`lorabench.isolation.mechanism`; here names are read, fitted to a machine, and applied. What a
condition means is written in ``docs/isolation.md``.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from lorabench.errors import InputError
from lorabench.host.missing import Missing
from lorabench.isolation.confine import Workers
from lorabench.isolation.mechanism import APPLYING, MECHANISMS, PLACES, Evidence, Place, PushKind
from lorabench.isolation.resctrl import Monitor
from lorabench.isolation.scheduling import NORMAL, SchedulingClass

BUNDLES: dict[str, tuple[str, ...]] = {
    "numa": ("numa",),
    "rdt": ("numa", "rdt"),
    "isolated": ("numa", "rdt", "cgroup", "batch", "throttle", "reuse"),
}
"""Names for `pinned` with these mechanisms; `numa` in `rdt`, and all in `isolated`, where the
machine offers them."""

# Without this mechanism a bundle is not what its name says.
_CORE = {"numa": "numa", "rdt": "rdt"}

_NAMES = tuple(mechanism.name for mechanism in MECHANISMS)
_FORMERLY = {old: mechanism.name for mechanism in MECHANISMS for old in mechanism.formerly}


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
    mechanisms: tuple[str, ...] = ()

    @property
    def bundle(self) -> str | None:
        """The bundle that it is, or in which it applies a push; None where it is composed."""
        first = self.name.split("+")[0]
        return first if first in BUNDLES else None

    @property
    def without_reuse(self) -> "Condition":
        """What is left of a bundle where no base vector is worth keeping; others stay whole."""
        if self.bundle is None:
            return self
        return Condition(self.name, self.place, tuple(m for m in self.mechanisms if m != "reuse"))

    @property
    def applies(self) -> PushKind | None:
        """The push that is applied in the trainer's stead; None where something is learned."""
        return next(
            (m.applies for m in MECHANISMS if m.name in self.mechanisms and m.applies), None
        )

    @property
    def scheduling(self) -> SchedulingClass:
        """Scheduling class of the trainer."""
        given = (m.scheduling for m in MECHANISMS if m.name in self.mechanisms and m.scheduling)
        return next(given, NORMAL)


def parse_condition(name: str, option: str = "--conditions") -> Condition:
    """Read a condition's name.

    Parameters
    ----------
    name : str
        A place, a bundle, or a place and mechanisms joined by ``+``; a push is applied in
        `pinned` where no place is named, or in a bundle.
    option : str
        Where it was given, for the message.

    Raises
    ------
    InputError
        It is none of these, or mechanisms exclude each other.
    """
    first, *parts = name.split("+")
    if first in BUNDLES and (not parts or (len(parts) == 1 and parts[0] in APPLYING)):
        return Condition(name, "pinned", _bundled(first, parts))
    place = next((known for known in PLACES if known == first), None)
    if first in APPLYING:
        place, parts = "pinned", [first, *parts]
    if place is None:
        raise InputError(
            f"{option}: found {name!r}, expected {', '.join((*PLACES, *BUNDLES, *APPLYING))}, or "
            f"one of the first {len(PLACES)} and mechanisms, such as pinned+throttle"
        )
    wanted = [_FORMERLY.get(part, part) for part in parts]
    for part in wanted:
        if part not in _NAMES:
            raise InputError(
                f"{option}: found {part!r} in {name!r}, expected some of {', '.join(_NAMES)}"
            )
    if len(set(wanted)) < len(wanted):
        raise InputError(f"{option}: found {name!r}, expected each mechanism once")
    _check_conflicts(name, place, wanted, option)
    # Under its present name, whatever it was called before: results are told apart by it.
    present = "+".join(wanted if first in APPLYING else (place, *wanted))
    return Condition(present, place, tuple(known for known in _NAMES if known in wanted))


def _bundled(bundle: str, applying: Sequence[str]) -> tuple[str, ...]:
    """Return the mechanisms of a bundle; where it applies a push, those that go with that."""
    without = {other for m in MECHANISMS if m.name in applying for other in m.excludes}
    return tuple(m for m in (*BUNDLES[bundle], *applying) if m not in without)


def _check_conflicts(name: str, place: Place, wanted: Sequence[str], option: str) -> None:
    """Refuse mechanisms that exclude each other, or that the place does not have."""
    for mechanism in (m for m in MECHANISMS if m.name in wanted):
        for other, expected in mechanism.excludes.items():
            if other in wanted:
                raise InputError(f"{option}: found {name!r}, expected {expected}")
        if place in mechanism.refuses:
            alike = [m.name for m in MECHANISMS if place in m.refuses]
            shown = " or ".join(filter(None, (", ".join(alike[:-1]), alike[-1])))
            why = mechanism.refuses[place]
            raise InputError(f"{option}: found {name!r}, expected pinned with {shown}: {why}")


def resolve(
    condition: Condition, missing: Mapping[str, Missing]
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
    if condition.bundle is not None:
        core = _CORE.get(condition.bundle)
        needed = [m for m in lacking if m == core]
    if needed:
        return tuple(Missing(condition.name, missing[m].why, missing[m].enable) for m in needed)
    kept = tuple(m for m in condition.mechanisms if m not in missing)
    return Condition(condition.name, condition.place, kept)


@contextmanager
def applied(
    condition: Condition | None, machine: Evidence, workers: Workers
) -> Iterator[Monitor | None]:
    """Apply what a condition takes to running processes, for as long as the context lasts.

    What a worker does itself (its CPUs, its class, its memory) is not done here.

    Parameters
    ----------
    condition : Condition or None
        Fitted to the machine (`resolve`); None, as serving alone, takes nothing.
    machine : Evidence
        Where.
    workers : Workers
        The processes.

    Yields
    ------
    Monitor or None
        Samples what groups use of caches and memory; None where nothing is counted.

    Raises
    ------
    MachineError
        The kernel refuses something; all of it is undone.
    """
    names = () if condition is None else condition.mechanisms
    monitor = None
    with ExitStack() as stack:
        # What counts begins last.
        for mechanism in reversed([m for m in MECHANISMS if m.name in names]):
            monitor = stack.enter_context(mechanism.applied(machine, workers)) or monitor
        yield monitor
