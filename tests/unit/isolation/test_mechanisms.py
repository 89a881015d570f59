"""Each mechanism: the contract of all, and what is its own."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import children
import pytest
from children import RESTLESS
from mechanism_contract import MechanismContract

from lorabench.host.cgroups import locate
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.host.mounts import read_mounts
from lorabench.host.resctrl import ResctrlMount, Schemata, availability
from lorabench.host.topology import Node, Topology
from lorabench.isolation.confine import Workers
from lorabench.isolation.machine import try_out
from lorabench.isolation.mechanism import (
    MECHANISMS,
    Batch,
    Cgroup,
    DeltaApply,
    Evidence,
    Idle,
    Numa,
    RankChange,
    Rdt,
    Reuse,
    StreamApply,
    Throttle,
)
from lorabench.isolation.partition import RdtPlan
from lorabench.isolation.places import survey
from lorabench.isolation.plan import MemoryPlan, Plan
from lorabench.memory import MemoryPolicy

CPUS = sorted(os.sched_getaffinity(0))


def topology(*nodes: Node) -> Topology:
    cpus = frozenset(CPUS)
    return Topology(cpus, cpus, tuple(frozenset({c}) for c in CPUS), (cpus,), (cpus,), nodes)


@pytest.fixture
def evidence() -> Evidence:
    """This machine, as if its plan could be made: of two nodes, where memory goes to the first."""
    node = MemoryPolicy("bind", (0,))
    plan = Plan(tuple(CPUS[:1]), tuple(CPUS[-1:]), (), MemoryPlan(node, node, (node,)))
    nodes = (
        Node(0, frozenset(CPUS), 1 << 30, (10, 21)),
        Node(1, frozenset(), 1 << 30, (21, 10)),
    )
    return Evidence(topology(*nodes), plan, survey(), availability(), try_out())


@pytest.fixture
def traces() -> Callable[[], set[Path]]:
    """List what has been made in the kernel's file systems."""
    points = [m.point for m in read_mounts(Files()) if m.kind in ("cgroup", "cgroup2", "resctrl")]
    return lambda: children.traces(points)


def groups_of(pid: int) -> set[Path]:
    return {Path(at.folder) for at in locate(Files(), str(pid))}


class TestNuma(MechanismContract):
    mechanism = Numa()

    def test_one_node_has_no_nearer_memory(self, evidence: Evidence) -> None:
        one = replace(evidence, topology=topology(Node(0, frozenset(CPUS), 1 << 30, (10,))))
        found = self.mechanism.probe(one)
        assert found is not None
        assert "1 NUMA node:" in found.why
        assert "two or more nodes" in found.enable

    def test_nor_has_a_machine_with_memory_on_one_of_two(self, evidence: Evidence) -> None:
        first, second = evidence.topology.nodes
        nodes = (first, replace(second, cpus=frozenset(CPUS[-1:]), memory_bytes=0))
        found = self.mechanism.probe(
            replace(
                evidence,
                topology=replace(evidence.topology, nodes=nodes),
                plan=replace(evidence.plan, memory=None),
            )
        )
        assert found is not None
        assert "2 NUMA nodes, and memory that may be used on 1 of them: there is no" in found.why

    def test_two_nodes_do_not_help_where_memory_cannot_be_placed(self, evidence: Evidence) -> None:
        refused = {"placement": Missing("placement", "mbind is forbidden", "allow mbind")}
        found = self.mechanism.probe(replace(evidence, tried=refused))
        assert found == Missing(
            "numa", "the machine has 2 NUMA nodes, but mbind is forbidden", "allow mbind"
        )
        assert self.mechanism.probe(replace(evidence, tried={})) is None

    def test_nor_where_the_plan_places_none(self, evidence: Evidence) -> None:
        plan = replace(evidence.plan, memory=None)
        found = self.mechanism.probe(replace(evidence, plan=plan, tried={}))
        assert found is not None
        assert "--plan" in found.enable


class TestRdt(MechanismContract):
    mechanism = Rdt()

    @pytest.fixture
    def evidence(self, evidence: Evidence, resctrl: Path) -> Evidence:
        """With the double of resctrl, and a plan that divides it."""
        plan = RdtPlan(Schemata.of({"L3": {0: 0xFF0}}), Schemata.of({"L3": {0: 0xF}}))
        return replace(
            evidence,
            plan=replace(evidence.plan, rdt=plan),
            resctrl=ResctrlMount(resctrl, frozenset()),
        )

    @pytest.fixture
    def traces(self, resctrl: Path) -> Callable[[], set[Path]]:
        return lambda: children.traces([resctrl])

    def while_applied(self, evidence: Evidence, running: Workers) -> None:
        assert isinstance(evidence.resctrl, ResctrlMount)
        found = {
            path.name.rpartition("-")[2]: path for path in evidence.resctrl.root.glob("lorabench-*")
        }
        assert set(found) == {"serving", "trainer"}
        assert str(running.trainer) in (found["trainer"] / "tasks").read_text().split()

    def test_a_plan_that_divides_nothing_needs_no_groups(self, evidence: Evidence) -> None:
        found = self.mechanism.probe(replace(evidence, plan=replace(evidence.plan, rdt=None)))
        assert found is not None
        assert "divides neither cache nor bandwidth" in found.why


class TestCgroup(MechanismContract):
    mechanism = Cgroup()
    program = RESTLESS

    def while_applied(self, evidence: Evidence, running: Workers) -> None:
        ours = [path for path in groups_of(running.trainer) if "lorabench-" in path.name]
        assert ours
        assert not set(ours) & groups_of(next(iter(running.servers)))

    def test_either_controller_may_be_missing(self, evidence: Evidence) -> None:
        lacks = Missing("cgroup cpu", "it is not writable", "run as root")
        for controller in ("cpu", "cpuset"):
            offer = replace(evidence.cgroups, **{controller: lacks})
            found = self.mechanism.probe(replace(evidence, cgroups=offer))
            assert found == Missing("cgroup", lacks.why, lacks.enable)


class TestBatch(MechanismContract):
    mechanism = Batch()


class TestIdle(MechanismContract):
    mechanism = Idle()


class TestThrottle(MechanismContract):
    mechanism = Throttle()


class TestReuse(MechanismContract):
    mechanism = Reuse()


class TestRankChange(MechanismContract):
    mechanism = RankChange()


class TestDeltaApply(MechanismContract):
    mechanism = DeltaApply()


class TestStreamApply(MechanismContract):
    mechanism = StreamApply()


def test_every_mechanism_has_a_test_that_begins_with_the_contract() -> None:
    tested = {type(test.mechanism) for test in MechanismContract.__subclasses__()}
    assert tested == {type(mechanism) for mechanism in MECHANISMS}
