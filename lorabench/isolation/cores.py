"""Who gets which cores: servers and trainer on a topology, with a reason for each choice.

The part of the plan that decides about processors; pure, like the rest of it
(`lorabench.isolation.plan`). Servers and trainer never share a physical core, since SMT siblings
share its caches and ports, nor an L3 domain where another is free.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lorabench.errors import InputError, MachineError
from lorabench.host.topology import CpuSet, Topology, format_cpu_list
from lorabench.isolation.core_reasons import (
    about_caches,
    about_nodes,
    about_threads,
    about_types,
    plural,
)
from lorabench.isolation.usable import Core, UsableCores


@dataclass(frozen=True)
class Cores:
    """One logical CPU a server and one a trainer thread, each on a core of its own, and why."""

    serving: tuple[int, ...]
    trainer: tuple[int, ...]
    reasons: tuple[str, ...]


def choose_cores(
    topology: Topology,
    servers: int | None = None,
    serving_cpus: CpuSet | None = None,
    trainer_cpus: CpuSet | None = None,
    most: int | None = None,
) -> Cores:
    """Divide the cores between servers and trainer.

    Parameters
    ----------
    topology : Topology
        The machine.
    servers : int or None
        Server processes; None lets the plan decide.
    serving_cpus, trainer_cpus : frozenset of int or None
        What was chosen by hand.
    most : int or None
        Cores to use, of servers and trainer together, where nobody chose how many servers; at
        least 2. None for all.

    Raises
    ------
    InputError
        Fewer than one server asked for, or CPUs that cannot be had.
    MachineError
        Fewer than two usable physical cores, or fewer than the servers asked for and one more.
    """
    machine = UsableCores(topology)
    _check(machine, servers, serving_cpus, trainer_cpus)
    total = len(machine.cores)
    usual = _trainer_share(total if most is None else min(most, total))
    if most is not None and most < total and servers is None and serving_cpus is None:
        given = None if trainer_cpus is None else len(machine.of(trainer_cpus))
        servers = max(1, most - (given or usual[0]))
    serving = None if serving_cpus is None else machine.of(serving_cpus)
    if serving is not None and servers is not None:
        serving = serving[:servers]
    if trainer_cpus is not None:
        trainer, why = machine.of(trainer_cpus), "those of --trainer-cpus"
    else:
        trainer, why = _choose_trainer(machine, usual, servers, serving, serving_cpus)
    if serving is None:
        serving = _choose_servers(machine, trainer, servers)
        if servers is not None and trainer_cpus is None:
            trainer = _draw_near(machine, trainer, serving)
    reasons = [
        f"the trainer gets {len(trainer)} of {total} physical cores: {why}",
        *about_types(machine, serving, trainer),
        *about_caches(machine, serving, trainer, servers, by_hand=serving_cpus is not None),
        *about_nodes(machine, serving, trainer, by_hand=trainer_cpus is not None),
        *about_threads(machine, serving),
    ]
    return Cores(
        tuple(sorted(_thread(core, serving_cpus) for core in serving)),
        tuple(sorted(_thread(core, trainer_cpus) for core in trainer)),
        tuple(reasons),
    )


def _check(
    machine: UsableCores,
    servers: int | None,
    serving_cpus: CpuSet | None,
    trainer_cpus: CpuSet | None,
) -> None:
    """Refuse what no choice of cores can satisfy."""
    topology = machine.topology
    if servers is not None and servers < 1:
        raise InputError(f"--servers: found {servers}, expected at least 1")
    check_apart(
        topology,
        {
            option: cpus
            for option, cpus in (("--serving-cpus", serving_cpus), ("--trainer-cpus", trainer_cpus))
            if cpus is not None
        },
    )
    total = len(machine.cores)
    if total < 2:
        raise MachineError(
            f"found {total} usable physical core (CPUs {format_cpu_list(topology.allowed)}), "
            "expected at least 2, one to serve and one to train: a p99 is not reported where "
            "processes outnumber cores; give this process CPUs of two physical cores (taskset, the "
            "container's cpuset, a larger machine)"
        )
    chosen = machine.of(serving_cpus or ())
    if servers is not None and serving_cpus is not None and servers > len(chosen):
        raise InputError(
            f"--servers: found {servers}, expected at most {len(chosen)}, the physical cores of "
            f"--serving-cpus {format_cpu_list(serving_cpus)}"
        )
    if servers is not None and servers >= total:
        raise MachineError(
            f"found {total} usable physical cores, expected at least {servers + 1} for "
            f"{servers} server{plural(servers)} and a trainer"
        )


def check_apart(topology: Topology, given: dict[str, CpuSet]) -> None:
    """Refuse CPUs that cannot be had, or that two have of one core.

    Parameters
    ----------
    topology : Topology
        The machine.
    given : dict of str to frozenset of int
        CPUs, by the option or the key that they were given with.

    Raises
    ------
    InputError
        Naming the option, what was found and what was expected.
    """
    for name, cpus in given.items():
        usable = format_cpu_list(topology.allowed)
        if not cpus:
            raise InputError(f"{name}: found no CPU, expected some of {usable}")
        for found, what in (
            (cpus & topology.offline, "offline"),
            (cpus - topology.online - topology.offline, "not there"),
            ((cpus & topology.online) - topology.allowed, "not this process's to use"),
        ):
            if found:
                raise InputError(
                    f"{name}: found CPU {format_cpu_list(found)}, which is {what}; expected some "
                    f"of {usable}"
                )
    if len(given) < 2:
        return
    (first, ours), (second, theirs) = given.items()
    if twice := ours & theirs:
        raise InputError(
            f"{second}: found CPU {format_cpu_list(twice)}, which {first} has too; expected others"
        )
    for core in topology.siblings:
        if (one := core & ours) and (other := core & theirs):
            raise InputError(
                f"{second}: found CPU {format_cpu_list(other)}, on one core with CPU "
                f"{format_cpu_list(one)} of {first}; expected CPUs of other cores"
            )


def _trainer_share(cores: int) -> tuple[int, str]:
    """Return how many of the cores are the trainer's at most, and why."""
    if cores < 4:
        return 1, "a quarter would be less than the one that it needs"
    return cores // 4, "at most a quarter, the share that serving hosts are said to leave idle"


