"""Who runs where: from a topology to the cores of servers and trainer, with a reason for each.

Pure: nothing is read and nothing is applied here, so a plan can be made and shown for any recorded
machine. Servers and trainer never share a physical core, since SMT siblings share its caches and
ports, and not an L3 domain where another is free.
"""

from dataclasses import dataclass

from lorabench.errors import MachineError
from lorabench.isolation.topology import CpuSet, Topology, format_cpu_list


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
    serving hosts are said to have. It gets them in the L3 domain with the highest CPU numbers,
    whole if that domain is no larger than its share, and the servers stay out of that domain as
    long as they have a core elsewhere.

    Raises
    ------
    MachineError
        Fewer than two usable physical cores, or fewer than the servers asked for and one more.
    """
    request = request or Request()
    domains = [
        cores
        for l3 in topology.l3
        if (cores := sorted(min(c & l3 & topology.allowed) for c in _usable(topology, l3)))
    ]
    cores = [cpu for domain in domains for cpu in domain]
    total = len(cores)
    if total < 2:
        raise MachineError(
            f"found {total} usable physical core (CPUs {format_cpu_list(topology.allowed)}), "
            "expected at least 2, one to serve and one to train: a p99 is not reported where "
            "processes outnumber cores"
        )
    if request.servers is not None and not 1 <= request.servers < total:
        raise MachineError(
            f"found {total} usable physical cores, expected at least {request.servers + 1} for "
            f"{request.servers} servers and a trainer"
        )
    share = max(1, total // 4)
    if request.servers is not None:
        share = min(share, total - request.servers)
    if len(domains) == 1:
        trainer, free = cores[-share:], cores[:-share]
        reasons = [
            f"the trainer gets {share} of {total} physical cores, the last ones",
            "there is one L3 domain: servers and trainer share it",
        ]
    else:
        home = domains[-1]
        share = min(share, len(home))
        trainer = home[-share:]
        elsewhere = [cpu for domain in domains[:-1] for cpu in domain]
        beside = home[:-share]
        wanted = request.servers or len(elsewhere)
        free = elsewhere + (beside if wanted > len(elsewhere) else [])
        reasons = [
            f"the trainer gets {share} of {total} physical cores, in an L3 domain of its own"
            if wanted <= len(elsewhere)
            else f"the trainer gets {share} of {total} physical cores; "
            f"{wanted} servers do not fit outside its L3 domain",
        ]
    serving = free if request.servers is None else free[: request.servers]
    reasons.append(f"each of {len(serving)} servers gets a physical core of its own")
    if any(len(c & topology.allowed) > 1 for c in topology.cores):
        reasons.append("one hardware thread a core is used: SMT siblings share caches and ports")
    return Plan(tuple(serving), tuple(trainer), tuple(reasons))


def _usable(topology: Topology, l3: CpuSet) -> list[CpuSet]:
    return [core for core in topology.cores if core & l3 & topology.allowed]
