"""A condition's cgroups and resctrl groups: made around its processes, gone when it ends.

Affinity and scheduling class are a worker's own doing. Cgroups and resctrl groups are folders that
the parent makes, moves the workers into, and removes again. What they get is the plan's; whether
the machine can give it is found beforehand (`lorabench.isolation.mechanism`), so that a refusal
here is an error and not a condition without its mechanism.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from lorabench.host.owner import Owner
from lorabench.host.resctrl import ResctrlMount
from lorabench.host.topology import CpuSet
from lorabench.isolation.affinity import pin_threads
from lorabench.isolation.cgroups import MOST_WEIGHT, Limits, grouped
from lorabench.isolation.partition import RdtPlan
from lorabench.isolation.places import Offer
from lorabench.isolation.resctrl import Group, Monitor
from lorabench.isolation.undoing import undoing


@dataclass(frozen=True)
class Workers:
    """The processes of a condition.

    Parameters
    ----------
    servers : mapping of int to frozenset of int
        Process id of each server, and the CPUs that it is pinned to.
    trainer : int
        Process id of the trainer.
    trainer_cpus : frozenset of int
        CPUs that it will be pinned to.
    """

    servers: Mapping[int, CpuSet]
    trainer: int
    trainer_cpus: CpuSet

    @property
    def shared(self) -> bool:
        """Whether the trainer runs on CPUs of servers."""
        return bool(self.trainer_cpus & self.serving_cpus)

    @property
    def serving_cpus(self) -> CpuSet:
        """CPUs of all servers."""
        return frozenset().union(*self.servers.values())

    @property
    def members(self) -> dict[str, Sequence[int]]:
        """Process ids by the role of their group."""
        return {"serving": tuple(self.servers), "trainer": (self.trainer,)}


@contextmanager
def in_cgroups(workers: Workers, offer: Offer) -> Iterator[None]:
    """Keep servers and trainer in control groups of their own while the context lasts.

    Parameters
    ----------
    workers : Workers
        The processes.
    offer : Offer
        Where groups can be made.

    Raises
    ------
    MachineError
        The kernel refuses something; all of it is undone.
    """
    limits = {
        # A busy trainer drives whatever else runs here, kernel threads among it, onto the servers'
        # cores; there it gets what the servers leave, and none of them waits for its turn.
        "serving": Limits(cpus=workers.serving_cpus, weight=MOST_WEIGHT),
        # Of two groups the weights decide and not the threads' classes, so where a CPU is shared
        # it is the group that has to give way.
        "trainer": Limits(cpus=workers.trainer_cpus, idle=workers.shared),
    }
    with grouped(limits, offer) as groups:
        for role, pids in workers.members.items():
            for pid in pids:
                groups[role].add(pid)
        _pin_servers(workers)
        pin_threads(workers.trainer, workers.trainer_cpus)
        yield
    # Leaving a cpuset can widen the affinity of those that were in it.
    _pin_servers(workers)


def _pin_servers(workers: Workers) -> None:
    for pid, cpus in workers.servers.items():
        pin_threads(pid, cpus)


@contextmanager
def in_resctrl(workers: Workers, mount: ResctrlMount, plan: RdtPlan) -> Iterator[Monitor]:
    """Keep servers and trainer in resctrl groups of their own while the context lasts.

    Parameters
    ----------
    workers : Workers
        The processes.
    mount : ResctrlMount
        Where resctrl is mounted.
    plan : RdtPlan
        How caches and bandwidth are divided.

    Yields
    ------
    Monitor
        Samples what the groups use, once a second.

    Raises
    ------
    MachineError
        The kernel refuses something, all of it is undone; or something has moved a worker out.
    """
    groups: dict[str, Group] = {}
    with ExitStack() as stack:
        for role, schemata in (("serving", plan.serving), ("trainer", plan.trainer)):
            if not schemata.lines:
                continue  # it may use everything: the root group does
            group = Group.create(mount.root, Owner.this().name(role), schemata)
            stack.enter_context(undoing(group.remove))
            groups[role] = group
            group.count_traffic()
            for pid in workers.members[role]:
                group.move(pid)
                group.verify(pid)
        monitor = Monitor({role: group.path for role, group in groups.items()})
        with monitor.sampling():
            yield monitor
        # Nothing may have moved a worker out while it was measured.
        for role, group in groups.items():
            for pid in workers.members[role]:
                group.verify(pid)
