"""Who runs where, with what memory, cache and bandwidth: from a topology to a plan, with reasons.

`plan` is pure: nothing is read and nothing is applied, so that a plan can be made and shown for any
recorded machine. It joins three decisions, the later ones made for the earlier: cores
(`lorabench.isolation.cores`), memory (here), caches and bandwidth
(`lorabench.isolation.partition`). A plan is also a document (`Plan.as_document`) that can be
printed, edited and read back (`read_plan`).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lorabench.errors import InputError
from lorabench.host.resctrl import Info, Schemata
from lorabench.host.topology import CpuSet, Node, Topology, format_cpu_list
from lorabench.isolation.cores import check_apart, choose_cores
from lorabench.isolation.cpu_limit import trainer_share
from lorabench.isolation.partition import RdtPlan, partition
from lorabench.memory import MemoryPolicy

__all__ = ["MemoryPlan", "Plan", "RdtPlan", "Request", "plan", "read_plan"]

SCHEMA: Literal["lorabench.plan/1"] = "lorabench.plan/1"


@dataclass(frozen=True)
class Request:
    """What a run wants.

    Parameters
    ----------
    servers : int or None
        Server processes, one a physical core; None takes all cores but the trainer's.
    serving_cpus, trainer_cpus : frozenset of int or None
        CPUs chosen by hand, one used of each physical core; None lets the plan choose.
    """

    servers: int | None = None
    serving_cpus: CpuSet | None = None
    trainer_cpus: CpuSet | None = None


@dataclass(frozen=True)
class MemoryPlan:
    """Which nodes memory comes from.

    Attributes
    ----------
    tables, adapter : MemoryPolicy
        Read by all servers.
    replay : tuple of MemoryPolicy
        Of each server's ring, in the order of the servers.
    """

    tables: MemoryPolicy
    adapter: MemoryPolicy
    replay: tuple[MemoryPolicy, ...]


@dataclass(frozen=True)
class Plan:
    """Where servers and trainer run, and what they may use there.

    Attributes
    ----------
    serving_cpus : tuple of int
        One logical CPU a server, each on a physical core of its own.
    trainer_cpus : tuple of int
        One logical CPU a trainer thread.
    reasons : tuple of str
        A sentence for each choice.
    memory : MemoryPlan or None
        None where there is nothing to choose.
    rdt : RdtPlan or None
        None where there is no resctrl, or nothing to divide.
    cpu_limit : float or None
        CPUs that control groups allow, where that is less than the cores.
    trainer_share : float
        Share of the time that a trainer on cores of its own may work: what a limit on CPU time
        leaves beside a whole CPU a server.
    """

    serving_cpus: tuple[int, ...]
    trainer_cpus: tuple[int, ...]
    reasons: tuple[str, ...]
    memory: MemoryPlan | None = None
    rdt: RdtPlan | None = None
    cpu_limit: float | None = None
    trainer_share: float = 1.0

    def as_document(self) -> dict[str, object]:
        """Return it as JSON, as `read_plan` reads it; masks as lines of a schemata file."""

        def policy(found: MemoryPolicy) -> dict[str, object]:
            return {"mode": found.mode, "nodes": list(found.nodes)}

        memory = rdt = None
        if self.memory is not None:
            memory = {
                "tables": policy(self.memory.tables),
                "adapter": policy(self.memory.adapter),
                "replay": [policy(ring) for ring in self.memory.replay],
            }
        if self.rdt is not None:
            rdt = {
                "serving": str(self.rdt.serving).splitlines(),
                "trainer": str(self.rdt.trainer).splitlines(),
            }
        found: dict[str, object] = {
            "schema": SCHEMA,
            "serving_cpus": list(self.serving_cpus),
            "trainer_cpus": list(self.trainer_cpus),
            "memory": memory,
            "rdt": rdt,
            "reasons": list(self.reasons),
        }
        if self.cpu_limit is not None:
            found |= {"cpu_limit": self.cpu_limit, "trainer_share": self.trainer_share}
        return found


def plan(
    topology: Topology,
    request: Request | None = None,
    rdt: Info | None = None,
    cpu_limit: float | None = None,
) -> Plan:
    """Divide the machine between servers and trainer.

    Parameters
    ----------
    topology : Topology
        The machine.
    request : Request or None
        What the run wants; nothing in particular by default.
    rdt : Info or None
        What resctrl offers; None where it is not mounted.
    cpu_limit : float or None
        CPUs that control groups allow (`lorabench.host.quota`); None for no limit.

    Raises
    ------
    InputError
        Fewer than one server asked for, or CPUs that cannot be had.
    MachineError
        Fewer than two usable physical cores, or fewer than the servers asked for and one more.
    """
    wanted = request or Request()
    most = None if cpu_limit is None else max(2, math.floor(cpu_limit))
    cores = choose_cores(topology, wanted.servers, wanted.serving_cpus, wanted.trainer_cpus, most)
    memory, about_memory = _place_memory(topology, cores.serving)
    about_dropped = (f"{one.what} left out: {one.instead}" for one in topology.dropped)
    reasons = (*cores.reasons, *about_memory, *about_dropped)
    divided = None
    if rdt is not None:
        divided, about_rdt = partition(topology, cores.serving, cores.trainer, rdt)
        reasons += about_rdt
    return limited(
        Plan(cores.serving, cores.trainer, reasons, memory, divided), topology, cpu_limit
    )


def limited(found: Plan, topology: Topology, cpu_limit: float | None) -> Plan:
    """Give a plan's trainer what a limit on CPU time leaves it; one of all cores binds nobody."""
    cores = sum(bool(core & topology.allowed) for core in topology.siblings)
    if cpu_limit is None or cpu_limit >= cores:
        return found
    sides = len(found.serving_cpus), len(found.trainer_cpus)
    share, reasons = trainer_share(cpu_limit, cores, *sides)
    because = (*found.reasons, *reasons)
    return replace(found, cpu_limit=cpu_limit, trainer_share=share, reasons=because)


