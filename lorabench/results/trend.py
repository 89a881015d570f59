"""Histories of headline metrics over results, and where they change: Otava's change points.

Results have a common history where command, configuration and machine are the same. Change points
are found by Apache Otava (E-divisive means by Matteson and James 2014, kept where Student's t test
says so: Fleming et al. 2023, "Hunter"), which is optional. They are a trend and no verdict: who
wants one compares two results.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lorabench.results.case import Case
from lorabench.results.comparison import is_control
from lorabench.results.nested import within
from lorabench.results.sameness import machine
from lorabench.results.schema import Better, Interval, Metric, Result

FOLLOWED = {
    "colocate": (
        "latency_p99_ratio",
        "latency_p99_sham_ratio",
        "latency_p99",
        "train_samples_per_s",
    ),
    "freshness": ("gap_recovered", "auc_difference", "train_samples_per_s"),
    "headroom": ("headroom_samples_per_s", "cpu_busy"),
    "kernels": ("lookup_speedup", "lookup_lora_ratio", "update_speedup"),
    "profile": ("weighted_rank_at_80", "train_samples_per_s"),
    "calibrate": ("least_slowdown_seen", "false_verdict_share"),
    "doctor": ("capabilities_available", "steal_fraction"),
}
"""What is followed of each command."""

LEAST_POINTS = 6
"""A shorter history is not searched: no change could be told from chance."""

MAX_PVALUE = 0.001
"""Of a change point: Otava's own default."""

_MOST_POINTS = 500


@dataclass(frozen=True)
class Point:
    """One result's value."""

    id: str
    created: datetime
    value: float
    ci95: Interval | None


@dataclass(frozen=True)
class History:
    """A metric of one case over results, oldest first.

    Parameters
    ----------
    command, config_hash, machine : str
        What they have in common; the machine as `machine_key` has it.
    metric : str
        Its name.
    case : Case
        Of which it is.
    unit : str
        SI.
    better : {"lower", "higher"}
        Which way is better.
    points : tuple of Point
        Its values.
    """

    command: str
    config_hash: str
    machine: str
    metric: str
    case: Case
    unit: str
    better: Better
    points: tuple[Point, ...]


@dataclass(frozen=True)
class ChangePoint:
    """A place in a history at which its values change.

    Parameters
    ----------
    place : int
        The first point of the new values.
    before, after : float
        Means on either side, up to the next change.
    pvalue : float
        Of Student's t test.
    """

    place: int
    before: float
    after: float
    pvalue: float


def histories(results: Iterable[Result]) -> list[History]:
    """Return the history of every headline metric with two points or more.

    A result that was interrupted has none: what it did not measure would look like a change.
    """
    found: dict[tuple[str, ...], list[tuple[Result, Metric]]] = defaultdict(list)
    for result in sorted(results, key=lambda one: (one.created, one.id)):
        if result.partial:
            continue
        same = (result.command, result.config_hash, machine_key(result))
        for metric in _headlines(result):
            found[*same, metric.name, _key(metric.labels), metric.unit].append((result, metric))
    return [_history(key, pairs) for key, pairs in found.items() if len(pairs) > 1]


def _key(value: Mapping[str, object]) -> str:
    return json.dumps(value, sort_keys=True)


def _headlines(result: Result) -> Iterator[Metric]:
    for name in FOLLOWED.get(result.command, ()):
        for one in result.select(name):
            # What a run is held against is no headline.
            labels = {key: str(value) for key, value in one.labels.items()}
            if one.estimate is not None and not is_control(one.condition, labels):
                yield one


def _history(key: tuple[str, ...], pairs: Sequence[tuple[Result, Metric]]) -> History:
    command, config_hash, where, name, _, unit = key
    _, first = pairs[0]
    points = (
        Point(result.id, result.created, metric.estimate, metric.ci95)
        for result, metric in pairs[-_MOST_POINTS:]
        if metric.estimate is not None
    )
    case = Case(first.condition, first.labels)
    return History(command, config_hash, where, name, case, unit, first.better, tuple(points))


def machine_key(result: Result) -> str:
    """Return what tells a result's machine from others, which may bear the same name."""
    return _key(machine(result.environment))


def machine_name(result: Result) -> str:
    """Return the processor, its cores and the memory that a document tells of, in a line."""
    brand, cores, nodes = (
        within(result.environment, *path)
        for path in (("cpu", "brand_raw"), ("topology", "cores"), ("topology", "nodes"))
    )
    told = [str(brand)[:80] if brand else "unknown processor"]
    if isinstance(cores, list):
        told.append(f"{len(cores)} cores")
    sizes = [
        one.get("memory_bytes") for one in (nodes if isinstance(nodes, list) else ())
        if isinstance(one, dict)
    ]  # fmt: skip
    known = [float(size) for size in sizes if isinstance(size, (int, float)) and size < 1e18]
    if known:
        # What the kernel keeps for itself differs from boot to boot.
        told.append(f"{sum(known) / 2**30:.0f} GiB")
    return ", ".join(told)


def searchable() -> bool:
    """Whether Otava is installed."""
    try:
        import otava.analysis  # noqa: F401
    except ImportError:
        return False
    return True


def changes(history: History) -> list[ChangePoint]:
    """Return where a history changes; nothing where it is too short.

    Raises
    ------
    ImportError
        Otava is not installed.
    """
    from otava.analysis import compute_change_points

    values = [point.value for point in history.points]
    if len(values) < LEAST_POINTS or len(set(values)) < 2:
        return []
    found, _ = compute_change_points(values, max_pvalue=MAX_PVALUE)
    return [
        ChangePoint(
            int(one.index),
            float(one.stats.mean_before()),
            float(one.stats.mean_after()),
            float(one.stats.pvalue),
        )
        for one in found
    ]
