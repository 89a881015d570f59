"""What the kernels are built to reach, and which of a run's figures each target is held against.

Verdicts are reached in `lorabench.results.limit`.
"""

from lorabench.experiments.kernels.labels import BEST, GIB, Point, limit, size_text
from lorabench.results.case import Case
from lorabench.results.limit import Limit, by_interval, everywhere
from lorabench.results.metrics import MetricTable
from lorabench.results.schema import Claim

# By embedding dim.
_SAME_PAGES = {16: 1.15, 64: 1.15, 128: 1.05}
_AS_RUN = {16: 1.6, 64: 1.6, 128: 1.3}

# By the inputs of a lookup with a LoRA term.
_LORA = {
    "pooled": (1.15, "pooling 20 and 5 % adapted lookups"),
    "one_hot": (1.6, "one-hot Zipf 1.05"),
}

_NEVER_SLOWER = Limit(
    "lookup.never_slower",
    "the interval of lookup's speed against the better peer begins at >= 0.95x everywhere",
    0.95,
    least=True,
)


def judge(table: MetricTable, *, finished: bool) -> list[Claim]:
    """Judge every target that something was measured for.

    Parameters
    ----------
    table : MetricTable
        Of a run.
    finished : bool
        It holds all that was asked for, so that something can be said of everywhere.
    """
    found = []
    for name, case in table.rows:
        target = _target(name, case)
        if target is not None:
            # Statements speak of nanoseconds where a metric has seconds.
            scale = 1e9 if name == "zipf_sample_s" else 1.0
            found.append(by_interval(target, table.estimate(name, case), scale=scale))
    return found + (_never_slower(table) if finished else [])


def _target(name: str, case: Case) -> Limit | None:
    """Return the target that a metric of a case is held against."""
    if name == "lookup_speedup":
        return _speedup(case)
    if name == "lookup_over_limit":
        return _limit(case)
    if name == "lookup_lora_ratio":
        return _lora(case)
    if name == "update_speedup":
        return _update(case)
    if name == "zipf_sample_s" and case.labels["candidate"] == "lorabench":
        ranks = case.labels["ranks"]
        return Limit("zipf.sample", f"a Zipf variate of {ranks:,} ranks takes <= 20 ns", 20e-9)
    return None


def _speedup(case: Case) -> Limit | None:
    of, point = case.labels, Point.of(case.labels)
    at = (point.pooling, point.distribution, point.table_bytes)
    if of["peer"] != BEST or of["pages"] != "2m" or at != (20, "uniform", 2 * GIB):
        return None
    name, least, words = "same_pages", _SAME_PAGES, "the better peer on the same 2 MiB pages"
    if of["peer_pages"] == "4k":
        name, least, words = "as_run", _AS_RUN, "the better peer on 4 KiB pages, ours on 2 MiB"
    if point.dim not in least:
        return None
    goal = least[point.dim]
    statement = f"lookup at D={point.dim} >= {goal:g}x as fast as {words}"
    return Limit(f"lookup.{name}[D={point.dim}]", statement, goal, least=True)


def _limit(case: Case) -> Limit | None:
    point = Point.of(case.labels)
    at = (point.dim, point.pooling, point.distribution, case.labels["pages"])
    if at != (64, 20, "uniform", "2m"):
        return None
    return Limit(
        f"lookup.limit[{size_text(point.table_bytes)}]",
        "lookup at D=64 takes <= 1.2x the time of reading the same rows at random",
        1.2,
    )


def _lora(case: Case) -> Limit:
    of = case.labels
    most, words = _LORA[str(of["inputs"])]
    return Limit(
        f"lookup_lora.{of['inputs']}[D={of['dim']}]",
        f"lookup_lora of rank {of['rank']} at D={of['dim']}, {words}, takes <= {most:g}x the time "
        "of lookup",
        most,
    )


def _update(case: Case) -> Limit | None:
    of = case.labels
    if of["inputs"] != "all adapted":
        return None
    return Limit(
        f"update.{of['peer']}[D={of['dim']}]",
        f"a LoRA update (rank {of['rank']}, forward and backward) at D={of['dim']} >= 5x as fast "
        f"a row as {of['peer']}'s full-precision one, which is more work",
        5.0,
        least=True,
    )


def _never_slower(table: MetricTable) -> list[Claim]:
    points = []
    for case in table.named("lookup_speedup"):
        of, estimate = case.labels, table.estimate("lookup_speedup", case)
        if of["peer"] == BEST and of["pages"] == of["peer_pages"] and estimate is not None:
            points.append((limit(str(of["pages"]), Point.of(of)).text, estimate))
    claim = everywhere(_NEVER_SLOWER, points)
    return [claim] if claim else []
