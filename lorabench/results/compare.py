"""Two sides' results, metric by metric and case by case: what changed, and what could have shown.

A function of documents alone. Each side is one run, whose blocks are its values, or several, of
which each is one value. Sides that were measured in turn, block by block, are compared within
pairs; others by Welch's t (`lorabench.results.change`). How a change becomes an exit code:
`lorabench.results.gate`.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lorabench.errors import InputError
from lorabench.results import sameness
from lorabench.results.change import TRIMMED, Change, change, tolerated
from lorabench.results.comparison import Comparison, Row, Verdict, is_control
from lorabench.results.evidence import STUCK_SHARE, saturated_shares
from lorabench.results.gate import Gate, Held, judge
from lorabench.results.registry import MetricSpec, metric_spec
from lorabench.results.sameness import differences
from lorabench.results.schema import Metric, Result
from lorabench.results.statistics import LEVEL

SIZE = 0.05
"""Size of a change that matters, as a share of base, where nobody gives another."""

_Key = tuple[str, tuple[tuple[str, str], ...]]


def compare(
    base: Sequence[Result],
    head: Sequence[Result],
    *,
    gates: Sequence[Gate] = (),
    paired: bool = False,
    level: float = LEVEL,
    size: float = SIZE,
) -> Comparison:
    """Compare two sides.

    Parameters
    ----------
    base, head : sequence of Result
        One run each, or repeated runs of the same.
    gates : sequence of Gate
        What has to hold.
    paired : bool
        The blocks of the one run of base and of the one of head were measured in turn.
    level : float
        What an interval leaves out on either side; smaller where this is one look of several.
    size : float
        Size of a change that matters, as a share of base.

    Raises
    ------
    InputError
        A document has the same metric twice, or there is nothing that a gate is about.
    """
    if paired and (len(base), len(head)) != (1, 1):
        raise ValueError(f"found {len(base)} and {len(head)} runs, expected one each")
    sides = [_Side.of(runs) for runs in (base, head)]
    found = [
        (key, sides[0].metrics[key], sides[1].metrics[key])
        for key in sides[0].metrics
        if key in sides[1].metrics
    ]
    if not found:
        raise InputError("found no metric that both sides have, expected some to compare")
    rows = tuple(
        _row(one, other, sides, paired=paired, level=level, size=_size(one[0], gates, size))
        for _, one, other in found
    )
    return Comparison(
        base=tuple(base),
        head=tuple(head),
        paired=paired,
        level=level,
        size=size,
        rows=rows,
        gates=tuple(judge(list(_held(gates, rows, sides)), level)),
        differences=tuple(differences(base, head)),
        notes=tuple(_notes(base, head, paired=paired)),
        only={"base": sides[0].without(sides[1]), "head": sides[1].without(sides[0])},
    )


@dataclass(frozen=True)
class _Side:
    """Metrics of repeated runs by name and labels, a list in order of runs, and stuck queues."""

    metrics: Mapping[_Key, Sequence[Metric]]
    stuck: Mapping[str, float]

    @classmethod
    def of(cls, runs: Sequence[Result]) -> "_Side":
        metrics: dict[_Key, list[Metric]] = {}
        for run in runs:
            seen = set()
            for metric in run.metrics:
                key = metric.name, _labels(metric)
                if key in seen:
                    raise InputError(f"run {run.id}: found {_name(metric)} twice, expected it once")
                seen.add(key)
                metrics.setdefault(key, []).append(metric)
        return cls(metrics, saturated_shares([block for run in runs for block in run.rounds]))

    def without(self, other: "_Side") -> tuple[str, ...]:
        """Return what this side has and the other has not."""
        mine = (listed[0] for key, listed in self.metrics.items() if key not in other.metrics)
        return tuple(sorted({_name(metric) for metric in mine}))

    def values(self, metrics: Sequence[Metric]) -> list[float | None]:
        """Return the blocks of one run, or what each of several came to."""
        if len(metrics) == 1:
            one = metrics[0]
            return list(one.values) if one.values else [one.estimate]
        return [metric.estimate for metric in metrics]


def _labels(metric: Metric) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, str(value)) for name, value in metric.labels.items()))


def _name(metric: Metric) -> str:
    return f"{metric.name}[{metric.condition}]"


def _size(metric: Metric, gates: Sequence[Gate], size: float) -> float:
    """Return the change that is asked for: that of its gate, if it has one."""
    text, labels = metric.condition, dict(_labels(metric))
    asked = [
        gate.share for gate in gates if gate.metric == metric.name and gate.wants(text, labels)
    ]
    return min(asked, default=size)


def _row(
    base: Sequence[Metric],
    head: Sequence[Metric],
    sides: Sequence[_Side],
    *,
    paired: bool,
    level: float,
    size: float,
) -> Row:
    metric = head[0]
    values = [side.values(metrics) for side, metrics in zip(sides, (base, head), strict=True)]
    known = _known(metric)
    found = change(
        *values,
        better=metric.better,
        paired=paired,
        signed=known.signed,
        trim=TRIMMED if known.mean == "median" else 0.0,
    )
    verdict, why = _verdict(found, level, size)
    queue = _queues(metric, sides)
    if queue is not None:
        verdict, why = queue
    return Row(
        metric=metric.name,
        case=metric.condition,
        labels=dict(_labels(metric)),
        unit=metric.unit,
        base=_centre(base),
        head=_centre(head),
        change=found,
        verdict=verdict,
        why=why,
    )


def _centre(metrics: Sequence[Metric]) -> float | None:
    """Return a side's figure: its estimate, or the mean of those of several runs."""
    known = [metric.estimate for metric in metrics if metric.estimate is not None]
    return sum(value / len(known) for value in known) if known else None