def _choose_trainer(
    machine: UsableCores,
    usual: tuple[int, str],
    servers: int | None,
    serving: list[Core] | None,
    serving_cpus: CpuSet | None,
) -> tuple[list[Core], str]:
    """Return for the trainer a quarter of the cores: the idle share that serving hosts have.

    Of a hybrid processor it gets efficiency cores only. Where there are several L3 domains, it gets
    as many whole ones as its share holds: first the nearest to servers that are placed already,
    then the smallest, then the last. Where its share holds none, it gets part of one.
    """
    total = len(machine.cores)
    pool = list(machine.cores)
    if serving_cpus is not None:
        pool = [core for core in pool if core.cpus.isdisjoint(serving_cpus)]
        if not pool:
            raise InputError(
                f"--serving-cpus: found {format_cpu_list(serving_cpus)}, all usable physical "
                "cores; expected one to be left for the trainer"
            )
    share, why = usual
    if servers is not None and serving is None and total - servers < share:
        share = total - servers
        why = f"all that {servers} server{plural(servers)} leave{'s' if servers == 1 else ''}"
    if len(pool) < share:
        share = len(pool)
        why = f"all that --serving-cpus leave{'s' if len(serving or ()) == 1 else ''}"
    beside = {core.l3 for core in serving or ()}
    pool = [core for core in pool if core.l3 not in beside] or pool
    slow = [core for core in pool if machine.hybrid and not core.fast]
    if slow:
        mixed = {core.l3 for core in machine.cores if core.fast}
        pool = [core for core in slow if core.l3 not in mixed] or slow
    trainer = _pick(machine, pool, share, lambda cores: machine.distance(cores, serving or ()))
    if slow and len(trainer) < share:
        why = "the efficiency cores that there are for it, and at most a quarter"
    return trainer, why


def _pick(
    machine: UsableCores, pool: Sequence[Core], share: int, rank: Callable[[list[Core]], int]
) -> list[Core]:
    """Take whole L3 domains, as many as the share holds, or part of the first."""
    domains = machine.domains(pool)
    # Smallest first, and of equals the last: CPU 0 has most of the interrupts.
    order = sorted(domains, key=lambda l3: (rank(domains[l3]), len(domains[l3]), -l3))
    taken: list[Core] = []
    for l3 in order:
        if len(taken) + len(domains[l3]) > share:
            break
        taken += domains[l3]
    return taken or domains[order[0]][-share:]


def _choose_servers(
    machine: UsableCores, trainer: Sequence[Core], servers: int | None
) -> list[Core]:
    """Take the cores that the trainer disturbs least; if no number is given, all of those alike.

    Performance cores come first: a slow core's queries would make the tail. Then those outside the
    trainer's L3 domains, then those outside its L2 caches.
    """
    taken = {core.cpu for core in trainer}
    l3 = {core.l3 for core in trainer}
    l2 = {core.l2 for core in trainer} - {None}

    def rank(core: Core) -> tuple[bool, bool, bool]:
        return machine.hybrid and not core.fast, core.l3 in l3, core.l2 in l2

    free = sorted((core for core in machine.cores if core.cpu not in taken), key=rank)
    if not free:
        raise InputError(
            "--trainer-cpus: found all usable physical cores; expected one to be left for a server"
        )
    if servers is None:
        return [core for core in free if rank(core) == rank(free[0])]
    if servers > len(free):
        raise InputError(
            f"--servers: found {servers}, expected at most {len(free)}, the physical cores that "
            "--trainer-cpus leaves"
        )
    return free[:servers]


def _draw_near(machine: UsableCores, trainer: list[Core], serving: Sequence[Core]) -> list[Core]:
    """Move a trainer that has L3 domains to itself to free ones nearer to the servers, if any."""
    served = {core.l3 for core in serving}
    if any(core.l3 in served for core in trainer):
        return trainer
    kind = {core.fast for core in trainer}
    pool = [core for core in machine.cores if core.l3 not in served and core.fast in kind]

    def distance(cores: list[Core]) -> int:
        return machine.distance(cores, serving)

    nearer = _pick(machine, pool, len(trainer), distance)
    return nearer if distance(nearer) < distance(trainer) else trainer


def _thread(core: Core, given: CpuSet | None) -> int:
    return core.cpu if given is None else min(core.cpus & given)
