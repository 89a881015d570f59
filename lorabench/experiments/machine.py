"""The machine that an experiment runs on: what it is, how it is divided, what it cannot give.

Looked at once, before anything heavy is imported or started, so that a condition which cannot be
had is known, and said, at once. Nothing is changed here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorabench.errors import MachineError
from lorabench.experiments.conditions import Condition, Mechanism, parse_condition, resolve
from lorabench.isolation.capabilities import Missing, numa_unavailable, rdt_unavailable
from lorabench.isolation.plan import Plan, Request, plan
from lorabench.isolation.scheduling import IDLE, cannot_leave
from lorabench.isolation.topology import Topology, read_topology


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
    """

    topology: Topology
    plan: Plan
    missing: Mapping[Mechanism, Missing]

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


def examine(request: Request, require: Sequence[str] = (), sysroot: Path = Path("/")) -> Machine:
    """Look at the machine and plan for it.

    Parameters
    ----------
    request : Request
        What the plan has to keep to.
    require : sequence of str
        Conditions without which the experiment is not to start.
    sysroot : Path
        Where sys and proc lie.

    Raises
    ------
    InputError
        A condition that is required is none.
    MachineError
        This machine has too few cores, or lacks what is required.
    """
    required = [parse_condition(name, "--require") for name in require]
    topology = read_topology(sysroot)
    machine = Machine(topology, plan(topology, request), _missing(topology, sysroot))
    for reason in machine.fit(required)[1]:
        raise MachineError(f"{reason.what} is required: {reason.why}; {reason.enable}")
    return machine


def _missing(topology: Topology, sysroot: Path) -> dict[Mechanism, Missing]:
    idle = cannot_leave(IDLE)
    found: dict[Mechanism, Missing | None] = {
        "numa": numa_unavailable(topology),
        "rdt": rdt_unavailable(sysroot),
        "idle": None if idle is None else Missing("idle", idle.why, idle.enable),
    }
    return {mechanism: reason for mechanism, reason in found.items() if reason is not None}
