"""Two sides' results, metric by metric and case by case: what changed, and what could have shown.

A function of documents alone. Each side is one run, whose blocks are its values, or several, of
which each is one value. Sides that were measured in turn, block by block, are compared within
pairs; others by Welch's t (`lorabench.results.change`). How a change becomes an exit code:
`lorabench.results.gate`.
"""

import difflib
from collections.abc import Iterator, Sequence

from lorabench.errors import InputError
from lorabench.results import sameness
from lorabench.results.change import TRIMMED, Change, change, more_often
from lorabench.results.comparison import Comparison, Row, Verdict, is_control
from lorabench.results.evidence import STUCK_SHARE
from lorabench.results.gate import Gate, GateVerdict, Held, Lost, judge
from lorabench.results.limit import MIN_ROUNDS
from lorabench.results.nested import flat
from lorabench.results.registry import MetricSpec, metric_spec
from lorabench.results.sameness import differences
from lorabench.results.schema import Metric, Result
from lorabench.results.sides import OF_QUEUES, Key, Side, any_of, labels_of
from lorabench.results.statistics import LEVEL

SIZE = 0.05
"""Size of a change that matters, as a share of base, where nobody gives another."""

SIGNED = (
    "--gate {gate}: found a metric that may lie on either side of zero, expected one that is "
    "positive, of which a percentage can be taken"
)

