"""What runs in the guest of `guest.py`: the real placement code, on a kernel with three nodes.

The parent, on node 0, makes tables, an adapter and a replay ring as an experiment does, for each
policy and each kind of page. A server, a fresh interpreter on node 1, maps them as servers do, and
is the first to touch the ring. Both ask their kernel where everything lies. Nothing is judged here:
what was found goes to stdout as JSON, and the test on the host asserts.
"""

import ctypes
import faulthandler
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lorabench.errors import LorabenchError
from lorabench.host.topology import Topology, read_topology
from lorabench.isolation import numa
from lorabench.isolation.machine import inspect_machine
from lorabench.isolation.plan import MemoryPlan, Request, plan
from lorabench.lora.layout import plan_adapter
from lorabench.lora.writer import Adapter, attach_reader
from lorabench.memory import MemoryPolicy, Region, RegionHandle
from lorabench.model.tables import TableLayout, TableSet

LAYOUT = TableLayout((40_000, 60_000, 3, 25_000), 16)
RING_BYTES = 1 << 20
POLICIES = ("bind 0", "bind 1", "bind 2", "interleave 0 1", "interleave 0 1 2")
SHMEM_ENABLED = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
PR_SET_THP_DISABLE = 41

Facts = dict[str, Any]


def cpus_of(node: int) -> frozenset[int]:
    return next(n.cpus for n in read_topology().nodes if n.id == node)


def scenarios(topology: Topology) -> dict[str, MemoryPlan | None]:
    """Name what to place where: all by one policy, none at all, or as plans want it."""
    found: dict[str, MemoryPlan | None] = {"none": None}
    for name in POLICIES:
        mode, *nodes = name.split()
        policy = MemoryPolicy(mode, tuple(map(int, nodes)))
        found[name] = MemoryPlan(policy, policy, (policy,))
    for serving, trainer in (((2, 3), 0), ((0, 2), 1)):
        request = Request(serving_cpus=frozenset(serving), trainer_cpus=frozenset({trainer}))
        found[f"plan {serving[0]} {serving[1]}"] = plan(topology, request).memory
    return found


def where(region: Region, policy: MemoryPolicy | None) -> Facts:
    """Ask both witnesses where a region lies, and `verify_placement` what it thinks of that."""
    maps = numa.numa_maps(region)
    return {
        "length": region.mapping.length,
        "move_pages": region.node_bytes(),
        "numa_maps": numa.mapped_bytes(maps),
        "shown": sorted({part.policy for part in maps}),
        "refused": refused(lambda: numa.verify_placement(region, policy)) if policy else None,
    }


def refused(call: Any) -> str | None:
    try:
        call()
    except LorabenchError as error:
        return f"{type(error).__name__}: {error}"
    return None


def serve(link: socket.socket) -> None:
    """Map what the parent made, look rows up in it, be the first to write the ring."""
    os.sched_setaffinity(0, cpus_of(1))
    while True:
        message, fds, _, _ = socket.recv_fds(link, 1 << 16, 4)
        if not message:
            return
        memory, tables_at, adapter_at, ring_at = pickle.loads(message)
        tables_fd, sides_fd, pins_fd, ring_fd = fds
        tables = TableSet.attach(replace(tables_at, region=moved(tables_at.region, tables_fd)))
        sides, pins = moved(adapter_at.sides, sides_fd), moved(adapter_at.pins, pins_fd)
        reader = attach_reader(replace(adapter_at, sides=sides, pins=pins), 0)
        ring = Region.attach(moved(ring_at, ring_fd), writable=True)
        ring.array(np.uint8, (RING_BYTES,))[:] = 1
        out = np.empty((1, len(LAYOUT.rows), LAYOUT.dim), dtype=np.float32)
        reader.lookup(tables.kernels, np.full((1, len(LAYOUT.rows)), 2, dtype=np.int32), out)
        adapter = Region.attach(sides, writable=False)
        adapter.mapping.populate()
        regions = {"tables": tables.region, "adapter": adapter, "ring": ring}
        found = {name: where(region, memory[name]) for name, region in regions.items()}
        link.sendall(json.dumps([found, float(out.sum())]).encode() + b"\n")
        for region in (*regions.values(), Region.attach(pins, writable=False)):
            region.close()


def moved(handle: RegionHandle, fd: int) -> RegionHandle:
    return replace(handle, fd=fd)


def placements(
    link: socket.socket, answers: TextIO, plans: dict[str, MemoryPlan | None], *names: str
) -> list[Facts]:
    """Place everything as each of these wants it."""
    found = []
    for name in names:
        planned = plans[name]
        memory: dict[str, MemoryPolicy | None] = dict.fromkeys(("tables", "adapter", "ring"))
        if planned is not None:
            # The server is the last one of the plan.
            memory = {
                "tables": planned.tables,
                "adapter": planned.adapter,
                "ring": planned.replay[-1],
            }
        tables = TableSet.create(LAYOUT, memory["tables"])
        tables.initialise(np.random.default_rng(1))
        tables.region.settle()
        adapter = Adapter(plan_adapter(LAYOUT, 4, 1, 0.7), memory["adapter"])
        ring = Region.create("ring", RING_BYTES, memory["ring"])
        message = pickle.dumps((memory, tables.handle, adapter.handle, ring.handle))
        fds = [tables.region.fd, adapter.sides.fd, adapter.pins.fd, ring.fd]
        socket.send_fds(link, [message], fds)
        theirs, read = json.loads(answers.readline())
        made = {"tables": tables.region, "adapter": adapter.sides}
        found.append(
            {
                "plan": name,
                "memory": {what: str(policy) for what, policy in memory.items()},
                "reserved": reserved(),
                "methods": [tables.region.method, adapter.sides.method],
                "parent": {what: where(region, memory[what]) for what, region in made.items()},
                "server": theirs,
                "misplaced": refused(
                    lambda region=tables.region: numa.verify_placement(
                        region, MemoryPolicy("bind", (1,))
                    )
                ),
                "read": [read, sum(float(table[2].sum()) for table in tables.arrays)],
            }
        )
        adapter.close()
        tables.region.close()
        ring.close()
    return found


