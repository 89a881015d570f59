"""What a machine offers for isolation and for measuring, as a result document.

Nothing is measured: the document holds what was read and tried out, what that comes to for the
conditions of ``colocate``, and as metrics the numbers among it. A recorded tree gives the same
document as this machine, without what only an attempt shows.
"""

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lorabench.host import environment
from lorabench.host.cgroups import cpu_quota, memory_limit
from lorabench.host.checks import Capability, Host, run_checks
from lorabench.host.checks.host import steal_fraction
from lorabench.host.files import UnreadableError
from lorabench.host.formats import cpu_field
from lorabench.host.processor import ask
from lorabench.isolation.checks import conditions, look, missing
from lorabench.results import schema
from lorabench.results.program import program

_REAL = Path("/")


def diagnose(sysroot: Path = _REAL, asked: Future[dict[str, Any]] | None = None) -> schema.Result:
    """Examine a machine.

    Parameters
    ----------
    sysroot : Path
        Where its ``proc`` and ``sys`` lie: ``/`` for this machine, else a recorded tree. Of a tree
        everything is read, its processor too, and nothing of this machine gets in.
    asked : Future or None
        From `processor.ask`, by who has asked for this machine's already.

    Returns
    -------
    schema.Result
        The document; rows and conditions are in ``environment.capabilities`` and
        ``environment.conditions``, what is unavailable in its list.

    Raises
    ------
    InputError
        There is no machine under `sysroot`.
    """
    if sysroot.absolute() == _REAL:
        asked = asked or ask()
        host = look(_REAL)
        surroundings = _surroundings(host, asked)
        cpu = surroundings["cpu"]
        host = replace(host, cpu=cpu["brand_raw"] or "", cpu_flags=frozenset(cpu["flags"] or ()))
    else:
        host = look(sysroot)
        surroundings = _recorded(host)
    rows = run_checks(host)
    runs = conditions(host, rows)
    now = datetime.now(UTC)
    config = {"sysroot": str(sysroot)}
    return schema.Result(
        command="doctor",
        id=schema.new_id(now),
        created=now,
        lorabench=program(),
        config=config,
        config_hash=schema.config_hash(config),
        environment=surroundings
        | {
            "capabilities": [asdict(row) for row in rows],
            "conditions": [asdict(row) for row in runs],
        },
        partial=False,
        rounds=[],
        metrics=_metrics(host, rows),
        claims=[],
        unavailable=[
            schema.Unavailable(what=lack.what, why=lack.why, enable=lack.enable)
            for lack in (*missing(runs), *missing(rows))
        ],
        series=[],
    )


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


def _metrics(host: Host, rows: tuple[Capability, ...]) -> list[schema.Metric]:
    """Collect what is a number."""
    found: list[schema.Metric] = []

    def add(
        name: str, value: float | None, unit: str, better: Literal["lower", "higher"] = "higher"
    ) -> None:
        if value is not None:
            found.append(
                schema.Metric(
                    name=name,
                    condition="machine",
                    unit=unit,
                    better=better,
                    values=[value],
                    estimate=value,
                    ci95=None,
                )
            )

    for state in ("available", "restricted", "unavailable"):
        count = sum(row.state == state for row in rows)
        add(f"capabilities_{state}", count, "1", "higher" if state == "available" else "lower")
    machine = host.topology
    if machine is not None:
        allowed = machine.allowed
        add("cpus_online", len(machine.online), "1")
        add("cpus_allowed", len(allowed), "1")
        add("physical_cores", sum(bool(core & allowed) for core in machine.cores), "1")
        add("l3_domains", sum(bool(domain & allowed) for domain in machine.l3), "1")
        add("numa_nodes", len(machine.nodes), "1")
        add("memory_bytes", sum(node.memory_bytes for node in machine.nodes), "B")
    for size in host.files.names("/sys/kernel/mm/hugepages"):
        kib = size.removeprefix("hugepages-").removesuffix("kB")
        free = host.files.get(f"/sys/kernel/mm/hugepages/{size}/free_hugepages") or ""
        if kib.isdecimal() and free.isdecimal():
            add(f"hugetlb_free_bytes_{kib}k", int(free) * int(kib) * 1024, "B")
    with suppress(UnreadableError):
        add("steal_fraction", steal_fraction(host), "1", "lower")
    with suppress(UnreadableError):
        quota = cpu_quota(host.files)
        add("cpu_quota", quota[0] if quota else None, "CPUs")
    with suppress(UnreadableError):
        limit = memory_limit(host.files)
        add("memory_limit_bytes", limit[0] if limit else None, "B")
    return found
