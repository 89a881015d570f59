"""Why servers and trainer have the cores that they have, in sentences for the plan.

Says what `lorabench.isolation.cores` has chosen; decides nothing.
"""

from collections.abc import Iterable, Sequence

from lorabench.host.topology import format_cpu_list
from lorabench.isolation.usable import Core, UsableCores


def about_types(
    machine: UsableCores, serving: Sequence[Core], trainer: Sequence[Core]
) -> list[str]:
    """Return what kinds of cores of a hybrid processor each side has."""
    if not machine.hybrid:
        return []
    slow = sum(not core.fast for core in serving)
    if slow:
        return [
            f"{slow} server{plural(slow)} on efficiency cores: their queries take longer and make "
            "the tail"
        ]
    if any(core.fast for core in trainer):
        return ["servers run on performance cores; the trainer has some too"]
    return [
        "servers run on performance cores and the trainer on efficiency cores: a slow core's "
        "queries would make the tail"
    ]


def about_caches(
    machine: UsableCores,
    serving: Sequence[Core],
    trainer: Sequence[Core],
    servers: int | None,
    *,
    by_hand: bool,
) -> list[str]:
    """Return what caches the sides share, and which cores stay idle for it."""
    l3 = {core.l3 for core in trainer}
    used = {core.cpu for core in (*serving, *trainer)}
    idle = [core for core in machine.cores if core.l3 in l3 and core.cpu not in used]
    shared = [core for core in serving if core.l3 in l3]
    if len(machine.domains(machine.cores)) == 1:
        reasons = ["there is one L3 domain: servers and trainer share it"]
        l2 = {core.l2 for core in trainer} - {None}
        beside = [core for core in idle if core.l2 in l2 and core.fast]
        if beside and servers is None and not by_hand:
            verbs = ("shares", "stays") if len(beside) == 1 else ("share", "stay")
            reasons.append(
                f"{_cores(len(beside))} that {verbs[0]} an L2 cache with the trainer's {verbs[1]} "
                "idle"
            )
        return reasons
    if shared and by_hand:
        return [
            f"{_cores(len(shared))} of --serving-cpus share{'s' if len(shared) == 1 else ''} an L3 "
            "domain with the trainer's"
        ]
    if shared:
        return [
            f"{len(serving)} server{plural(len(serving))} do not fit outside the trainer's L3 "
            "domain: they share its cache"
        ]
    reasons = ["the trainer has L3 to itself: no server runs in its domain"]
    if idle:
        more = ""
        if servers is None and not by_hand and not machine.hybrid:
            outside = sum(core.l3 not in l3 for core in machine.cores)
            more = f" (--servers {outside + len(idle)} would use them)"
        stay = "stays" if len(idle) == 1 else "stay"
        reasons.append(f"{_cores(len(idle))} beside it {stay} idle for that{more}")
    return reasons


def about_nodes(
    machine: UsableCores, serving: Sequence[Core], trainer: Sequence[Core], *, by_hand: bool
) -> list[str]:
    """Return how near the trainer is to the servers' memory."""
    where = {core.node for core in trainer} - {None}
    theirs = {core.node for core in serving} - {None}
    if sum(bool(node.cpus) for node in machine.topology.nodes) < 2 or not where:
        return []
    if where <= theirs:
        return [f"the trainer is on {_nodes(where)}, as servers are: their memory is near"]
    why = "" if by_hand else ", since no L3 domain nearer to them is free"
    return [
        f"the trainer is on {_nodes(where)} and servers are on {_nodes(theirs)}{why}: their memory "
        "is not near"
    ]


def about_threads(machine: UsableCores, serving: Sequence[Core]) -> list[str]:
    """Return what a server has of its core."""
    reasons = [f"{len(serving)} server{plural(len(serving))}, each on a physical core of its own"]
    if any(len(core.cpus & machine.topology.allowed) > 1 for core in machine.cores):
        reasons.append("one hardware thread a core is used: SMT siblings share caches and ports")
    return reasons


def _nodes(ids: Iterable[int | None]) -> str:
    known = [number for number in ids if number is not None]
    return f"node{plural(len(known))} {format_cpu_list(known)}" if known else "no node"


def _cores(count: int) -> str:
    return f"{count} core{plural(count)}"


def plural(count: int) -> str:
    """Return the ending of a word for so many."""
    return "" if count == 1 else "s"
