"""Cache and bandwidth partitions as groups: made, filled with processes, followed.

`group` makes a group and moves processes into it, `monitor` follows what is counted. What the file
system offers is read in `lorabench.host.resctrl`; which masks to write is decided in
`lorabench.isolation.plan`.
"""

from lorabench.isolation.resctrl.group import Group
from lorabench.isolation.resctrl.monitor import CounterSeries, Monitor

__all__ = ["CounterSeries", "Group", "Monitor"]