def _place_memory(
    topology: Topology, serving: Sequence[int]
) -> tuple[MemoryPlan | None, tuple[str, ...]]:
    """Choose nodes for what servers read and write on the way of a query: near them.

    The trainer comes second: it has no deadline. Its own heap is placed by first touch.
    """
    usable = _with_memory(topology)
    if len(usable) < 2:
        if len(topology.nodes) > 1:
            return None, ("one node has memory that may be used: there is none to choose",)
        return None, ()
    ordinary = [node for node in usable if node.cpus] or usable
    home = {cpu: node.id for node in topology.nodes for cpu in node.cpus}
    near = {cpu: _nearest(topology, home.get(cpu), ordinary) for cpu in serving}
    nodes = tuple(sorted(set(near.values())))
    reasons = []
    for cpu, node in near.items():
        lacking = home.get(cpu)
        reason = f"node {lacking} has no memory that may be used: node {node} is the nearest"
        if lacking not in (None, node) and reason not in reasons:
            reasons.append(reason)
    if homeless := [cpu for cpu in serving if cpu not in home]:
        reasons.append(
            f"CPUs {format_cpu_list(homeless)} are on no node that is known: node "
            f"{ordinary[0].id} is taken for them"
        )
    if len(nodes) == 1:
        read_by_all = MemoryPolicy("bind", nodes)
        there = {home.get(cpu) for cpu in serving} == set(nodes)
        where = "all servers are there" if there else "it is the nearest to all servers"
        if homeless:
            where = "no other is known to be nearer to a server"
        reasons.append(f"tables and adapter are bound to node {nodes[0]}: {where}")
    else:
        read_by_all = MemoryPolicy("interleave", nodes)
        reasons.append(
            f"tables and adapter are interleaved over nodes {format_cpu_list(nodes)}: every server "
            "reads all of them, and one far from all would make the tail"
        )
    replay = tuple(MemoryPolicy("bind", (near[cpu],)) for cpu in serving)
    reasons.append("each replay ring is bound to its server's node: appending delays a query")
    if unused := [node.id for node in usable if node not in ordinary]:
        which = "nodes" if len(unused) > 1 else "node"
        reasons.append(f"unused: {which} {format_cpu_list(unused)}, memory without CPUs (CXL, HBM)")
    return MemoryPlan(read_by_all, read_by_all, replay), tuple(reasons)


def _with_memory(topology: Topology) -> list[Node]:
    return [n for n in topology.nodes if n.memory_bytes and n.id in topology.allowed_nodes]


def _nearest(topology: Topology, home: int | None, among: Sequence[Node]) -> int:
    # A CPU of no node: its node is offline, and all others are as far.
    if home is None:
        return among[0].id
    return min(among, key=lambda node: (topology.distance(home, node.id), node.id)).id


