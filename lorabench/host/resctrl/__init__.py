"""Cache and bandwidth partitions: the kernel's resctrl file system, read as data.

Intel RDT, AMD QoS and Arm MPAM all serve through it, so nothing here reads CPUID or an MSR. `info`
and `schemata` parse, `mount` finds the file system and says what stands in the way, `counters`
reads what is monitored. Groups are made in `lorabench.isolation.resctrl`.

The interface is documented in the kernel's ``Documentation/filesystems/resctrl.rst`` (before 6.16
in ``Documentation/arch/x86``). To model it as data, with recorded trees as tests, is goresctrl's
habit.
"""

from lorabench.host.resctrl.counters import OCCUPANCY, TRAFFIC, read_counters
from lorabench.host.resctrl.info import (
    CacheInfo,
    GroupState,
    Info,
    MemoryBandwidthInfo,
    MonitoringInfo,
    groups,
    monitored_domains,
    read_group,
    read_info,
)
from lorabench.host.resctrl.mount import ResctrlMount, Unusable, availability, find_mount
from lorabench.host.resctrl.schemata import Allocation, Line, Schemata, parse_size

__all__ = [
    "OCCUPANCY",
    "TRAFFIC",
    "Allocation",
    "CacheInfo",
    "GroupState",
    "Info",
    "Line",
    "MemoryBandwidthInfo",
    "MonitoringInfo",
    "ResctrlMount",
    "Schemata",
    "Unusable",
    "availability",
    "find_mount",
    "groups",
    "monitored_domains",
    "parse_size",
    "read_counters",
    "read_group",
    "read_info",
]
