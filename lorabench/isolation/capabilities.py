"""What of NUMA placement and RDT this machine offers, why not, and what would enable it.

Reads; changes nothing. A condition that cannot be given is reported with the true reason and never
simulated.
"""

import os
import re
from pathlib import Path

from lorabench.isolation.missing import Missing
from lorabench.isolation.numa import placement_unavailable
from lorabench.isolation.topology import Topology

__all__ = ["Missing", "numa_unavailable", "rdt_unavailable"]

# Flags of /proc/cpuinfo by which Intel RDT and AMD QoS show that they can allocate cache or memory
# bandwidth.
_RDT_FLAGS = {"cat_l3", "cat_l2", "mba"}


def numa_unavailable(topology: Topology) -> Missing | None:
    """Say why the condition `numa` cannot be run here; None where it can."""
    nodes = [node for node in topology.nodes if node.memory_bytes or node.cpus]
    if len(nodes) < 2:
        return Missing(
            "numa",
            f"the machine has {len(nodes)} NUMA node: there is no nearer memory to bind to",
            "run on a machine with two or more nodes (several sockets, or sub-NUMA clustering)",
        )
    why = placement_unavailable()
    if why is None:
        return None
    return Missing(
        "numa", f"the machine has {len(nodes)} NUMA nodes, but {why}", "see docs/isolation.md"
    )


def rdt_unavailable(sysroot: Path = Path("/")) -> Missing:
    """Say why the condition `rdt` cannot be run here: the first thing that is missing."""
    found = sorted(_cpu_flags(_text(sysroot / "proc/cpuinfo")) & _RDT_FLAGS)
    if not found:
        return Missing(
            "rdt",
            f"the processor shows none of the flags {', '.join(sorted(_RDT_FLAGS))}: no cache or "
            "memory-bandwidth allocation, or a hypervisor hides it",
            "run on bare metal with Intel RDT or AMD QoS",
        )
    offers = f"the processor offers {', '.join(found)}"
    if "resctrl" not in _text(sysroot / "proc/filesystems").split():
        return Missing(
            "rdt",
            f"{offers}, but the kernel has no resctrl file system",
            "use a kernel built with CONFIG_X86_CPU_RESCTRL",
        )
    return Missing(
        "rdt",
        f"{offers} and the kernel resctrl ({_resctrl_mount(sysroot)}), but this version of "
        "lorabench does not partition cache or bandwidth yet",
        "use a version whose `lorabench colocate --help` lists the condition rdt",
    )


def _cpu_flags(cpuinfo: str) -> set[str]:
    found = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return set(found[1].split()) if found else set()


def _resctrl_mount(sysroot: Path) -> str:
    for line in _text(sysroot / "proc/mounts").splitlines():
        _, point, kind, *_ = line.split()
        if kind == "resctrl":
            writable = os.access(sysroot / point.lstrip("/") / "schemata", os.W_OK)
            return f"mounted on {point}, {'' if writable else 'not '}writable"
    return "not mounted"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
