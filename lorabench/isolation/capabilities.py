"""What a machine offers for isolation and for measuring, why not, and what would enable it.

Reads and tries out; changes nothing. The rows of the table are in `lorabench.isolation.survey`, an
area a module; here they are joined, and what they come to for the conditions of ``colocate`` is
decided. A condition that cannot be given is reported with the true reason and never simulated.
"""

from collections.abc import Iterable
from pathlib import Path

from lorabench.errors import InputError
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.host.topology import Topology, read_topology
from lorabench.isolation.numa import placement_unavailable
from lorabench.isolation.survey import host as hosts
from lorabench.isolation.survey import measuring, memory, partitions, processor, scheduling
from lorabench.isolation.survey.capability import Capability, Host, State
from lorabench.isolation.survey.trials import Probes

__all__ = [
    "Capability",
    "Host",
    "Missing",
    "State",
    "conditions",
    "look",
    "missing",
    "numa_unavailable",
    "run_checks",
]

_ROWS = (
    *processor.ROWS,
    *memory.ROWS,
    *partitions.ROWS,
    *scheduling.ROWS,
    *measuring.ROWS,
    *hosts.ROWS,
)

# The area of what `conditions` returns.
CONDITIONS = "conditions"


def look(sysroot: Path = Path("/")) -> Host:
    """Take in a machine: its files, its topology and, where it is this one, what it lets us do.

    Parameters
    ----------
    sysroot : Path
        Where ``proc`` and ``sys`` lie; the root of a recorded tree, or of this machine.

    Raises
    ------
    InputError
        There is no machine under `sysroot`.
    """
    try:
        found = sorted(entry.name for entry in sysroot.iterdir())
    except OSError as error:
        raise InputError(
            f"{sysroot}: {error.strerror}; expected a folder with a machine's proc and sys"
        ) from None
    if not {"proc", "sys"} & set(found):
        raise InputError(f"{sysroot}: found no machine, expected the folders proc and sys in it")
    # So that the root can be taken out of what others say of paths below it.
    sysroot = sysroot.absolute()
    topology, why = None, ""
    try:
        topology = read_topology(sysroot)
    except InputError as error:
        why = str(error)
    except OSError as error:
        why = f"it cannot be read ({error.strerror})"
    trials = Probes.attempt() if sysroot == Path("/") else None
    return Host(Files(sysroot), topology, why, trials)


def run_checks(host: Host) -> tuple[Capability, ...]:
    """Make the table of capabilities; never fails, whatever is missing is a row that says so."""
    return tuple(row(host) for row in _ROWS)


def conditions(table: Iterable[Capability]) -> tuple[Capability, ...]:
    """Say which conditions of ``lorabench colocate`` a machine can run, and why not.

    Parameters
    ----------
    table : iterable of Capability
        From `run_checks`.

    Returns
    -------
    tuple of Capability
        A row each; the evidence names the rows of `table` that decided. ``isolated`` takes what
        there is, so a machine that lacks mechanisms gives it restricted and says what is missing.
    """
    rows = {capability.name: capability for capability in table}
    cores, numa = rows["cores"], rows["numa"]
    if cores.state == "unavailable":
        names = ("naive", "pinned", "shared", "numa", "rdt", "isolated")
        return tuple(_condition(name, "unavailable", cores.detail, cores) for name in names)
    alone = rows["l3 domains"].state == "available"
    pinned = _condition(
        "pinned",
        "available",
        "on cores of its own" + (", in an L3 domain of its own" if alone else ", sharing L3"),
        cores,
        rows["l3 domains"],
    )
    idle = rows["sched_idle"]
    shared = _condition("shared", "available", "on the servers' cores", cores, idle)
    if idle.state == "restricted":
        detail = f"on the servers' cores, but not as shared+idle: {idle.detail}"
        shared = _condition("shared", "restricted", detail, idle)
    numa_state: State = "available" if numa.state == "available" else "unavailable"
    bound = _condition("numa", numa_state, numa.detail, numa)
    divided = _rdt(rows)
    lacks = [part for part in (bound, divided) if part.state != "available"]
    lacks += [
        rows[name] for name in ("cgroup cpuset", "cgroup weight") if rows[name].state != "available"
    ]
    isolated = _condition("isolated", "available", "with every mechanism", cores)
    if lacks:
        isolated = Capability(
            name="isolated",
            state="restricted",
            evidence=", ".join(part.name for part in lacks),
            enable="make these available",
            detail="pinned and throttled, without " + ", ".join(part.name for part in lacks),
            area=CONDITIONS,
        )
    return (
        _condition("naive", "available", "wherever the OS puts the trainer", cores),
        pinned,
        shared,
        bound,
        divided,
        isolated,
    )


def missing(rows: Iterable[Capability]) -> tuple[Missing, ...]:
    """Pick what is unavailable, in the form of a result document's list."""
    return tuple(
        Missing(row.name, f"{row.detail} ({row.evidence})", row.enable)
        for row in rows
        if row.state == "unavailable"
    )


def _rdt(rows: dict[str, Capability]) -> Capability:
    parts = partitions.divides(rows)
    usable = [part for part in parts if part.state == "available"]
    there = [part for part in parts if part.state == "restricted"]
    resctrl = rows["resctrl"]
    if not usable and not there:
        detail = "neither cache nor memory bandwidth can be divided here"
        return _condition("rdt", "unavailable", detail, *parts, enable=parts[0].enable)
    # Groups that are all taken, or that this user may not make, show in the row resctrl alone.
    if not usable or resctrl.state != "available":
        why = resctrl if resctrl.state != "available" else there[0]
        return _condition("rdt", "unavailable", f"{why.name}: {why.detail}", why)
    return _condition("rdt", "available", "; ".join(part.detail for part in usable), *usable)


def _condition(
    name: str, state: State, detail: str, *rests_on: Capability, enable: str | None = None
) -> Capability:
    ways = [row.enable for row in rests_on if row.enable] if state != "available" else []
    return Capability(
        name=name,
        state=state,
        evidence=", ".join(row.name for row in rests_on),
        enable=enable if enable is not None else "; ".join(ways),
        detail=detail,
        area=CONDITIONS,
    )


def numa_unavailable(topology: Topology) -> Missing | None:
    """Say why the condition `numa` cannot be run here; None where it can."""
    nodes = [node for node in topology.nodes if node.memory_bytes or node.cpus]
    if len(nodes) < 2:
        return Missing(
            "numa",
            f"the machine has {len(nodes)} NUMA node: there is no nearer memory to bind to",
            "run on a machine with two or more nodes (several sockets, or sub-NUMA clustering)",
        )
    why = placement_unavailable()
    if why is None:
        return None
    return Missing(
        "numa", f"the machine has {len(nodes)} NUMA nodes, but {why}", "see docs/isolation.md"
    )
