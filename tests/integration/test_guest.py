"""Memory placement and cgroup v2 on a real kernel with three NUMA nodes, which is booted once.

What runs in there is `cgroups_guest.py`, `quota_guest.py`, `memory_guest.py` and `numa_guest.py` of
`tests/support`.
Nodes 0 and 1 have CPUs; the parent is on node 0 and the server on node 1, so that without a policy
memory lies with whoever touched it first.
"""

import json
from pathlib import Path
from typing import Any

import cgroups_guest
import guest
import memory_guest
import numa_guest
import pytest
import quota_guest

MIB = 1 << 20

Facts = dict[str, Any]

# The guest is emulated: it takes a minute or two where nothing else runs.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

missing = guest.missing()
if missing:
    pytest.skip(f"NUMA AND CGROUP V2 ARE NOT TESTED: {missing}", allow_module_level=True)


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, guest.Ran]:
    """What the programs did in the guest, by name."""
    modules = (cgroups_guest, quota_guest, memory_guest, numa_guest)
    programs = [Path(module.__file__) for module in modules]
    return guest.run(programs, tmp_path_factory.mktemp("guest"), timeout_s=560)


@pytest.fixture(scope="module")
def facts(booted: dict[str, guest.Ran]) -> Facts:
    ran = booted["numa_guest"]
    assert ran.exit_code == 0, f"{ran.stderr}\n{ran.console[-4000:]}"
    return json.loads(ran.stdout)


def all_was_well(ran: guest.Ran) -> None:
    assert ran.exit_code == 0, f"{ran.stderr}\n{ran.console}"
    assert ran.stdout == "all as it should be\n"


def test_groups_are_made_wherever_version_2_allows_them_and_leave_no_trace(
    booted: dict[str, guest.Ran],
) -> None:
    all_was_well(booted["cgroups_guest"])


def test_a_quota_of_version_2_is_read_wherever_it_is_and_so_is_whom_the_kernel_stopped(
    booted: dict[str, guest.Ran],
) -> None:
    all_was_well(booted["quota_guest"])


def test_what_limits_leave_can_be_had_and_a_region_keeps_to_them(
    booted: dict[str, guest.Ran],
) -> None:
    all_was_well(booted["memory_guest"])


def placed(facts: Facts, pages: str, plan: str) -> Facts:
    """Find what lies where, on one kind of page by one plan for memory."""
    return next(
        found
        for found in facts["placements"]
        if found["methods"] == [pages, pages] and found["plan"] == plan
    )


def lies(where: Facts) -> dict[int, int]:
    """Say where a region lies; both witnesses agree on it."""
    assert where["move_pages"] == where["numa_maps"]
    return {int(node): size for node, size in where["move_pages"].items()}


def test_the_topology_and_a_plan_for_it_are_read_in_the_guest(facts: Facts):
    nodes = facts["topology"]["nodes"]
    assert [node["cpus"] for node in nodes] == [[0, 1], [2, 3], []]
    assert [node["distances"] for node in nodes] == [[10, 21, 31], [21, 10, 17], [31, 17, 10]]
    for node, mebibytes in zip(nodes, (1024, 1024, 512), strict=True):
        assert 0.8 * mebibytes * MIB < node["memory_bytes"] <= mebibytes * MIB
    assert facts["topology"]["packages"] == [[0, 1], [2, 3]]
    serving, trainer, reasons = facts["plan"]
    assert set(serving) <= {0, 1}
    assert set(trainer) <= {2, 3}
    assert reasons
    assert facts["unavailable"] == [None, None]


@pytest.mark.parametrize(
    ("pages", "node"),
    [
        ("4k", 0),
        ("4k", 1),
        ("collapse", 1),
        ("collapse", 2),
        ("thp", 1),
        ("hugetlb", 0),
        ("hugetlb", 1),
    ],
)
def test_bound_memory_lies_on_its_node_whoever_touches_it(facts: Facts, pages: str, node: int):
    found = placed(facts, pages, f"bind {node}")
    for who, what in (
        ("parent", "tables"),
        ("parent", "adapter"),
        ("server", "tables"),
        ("server", "adapter"),
        ("server", "ring"),
    ):
        where = found[who][what]
        assert set(lies(where)) == {node}, (who, what)
        assert where["refused"] is None
    # The server maps all of it, the tail that nobody wrote included.
    for where in found["server"].values():
        assert lies(where) == {node: where["length"]}


