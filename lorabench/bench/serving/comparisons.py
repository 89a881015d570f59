"""Which cases are compared within a block, by what, and what comes of it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lorabench.bench.serving.cases import CONTROLS, SOLO, ServingCase
from lorabench.isolation.mechanism import APPLYING
from lorabench.results.case import Case

Found = Mapping[str, float | None]


@dataclass(frozen=True)
class Comparison:
    """What is compared within a block.

    Parameters
    ----------
    name : str
        The metric that comes of it.
    metric : str
        What of both sides is compared.
    head : ServingCase
        Whose it is.
    base : tuple of ServingCase
        What it is compared with; of several the geometric mean.
    case : Case or None
        What the metric is of, where that is not the head alone.
    """

    name: str
    metric: str
    head: ServingCase
    base: tuple[ServingCase, ...]
    case: Case | None = None

    def values(self, found: Mapping[ServingCase, Found]) -> list[float | None] | None:
        """Return the values of head and base; None where nobody measured it of the head."""
        if self.metric not in found[self.head]:
            return None
        return [found[case].get(self.metric) for case in (self.head, *self.base)]

    def of(self, values: Sequence[float | None]) -> float | None:
        """Compare; None where a side is not known."""
        known = [value for value in values if value is not None]
        if len(known) < len(values) or min(known) <= 0:
            return None
        head, *base = known
        if self.name.endswith("_impact"):
            return head - float(np.mean(base))
        return head / math.exp(float(np.mean(np.log(base))))


_AGAINST_SOLO = {
    "latency_p99_ratio": "latency_p99",
    "latency_p99_unstalled_ratio": "latency_p99_unstalled",
    "latency_impact": "latency_p99",
    "spike_p99_ratio": "spike_p99",
}
_AGAINST_SHAM = {
    "latency_p99_sham_ratio": "latency_p99",
    "latency_p99_unstalled_sham_ratio": "latency_p99_unstalled",
}


def comparisons(cases: Sequence[ServingCase]) -> Iterator[Comparison]:
    """Return what is compared within a block.

    All with serving alone: with both of its cases, and of these the second with the first. The case
    that a sham is of, with the sham; an unconfined trainer's with that case; a changing rank with
    the same condition without it, where that ran; a trainer with what applies a push in its stead,
    held in check alike where that ran, else the case that a sham is of.
    """
    controls = tuple(case for case in CONTROLS if case in cases)
    judged = next((c for s in cases if s.sham for c in cases if _same(c, s) and c.learns), None)
    for case in cases:
        base = tuple(control for control in controls if control != case)
        if base and case != SOLO:
            for name, metric in _AGAINST_SOLO.items():
                yield Comparison(name, metric, case, base)
        if judged is not None and case.sham:
            for name, metric in _AGAINST_SHAM.items():
                yield Comparison(name, metric, judged, (case,))
        if judged is not None and case.learns and case.text == "naive":
            yield Comparison("isolation_gain", "latency_p99", case, (judged,))
        beside = next((c for c in cases if c.learns and _stands_for(case, c)), judged)
        if case.applies is not None and beside is not None:
            where = beside.also(f"against {case}", against=case.text)
            yield Comparison("lora_p99_ratio", "latency_p99", beside, (case,), where)
        still = case.without_rank_change
        for other in cases:
            if still is not None and other.condition is not None and other.learns:
                same = (other.condition.place, other.condition.mechanisms)
                if same == (still.place, still.mechanisms) and other.duty == case.duty:
                    yield Comparison("rank_change_p99_ratio", "latency_p99", case, (other,))


def _same(one: ServingCase, other: ServingCase) -> bool:
    return one.condition == other.condition and one.duty == other.duty


def _stands_for(applier: ServingCase, trainer: ServingCase) -> bool:
    """Whether a push is applied where a trainer learns otherwise, held in check alike."""
    one, other = applier.condition, trainer.condition
    if one is None or other is None or one.applies is None:
        return False
    # Data reuse holds nothing in check, and there is none without a trainer.
    checked = [
        tuple(name for name in each.mechanisms if name not in (*APPLYING, "reuse"))
        for each in (one, other)
    ]
    return checked[0] == checked[1] and (one.place, applier.duty) == (other.place, trainer.duty)
