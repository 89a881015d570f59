"""What comparing two sides comes to: rows, gates, what differs, and all of it as JSON has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lorabench.results.change import Change
from lorabench.results.controls import CONTROLS
from lorabench.results.gate import GateVerdict, Lost
from lorabench.results.sameness import Difference
from lorabench.results.schema import Result

Verdict = Literal["better", "worse", "no difference shown", "could not have seen it"]

HEADLINES = (
    "latency_p50",
    "latency_p99",
    "latency_p99_unstalled",
    "latency_p99_ratio",
    "latency_p99_sham_ratio",
    "update_latency_p95",
    "train_samples_per_s",
    "auc",
    "normalized_entropy",
    "gap_recovered",
    "headroom_samples_per_s",
    "rank_at_80",
    "lookup_row_s",
    "update_row_s",
    "lookup_speedup",
    "update_speedup",
)
"""What a comparison shows unasked; what is followed over results is in `results.trend`."""


def is_control(case: str, labels: Mapping[str, str]) -> bool:
    """Whether a case is no result of ours.

    Such are the controls of `colocate`, its tests with MLCommons LoadGen's arrivals, and the peers
    that `kernels` compares with.
    """
    repeated = "load_generator" in labels
    return repeated or case in CONTROLS or labels.get("candidate", "lorabench") != "lorabench"


@dataclass(frozen=True)
class Row:
    """A metric in a case, on both sides.

    Parameters
    ----------
    metric : str
        Its name.
    case : str
        Of which case, for people.
    labels : dict of str to str
        What tells it from other cases.
    unit : str
        Of its values.
    base, head : float or None
        Each side's estimate: of several runs, the mean of theirs.
    change : Change or None
        None where a side has no value.
    verdict : str
        What the change comes to.
    why : str
        What else decided it, such as a queue that only grew; empty where the interval did.
    lost : Lost or None
        What speaks against head beside its values.
    """

    metric: str
    case: str
    labels: Mapping[str, str]
    unit: str
    base: float | None
    head: float | None
    change: Change | None
    verdict: Verdict
    why: str = ""
    lost: Lost | None = None

    @property
    def headline(self) -> bool:
        """Whether it is shown unasked."""
        return self.metric in HEADLINES

    @property
    def control(self) -> bool:
        """Whether its case is no result of ours (`is_control`)."""
        return is_control(self.case, self.labels)


@dataclass(frozen=True)
class Comparison:
    """What comparing came to.

    Parameters
    ----------
    base, head : tuple of Result
        The sides.
    paired : bool
        They were measured in turn, block by block.
    level : float
        What an interval leaves out on either side.
    size : float
        What change is asked for where no gate says so.
    rows : tuple of Row
        Every metric and case that both sides have.
    gates : tuple of GateVerdict
        Of every gate and case.
    differences : tuple of Difference
        In what the sides differ that should be alike.
    notes : tuple of str
        What a reader has to know, a sentence each.
    only : dict of str to tuple of str
        What only one side has, by "base" and "head".
    """

    base: tuple[Result, ...]
    head: tuple[Result, ...]
    paired: bool
    level: float
    size: float
    rows: tuple[Row, ...]
    gates: tuple[GateVerdict, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    only: Mapping[str, tuple[str, ...]]

    def outcome(self) -> Literal["pass", "fail", "unknown"]:
        """Return what all gates together come to."""
        outcomes = {verdict.outcome for verdict in self.gates}
        return "fail" if "fail" in outcomes else "unknown" if "unknown" in outcomes else "pass"


def settled(rows: Sequence[Row], gates: Sequence[GateVerdict]) -> bool:
    """Whether more pairs would change nothing: each gate is decided, or without any each p99."""
    if gates:
        return all(verdict.decided for verdict in gates)
    asked = [row for row in rows if row.metric == "latency_p99" and not row.control]
    return bool(asked) and all(row.verdict != "could not have seen it" for row in asked)


def as_document(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON has it, schema ``lorabench.comparison/1``."""
    return {
        "schema": "lorabench.comparison/1",
        "paired": found.paired,
        "level": found.level,
        "outcome": found.outcome() if found.gates else None,
        "base": [_run(run) for run in found.base],
        "head": [_run(run) for run in found.head],
        "differences": [vars(one) for one in found.differences],
        "notes": list(found.notes),
        "gates": [_gate(verdict) for verdict in found.gates],
        "rows": [_row_document(row, found.level) for row in found.rows],
        "only_in": {name: list(names) for name, names in found.only.items()},
    }


def _run(run: Result) -> dict[str, Any]:
    return {
        "id": run.id,
        "command": run.command,
        "created": run.created.isoformat(),
        "lorabench": run.lorabench.model_dump(),
        "config_hash": run.config_hash,
        "partial": run.partial,
    }


def _gate(verdict: GateVerdict) -> dict[str, Any]:
    held = verdict.held
    return {
        "gate": str(held.gate),
        "metric": held.gate.metric,
        "case": held.case,
        "tolerance": held.gate.share,
        "outcome": verdict.outcome,
        "level": verdict.level,
        "reason": verdict.reason,
        "change": _change(held.change, verdict.level),
    }


def _row_document(row: Row, level: float) -> dict[str, Any]:
    return {
        "metric": row.metric,
        "case": row.case,
        "labels": dict(row.labels),
        "unit": row.unit,
        "base": row.base,
        "head": row.head,
        "change": _change(row.change, level),
        "verdict": row.verdict,
        "why": row.why,
    }


def _change(found: Change | None, level: float) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "kind": found.kind,
        "better": found.better,
        "value": found.value,
        "interval": found.interval(level),
        "least_shown": found.least_shown(level),
        "values": list(found.n),
        "paired": found.paired,
    }
