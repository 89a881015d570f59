"""Where a result was obtained: processor, kernel, topology, pages, sources of noise.

Without this a number can be neither believed nor compared. Nothing here names a person or a place:
no host name, no path. What to record is taken from pyperf, most of it through pyperf itself.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lorabench.host.counters import cpu_times
from lorabench.host.files import Files
from lorabench.host.formats import chosen
from lorabench.host.processor import ask
from lorabench.host.topology import Topology
from lorabench.memory import PageSizes

# What pyperf collects that names a person or a place instead of a machine.
_PRIVATE = {"hostname", "python_executable", "python_config_args", "python_cflags", "date"}


def capture(
    topology: Topology | None, asked: Future[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Describe the machine.

    Parameters
    ----------
    topology : Topology or None
        As planned with; None where the machine does not tell any.
    asked : Future or None
        From `processor.ask`, by who has asked already.

    Returns
    -------
    dict
        JSON-ready; the ``environment`` of a result document.
    """
    asked = asked or ask()
    import pyperf

    with _boot_time_known():
        metadata = pyperf.Run([1.0]).get_metadata()
    cpu = asked.result()
    files = Files()
    return {
        "cpu": cpu,
        "pyperf": {k: v for k, v in metadata.items() if k not in _PRIVATE},
        "kernel": platform.release(),
        "topology": None if topology is None else topology.as_document(),
        "transparent_hugepage": {
            name: chosen(files.get(f"/sys/kernel/mm/transparent_hugepage/{name}") or "") or None
            for name in ("enabled", "shmem_enabled")
        },
        "noise": {
            "load_average_1min": os.getloadavg()[0],
            "steal_fraction_since_boot": _steal_fraction(_usable(topology)),
            "governor": files.get(
                f"/sys/devices/system/cpu/cpu{min(_usable(topology))}/cpufreq/scaling_governor"
            ),
            "smt": files.get("/sys/devices/system/cpu/smt/control"),
            "clocksource": files.get(
                "/sys/devices/system/clocksource/clocksource0/current_clocksource"
            ),
            "hypervisor": "hypervisor" in (cpu["flags"] or []),
        },
    }


@contextmanager
def _boot_time_known() -> Iterator[None]:
    """Let psutil say when the machine was booted where ``/proc/stat`` does not, as lxcfs's.

    pyperf asks it, and all that pyperf collects would be lost with that one line.
    """
    import psutil

    asked = psutil.boot_time

    def boot_time() -> float:
        try:
            return float(asked())
        except (RuntimeError, OSError):
            return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    psutil.boot_time = boot_time
    try:
        yield
    finally:
        psutil.boot_time = asked


def pages(method: str, found: list[PageSizes]) -> dict[str, Any]:
    """Describe what pages each worker mapped the tables with, and how they were obtained.

    Parameters
    ----------
    method : str
        The step of the huge-page ladder that gave them (`lorabench.memory.HugeRegion`).
    found : list of PageSizes
        What each worker read from its own smaps.
    """
    return {
        "method": method,
        "workers": [
            {"resident_bytes": p.resident, "huge_bytes": p.huge, "huge_fraction": p.huge_fraction}
            for p in found
        ],
    }


def system_checks() -> list[str]:
    """Ask pyperf what in this system's set-up makes timings noisy: its advices and warnings.

    Returns
    -------
    list of str
        One each; empty where there is nothing to say, or pyperf cannot tell.
    """
    try:
        shown = subprocess.run(
            [sys.executable, "-m", "pyperf", "system", "show"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=30,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    _, _, advices = shown.partition("\nAdvices\n")
    return [line for line in advices.splitlines() if ": " in line and not line.startswith("Run ")]


def _usable(topology: Topology | None) -> frozenset[int]:
    """Return the CPUs that this process may use; a cpuset need not begin at 0."""
    return (topology.allowed if topology else None) or frozenset(os.sched_getaffinity(0))


def _steal_fraction(cpus: frozenset[int]) -> float | None:
    total, _, steal = cpu_times(Path("/proc/stat").read_text(), cpus)
    return steal / total if total else None