def _huge_pages(node: int) -> Path:
    return Path(f"/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/nr_hugepages")


def reserve(pages: dict[int, int]) -> None:
    """Set how many huge pages each node holds ready."""
    for node, count in pages.items():
        _huge_pages(node).write_text(str(count))
    if {node: reserved()[node] for node in pages} != pages:
        raise RuntimeError(f"asked for {pages} huge pages, got {reserved()}")


def reserved() -> dict[int, int]:
    return {node: int(_huge_pages(node).read_text()) for node in (0, 1)}


def private_memory() -> Facts:
    """Bind the memory that a process takes for itself, with one thread there already."""
    early = threading.Thread(target=time.sleep, args=(60,), daemon=True)
    early.start()
    numa.bind_process((2,))
    late = threading.Thread(target=time.sleep, args=(60,), daemon=True)
    late.start()
    array = np.ones(8 << 20, dtype=np.uint8)
    maps = numa.parse_numa_maps(Path("/proc/self/numa_maps").read_text())
    # The mapping that holds its middle: the last that begins before that.
    middle = array.ctypes.data + array.nbytes // 2
    home = max((m for m in maps if m.start <= middle), key=lambda m: m.start)
    policies = numa.thread_policies(os.getpid())
    child = subprocess.run(
        ["/bin/cat", "/proc/self/numa_maps"], capture_output=True, text=True, check=True
    )
    found = {
        "node_bytes": home.node_bytes,
        "main": policies[os.getpid()],
        "early": policies[early.native_id],
        "late": policies[late.native_id],
        "strays": refused(lambda: numa.verify_process(os.getpid(), (2,))),
        "child": sorted({part.policy for part in numa.parse_numa_maps(child.stdout)}),
        "unknown": refused(lambda: numa.bind_process((0, 7))),
    }
    numa.set_memory_policy("local")
    found["local"] = numa.thread_policies(os.getpid())[os.getpid()]
    return found


def refusals() -> Facts:
    """What cannot be: unknown nodes, one that is too small, one that a cpuset forbids."""
    large = TableLayout((7_500_000,), 16)

    def create(mode: str, *nodes: int, layout: TableLayout = LAYOUT) -> str | None:
        return refused(lambda: TableSet.create(layout, MemoryPolicy(mode, nodes)))

    found = {
        "unknown": create("bind", 3),
        "one of two unknown": create("interleave", 1, 3),
        "too small": create("bind", 2, layout=large),
        "large enough": create("bind", 1, layout=large),
    }
    group = Path("/run/cgroup")
    group.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "none", str(group)], check=True)
    (group / "cgroup.subtree_control").write_text("+cpuset")
    (group / "part").mkdir()
    (group / "part/cpuset.mems").write_text("0,2")
    (group / "part/cgroup.procs").write_text(str(os.getpid()))
    found["forbidden"] = create("bind", 1)
    found["one of two forbidden"] = create("bind", 0, 1)
    found["allowed"] = create("bind", 2)
    (group / "cgroup.procs").write_text(str(os.getpid()))
    return found


def conduct() -> Facts:
    topology = read_topology()
    made = plan(topology)
    plans = scenarios(topology)
    facts: Facts = {
        "topology": topology.as_document(),
        "plan": [made.serving_cpus, made.trainer_cpus, made.reasons],
        "unavailable": [
            inspect_machine(Request()).missing.get("numa"),
            numa.placement_unavailable(),
        ],
    }
    here, there = socket.socketpair()
    server = subprocess.Popen(
        [sys.executable, __file__, str(there.fileno())], pass_fds=[there.fileno()]
    )
    there.close()
    # The server ends when the link does, whatever happens here.
    with server, here, here.makefile("r") as answers:
        os.sched_setaffinity(0, cpus_of(0))
        libc = ctypes.CDLL(None)
        SHMEM_ENABLED.write_text("never")
        libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
        found = placements(here, answers, plans, "none", "bind 0", "bind 1", "interleave 0 1")
        libc.prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)
        found += placements(here, answers, plans, "none", "bind 1", "interleave 0 1", "bind 2")
        found += placements(here, answers, plans, "plan 2 3", "plan 0 2")
        SHMEM_ENABLED.write_text("advise")
        found += placements(here, answers, plans, "bind 1", "interleave 0 1 2")
        SHMEM_ENABLED.write_text("never")
        reserve({0: 16})
        found += placements(here, answers, plans, "bind 1")
        reserve({1: 16})
        found += placements(here, answers, plans, "bind 0", "bind 1", "interleave 0 1")
    return facts | {
        "placements": found,
        "private": private_memory(),
        "refusals": refusals(),
    }


if __name__ == "__main__":
    # What a run that hangs was doing is more than the host's time-out would tell.
    faulthandler.dump_traceback_later(400, exit=True)
    if len(sys.argv) > 1:
        serve(socket.socket(fileno=int(sys.argv[1])))
    else:
        json.dump(conduct(), sys.stdout)