class _Part(BaseModel):
    """Base of a plan document's parts: unknown keys are an error, and so are near misses."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Policy(_Part):
    mode: Literal["bind", "interleave"]
    nodes: list[int]


class _Memory(_Part):
    tables: _Policy
    adapter: _Policy
    replay: list[_Policy]


class _Rdt(_Part):
    serving: list[str]
    trainer: list[str]


_Cpus = Annotated[list[int], Field(min_length=1)]


class _Document(_Part):
    schema_: Annotated[Literal["lorabench.plan/1"], Field(alias="schema")]
    serving_cpus: _Cpus
    trainer_cpus: _Cpus
    memory: _Memory | None = None
    rdt: _Rdt | None = None
    reasons: list[str] = []
    cpu_limit: Annotated[float, Field(gt=0)] | None = None
    trainer_share: Annotated[float, Field(gt=0, le=1)] = 1.0


def read_plan(path: Path, topology: Topology) -> Plan:
    """Read a plan that was printed, or written by hand, and hold it against this machine.

    Parameters
    ----------
    path : Path
        JSON as `Plan.as_document` forms it; ``memory``, ``rdt`` and ``reasons`` may be left out.
    topology : Topology
        The machine that it is for. Whether its resctrl takes the masks is for
        `lorabench.host.resctrl.Info.refusals` to say.

    Raises
    ------
    InputError
        It cannot be read, is no plan, or one for another machine: one line that names the file, the
        place in it, what was found and what was expected.
    """
    document = _parse(path)
    serving, trainer = document.serving_cpus, document.trainer_cpus
    given = {f"{path}: serving_cpus": serving, f"{path}: trainer_cpus": trainer}
    for name, cpus in given.items():
        if len(set(cpus)) < len(cpus):
            twice = next(cpu for cpu in cpus if cpus.count(cpu) > 1)
            raise InputError(f"{name}: found CPU {twice} twice, expected each once")
    check_apart(topology, {name: frozenset(cpus) for name, cpus in given.items()})
    for core in topology.siblings:
        if len(both := core.intersection(serving)) > 1:
            raise InputError(
                f"{path}: serving_cpus: found CPUs {format_cpu_list(both)} of one core, expected "
                "each server on a core of its own"
            )
    memory = rdt = None
    if document.memory is not None:
        memory = _memory(path, document.memory, topology)
        if len(memory.replay) != len(serving):
            raise InputError(
                f"{path}: memory.replay: found {len(memory.replay)} policies, expected one for "
                f"each of {len(serving)} servers"
            )
    if document.rdt is not None:
        rdt = RdtPlan(
            _schemata(f"{path}: rdt.serving", document.rdt.serving),
            _schemata(f"{path}: rdt.trainer", document.rdt.trainer),
        )
    reasons = tuple(document.reasons) or (f"all as {path} has it",)
    of_limit = document.cpu_limit, document.trainer_share
    return Plan(tuple(serving), tuple(trainer), reasons, memory, rdt, *of_limit)


def _parse(path: Path) -> _Document:
    try:
        return _Document.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a plan") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: line {error.lineno}, column {error.colno}: found no JSON ({error.msg}), "
            "expected a plan"
        ) from None
    except ValidationError as error:
        _refuse(path, error)
    except (ValueError, RecursionError) as error:
        # No text, a number of thousands of digits, or brackets nested without end.
        raise InputError(f"{path}: found no usable JSON ({error}), expected a plan") from None


def _refuse(path: Path, error: ValidationError) -> NoReturn:
    """Put the first thing that is wrong into words."""
    details = error.errors(include_url=False)
    first = details[0]
    key = ".".join(map(str, first["loc"])) or "the document"
    found = f"{first['input']!r:.60}"
    if first["type"] == "missing":
        text = f"{key}: found nothing, expected a value"
    elif first["type"] == "extra_forbidden":
        text = f"{key}: found a key that {SCHEMA} does not have"
    else:
        text = f"{key}: found {found}, expected otherwise: {first['msg']}"
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    raise InputError(f"{path}: {text}{more}") from None


def _memory(path: Path, found: _Memory, topology: Topology) -> MemoryPlan:
    usable = frozenset(node.id for node in _with_memory(topology))

    def policy(key: str, given: _Policy) -> MemoryPolicy:
        where = f"{path}: memory.{key}"
        if wrong := frozenset(given.nodes) - usable:
            raise InputError(
                f"{where}: found node {', '.join(map(str, sorted(wrong)))}, expected some with "
                f"memory that this process may use: {format_cpu_list(usable)}"
            )
        try:
            return MemoryPolicy(given.mode, tuple(given.nodes))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    return MemoryPlan(
        policy("tables", found.tables),
        policy("adapter", found.adapter),
        tuple(policy(f"replay.{number}", ring) for number, ring in enumerate(found.replay)),
    )


def _schemata(where: str, lines: Sequence[str]) -> Schemata:
    try:
        return Schemata.parse("".join(f"{line}\n" for line in lines))
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
