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
from lorabench.results.change import TRIMMED, Change, change, more_often, tolerated
from lorabench.results.comparison import Comparison, Row, Verdict, is_control
from lorabench.results.evidence import STUCK_SHARE, saturated_blocks
from lorabench.results.gate import Gate, GateVerdict, Held, judge
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


@dataclass(frozen=True)
class Side:
    """What one side has measured.

    Parameters
    ----------
    runs : int
        How many repeated runs.
    metrics : mapping
        By name and labels, of each run by its number.
    stuck : mapping of str to (int, int)
        Of each case: in how many blocks its queue only grew, and how many it had.
    """

    runs: int
    metrics: Mapping[_Key, Mapping[int, Metric]]
    stuck: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, runs: Sequence[Result]) -> "Side":
        """Take in repeated runs.

        Raises
        ------
        InputError
            One has the same metric twice.
        """
        stuck = saturated_blocks([block for run in runs for block in run.rounds])
        return cls.measured([run.metrics for run in runs], stuck)

    @classmethod
    def measured(
        cls,
        runs: Sequence[Sequence[Metric]],
        stuck: Mapping[str, tuple[int, int]] | None = None,
    ) -> "Side":
        """Take in what repeated runs have measured, of which there need be no documents yet.

        Raises
        ------
        InputError
            One has the same metric twice.
        """
        metrics: dict[_Key, dict[int, Metric]] = {}
        for number, run in enumerate(runs):
            for metric in run:
                mine = metrics.setdefault((metric.name, _labels(metric)), {})
                if number in mine:
                    raise InputError(f"found {_name(metric)} twice in a run, expected it once")
                mine[number] = metric
        return cls(len(runs), metrics, stuck or {})

    def without(self, other: "Side") -> tuple[str, ...]:
        """Return what this side has and the other has not."""
        mine = (_any(listed) for key, listed in self.metrics.items() if key not in other.metrics)
        return tuple(sorted({_name(metric) for metric in mine}))

    def values(self, key: _Key, *, by_run: bool) -> list[float | None]:
        """Return the blocks of the one run, or what each run came to; None where one has none."""
        listed = self.metrics[key]
        if by_run:
            return [listed[n].estimate if n in listed else None for n in range(self.runs)]
        only = listed[0]
        return list(only.values) if only.values else [only.estimate]

    def centre(self, key: _Key) -> float | None:
        """Return the estimate, or the mean of those of several runs."""
        known = [one.estimate for one in self.metrics[key].values() if one.estimate is not None]
        return sum(value / len(known) for value in known) if known else None


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
    keys = [key for key in base.metrics if key in head.metrics]
    by_run = base.runs > 1 or head.runs > 1
    return tuple(
        _row(
            key,
            base,
            head,
            found=change(
                base.values(key, by_run=by_run),
                head.values(key, by_run=by_run),
                better=_any(head.metrics[key]).better,
                paired=paired,
                signed=_known(key[0]).signed,
                trim=TRIMMED if _known(key[0]).mean == "median" else 0.0,
            ),
            level=level,
            size=_size(_any(head.metrics[key]), gates, size),
        )
        for key in keys
    )


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


def _any(listed: Mapping[int, Metric]) -> Metric:
    return next(iter(listed.values()))


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
    key: _Key, base: Side, head: Side, *, found: Change | None, level: float, size: float
) -> Row:
    metric = _any(head.metrics[key])
    verdict, why = _verdict(found, level, size)
    queue, chance = _queues(metric, base, head), None
    if queue is not None:
        why, chance = queue
        verdict = "worse" if chance <= level else "could not have seen it"
    return Row(
        metric=metric.name,
        case=metric.condition,
        labels=dict(_labels(metric)),
        unit=metric.unit,
        base=base.centre(key),
        head=head.centre(key),
        change=found,
        verdict=verdict,
        why=why,
        chance=chance,
    )


def _known(name: str) -> MetricSpec:
    """Return what the registry has; of a metric of another version, nothing but its values."""
    try:
        return metric_spec(name)
    except KeyError:
        return MetricSpec("", "1", "lower")


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


def _queues(metric: Metric, base: Side, head: Side) -> tuple[str, float] | None:
    """Return what is to be said of a latency whose queue only grew, and the chance of that.

    Such a case has no latency to compare. It is worse if its queue grew in more blocks of head than
    chance gives: on a machine that is busy elsewhere that happens to either side now and then.
    """
    if not metric.name.startswith(("latency_", "spike_", "update_latency_")):
        return None
    counts = [side.stuck.get(metric.condition, (0, 0)) for side in (base, head)]
    shares = [stuck / ran if ran else 0.0 for stuck, ran in counts]
    if max(shares) <= STUCK_SHARE:
        return None
    told = f"the queue only grew in {shares[0]:.0%} of base's blocks and {shares[1]:.0%} of head's"
    return told, more_often(*counts)


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
        for row in mine:
            yield _of_row(gate, row)
        for case in missing:
            yield Held(gate, case, None, unknown="head has no such value, and base has one")


def _missing(gate: Gate, base: Side, head: Side) -> Iterator[str]:
    """Return in which cases base has what a gate is about and head has not."""
    for key, listed in base.metrics.items():
        text, labels = _any(listed).condition, dict(key[1])
        if (
            key[0] == gate.metric
            and key not in head.metrics
            and gate.wants(text, labels)
            and (gate.case is not None or not is_control(text, labels))
        ):
            yield text


def _of_row(gate: Gate, row: Row) -> Held:
    if row.change is not None and row.change.kind == "difference":
        if _known(row.metric).signed:
            raise InputError(
                f"--gate {gate}: found a metric that may lie on either side of zero, expected one "
                "that is positive, of which a percentage can be taken"
            )
        return Held(gate, row.case, row.change, unknown="a value is 0, and of 0 there is no share")
    if row.chance is not None:
        return Held(gate, row.case, row.change, worse=row.why, chance=row.chance)
    return Held(gate, row.case, row.change)


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
