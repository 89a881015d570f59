"""What the kernel counts of a resctrl group: cache that it occupies, bytes to and from memory."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from lorabench.host.resctrl.info import clustered_nodes, monitored_domains

OCCUPANCY = "llc_occupancy"
TRAFFIC = {"mbm_total_bytes": "mbm_total", "mbm_local_bytes": "mbm_local"}


def read_counters(group: Path) -> dict[tuple[int, str], int | None]:
    """Read all counters of a group: (domain, feature) -> bytes.

    None stands for what the kernel prints in place of a number: ``Unavailable``, as of a counter
    that has just been given to the group, ``Error`` or ``Unassigned``. A group that is gone has no
    counters, and neither has a machine that cannot monitor.
    """
    found: dict[tuple[int, str], int | None] = {}
    with contextlib.suppress(OSError):
        for domain, folder in monitored_domains(group).items():
            found |= {(domain, feature): value for feature, value in _read(folder)}
    return found


def read_node_counters(group: Path) -> dict[tuple[int, int, str], int | None]:
    """Read a group's counters by node, where sub-NUMA clustering makes several of a domain.

    Returns
    -------
    dict
        (domain, node, feature) -> bytes, as of `read_counters`, whose figures sum these up; empty
        without clusters.
    """
    found: dict[tuple[int, int, str], int | None] = {}
    with contextlib.suppress(OSError):
        for domain, above in monitored_domains(group).items():
            for node, folder in clustered_nodes(above).items():
                found |= {(domain, node, feature): value for feature, value in _read(folder)}
    return found


def _read(folder: Path) -> Iterator[tuple[str, int | None]]:
    for feature in (OCCUPANCY, *TRAFFIC):
        with contextlib.suppress(FileNotFoundError):
            said = (folder / feature).read_bytes().strip()
            yield feature, int(said) if re.fullmatch(b"[0-9]{1,20}", said) else None
