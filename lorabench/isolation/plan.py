"""Who runs where: from a topology to the cores of servers and trainer, with a reason for each.

Pure: nothing is read and nothing is applied here, so a plan can be made and shown for any recorded
machine. Servers and trainer never share a physical core, since SMT siblings share its caches and
ports, and not an L3 domain where another is free.
"""

from dataclasses import dataclass

from lorabench.errors import InputError, MachineError
from lorabench.isolation.topology import Topology, format_cpu_list


@dataclass(frozen=True)
class Request:
    """What a run wants.

    Parameters
    ----------
    servers : int or None
        Server processes, one a physical core; None takes all cores but the trainer's.
    """

    servers: int | None = None


@dataclass(frozen=True)
class Plan:
    """Where servers and trainer run.

    Attributes
    ----------
    serving_cpus : tuple of int
        One logical CPU a server, each on a physical core of its own.
    trainer_cpus : tuple of int
        One logical CPU a trainer thread, likewise.
    reasons : tuple of str
        A sentence for each choice.
    """

    serving_cpus: tuple[int, ...]
    trainer_cpus: tuple[int, ...]
    reasons: tuple[str, ...]


def plan(topology: Topology, request: Request | None = None) -> Plan:
    """Divide the machine between servers and trainer.

    The trainer gets a quarter of the usable physical cores, at least one: the idle share that
    serving hosts are said to have. Where there are several L3 domains, it gets as many whole ones
    as its share holds, the smallest and last first; where its share holds none, it gets part of
    the smallest and the servers stay out of the rest, unless more of them are asked for than there
    are cores elsewhere.

    Raises
    ------
    InputError
        Fewer than one server asked for.
    MachineError
        Fewer than two usable physical cores, or fewer than the servers asked for and one more.
    """
    wanted = (request or Request()).servers
    if wanted is not None and wanted < 1:
        raise InputError(f"--servers: found {wanted}, expected at least 1")
    domains = [
        cores
        for l3 in topology.l3
        # The first thread of each core stands for it.
        if (
            cores := sorted(
                min(u) for core in topology.cores if (u := core & l3 & topology.allowed)
            )
        )
    ]
    total = sum(map(len, domains))
    if total < 2:
        raise MachineError(
            f"found {total} usable physical core (CPUs {format_cpu_list(topology.allowed)}), "
            "expected at least 2, one to serve and one to train: a p99 is not reported where "
            "processes outnumber cores"
        )
    if wanted is not None and wanted >= total:
        raise MachineError(
            f"found {total} usable physical cores, expected at least {wanted + 1} for "
            f"{wanted} server{_s(wanted)} and a trainer"
        )
    share = max(1, total // 4)
    why = "at most a quarter, the share that serving hosts are said to leave idle"
    if total < 4:
        why = "a quarter would be less than the one that it needs"
    if wanted is not None and total - wanted < share:
        share = total - wanted
        why = f"all that {wanted} server{_s(wanted)} leave{'s' if wanted == 1 else ''}"
    trainer, elsewhere, beside = _divide(domains, share)
    reasons = [f"the trainer gets {len(trainer)} of {total} physical cores: {why}"]
    if not elsewhere:
        serving = beside
        reasons.append("there is one L3 domain: servers and trainer share it")
    elif wanted is not None and wanted > len(elsewhere):
        serving = elsewhere + beside
        reasons.append(
            f"{wanted} servers do not fit outside the trainer's L3 domain: they share its cache"
        )
    else:
        serving = elsewhere
        reasons.append("the trainer has L3 to itself: no server runs in its domain")
        if beside:
            reasons.append(
                f"{len(beside)} core{_s(len(beside))} beside it stay idle for that "
                f"(--servers {len(elsewhere) + len(beside)} would use them)"
            )
    serving = serving[:wanted]
    reasons.append(f"{len(serving)} server{_s(len(serving))}, each on a physical core of its own")
    if any(len(core & topology.allowed) > 1 for core in topology.cores):
        reasons.append("one hardware thread a core is used: SMT siblings share caches and ports")
    return Plan(tuple(serving), tuple(trainer), tuple(reasons))


def _divide(domains: list[list[int]], share: int) -> tuple[list[int], list[int], list[int]]:
    """Choose the trainer's cores; what is left, in other L3 domains and in its own."""
    # Smallest first, and of equals the last: CPU 0 has most of the interrupts.
    order = sorted(range(len(domains)), key=lambda i: (len(domains[i]), -i))
    if len(domains) == 1 or len(domains[order[0]]) > share:
        home = domains[order[0]]
        taken = {order[0]}
        trainer, beside = home[-share:], home[:-share]
    else:
        taken = set()
        trainer, beside = [], []
        for i in order:
            if len(trainer) + len(domains[i]) > share:
                break
            taken.add(i)
            trainer += domains[i]
    elsewhere = [cpu for i, cores in enumerate(domains) if i not in taken for cpu in cores]
    return sorted(trainer), elsewhere, beside


def _s(count: int) -> str:
    return "" if count == 1 else "s"
