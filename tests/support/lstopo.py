"""What hwloc's ``lstopo-no-graphics`` makes of a tree: a reading that owes nothing to ours."""

import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from lorabench.host.topology import Topology, read_topology

COMMAND = "lstopo-no-graphics"
HINT = f"{COMMAND} is not installed: as root, make test-packages (Debian: hwloc-nox)"


def installed() -> bool:
    return shutil.which(COMMAND) is not None


@dataclass(frozen=True)
class Seen:
    """What hwloc sees: sets of CPUs, and by node its CPUs and bytes."""

    cpus: frozenset[int]
    cores: frozenset[frozenset[int]]
    l2: frozenset[frozenset[int]]
    l3: frozenset[frozenset[int]]
    packages: frozenset[frozenset[int]]
    nodes: dict[int, frozenset[int]]
    memory: dict[int, int]
    allowed: frozenset[int]
    allowed_nodes: frozenset[int]


def read(root: Path) -> Seen:
    """Have hwloc read a tree, and nothing but it: not this machine's cpuid, not its affinity."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("HWLOC_")}
    env |= {"HWLOC_FSROOT": str(root), "HWLOC_THISSYSTEM": "0", "HWLOC_COMPONENTS": "linux,stop"}
    # CPUs that the tree's control group rules out are left out otherwise; and so is a core or a
    # package that adds nothing to what is inside it.
    run = subprocess.run(
        [COMMAND, "--of", "xml", "--disallowed", "--no-io", "--filter", "all:all"],
        env=env,
        capture_output=True,
        check=True,
    )
    machine = ET.fromstring(run.stdout).find("object")
    assert machine is not None

    def sets(kind: str) -> frozenset[frozenset[int]]:
        found = (o for o in machine.iter("object") if o.get("type") == kind)
        return frozenset(_bitmap(o.get("cpuset")) for o in found)

    nodes = [o for o in machine.iter("object") if o.get("type") == "NUMANode"]
    return Seen(
        cpus=_bitmap(machine.get("cpuset")),
        cores=sets("Core"),
        l2=sets("L2Cache"),
        l3=sets("L3Cache"),
        packages=sets("Package"),
        nodes={int(o.get("os_index", "")): _bitmap(o.get("cpuset")) for o in nodes},
        memory={int(o.get("os_index", "")): int(o.get("local_memory", "0")) for o in nodes},
        allowed=_bitmap(machine.get("allowed_cpuset")),
        allowed_nodes=_bitmap(machine.get("allowed_nodeset")),
    )


def _bitmap(text: str | None) -> frozenset[int]:
    """Read hwloc's own format: 32-bit words with 0x, empty where a word is 0."""
    words = (text or "0x0").split(",")
    mask = 0
    for word in words:
        mask = mask << 32 | int(word or "0", 16)
    return frozenset(cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1)


def check_agreement(root: Path) -> Topology:
    """Assert that hwloc and we make the same of a tree."""
    ours, theirs = read_topology(root), read(root)
    assert ours.online == theirs.cpus
    assert set(ours.cores) == theirs.cores
    assert set(ours.packages) == theirs.packages
    assert set(ours.l2) == theirs.l2
    # Where sysfs names no L3, ours takes the CPUs to share one; hwloc shows none.
    without = ours.online - frozenset().union(*theirs.l3)
    assert set(ours.l3) == theirs.l3 | ({without} if without else set())
    # hwloc gives CPU-less nodes the CPUs of what they hang on.
    assert {node.id for node in ours.nodes} == theirs.nodes.keys()
    for node in ours.nodes:
        if node.cpus:
            assert node.cpus == theirs.nodes[node.id]
    assert {node.id: node.memory_bytes for node in ours.nodes} == theirs.memory
    assert ours.allowed == theirs.allowed & ours.online
    assert ours.allowed_nodes == theirs.allowed_nodes
    return ours
