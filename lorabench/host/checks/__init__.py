"""The rows of ``lorabench doctor``: what a machine offers for isolation and for measuring.

An area a module, a function a row. They read files, and what was tried out is handed to them: page
and counter by `lorabench.host.checks.probes`, what a run of ``colocate`` would use by
`lorabench.isolation`, which is above and tries it as a run would.
"""

from lorabench.host.checks import host, measuring, memory, processor, rdt, scheduling
from lorabench.host.checks.check import Capability, Finding, Host, State

__all__ = ["Capability", "Finding", "Host", "State", "run_checks"]

_ROWS = (
    *processor.ROWS,
    *memory.ROWS,
    *rdt.ROWS,
    *scheduling.ROWS,
    *measuring.ROWS,
    *host.ROWS,
)


def run_checks(machine: Host) -> tuple[Capability, ...]:
    """Make the table of capabilities; never fails, whatever is missing is a row that says so."""
    return tuple(row(machine) for row in _ROWS)
