"""What holds a trainer in check: one class a mechanism says what it needs, refuses, is and does.

A condition is a place for the trainer and some of these (`lorabench.isolation.conditions`). To add
one, subclass `Mechanism`, put an instance into `MECHANISMS`, and subclass the contract that all
pass (``tests/support/mechanism_contract.py``). `probe` decides from `Evidence` and looks at nothing
itself; `applied` acts, and undoes what it did. A mechanism that is a setting of the trainer's
(`throttle`, `reuse`, `rank-change`, a scheduling class), what its process does in its stead
(`delta-apply`, `stream-apply`) or a place of its memory (`numa`) does nothing here: whoever starts
the trainer asks the condition for it.

That what a setting needs, says and does stands in one place is the habit of pyperf's
``_system.py``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from lorabench.host.missing import Missing
from lorabench.host.resctrl import ResctrlMount
from lorabench.host.topology import Topology
from lorabench.isolation.confine import Workers, in_cgroups, in_resctrl
from lorabench.isolation.places import Offer
from lorabench.isolation.plan import Plan
from lorabench.isolation.resctrl import Monitor
from lorabench.isolation.scheduling import BATCH, IDLE, SchedulingClass

Place = Literal["naive", "pinned", "shared"]
"""Where the trainer runs: wherever the OS puts it, on cores of its own, on the servers' cores."""
PLACES: tuple[Place, ...] = get_args(Place)

PushKind = Literal["delta", "stream"]
"""What is applied: rows that are sent together, or as training touches them."""


@dataclass(frozen=True)
class Evidence:
    """What is known of a machine before anything is started.

    Attributes
    ----------
    topology : Topology
        Its processors and memory.
    plan : Plan
        Who runs where.
    cgroups : Offer
        Where control groups can be made.
    resctrl : ResctrlMount or Missing
        Where caches and bandwidth can be divided, or why not.
    tried : mapping of str to Missing
        What was tried and refused: ``placement`` of memory, return from ``idle`` and from
        ``batch``. Of a recorded tree, where nothing can be tried, nothing.
    """

    topology: Topology
    plan: Plan
    cgroups: Offer
    resctrl: ResctrlMount | Missing
    tried: Mapping[str, Missing]


class Mechanism:
    """What holds a trainer in check.

    Attributes
    ----------
    name : str
        As a condition names it.
    formerly : tuple of str
        Names that are still read.
    excludes : mapping of str to str
        Mechanisms that it does not go with -> what is expected instead.
    refuses : mapping of str to str
        Places that it cannot be had in -> why.
    scheduling : SchedulingClass or None
        Class that it gives the trainer's threads.
    rows : tuple of str
        Rows of ``lorabench doctor`` that show what it rests on.
    applies : {"delta", "stream"} or None
        The push that is applied in the trainer's stead. Its name alone is `pinned` with it.
    """

    name: ClassVar[str]
    formerly: ClassVar[tuple[str, ...]] = ()
    excludes: ClassVar[Mapping[str, str]] = {}
    refuses: ClassVar[Mapping[Place, str]] = {}
    scheduling: ClassVar[SchedulingClass | None] = None
    rows: ClassVar[tuple[str, ...]] = ()
    applies: ClassVar[PushKind | None] = None

    def probe(self, evidence: Evidence) -> Missing | None:  # noqa: ARG002
        """Return why a machine does not offer it; None where it does."""
        return None

    @contextmanager
    def applied(
        self,
        evidence: Evidence,  # noqa: ARG002
        workers: Workers,  # noqa: ARG002
    ) -> Iterator[Monitor | None]:
        """Apply to running processes for as long as the context lasts what takes the parent to do.

        Yields
        ------
        Monitor or None
            What it counts meanwhile.

        Raises
        ------
        MachineError
            The kernel refuses something; all of it is undone.
        """
        yield None


# Why a place is refused, by who shares the reason.
_ANYWHERE = "a trainer that may run anywhere has no memory or cache of its own"
_BESIDE = "both are planned for cores that the trainer has to itself"
_ONE_CLASS = "one scheduling class, batch or idle"
_ONE_PUSH = "one push, delta-apply or stream-apply"
_NO_TRAINER = "no reuse or rank-change beside delta-apply or stream-apply, where nothing is learned"


class Numa(Mechanism):
    """Tables, adapter, rings and the trainer's own memory on the plan's nodes.

    Placed when the memory is made (`lorabench.memory.MemoryPolicy`) and, of a worker's own, by
    itself (`lorabench.isolation.numa`).
    """

    name = "numa"
    refuses: ClassVar = {"naive": _ANYWHERE, "shared": _BESIDE}
    rows = ("numa",)

    def probe(self, evidence: Evidence) -> Missing | None:
        """Look for two nodes, leave to place memory, and a plan that does."""
        topology = evidence.topology
        nodes = [node for node in topology.nodes if node.memory_bytes or node.cpus]
        usable = [n for n in nodes if n.memory_bytes and n.id in topology.allowed_nodes]
        if len(nodes) < 2 or (len(usable) < 2 and evidence.plan.memory is None):
            has = f"the machine has {len(nodes)} NUMA node{'s' * (len(nodes) > 1)}"
            lost = [one for one in topology.dropped if one.what.startswith("node")]
            if lost:
                names = ", ".join(one.what for one in lost)
                return Missing(
                    self.name,
                    f"{has} ({names} left out): there is no nearer memory to bind to",
                    f"have the firmware or hypervisor corrected: {lost[0].why}",
                )
            few = f", and memory that may be used on {len(usable)} of them" * (len(nodes) > 1)
            return Missing(
                self.name,
                f"{has}{few}: there is no nearer memory to bind to",
                "run on a machine with two or more nodes (several sockets, or sub-NUMA clustering)",
            )
        if (refused := evidence.tried.get("placement")) is not None:
            why = f"the machine has {len(nodes)} NUMA nodes, but {refused.why}"
            return Missing(self.name, why, refused.enable)
        if evidence.plan.memory is None:
            return Missing(
                self.name,
                "the plan places no memory",
                "give a plan that has a part memory (--plan), or none, so that one is made",
            )
        return None


