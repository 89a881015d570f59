import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import resctrl_offers
import sysfs_trees
from hypothesis import given
from hypothesis import strategies as st
from sysfs_trees import GIB, Machine

from lorabench.errors import InputError, MachineError
from lorabench.host.resctrl import Info, Schemata
from lorabench.host.topology import CoreType, Node, Topology, format_cpu_list
from lorabench.isolation.plan import MemoryPlan, Plan, RdtPlan, Request, plan, read_plan
from lorabench.memory import MemoryPolicy

SNAPSHOTS = Path(__file__).parent / "snapshots"


def machine(*domains: int, threads: int = 1, allowed: frozenset[int] | None = None) -> Topology:
    """Lay out cores of `threads` adjacent CPUs in L3 domains of so many cores each."""
    cores, l3 = [], []
    for count in domains:
        first = len(cores)
        cores += [
            frozenset(range(core * threads, (core + 1) * threads))
            for core in range(first, first + count)
        ]
        l3.append(frozenset().union(*cores[first:]))
    cpus = frozenset().union(*cores)
    usable = cpus if allowed is None else allowed
    return Topology(
        cpus, usable, tuple(cores), tuple(l3), (cpus,), (Node(0, cpus, 1 << 30, (10,)),)
    )


@st.composite
def machines(draw: st.DrawFn) -> Topology:
    domains = draw(st.lists(st.integers(1, 8), min_size=1, max_size=8))
    threads = draw(st.integers(1, 2))
    cpus = range(sum(domains) * threads)
    allowed = draw(st.frozensets(st.sampled_from(cpus), min_size=1))
    return machine(*domains, threads=threads, allowed=allowed)


def usable_cores(topology: Topology) -> int:
    return sum(bool(core & topology.allowed) for core in topology.cores)