def _known(metric: Metric | Row) -> MetricSpec:
    """Return what the registry has; of a metric of another version, nothing but its values."""
    name = metric.name if isinstance(metric, Metric) else metric.metric
    try:
        return metric_spec(name)
    except KeyError:
        return MetricSpec("", metric.unit, "lower")


def _verdict(found: Change | None, level: float, size: float) -> tuple[Verdict, str]:
    if found is None:
        return "could not have seen it", "a side has no value"
    bounds, least = found.worse_by(level), found.least(level)
    if bounds is None or least is None:
        return "could not have seen it", "one value a side"
    if bounds[0] > 0:
        return "worse", ""
    if bounds[1] < 0:
        return "better", ""
    if found.kind == "ratio" and least > tolerated(size, found.better):
        return "could not have seen it", ""
    return "no difference shown", ""


def _queues(metric: Metric, sides: Sequence[_Side]) -> tuple[Verdict, str] | None:
    """Return what a queue that only grew makes of a latency: it has none to compare."""
    if not metric.name.startswith(("latency_", "spike_", "update_latency_")):
        return None
    shares = [side.stuck.get(metric.condition, 0.0) for side in sides]
    if max(shares) <= STUCK_SHARE:
        return None
    told = f"the queue only grew in {shares[0]:.0%} of base's blocks and {shares[1]:.0%} of head's"
    if shares[0] <= STUCK_SHARE:
        return "worse", told
    return "could not have seen it", told


def _held(gates: Sequence[Gate], rows: Sequence[Row], sides: Sequence[_Side]) -> Iterator[Held]:
    """Return what each gate is about, in every case that it names."""
    for gate in gates:
        mine = [
            row
            for row in rows
            if row.metric == gate.metric
            and gate.wants(row.case, dict(row.labels))
            and (gate.case is not None or not row.control)
        ]
        missing = sorted(_missing(gate, sides))
        if not mine and not missing:
            raise InputError(_nothing(gate, rows))
        for row in mine:
            yield _of_row(gate, row)
        for case in missing:
            yield Held(gate, case, None, unknown="head has no such value, and base has one")


def _missing(gate: Gate, sides: Sequence[_Side]) -> Iterator[str]:
    """Return in which cases base has what a gate is about and head has not."""
    for key, metrics in sides[0].metrics.items():
        text = metrics[0].condition
        if (
            key not in sides[1].metrics
            and metrics[0].name == gate.metric
            and gate.wants(text, dict(key[1]))
            and (gate.case is not None or not is_control(text, dict(key[1])))
        ):
            yield text


def _of_row(gate: Gate, row: Row) -> Held:
    if row.change is not None and row.change.kind == "difference":
        if _known(row).signed:
            raise InputError(
                f"--gate {gate}: found a metric that may lie on either side of zero, expected one "
                "that is positive, of which a percentage can be taken"
            )
        return Held(gate, row.case, row.change, unknown="a value is 0, and of 0 there is no share")
    grew = row.why if row.why.startswith("the queue only grew") else None
    if row.verdict == "worse":
        return Held(gate, row.case, row.change, worse=grew)
    return Held(gate, row.case, row.change, unknown=grew)


def _nothing(gate: Gate, rows: Sequence[Row]) -> str:
    names = sorted({row.metric for row in rows})
    if gate.metric in names:
        cases = ", ".join(sorted({row.case for row in rows if row.metric == gate.metric}))
        return f"--gate {gate}: found {gate.metric} in no such case, expected one of {cases}"
    near = difflib.get_close_matches(gate.metric, names, 3, 0.4) or names[:5]
    expected = ", ".join(near) if near else "one that both sides have, and they have none"
    return f"--gate {gate}: found no metric of that name on both sides, expected one as {expected}"


def _notes(base: Sequence[Result], head: Sequence[Result], *, paired: bool) -> Iterator[str]:
    if not paired:
        unlike = (
            "by more than an interval within one shows"
            if len(base) == len(head) == 1
            else "by more than runs of one session show"
        )
        yield (
            f"Each side was measured on its own, and sessions differ {unlike}: only lorabench "
            "compare --run measures two versions in turn."
        )
    for name, runs in (("base", base), ("head", head)):
        partial = sum(run.partial for run in runs)
        if partial:
            yield f"{partial} of {len(runs)} runs of {name} ended before their time."
    if {run.id for run in base} & {run.id for run in head}:
        yield "A run is on both sides: it is compared with itself."
    seeds = {str(sameness.flat(run.config).get("experiment.seed")) for run in (*base, *head)}
    if len(seeds) > 1 and not paired:
        yield f"Seeds differ ({', '.join(sorted(seeds))}): so do rows and arrivals."
    yield from sameness.only_in_one(base[0], head[0])
    rates = sameness.offered_qps(base[0]), sameness.offered_qps(head[0])
    if rates[0] is not None and rates[1] is not None:
        off = sameness.apart(rates[0], rates[1])
        if off > sameness.NOTED_LOAD:
            yield (
                f"Base was offered {rates[0]:,.0f} queries/s and head {rates[1]:,.0f}: latencies "
                "at unlike loads do not quite compare; measure both at one --qps."
            )