@pytest.mark.parametrize(
    ("pages", "nodes"),
    [
        ("4k", (0, 1)),
        ("collapse", (0, 1)),
        ("thp", (0, 1, 2)),
        ("hugetlb", (0, 1)),
    ],
)
def test_interleaved_memory_is_dealt_out_evenly(facts: Facts, pages: str, nodes: tuple[int, ...]):
    found = placed(facts, pages, "interleave " + " ".join(map(str, nodes)))
    for what, part in (("tables", 2 * MIB), ("adapter", 2 * MIB), ("ring", 4096)):
        where = found["server"][what]
        sizes = lies(where)
        assert sum(sizes.values()) == where["length"]
        assert set(sizes) <= set(nodes)
        assert max(sizes.values()) - min(sizes.get(node, 0) for node in nodes) <= part, what
        assert where["refused"] is None


def test_tables_adapter_and_ring_lie_on_the_nodes_that_the_plan_names(facts: Facts):
    # Servers on both CPUs of node 1.
    found = placed(facts, "collapse", "plan 2 3")
    assert found["memory"] == dict.fromkeys(("tables", "adapter", "ring"), "bind to node 1")
    assert all(set(lies(where)) == {1} for where in found["server"].values())
    # One server on each node; the second one's ring.
    found = placed(facts, "collapse", "plan 0 2")
    both = "interleave over nodes 0, 1"
    assert found["memory"] == {"tables": both, "adapter": both, "ring": "bind to node 1"}
    assert set(lies(found["server"]["tables"])) == set(lies(found["server"]["adapter"])) == {0, 1}
    assert set(lies(found["server"]["ring"])) == {1}
    assert all(where["refused"] is None for where in found["server"].values())


@pytest.mark.parametrize("pages", ["4k", "collapse"])
def test_without_a_policy_memory_lies_where_it_was_touched_first(facts: Facts, pages: str):
    found = placed(facts, pages, "none")
    assert set(lies(found["parent"]["tables"])) == {0}
    assert set(lies(found["parent"]["adapter"])) == {0}
    assert set(lies(found["server"]["ring"])) == {1}


def test_the_mappings_show_their_policy(facts: Facts):
    for pages in ("4k", "collapse"):
        found = placed(facts, pages, "bind 1")
        shown = [where["shown"] for who in ("parent", "server") for where in found[who].values()]
        assert shown == [["bind:1"]] * 5
    assert placed(facts, "4k", "interleave 0 1")["server"]["ring"]["shown"] == ["interleave:0-1"]


def test_huge_pages_reserved_on_another_node_are_left_alone(facts: Facts):
    found = next(f for f in facts["placements"] if f["reserved"] == {"0": 16, "1": 0})
    assert found["plan"] == "bind 1"
    assert found["methods"] == ["collapse", "collapse"]
    assert set(lies(found["parent"]["tables"])) == {1}


def test_what_the_server_reads_is_what_the_conductor_wrote(facts: Facts):
    for found in facts["placements"]:
        read, written = found["read"]
        assert read == pytest.approx(written, abs=1e-5)
        assert written != 0


def test_memory_that_lies_elsewhere_is_found_out(facts: Facts):
    found = placed(facts, "4k", "none")["misplaced"]
    assert found.startswith("MachineError: memory 'tables': found ")
    assert found.endswith("MiB on node 0 (by move_pages), expected it to bind to node 1")


def test_a_process_binds_the_memory_of_its_own_and_of_its_later_threads(facts: Facts):
    private = facts["private"]
    assert set(private["node_bytes"]) == {"2"}
    assert private["node_bytes"]["2"] >= 4 * MIB
    assert (private["main"], private["late"], private["early"]) == ("bind:2", "bind:2", "default")
    assert private["child"] == ["bind:2"]
    assert "found threads whose memory does not bind to node 2" in private["strays"]
    assert private["local"] == "local"
    assert "expected nodes with memory that this process may use: 0, 1, 2" in private["unknown"]


def test_nodes_that_cannot_be_had_are_refused_with_those_that_can(facts: Facts):
    found = facts["refusals"]
    there = "expected nodes with memory that this process may use: 0, 1, 2"
    assert found["unknown"] == f"MachineError: memory 'tables': cannot bind to node 3: {there}"
    assert "cannot interleave over nodes 1, 3" in found["one of two unknown"]
    assert found["one of two unknown"].endswith(there)
    allowed = "expected nodes with memory that this process may use: 0, 2"
    assert found["forbidden"] == f"MachineError: memory 'tables': cannot bind to node 1: {allowed}"
    assert found["one of two forbidden"].endswith(f"that bind with nodes 0; {allowed}")
    assert found["allowed"] is None


def test_tables_too_large_for_their_node_are_refused_before_the_kernel_kills(facts: Facts):
    found = facts["refusals"]
    assert "GiB available on node 2, expected at least 0.51 GiB to bind to" in found["too small"]
    assert found["large enough"] is None