@given(machines(), st.none() | st.integers(1, 16))
def test_servers_and_trainer_never_share_a_core(topology: Topology, servers: int | None):
    total = usable_cores(topology)
    if total < 2 or (servers or 0) >= total:
        with pytest.raises(MachineError):
            plan(topology, Request(servers))
        return
    made = plan(topology, Request(servers))
    chosen = (*made.serving_cpus, *made.trainer_cpus)
    assert set(chosen) <= topology.allowed
    # One CPU of each core at most, over servers and trainer together; the core's first usable one.
    for core in topology.cores:
        used = [cpu for cpu in chosen if cpu in core]
        assert used in ([], [min(core & topology.allowed, default=None)])
    assert made.serving_cpus
    assert 1 <= len(made.trainer_cpus) <= max(1, total // 4)
    if servers is not None:
        assert len(made.serving_cpus) == servers


@given(machines())
def test_the_trainer_has_its_l3_domain_to_itself_where_there_are_two(topology: Topology):
    domains = [domain for domain in topology.l3 if domain & topology.allowed]
    if usable_cores(topology) < 2:
        return
    made = plan(topology)
    of_trainer = [domain for domain in domains if domain & set(made.trainer_cpus)]
    shared = [domain for domain in of_trainer if domain & set(made.serving_cpus)]
    assert shared == ([] if len(domains) > 1 else domains)


def test_two_cores_are_one_server_and_the_trainer():
    assert plan(machine(2)) == Plan(
        (0,),
        (1,),
        (
            "the trainer gets 1 of 2 physical cores: a quarter would be less than the one that it "
            "needs",
            "there is one L3 domain: servers and trainer share it",
            "1 server, each on a physical core of its own",
        ),
    )


def test_a_desktop_with_smt_gives_the_trainer_a_quarter_of_its_cores():
    made = plan(machine(8, threads=2))
    assert made.serving_cpus == (0, 2, 4, 6, 8, 10)
    assert made.trainer_cpus == (12, 14)
    assert any("SMT siblings" in reason for reason in made.reasons)


def test_many_domains_give_the_trainer_whole_ones():
    made = plan(machine(*[8] * 8))
    assert made.trainer_cpus == tuple(range(48, 64))
    assert made.serving_cpus == tuple(range(48))


def test_two_domains_leave_cores_idle_rather_than_share_a_cache_and_say_so():
    made = plan(machine(8, 8))
    assert made.serving_cpus == tuple(range(8))
    assert made.trainer_cpus == (12, 13, 14, 15)
    assert any("4 cores beside it stay idle" in reason for reason in made.reasons)


def test_as_many_servers_as_asked_for_come_before_a_cache_of_its_own():
    made = plan(machine(8, 8), Request(servers=12))
    assert made.serving_cpus == tuple(range(12))
    assert made.trainer_cpus == (12, 13, 14, 15)
    assert any("12 servers do not fit outside" in reason for reason in made.reasons)


def test_a_small_domain_is_the_trainers():
    made = plan(machine(1, 4))
    assert made.trainer_cpus == (0,)
    assert made.serving_cpus == (1, 2, 3, 4)


def test_fewer_servers_than_cores_leave_the_rest_idle():
    assert plan(machine(8), Request(servers=2)).serving_cpus == (0, 1)


def test_many_servers_leave_the_trainer_what_is_left():
    made = plan(machine(8), Request(servers=7))
    assert made.trainer_cpus == (7,)
    assert any("all that 7 servers leave" in reason for reason in made.reasons)


def test_cpus_that_are_not_allowed_are_not_used():
    made = plan(machine(4, threads=2, allowed=frozenset({1, 4, 5, 7})))
    assert made.serving_cpus == (1, 4)
    assert made.trainer_cpus == (7,)


def test_two_threads_of_one_core_are_too_few():
    with pytest.raises(
        MachineError, match=r"found 1 usable physical core .* at least 2"
    ) as refusal:
        plan(machine(1, threads=2))
    assert refusal.value.exit_code == 3


def test_as_many_servers_as_cores_are_refused():
    with pytest.raises(MachineError, match=r"found 4 usable .* at least 5 for 4 servers"):
        plan(machine(4), Request(servers=4))


def test_no_server_is_refused():
    with pytest.raises(InputError, match="--servers: found 0, expected at least 1"):
        plan(machine(4), Request(servers=0))


def shown(made: Plan) -> str:
    """Put a plan so that a reader can judge it, and a difference be seen."""
    document = made.as_document()
    for key in ("serving_cpus", "trainer_cpus"):
        document[key] = format_cpu_list(document[key])  # type: ignore[arg-type]
    del document["schema"]
    if made.memory is not None:
        rings: dict[str, list[int]] = {}
        for server, ring in enumerate(made.memory.replay):
            rings.setdefault(str(ring), []).append(server)
        document["memory"] = {
            "tables": str(made.memory.tables),
            "adapter": str(made.memory.adapter),
            "replay": {f"of servers {format_cpu_list(s)}": ring for ring, s in rings.items()},
        }
    return json.dumps(document, indent=2) + "\n"


# To change one on purpose: write `shown(made)` to its file and read the difference.
@pytest.mark.parametrize(
    ("name", "machine", "rdt", "request_"),
    [
        ("snc-xeon", sysfs_trees.snc_xeon(), resctrl_offers.xeon(), Request()),
        ("snc-xeon-24-servers", sysfs_trees.snc_xeon(), resctrl_offers.xeon(), Request(24)),
        ("epyc", sysfs_trees.epyc(), resctrl_offers.epyc(), Request()),
        ("epyc-4-servers", sysfs_trees.epyc(), resctrl_offers.epyc(), Request(4)),
        (
            "desktop",
            sysfs_trees.desktop(),
            resctrl_offers.offers(resctrl_offers.l3([0], ways=12)),
            Request(),
        ),
        ("small-vm", sysfs_trees.small_vm(), None, Request()),
    ],
)
def test_the_plan_for_a_machine_is_as_it_was(
    topology_of: Callable[[Machine], Topology],
    name: str,
    machine: Machine,
    rdt: Info | None,
    request_: Request,
):
    made = plan(topology_of(machine), request_, rdt)
    assert shown(made) == (SNAPSHOTS / f"{name}.json").read_text()
    if made.rdt is not None and rdt is not None:
        assert rdt.refusals(made.rdt.serving) == rdt.refusals(made.rdt.trainer) == ()


@st.composite
def numa_machines(draw: st.DrawFn) -> Topology:
    """Draw packages of nodes of L3 domains of L2 caches of cores, some slow, some not allowed."""
    threads = draw(st.integers(1, 2))
    cores: list[frozenset[int]] = []
    l2: list[frozenset[int]] = []
    l3: list[frozenset[int]] = []
    nodes: list[frozenset[int]] = []
    slow: set[int] = set()
    for _ in range(draw(st.integers(1, 3))):
        in_node = len(l3)
        for _ in range(draw(st.integers(1, 3))):
            in_l3 = len(l2)
            for _ in range(draw(st.integers(1, 3))):
                in_l2 = len(cores)
                for _ in range(draw(st.integers(1, 3))):
                    first = len(cores) * threads
                    cores.append(frozenset(range(first, first + threads)))
                l2.append(frozenset().union(*cores[in_l2:]))
                if draw(st.integers(0, 3)) == 0:
                    slow |= l2[-1]
            l3.append(frozenset().union(*l2[in_l3:]))
        nodes.append(frozenset().union(*l3[in_node:]))
    cpus = frozenset().union(*cores)
    memory = draw(st.lists(st.sampled_from([0, GIB]), min_size=len(nodes), max_size=len(nodes)))
    found = [
        Node(number, group, memory[number], tuple(10 if n == number else 20 for n in range(9)))
        for number, group in enumerate(nodes)
    ]
    if draw(st.booleans()):
        found.append(Node(len(nodes), frozenset(), GIB, (20,) * 9))
    kinds = ()
    if slow and slow != cpus:
        kinds = (
            CoreType("performance", cpus - slow),
            CoreType("efficiency", frozenset(slow)),
        )
    return Topology(
        online=cpus,
        allowed=draw(st.just(cpus) | st.frozensets(st.sampled_from(sorted(cpus)), min_size=1)),
        cores=tuple(cores),
        l3=tuple(l3),
        packages=(cpus,),
        nodes=tuple(found),
        l2=tuple(l2),
        l3_ids=tuple(range(len(l3))),
        l2_ids=tuple(range(len(l2))),
        core_types=kinds,
    )


def touched(sets: tuple[frozenset[int], ...], cpus: tuple[int, ...]) -> set[int]:
    return {number for number, group in enumerate(sets) if not group.isdisjoint(cpus)}


@given(numa_machines(), st.none() | st.integers(1, 8), st.integers(2, 20), st.integers(0, 3))
def test_a_plan_keeps_its_rules_on_any_machine(
    topology: Topology, servers: int | None, ways: int, least: int
):
    total = usable_cores(topology)
    if total < 2 or (servers or 0) >= total:
        return
    domains = range(len(topology.l3))
    rdt = resctrl_offers.offers(
        resctrl_offers.l3(domains, ways=ways, least=least, shareable=1 << ways - 1),
        bandwidth=resctrl_offers.intel_mb(domains),
    )
    made = plan(topology, Request(servers), rdt)
    serving, trainer = made.serving_cpus, made.trainer_cpus
    assert {*serving, *trainer} <= topology.allowed
    assert len(serving) == (servers or len(serving)) >= 1
    assert 1 <= len(trainer) <= max(1, total // 4)
    # No core is used twice.
    for cores in (topology.cores, topology.siblings):
        assert len(touched(cores, serving + trainer)) == len(serving) + len(trainer)
    shared = touched(topology.l3, serving) & touched(topology.l3, trainer)
    # Servers share the trainer's L3 where nothing else can hold them: a slow core is no place.
    fast = topology.core_types[0].cpus if topology.core_types else topology.online
    usable = [core & topology.allowed for core in topology.cores if core & topology.allowed]
    fits = [core for core in usable if min(core) in fast] or usable
    elsewhere = [
        core
        for core in fits
        if not touched(topology.l3, tuple(core)) & touched(topology.l3, trainer)
    ]
    if shared:
        assert len(elsewhere) < (servers or 1)
    # Masks stand where both are, and nowhere else, and are legal and apart.
    if made.rdt is None:
        return
    assert rdt.refusals(made.rdt.serving) == rdt.refusals(made.rdt.trainer) == ()
    ours, theirs = made.rdt.serving.domains("L3"), made.rdt.trainer.domains("L3")
    assert ours.keys() == theirs.keys() == (shared if ways >= 2 * max(1, least) else set())
    assert not any(ours[domain] & theirs[domain] for domain in ours)
    limits = made.rdt.trainer.domains("MB")
    assert limits.keys() == touched(topology.l3, trainer)
    assert not made.rdt.serving.domains("MB")


@given(numa_machines())
def test_memory_is_near_the_servers_and_on_nodes_that_have_some(topology: Topology):
    if usable_cores(topology) < 2:
        return
    made = plan(topology)
    with_memory = {node.id for node in topology.nodes if node.memory_bytes}
    if made.memory is None:
        assert len(with_memory) < 2
        return
    home = {cpu: node.id for node in topology.nodes for cpu in node.cpus}
    ordinary = {node.id for node in topology.nodes if node.memory_bytes and node.cpus}
    assert len(made.memory.replay) == len(made.serving_cpus)
    for cpu, ring in zip(made.serving_cpus, made.memory.replay, strict=True):
        (node,) = ring.nodes
        assert node in (ordinary or with_memory)
        if home[cpu] in with_memory:
            assert node == home[cpu]
    nodes = {ring.nodes[0] for ring in made.memory.replay}
    assert set(made.memory.tables.nodes) == set(made.memory.adapter.nodes) == nodes
    assert made.memory.tables.mode == ("bind" if len(nodes) == 1 else "interleave")


def test_one_node_needs_no_memory_plan(topology_of: Callable[[Machine], Topology]):
    assert plan(topology_of(sysfs_trees.desktop())).memory is None


def test_memory_without_cpus_is_not_used(topology_of: Callable[[Machine], Topology]):
    made = plan(topology_of(sysfs_trees.with_memory_only_node(sysfs_trees.small_vm())))
    assert made.memory is not None
    assert made.memory.tables == MemoryPolicy("bind", (0,))
    assert "unused: node 1, memory without CPUs (CXL, HBM)" in made.reasons


def test_memory_that_may_not_be_used_is_not(topology_of: Callable[[Machine], Topology]):
    made = plan(topology_of(sysfs_trees.confined_v2(sysfs_trees.snc_xeon(), "0-63", "1-3")))
    assert made.memory is not None
    # Servers are on nodes 0 and 1; node 1 is the nearest of those left.
    assert made.memory.tables == MemoryPolicy("bind", (1,))
    assert "node 0 has no memory that may be used: node 1 is the nearest" in made.reasons
    assert (
        "tables and adapter are bound to node 1: it is the nearest to all servers" in made.reasons
    )


def test_where_one_node_is_left_there_is_nothing_to_choose(
    topology_of: Callable[[Machine], Topology],
):
    made = plan(topology_of(sysfs_trees.confined_v2(sysfs_trees.snc_xeon(), "0-63", "2")))
    assert made.memory is None
    assert any("there is none to choose" in reason for reason in made.reasons)


def test_few_servers_have_the_trainer_on_their_node(topology_of: Callable[[Machine], Topology]):
    made = plan(topology_of(sysfs_trees.epyc()), Request(servers=4))
    assert made.serving_cpus == tuple(range(4))
    # The last two CCDs of the servers' socket, where the other socket's would be as free.
    assert made.trainer_cpus == tuple(range(8, 16))


def test_low_power_cores_outside_the_l3_are_the_trainer_s(
    topology_of: Callable[[Machine], Topology],
):
    made = plan(topology_of(sysfs_trees.laptop()))
    assert made.serving_cpus == (0, 2, 4, 6, 8, 10)
    assert made.trainer_cpus == (20, 21)


def test_arm_serves_on_its_fast_cores(topology_of: Callable[[Machine], Topology]):
    made = plan(topology_of(sysfs_trees.arm_phone()))
    assert (made.serving_cpus, made.trainer_cpus) == ((0, 1, 2, 3), (6, 7))


def test_servers_beyond_the_fast_cores_get_slow_ones_and_it_says_so(
    topology_of: Callable[[Machine], Topology],
):
    made = plan(topology_of(sysfs_trees.desktop()), Request(servers=12))
    assert made.serving_cpus == (0, 2, 4, 6, 8, 10, 12, 14, 16, 17, 18, 19)
    assert any("4 servers on efficiency cores" in reason for reason in made.reasons)


def test_cores_that_share_an_l2_cache_with_the_trainer_s_stay_idle():
    pairs = tuple(frozenset({cpu, cpu + 1}) for cpu in (0, 2, 4))
    made = plan(replace(machine(6), l2=pairs))
    assert (made.serving_cpus, made.trainer_cpus) == ((0, 1, 2, 3), (5,))
    assert "1 core that shares an L2 cache with the trainer's stays idle" in made.reasons


def test_cores_of_one_compute_unit_are_not_shared():
    units = tuple(frozenset({cpu, cpu + 1}) for cpu in (0, 2, 4, 6))
    made = plan(replace(machine(8), siblings=units))
    assert (made.serving_cpus, made.trainer_cpus) == ((0, 2, 4), (6,))


def test_cpus_chosen_by_hand_are_taken_a_thread_a_core():
    wanted = Request(serving_cpus=frozenset({0, 1, 4, 5}), trainer_cpus=frozenset({9, 10}))
    made = plan(machine(8, threads=2), wanted)
    assert (made.serving_cpus, made.trainer_cpus) == ((0, 4), (9, 10))
    assert any("those of --trainer-cpus" in reason for reason in made.reasons)


def test_beside_servers_chosen_by_hand_the_trainer_keeps_out_of_their_l3():
    made = plan(machine(4, 4, 4), Request(serving_cpus=frozenset({8, 9})))
    assert made.serving_cpus == (8, 9)
    assert made.trainer_cpus == (5, 6, 7)


def test_beside_a_trainer_chosen_by_hand_servers_keep_out_of_its_l3():
    made = plan(machine(4, 4), Request(trainer_cpus=frozenset({0, 1})))
    assert (made.serving_cpus, made.trainer_cpus) == ((4, 5, 6, 7), (0, 1))


def test_servers_chosen_by_hand_may_be_more_than_are_wanted():
    made = plan(machine(8), Request(servers=2, serving_cpus=frozenset({2, 3, 4})))
    assert made.serving_cpus == (2, 3)
    assert not {2, 3, 4} & set(made.trainer_cpus)


@pytest.mark.parametrize(
    ("serving", "trainer", "servers", "message"),
    [
        ({9}, None, None, r"--serving-cpus: found CPU 9, which is not there; expected .* of 0-6$"),
        (None, {8}, None, r"--trainer-cpus: found CPU 8, which is offline"),
        ({7}, None, None, r"--serving-cpus: found CPU 7, which is not this process's to use"),
        (set(), None, None, r"--serving-cpus: found no CPU, expected some of 0-6"),
        ({0, 2}, {2, 4}, None, r"--trainer-cpus: found CPU 2, which --serving-cpus has too"),
        ({0}, {1}, None, r"--trainer-cpus: found CPU 1, on one core with CPU 0 of --serving-cpus"),
        ({0, 1, 2}, None, 3, r"--servers: found 3, expected at most 2, the physical cores of --s"),
        ({0, 2, 4, 6}, None, None, r"--serving-cpus: found 0,2,4,6, all usable physical cores"),
        (None, {0, 2, 4, 6}, None, r"--trainer-cpus: found all usable physical cores"),
        (None, {0, 2}, 3, r"--servers: found 3, expected at most 2, .* --trainer-cpus leaves"),
    ],
)
def test_cpus_that_cannot_be_had_are_refused_by_the_option_s_name(
    serving: set[int] | None, trainer: set[int] | None, servers: int | None, message: str
):
    topology = replace(machine(4, threads=2, allowed=frozenset(range(7))), offline=frozenset({8}))
    wanted = Request(
        servers,
        None if serving is None else frozenset(serving),
        None if trainer is None else frozenset(trainer),
    )
    with pytest.raises(InputError, match=message) as refusal:
        plan(topology, wanted)
    assert "\n" not in str(refusal.value)


def two_nodes() -> Topology:
    nodes = tuple(
        Node(number, frozenset(range(4 * number, 4 * number + 4)), GIB, (10, 20))
        for number in range(2)
    )
    return replace(machine(4, 4), nodes=nodes, l3_ids=(0, 1), allowed_nodes=frozenset({0, 1}))


@pytest.mark.parametrize("rdt", [None, resctrl_offers.xeon()])
@pytest.mark.parametrize("servers", [None, 6])
def test_a_plan_reads_back_as_it_was_printed(tmp_path: Path, rdt: Info | None, servers: int | None):
    made = plan(two_nodes(), Request(servers), rdt)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(made.as_document()))
    assert read_plan(path, two_nodes()) == made


def test_a_plan_by_hand_needs_cores_alone(tmp_path: Path):
    path = tmp_path / "plan.json"
    text = '{"schema": "lorabench.plan/1", "serving_cpus": [3, 1], "trainer_cpus": [4]}'
    path.write_text(text)
    made = read_plan(path, two_nodes())
    assert made == Plan((3, 1), (4,), (f"all as {path} has it",))


def document(**changes: Any) -> dict[str, Any]:
    one = {"mode": "bind", "nodes": [0]}
    return {
        "schema": "lorabench.plan/1",
        "serving_cpus": [0, 1],
        "trainer_cpus": [4],
        "memory": {"tables": one, "adapter": one, "replay": [one, one]},
        "rdt": {"serving": ["L3:0=ff0"], "trainer": ["L3:0=00f", "MB:0=50"]},
    } | changes


def test_a_plan_by_hand_may_say_all(tmp_path: Path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document()))
    made = read_plan(path, two_nodes())
    one = MemoryPolicy("bind", (0,))
    assert made.memory == MemoryPlan(one, one, (one, one))
    assert made.rdt == RdtPlan(
        Schemata.of({"L3": {0: 0xFF0}}), Schemata.of({"L3": {0: 0xF}, "MB": {0: 50}})
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"plan.json: line 1, column 2: found no JSON"),
        ("[1]", r"plan.json: the document: found \[1\], expected otherwise"),
        ("{}", r"plan.json: schema: found nothing, expected a value \(and 2 more\)"),
        (document(schema="lorabench.result/1"), r"schema: found 'lorabench.result/1', expected"),
        (document(cpus=[1]), r"cpus: found a key that lorabench.plan/1 does not have"),
        (document(serving_cpus="0-1"), r"serving_cpus: found '0-1', expected"),
        (document(serving_cpus=[]), r"serving_cpus: found \[\], expected"),
        (document(serving_cpus=[True, 1]), r"serving_cpus.0: found True, expected"),
        (document(serving_cpus=[0, 0]), r"serving_cpus: found CPU 0 twice"),
        (document(serving_cpus=[0, 99]), r"plan.json: serving_cpus: found CPU 99, which is not th"),
        (document(trainer_cpus=[1]), r"trainer_cpus: found CPU 1, which .*serving_cpus has too"),
        (
            document(memory={"tables": {"mode": "bind", "nodes": [0]}}),
            r"memory.adapter: found nothing, expected a value",
        ),
        (
            document(memory=document()["memory"] | {"replay": []}),
            r"memory.replay: found 0 policies, expected one for each of 2 servers",
        ),
        (
            document(memory=document()["memory"] | {"tables": {"mode": "bind", "nodes": [5]}}),
            r"memory.tables: found node 5, expected some with memory .*: 0-1",
        ),
        (
            document(memory=document()["memory"] | {"adapter": {"mode": "near", "nodes": [0]}}),
            r"memory.adapter.mode: found 'near', expected",
        ),
        (
            document(memory=document()["memory"] | {"tables": {"mode": "bind", "nodes": []}}),
            r"memory.tables: memory policy: found no node",
        ),
        (
            document(rdt={"serving": ["L3:0=xyz"], "trainer": []}),
            r"plan.json: rdt.serving: line 1: found '0=xyz' for L3, expected a pair",
        ),
    ],
)
def test_what_is_no_plan_for_this_machine_is_refused(
    tmp_path: Path, text: str | dict[str, Any], message: str
):
    path = tmp_path / "plan.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    with pytest.raises(InputError, match=message) as refusal:
        read_plan(path, two_nodes())
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_two_servers_of_one_core_are_refused(tmp_path: Path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document(memory=None, rdt=None)))
    with pytest.raises(InputError, match=r"serving_cpus: found CPUs 0-1 of one core"):
        read_plan(path, machine(4, threads=2))


def test_a_plan_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"plan.json: No such file or directory; expected a plan"):
        read_plan(tmp_path / "plan.json", two_nodes())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(document())), JSON)
def test_any_plan_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any
):
    path = tmp_path_factory.getbasetemp() / "any-plan.json"
    path.write_text(json.dumps(document(**{key: value})))
    try:
        made = read_plan(path, two_nodes())
    except InputError:
        return  # and nothing else; the reason is the last tests'
    assert made.serving_cpus
    assert {*made.serving_cpus, *made.trainer_cpus} <= set(range(8))
