"""A condition's control groups: made around its servers and its trainer, gone when it ends.

Affinity and scheduling class are a worker's own doing. Cgroups and resctrl groups are folders that
the conductor makes, moves the workers into, and removes again, all of it through the journal. What
they get is the plan's; whether the machine can give it is found beforehand (`cgroups.survey`,
`resctrl.availability`), so that a refusal here is an error and not a condition without its
mechanism.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lorabench.host.resctrl import ResctrlMount
from lorabench.host.topology import CpuSet
from lorabench.isolation import cgroups
from lorabench.isolation.affinity import pin_threads
from lorabench.isolation.journal import Journal
from lorabench.isolation.partition import RdtPlan
from lorabench.isolation.resctrl import Group, Monitor, group_name


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
        return bool(self.trainer_cpus & frozenset().union(*self.servers.values()))


@contextmanager
def confined(
    journal: Journal,
    workers: Workers,
    *,
    offer: cgroups.Offer | None = None,
    resctrl: tuple[ResctrlMount, RdtPlan] | None = None,
) -> Iterator[Monitor | None]:
    """Keep servers and trainer in groups of their own while the context lasts.

    Parameters
    ----------
    journal : Journal
        Undoes what is done here, at the end of the context or after a crash.
    workers : Workers
        The processes.
    offer : cgroups.Offer, optional
        Where cgroups can be made; None makes none.
    resctrl : tuple of ResctrlMount and RdtPlan, optional
        Where resctrl is mounted and how caches and bandwidth are divided; None divides nothing.

    Yields
    ------
    Monitor or None
        Samples what the resctrl groups use, once a second; None without such groups.

    Raises
    ------
    MachineError
        The kernel refuses something; all of it is undone.
    """
    with journal.scope():
        if offer is not None:
            _into_cgroups(journal, workers, offer)
        if resctrl is None:
            yield None
        else:
            groups = _into_resctrl(journal, workers, *resctrl)
            monitor = Monitor({role: group.path for role, group in groups.items()})
            with monitor.sampling():
                yield monitor
            # Nothing may have moved a worker out while it was measured.
            for role, group in groups.items():
                for pid in _members(workers)[role]:
                    group.verify(pid)
    # Leaving a cpuset can widen the affinity of those that were in it.
    for pid, cpus in workers.servers.items():
        pin_threads(pid, cpus)


def _members(workers: Workers) -> dict[str, Sequence[int]]:
    return {"serving": tuple(workers.servers), "trainer": (workers.trainer,)}


def _into_cgroups(journal: Journal, workers: Workers, offer: cgroups.Offer) -> None:
    serving = frozenset().union(*workers.servers.values())
    limits = {
        "serving": cgroups.Limits(cpus=serving),
        # Of two groups the weights decide and not the threads' classes, so where a CPU is shared
        # it is the group that has to give way.
        "trainer": cgroups.Limits(cpus=workers.trainer_cpus, idle=workers.shared),
    }
    for role, pids in _members(workers).items():
        group = cgroups.make(journal, role, limits[role], offer)
        for pid in pids:
            group.add(pid)
    for pid, cpus in workers.servers.items():
        pin_threads(pid, cpus)
    pin_threads(workers.trainer, workers.trainer_cpus)


def _into_resctrl(
    journal: Journal, workers: Workers, mount: ResctrlMount, plan: RdtPlan
) -> dict[str, Group]:
    found = {}
    for role, schemata in (("serving", plan.serving), ("trainer", plan.trainer)):
        if not schemata.lines:
            continue  # it may use everything: the root group does
        group = Group.create(mount.root, group_name(role), schemata, journal.record)
        found[role] = group
        for pid in _members(workers)[role]:
            group.move(pid)
            group.verify(pid)
    return found