class Rdt(Mechanism):
    """Resctrl groups for servers and trainer: cache ways and memory bandwidth."""

    name = "rdt"
    refuses: ClassVar = {"naive": _ANYWHERE, "shared": _BESIDE}
    rows = ("cat l3", "cat l2", "mba")

    def probe(self, evidence: Evidence) -> Missing | None:
        """Look for a resctrl that has groups to give away, and a plan that divides something."""
        if isinstance(evidence.resctrl, Missing):
            return Missing(self.name, evidence.resctrl.why, evidence.resctrl.enable)
        if evidence.plan.rdt is None:
            return Missing(
                self.name,
                "the plan divides neither cache nor bandwidth: servers and trainer share nothing "
                "that resctrl can divide",
                "give other CPUs (--serving-cpus, --trainer-cpus) or a plan (--plan)",
            )
        return None

    @contextmanager
    def applied(self, evidence: Evidence, workers: Workers) -> Iterator[Monitor | None]:
        """Keep servers and trainer in resctrl groups."""
        assert isinstance(evidence.resctrl, ResctrlMount)
        assert evidence.plan.rdt is not None
        with in_resctrl(workers, evidence.resctrl, evidence.plan.rdt) as monitor:
            yield monitor


class Cgroup(Mechanism):
    """Control groups: a cpuset each; on shared cores the trainer's gives way as a group."""

    name = "cgroup"
    refuses: ClassVar = {"naive": _ANYWHERE}
    rows = ("cgroup cpuset", "cgroup weight")

    def probe(self, evidence: Evidence) -> Missing | None:
        """Look for a place to make groups with cpuset, and with cpu."""
        for place in (evidence.cgroups.cpu, evidence.cgroups.cpuset):
            if isinstance(place, Missing):
                return Missing(self.name, place.why, place.enable)
        return None

    @contextmanager
    def applied(self, evidence: Evidence, workers: Workers) -> Iterator[Monitor | None]:
        """Keep servers and trainer in control groups."""
        with in_cgroups(workers, evidence.cgroups):
            yield None


class _Scheduled(Mechanism):
    """A scheduling class, which has to be left again for the next condition."""

    rows = ("sched_idle",)

    def probe(self, evidence: Evidence) -> Missing | None:
        """Look whether the way back was refused."""
        refused = evidence.tried.get(self.name)
        return None if refused is None else Missing(self.name, refused.why, refused.enable)


class Batch(_Scheduled):
    """The trainer's threads are SCHED_BATCH."""

    name = "batch"
    excludes: ClassVar = {"idle": _ONE_CLASS}
    scheduling = BATCH


class Idle(_Scheduled):
    """The trainer's threads are SCHED_IDLE."""

    name = "idle"
    excludes: ClassVar = {"batch": _ONE_CLASS}
    scheduling = IDLE


class Throttle(Mechanism):
    """The trainer's duty follows the servers' load."""

    name = "throttle"


class Reuse(Mechanism):
    """Base vectors that a server pooled are kept for the trainer."""

    name = "reuse"
    excludes: ClassVar = {"delta-apply": _NO_TRAINER, "stream-apply": _NO_TRAINER}


class RankChange(Mechanism):
    """The rank is halved or doubled every second."""

    name = "rank-change"
    formerly = ("rerank",)
    excludes: ClassVar = {"delta-apply": _NO_TRAINER, "stream-apply": _NO_TRAINER}


class DeltaApply(Mechanism):
    """In place of learning a delta is written into the served tables, over and over."""

    name = "delta-apply"
    applies = "delta"
    excludes: ClassVar = {
        "stream-apply": _ONE_PUSH,
        "reuse": _NO_TRAINER,
        "rank-change": _NO_TRAINER,
    }


class StreamApply(Mechanism):
    """In place of learning the rows that training touches are written as they arrive."""

    name = "stream-apply"
    applies = "stream"
    excludes: ClassVar = {
        "delta-apply": _ONE_PUSH,
        "reuse": _NO_TRAINER,
        "rank-change": _NO_TRAINER,
    }


MECHANISMS: tuple[Mechanism, ...] = (
    Numa(),
    Rdt(),
    Cgroup(),
    Batch(),
    Idle(),
    Throttle(),
    Reuse(),
    RankChange(),
    DeltaApply(),
    StreamApply(),
)
"""All there are, in the order in which a condition lists them."""

APPLYING = tuple(mechanism.name for mechanism in MECHANISMS if mechanism.applies)
"""Those that apply a push, where nothing is learned."""


def missing(evidence: Evidence) -> dict[str, Missing]:
    """Return what a machine does not offer, by the mechanism's name."""
    found = {mechanism.name: mechanism.probe(evidence) for mechanism in MECHANISMS}
    return {name: reason for name, reason in found.items() if reason is not None}
