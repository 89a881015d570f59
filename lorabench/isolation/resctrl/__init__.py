"""Cache and bandwidth partitions: the kernel's resctrl file system, as data and as groups.

Intel RDT, AMD QoS and Arm MPAM all serve through it, so nothing here reads CPUID or writes an MSR.
`info` and `schemata` parse, `mount` finds the file system and says what stands in the way, `group`
makes a group and moves processes into it, `monitor` follows what is counted. Which masks to write
is decided elsewhere (`isolation.plan`).

The interface is documented in the kernel's ``Documentation/filesystems/resctrl.rst`` (before 6.16
in ``Documentation/arch/x86``). To model it as data, with recorded trees as tests, is goresctrl's
habit.
"""

from lorabench.isolation.resctrl.group import Group, group_name
from lorabench.isolation.resctrl.info import (
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
from lorabench.isolation.resctrl.monitor import CounterSeries, Monitor, read_counters
from lorabench.isolation.resctrl.mount import ResctrlMount, Unusable, availability, find_mount
from lorabench.isolation.resctrl.schemata import Allocation, Line, Schemata, parse_size

__all__ = [
    "Allocation",
    "CacheInfo",
    "CounterSeries",
    "Group",
    "GroupState",
    "Info",
    "Line",
    "MemoryBandwidthInfo",
    "Monitor",
    "MonitoringInfo",
    "ResctrlMount",
    "Schemata",
    "Unusable",
    "availability",
    "find_mount",
    "group_name",
    "groups",
    "monitored_domains",
    "parse_size",
    "read_counters",
    "read_group",
    "read_info",
]
