"""The machine that an experiment runs on: what it is, how it is divided, what it cannot give.

Looked at once, before anything heavy is imported or started, so that a condition which cannot be
had is known, and said, at once. Nothing is changed here.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorabench.errors import InputError, MachineError
from lorabench.host.resctrl import ResctrlMount, availability
from lorabench.host.topology import Topology, read_topology
from lorabench.isolation import cgroups
from lorabench.isolation.capabilities import Missing, numa_unavailable
from lorabench.isolation.conditions import Condition, Mechanism, parse_condition, resolve
from lorabench.isolation.plan import Plan, Request, plan, read_plan
from lorabench.isolation.scheduling import BATCH, IDLE, cannot_leave


@dataclass(frozen=True)
class Machine:
    """What the machine is and how it is divided.

    Parameters
    ----------
    topology : Topology
        Its processors and memory.
    plan : Plan
        Who runs where.
    missing : mapping of str to Missing
        Mechanisms of isolation that it does not offer.
    cgroups : cgroups.Offer
        Where control groups can be made.
    resctrl : ResctrlMount or None
        Where caches and bandwidth can be divided.
    """

    topology: Topology
    plan: Plan
    missing: Mapping[Mechanism, Missing]
    cgroups: cgroups.Offer
    resctrl: ResctrlMount | None

    def nodes_of(self, cpus: Sequence[int]) -> tuple[int, ...]:
        """Name the NUMA nodes that have memory and are home to one of these CPUs."""
        found = tuple(
            node.id
            for node in self.topology.nodes
            if node.memory_bytes
            and node.id in self.topology.allowed_nodes
            and node.cpus & set(cpus)
        )
        # CPUs without memory of their own use that of the adapter, near the servers.
        return found or (self.plan.memory.adapter.nodes if self.plan.memory is not None else ())

    def fit(self, conditions: Sequence[Condition]) -> tuple[list[Condition], list[Missing]]:
        """Say which of these conditions can be run here, and of the others why not."""
        runnable: list[Condition] = []
        lacking: dict[tuple[str, str], Missing] = {}
        for condition in conditions:
            found = resolve(condition, self.missing)
            if isinstance(found, Condition):
                runnable.append(found)
            else:
                lacking |= {(reason.what, reason.why): reason for reason in found}
        return runnable, list(lacking.values())

    def unavailable(self, conditions: Sequence[Condition]) -> list[Missing]:
        """List what this machine does not offer, and those of the conditions that need it."""
        listed = {(m.what, m.why): m for m in self.missing.values()}
        return list((listed | {(m.what, m.why): m for m in self.fit(conditions)[1]}).values())


def inspect_machine(
    request: Request,
    require: Sequence[str] = (),
    *,
    plan_file: Path | None = None,
    sysroot: Path = Path("/"),
) -> Machine:
    """Look at the machine and plan for it.

    Parameters
    ----------
    request : Request
        What the plan has to keep to.
    plan_file : Path, optional
        A plan to take instead of making one.
    require : sequence of str
        Conditions without which the experiment is not to start.
    sysroot : Path
        Where sys and proc lie.

    Raises
    ------
    InputError
        A condition that is required is none, or the plan's file holds none for this machine.
    MachineError
        This machine has too few cores, or lacks what is required.
    """
    required = [parse_condition(name, "--require") for name in require]
    topology = read_topology(sysroot)
    found = availability(sysroot, needed=1)
    mount = found if isinstance(found, ResctrlMount) else None
    info = None if mount is None else mount.info()
    if plan_file is None:
        planned = plan(topology, request, info)
    else:
        planned = read_plan(plan_file, topology)
        if planned.rdt is not None and info is not None:
            for schemata in (planned.rdt.serving, planned.rdt.trainer):
                for refusal in info.refusals(schemata):
                    raise InputError(f"{plan_file}: {refusal}")
    if planned.rdt is not None:
        # A side that may use everything needs no group.
        sides = (planned.rdt.serving, planned.rdt.trainer)
        found = availability(sysroot, needed=sum(bool(side.lines) for side in sides))
    offer = cgroups.survey()
    missing = _missing(topology, planned)
    if not isinstance(found, ResctrlMount):
        missing["rdt"] = Missing("rdt", found.why, found.enable)
    for place in (offer.cpuset, offer.cpu):
        if isinstance(place, Missing):
            missing["cgroup"] = Missing("cgroup", place.why, place.enable)
    machine = Machine(topology, planned, missing, offer, mount)
    for reason in machine.fit(required)[1]:
        raise MachineError(f"{reason.what} is required: {reason.why}; {reason.enable}")
    return machine


def _missing(topology: Topology, planned: Plan) -> dict[Mechanism, Missing]:
    """List what this machine's processors, memory and kernel do not offer."""
    found: dict[Mechanism, Missing] = {}
    if (numa := numa_unavailable(topology)) is not None:
        found["numa"] = numa
    elif planned.memory is None:
        found["numa"] = Missing(
            "numa",
            "the plan places no memory",
            "give a plan that has a part memory (--plan), or none, so that one is made",
        )
    if planned.rdt is None:
        found["rdt"] = Missing(
            "rdt",
            "the plan divides neither cache nor bandwidth: servers and trainer share nothing that "
            "resctrl can divide",
            "give other CPUs (--serving-cpus, --trainer-cpus) or a plan (--plan)",
        )
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if (idle := cannot_leave(replace(IDLE, nice=nice))) is not None:
        found["idle"] = Missing("idle", idle.why, idle.enable)
    if (batch := cannot_leave(replace(BATCH, nice=nice))) is not None:
        found["batch"] = Missing("batch", batch.why, batch.enable)
    return found
