"""What of NUMA placement and RDT this machine offers, why not, and what would enable it.

Reads; changes nothing. A condition that cannot be given is reported with the true reason and never
simulated.
"""

from dataclasses import dataclass
from pathlib import Path

from lorabench.isolation.topology import Topology

# Flags of /proc/cpuinfo: Intel RDT, AMD QoS (allocation of cache and of memory bandwidth).
_RDT_FLAGS = ("cat_l3", "cat_l2", "mba")


@dataclass(frozen=True)
class Missing:
    """A capability that a run cannot have."""

    what: str
    why: str
    enable: str


def numa_unavailable(topology: Topology) -> Missing:
    """Say why the condition `numa` cannot be run here."""
    nodes = [node for node in topology.nodes if node.memory_bytes or node.cpus]
    if len(nodes) < 2:
        return Missing(
            "numa",
            f"the machine has {len(nodes)} NUMA node: there is no nearer memory to bind to",
            "run on a machine with two or more nodes (several sockets, or sub-NUMA clustering)",
        )
    return Missing(
        "numa",
        f"the machine has {len(nodes)} NUMA nodes, but this version of lorabench does not bind "
        "memory yet",
        "use a version whose `lorabench colocate --help` lists the condition numa",
    )


def rdt_unavailable(sysroot: Path = Path("/")) -> Missing:
    """Say why the condition `rdt` cannot be run here."""
    flags: set[str] = set()
    try:
        for line in (sysroot / "proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                flags = set(line.partition(":")[2].split())
                break
    except OSError as error:
        return Missing("rdt", f"{error.filename}: {error.strerror}", "make /proc readable")
    found = [flag for flag in _RDT_FLAGS if flag in flags]
    if not found:
        return Missing(
            "rdt",
            "the processor shows none of the flags cat_l3, cat_l2, mba: no cache or "
            "memory-bandwidth allocation, or a hypervisor hides it",
            "run on bare metal with Intel RDT, AMD QoS or Arm MPAM",
        )
    try:
        kernel = "resctrl" in (sysroot / "proc/filesystems").read_text()
    except OSError:
        kernel = False
    if not kernel:
        return Missing(
            "rdt",
            f"the processor offers {', '.join(found)}, but the kernel has no resctrl file system",
            "use a kernel built with CONFIG_X86_CPU_RESCTRL",
        )
    return Missing(
        "rdt",
        f"the processor offers {', '.join(found)}, but this version of lorabench does not "
        "partition cache or bandwidth yet",
        "use a version whose `lorabench colocate --help` lists the condition rdt",
    )
