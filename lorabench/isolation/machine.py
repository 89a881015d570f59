"""The machine that an experiment runs on: what it is, how it is divided, what it cannot give.

Looked at once, before anything heavy is imported or started, so that a condition which cannot be
had is known, and said, at once. What files do not show is tried out, on a page or a thread made for
that; nothing is changed. ``lorabench doctor`` looks at a machine in the same way.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lorabench.errors import InputError, MachineError
from lorabench.host.files import Files, UnreadableError
from lorabench.host.missing import Missing
from lorabench.host.quota import CpuLimit, cpu_quota
from lorabench.host.resctrl import ResctrlMount, availability
from lorabench.host.topology import Topology, read_topology
from lorabench.isolation.conditions import Condition, parse_condition, resolve
from lorabench.isolation.mechanism import Evidence, missing
from lorabench.isolation.numa import placement_unavailable
from lorabench.isolation.places import survey
from lorabench.isolation.plan import Request, limited, plan, read_plan
from lorabench.isolation.scheduling import BATCH, IDLE, cannot_leave

# The kernel tells of a stop at the end of its period; a little later that has been read.
_PERIODS = 1.1


@dataclass(frozen=True)
class Machine(Evidence):
    """What the machine is and how it is divided.

    Attributes
    ----------
    missing : mapping of str to Missing
        Mechanisms of isolation that it does not offer.
    limit : CpuLimit or None
        The tightest limit on this process's CPU time.
    """

    missing: Mapping[str, Missing] = field(default_factory=dict)
    limit: CpuLimit | None = None

    @property
    def carry_over_s(self) -> float:
        """How long a stop for a limit on CPU time is felt by who comes next: s."""
        return 0.0 if self.limit is None else _PERIODS * self.limit.period_s

    def nodes_of(self, cpus: Sequence[int]) -> tuple[int, ...]:
        """List the NUMA nodes that have memory and are home to one of these CPUs."""
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
        """Return which of these conditions can be run here, and of the others why not."""
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
    tried = try_out() if sysroot == Path("/") else {}
    machine = look_at(Files(sysroot), read_topology(sysroot), tried, request, plan_file)
    for reason in machine.fit(required)[1]:
        raise MachineError(f"{reason.what} is required: {reason.why}; {reason.enable}")
    return machine


def look_at(
    files: Files,
    topology: Topology,
    tried: Mapping[str, Missing],
    request: Request | None = None,
    plan_file: Path | None = None,
) -> Machine:
    """Put together what is known of a machine.

    Parameters
    ----------
    files : Files
        Its files.
    topology : Topology
        Its processors and memory.
    tried : mapping of str to Missing
        From `try_out`; empty of a recorded tree.
    request, plan_file
        As of `inspect_machine`.

    Raises
    ------
    InputError
        The plan's file holds none for this machine.
    MachineError
        This machine has too few cores.
    """
    found = availability(files.root, needed=1)
    info = found.info() if isinstance(found, ResctrlMount) else None
    limit, unread = _cpu_limit(files)
    cpus = None if limit is None else limit.cpus
    if plan_file is None:
        planned = plan(topology, request, info, cpus)
    else:
        planned = read_plan(plan_file, topology)
        if planned.rdt is not None and info is not None:
            for schemata in (planned.rdt.serving, planned.rdt.trainer):
                for refusal in info.refusals(schemata):
                    raise InputError(f"{plan_file}: {refusal}")
        if planned.cpu_limit is None and planned.trainer_share == 1.0:
            planned = limited(planned, topology, cpus)
    planned = replace(planned, reasons=(*planned.reasons, *unread))
    if planned.rdt is not None:
        # A side that may use everything needs no group.
        sides = (planned.rdt.serving, planned.rdt.trainer)
        found = availability(files.root, needed=sum(bool(side.lines) for side in sides))
    machine = Machine(topology, planned, survey(files), found, tried)
    return replace(machine, missing=missing(machine), limit=limit)


def _cpu_limit(files: Files) -> tuple[CpuLimit | None, list[str]]:
    """Return the tightest limit on CPU time, and what is not known of it."""
    try:
        return cpu_quota(files), []
    except UnreadableError as error:
        return None, [f"a CPU quota is not kept to, since it cannot be read: {error}"]


def try_out() -> dict[str, Missing]:
    """Try on this machine what files do not show; what was refused, as `Evidence.tried` has it."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    found = {
        "placement": placement_unavailable(),
        "idle": cannot_leave(replace(IDLE, nice=nice)),
        "batch": cannot_leave(replace(BATCH, nice=nice)),
    }
    return {name: reason for name, reason in found.items() if reason is not None}
