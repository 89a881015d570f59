"""What the kernel counts of a resctrl group: cache that it occupies, bytes to and from memory."""

import contextlib
import re
from pathlib import Path

from lorabench.host.resctrl.info import monitored_domains

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
            for feature in (OCCUPANCY, *TRAFFIC):
                with contextlib.suppress(FileNotFoundError):
                    said = (folder / feature).read_bytes().strip()
                    number = re.fullmatch(b"[0-9]{1,20}", said)
                    found[domain, feature] = int(said) if number else None
    return found