LEAST_RUNS = 3
"""Fewer repeated runs a side tell nothing."""


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
        Blocks of the one run of base and of the one of head were measured in turn; or the runs of
        both, of which each was a block.
    level : float
        What an interval leaves out on either side; smaller where this is one look of several.
    size : float
        Size of a change that matters, as a share of base.

    Raises
    ------
    InputError
        A document has the same metric twice, or there is nothing that a gate is about.
    """
    if paired and len(base) != len(head):
        raise ValueError(f"found {len(base)} and {len(head)} runs, expected as many")
    sides = [Side.of(runs) for runs in (base, head)]
    rows = rows_of(*sides, gates=gates, paired=paired, level=level, size=size)
    if not rows:
        raise InputError("found no metric that both sides have, expected some to compare")
    return Comparison(
        base=tuple(base),
        head=tuple(head),
        paired=paired,
        level=level,
        size=size,
        rows=rows,
        gates=verdicts(gates, rows, sides[0], sides[1], level),
        differences=tuple(differences(base, head)),
        notes=tuple(_notes(base, head, paired=paired)),
        only={"base": sides[0].without(sides[1]), "head": sides[1].without(sides[0])},
    )


def rows_of(
    base: Side,
    head: Side,
    *,
    gates: Sequence[Gate] = (),
    paired: bool = False,
    level: float = LEVEL,
    size: float = SIZE,
) -> tuple[Row, ...]:
    """Return every metric and case that both sides have; the arguments are those of `compare`."""
    by_run = base.runs > 1 or head.runs > 1
    rows = []
    for key in base.metrics:
        if key in head.metrics:
            known, metric = _known(key[0]), any_of(head.metrics[key])
            groups = [None if by_run else side.processes(key) for side in (base, head)]
            found = change(
                base.values(key, by_run=by_run),
                head.values(key, by_run=by_run),
                better=metric.better,
                paired=paired,
                signed=known.signed,
                trim=TRIMMED if known.mean == "median" else 0.0,
                # Rounds of both sides have the same blocks, as far as either goes.
                groups=None if None in groups else max(groups, key=len),  # type: ignore[arg-type]
            )
            lost = _lost(key, base, head, by_run=by_run)
            verdict, why = _verdict(found, level, _size(metric, gates, size), metric, lost)
            rows.append(
                Row(
                    metric=metric.name,
                    case=metric.condition,
                    labels=dict(labels_of(metric)),
                    unit=metric.unit,
                    base=base.centre(key),
                    head=head.centre(key),
                    change=found,
                    verdict=verdict,
                    why=why,
                    lost=lost,
                )
            )
    return tuple(rows)


def verdicts(
    gates: Sequence[Gate], rows: Sequence[Row], base: Side, head: Side, level: float
) -> tuple[GateVerdict, ...]:
    """Hold rows to gates, all together.

    Raises
    ------
    InputError
        There is nothing that a gate is about.
    """
    return tuple(judge(list(_held(gates, rows, base, head)), level))


def _size(metric: Metric, gates: Sequence[Gate], size: float) -> float:
    """Return the change that is asked for: that of its gate, if it has one."""
    text, labels = metric.condition, dict(labels_of(metric))
    asked = [
        gate.share for gate in gates if gate.metric == metric.name and gate.wants(text, labels)
    ]
    return min(asked, default=size)


def _known(name: str) -> MetricSpec:
    """Return what the registry has; of a metric of another version, nothing but its values."""
    try:
        return metric_spec(name)
    except KeyError:
        return MetricSpec("", "1", "lower")


def _verdict(
    found: Change | None, level: float, size: float, metric: Metric, lost: Lost | None
) -> tuple[Verdict, str]:
    why = "" if lost is None else lost.told
    bounds = None if found is None else found.worse_by(level)
    if (lost is not None and lost.chance <= level) or (bounds is not None and bounds[0] > 0):
        return "worse", why
    if lost is not None:
        return "could not have seen it", why
    if found is None or bounds is None:
        return "could not have seen it", _scant(found)
    return _within(found, bounds, level, size, metric), ""


def _scant(found: Change | None) -> str:
    """Return why a change has no interval."""
    if found is None:
        return "a side has no value"
    single = [name for name, n in zip(("base", "head"), found.n, strict=True) if n == 1]
    return "one value a side" if len(single) == 2 else f"{single[0]} has one value"


def _within(
    found: Change, bounds: tuple[float, float], level: float, size: float, metric: Metric
) -> Verdict:
    """Return what a change comes to that is not shown to be for the worse."""
    if bounds[1] < 0:
        return "better"
    least = found.least(level)
    # Of what may be on either side of zero, the size is a share of how large it is.
    signed = found.kind == "difference"
    asked = size * abs(metric.estimate or 0.0) if signed else found.tolerates(size)
    if least is None or least > asked:
        return "could not have seen it"
    return "no difference shown"


def _lost(key: Key, base: Side, head: Side, *, by_run: bool) -> Lost | None:
    """Return what speaks against head since it has no values where base has some.

    Values that are left would flatter it: of a queue that only grew there is no latency, and none
    of updates that were never served. A queue that grew in many blocks of base is nothing to
    compare with.
    """
    counts = [side.lost(key, by_run=by_run) for side in (base, head)]
    (few, n), (many, m) = counts
    grew = key[0].startswith(OF_QUEUES) and any(side.grew(key) for side in (base, head))
    if not grew and many / max(m, 1) - few / max(n, 1) <= STUCK_SHARE:
        return None
    unit = "runs" if by_run else "blocks"
    told = f"{few} of {n} {unit} of base and {many} of {m} of head have no value"
    if grew:
        told = f"the queue only grew in {few} of {n} {unit} of base and {many} of {m} of head"
    return Lost(told, more_often(*counts))


def _held(gates: Sequence[Gate], rows: Sequence[Row], base: Side, head: Side) -> Iterator[Held]:
    """Return what each gate is about, in every case that it names."""
    for gate in gates:
        mine = [
            row
            for row in rows
            if row.metric == gate.metric
            and gate.wants(row.case, dict(row.labels))
            and (gate.case is not None or not row.control)
        ]
        missing = sorted(_missing(gate, base, head))
        if not mine and not missing:
            raise InputError(_nothing(gate, rows))
        by_run = base.runs > 1 or head.runs > 1
        load = _unlike_load(base, head) if gate.metric.startswith(OF_QUEUES) else None
        for row in mine:
            if row.change is not None and _known(row.metric).signed:
                raise InputError(SIGNED.format(gate=gate))
            paired = row.change is not None and row.change.paired
            least = LEAST_RUNS if by_run and not paired else MIN_ROUNDS
            yield Held(gate, row.case, row.change, row.lost, load, least)
        for case in missing:
            # No weather takes a metric away.
            yield Held(gate, case, None, Lost("head has no such value, and base has one", 0.0))


def _missing(gate: Gate, base: Side, head: Side) -> Iterator[str]:
    """Return in which cases base has what a gate is about and head has not."""
    for key, listed in base.metrics.items():
        text, labels = any_of(listed).condition, dict(key[1])
        if (
            key[0] == gate.metric
            and key not in head.metrics
            and gate.wants(text, labels)
            and (gate.case is not None or not is_control(text, labels))
        ):
            yield text


def _unlike_load(base: Side, head: Side) -> str | None:
    """Return that the sides were offered unlike loads: latencies then differ by that alone."""
    rates = [
        side.centre(key) for side in (base, head) for key in side.metrics if key[0] == "offered_qps"
    ][:2]
    if len(rates) < 2 or rates[0] is None or rates[1] is None:
        return None
    if sameness.apart(rates[0], rates[1]) <= sameness.NOTED_LOAD:
        return None
    return (
        f"base was offered {rates[0]:,.5g} queries/s and head {rates[1]:,.5g}, and latencies at "
        "unlike loads do not compare; measure both at one --qps"
    )


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
    if paired and not any(run.rounds for run in (*base, *head)):
        yield (
            "Each side is one process, and two of one version may differ by some percent, since "
            "their memory lies elsewhere: no interval here holds that."
        )
    for name, runs, other in (("Base", base, head), ("Head", head, base)):
        if len(runs) == 1 < len(other):
            yield f"{name} is one run, which does not say how far runs vary; give a folder of some."
    for name, runs in (("base", base), ("head", head)):
        partial = sum(run.partial for run in runs)
        if partial:
            yield f"{partial} of {len(runs)} runs of {name} ended before their time."
    if {run.id for run in base} & {run.id for run in head}:
        yield "A run is on both sides: it is compared with itself."
    seeds = {str(flat(run.config).get("experiment.seed")) for run in (*base, *head)}
    if len(seeds) > 1 and not paired:
        yield f"Seeds differ ({', '.join(sorted(seeds))}): so do rows and arrivals."
    yield from sameness.only_in_one(base[0], head[0])
    rates = sameness.offered_qps(base[0]), sameness.offered_qps(head[0])
    if rates[0] is not None and rates[1] is not None:
        off = sameness.apart(rates[0], rates[1])
        if off > sameness.NOTED_LOAD:
            yield (
                f"Base was offered {rates[0]:,.5g} queries/s and head {rates[1]:,.5g}: latencies "
                "at unlike loads do not quite compare; measure both at one --qps."
            )
