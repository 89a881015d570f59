"""Small result documents, made of the few values that a test is about."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lorabench.results.case import Case
from lorabench.results.metrics import MetricTable
from lorabench.results.schema import Program, Queries, Result, Round, config_hash

MACHINE = {
    "cpu": {"brand_raw": "A processor", "flags": ["avx2"]},
    "kernel": "6.1.0",
    "topology": {"nodes": [{"id": 0, "cpus": [0, 1]}], "cores": [[0], [1]]},
    "pages": {"method": "collapse", "workers": [{"huge_fraction": 1.0}]},
    "instruction_set": "avx2",
}


def document(
    values: Mapping[tuple[str, str | Case], Sequence[float | None]],
    *,
    number: int = 0,
    config: Mapping[str, Any] | None = None,
    saturated: Mapping[str, int] | None = None,
    **changes: Any,
) -> Result:
    """Return a document of colocate.

    Parameters
    ----------
    values : mapping of (metric, case) to sequence of float or None
        Blocks.
    number : int
        Tells it from others.
    config : mapping
        What was run.
    saturated : mapping of str to int
        In how many of ten blocks the queue of a case only grew.
    **changes
        Other parts.
    """
    table = MetricTable()
    for (name, case), blocks in values.items():
        table.add(name, case, *blocks)
    config = {"experiment": {"load": 0.5, "seed": 0}} if config is None else dict(config)
    names = [str(case) for _, case in values]
    made = {
        "command": "colocate",
        "id": f"20260102T030405-{number:06x}",
        "created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "lorabench": Program(version="0.1.0", git="0123456789ab"),
        "config": config,
        "config_hash": config_hash(config),
        "environment": MACHINE,
        "rounds": [_round(n, names, saturated or {}) for n in range(10)],
        "metrics": table.metrics(),
        "claims": [],
        "unavailable": [],
        "series": [],
    }
    return Result(**{**made, **changes})


def _round(index: int, names: Sequence[str], saturated: Mapping[str, int]) -> Round:
    return Round(
        index=index,
        order=list(names),
        schedule_sha256={},
        queries={name: Queries(offered=1, served=1) for name in names},
        saturated=[name for name, blocks in saturated.items() if index < blocks],
        wraps=0,
        steal_s={},
        involuntary_switches={},
    )
