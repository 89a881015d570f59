"""Cache and bandwidth partitions: the kernel's resctrl file system, read as data.

Intel RDT, AMD QoS and Arm MPAM all serve through it, so nothing here reads CPUID or an MSR. `info`
and `schemata` parse, `mount` finds the file system and says what stands in the way, `counters`
reads what is monitored. Groups are made in `lorabench.isolation.resctrl`.

The interface is documented in the kernel's ``Documentation/filesystems/resctrl.rst`` (before 6.16
in ``Documentation/arch/x86``). To model it as data, with recorded trees as tests, is goresctrl's
habit.
"""

from lorabench.host.resctrl.counters import OCCUPANCY, TRAFFIC, read_counters, read_node_counters
from lorabench.host.resctrl.info import (
    CacheInfo,
    Info,
    MemoryBandwidthInfo,
    MonitoringInfo,
    clustered_nodes,
    groups,
    monitored_domains,
    read_info,
)
from lorabench.host.resctrl.mount import ResctrlMount, availability, find_mount
from lorabench.host.resctrl.schemata import Allocation, Line, Schemata

__all__ = [
    "OCCUPANCY",
    "TRAFFIC",
    "Allocation",
    "CacheInfo",
    "Info",
    "Line",
    "MemoryBandwidthInfo",
    "MonitoringInfo",
    "ResctrlMount",
    "Schemata",
    "availability",
    "clustered_nodes",
    "find_mount",
    "groups",
    "monitored_domains",
    "read_counters",
    "read_info",
    "read_node_counters",
]
