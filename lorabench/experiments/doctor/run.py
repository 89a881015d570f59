"""What a machine offers for isolation and for measuring, as a result document.

Nothing is measured: the document holds what was read and tried out, what that comes to for the
conditions of ``colocate``, and as metrics the numbers among it. A recorded tree gives the same
document as this machine, without what only an attempt shows.
"""

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.experiments.doctor.options import DoctorOptions
from lorabench.host import environment
from lorabench.host.cgroups import memory_limit
from lorabench.host.checks import Capability, Host, run_checks
from lorabench.host.checks.host import steal_fraction
from lorabench.host.files import UnreadableError
from lorabench.host.formats import cpu_field
from lorabench.host.processor import ask
from lorabench.host.quota import cpu_quota, read_throttled
from lorabench.isolation.checks import conditions, look, missing
from lorabench.results.metrics import MetricTable

_REAL = Path("/")


class Doctor(Experiment):
    """Examine this machine, or a recorded tree.

    Of a tree everything is read, its processor too, and nothing of this machine gets in. Rows and
    conditions are in ``environment.capabilities`` and ``environment.conditions``, what is
    unavailable in its list.

    Parameters
    ----------
    options : DoctorOptions
        What to examine.
    """

    options: DoctorOptions

    def __init__(self, options: DoctorOptions) -> None:
        super().__init__(options)
        self._root = options.sysroot or _REAL
        # Its answer is what takes longest.
        self._asked = ask() if self._root.absolute() == _REAL else None
        self._findings: Findings | None = None

    def measure(self, observer: Observer) -> None:
        """Look at the machine.

        Raises
        ------
        InputError
            There is none under the root.
        """
        observer.stage("looking at the machine", 0.0)
        host = look(self._root)
        surroundings = _recorded(host)
        if self._asked is not None:
            surroundings = _surroundings(host, self._asked)
            cpu = surroundings["cpu"]
            flags = frozenset(cpu["flags"] or ())
            host = replace(host, cpu=cpu["brand_raw"] or "", cpu_flags=flags)
        rows = run_checks(host)
        runs = conditions(host, rows)
        observer.stage("looking at the machine", 1.0)
        self._findings = Findings(
            {"sysroot": str(self._root)},
            table=_table(host, rows),
            unavailable=[*missing(runs), *missing(rows)],
            machine=surroundings,
            environment={
                "capabilities": [asdict(row) for row in rows],
                "conditions": [asdict(row) for row in runs],
            },
        )

    def findings(self) -> Findings | None:
        """Return what was found; None before the machine was looked at."""
        return self._findings


def _surroundings(host: Host, asked: Future[dict[str, Any]]) -> dict[str, Any]:
    if host.topology is None:
        return {"cpu": asked.result(), "kernel": host.release, "topology": None}
    return environment.capture(host.topology, asked)


def _recorded(host: Host) -> dict[str, Any]:
    """Describe a machine that is not here, in the words of `environment.capture`."""
    text = host.files.get("/proc/cpuinfo") or ""
    return {
        "cpu": {
            "brand_raw": cpu_field(text, "model name", "Model") or None,
            "vendor_id_raw": cpu_field(text, "vendor_id", "CPU implementer") or None,
            "flags": sorted(host.flags),
        },
        "kernel": host.release or None,
        "topology": host.topology.as_document() if host.topology else None,
    }


def _table(host: Host, rows: tuple[Capability, ...]) -> MetricTable:
    """Collect what is a number."""
    table = MetricTable()

    def add(name: str, value: float | None) -> None:
        if value is not None:
            table.add(name, "machine", value)

    for state in ("available", "restricted", "unavailable"):
        count = sum(row.state == state for row in rows)
        add(f"capabilities_{state}", count)
    machine = host.topology
    if machine is not None:
        allowed = machine.allowed
        add("cpus_online", len(machine.online))
        add("cpus_allowed", len(allowed))
        add("physical_cores", sum(bool(core & allowed) for core in machine.cores))
        add("l3_domains", sum(bool(domain & allowed) for domain in machine.l3))
        add("numa_nodes", len(machine.nodes))
        add("memory_bytes", sum(node.memory_bytes for node in machine.nodes))
    for size in host.files.names("/sys/kernel/mm/hugepages"):
        kib = size.removeprefix("hugepages-").removesuffix("kB")
        free = host.files.get(f"/sys/kernel/mm/hugepages/{size}/free_hugepages") or ""
        if kib.isdecimal() and free.isdecimal():
            add(f"hugetlb_free_bytes_{kib}k", int(free) * int(kib) * 1024)
    with suppress(UnreadableError):
        add("steal_fraction", steal_fraction(host))
    with suppress(UnreadableError):
        quota = cpu_quota(host.files)
        add("cpu_quota", quota.cpus if quota else None)
        throttled = read_throttled(host.files, quota.group) if quota else None
        if throttled is not None:
            add("quota_periods", throttled.periods)
            add("throttled_periods", throttled.stopped)
            add("throttled_s", throttled.stopped_s)
    with suppress(UnreadableError):
        limit = memory_limit(host.files)
        add("memory_limit_bytes", limit[0] if limit else None)
    return table
