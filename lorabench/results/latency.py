"""What co-located training does to tail latency: from a run's values to verdicts, with reasons.

Pure functions of a table of values, so that whoever has a document reaches its verdicts again. A
claim is judged by its interval, and only where it can be: enough blocks, training that went on,
queues that empty. A ratio also takes a control that does not differ from itself, and can be ``met``
only in a run that has seen a slowdown which was planted. What keeps a claim from being judged is
its reason, and says what to do.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lorabench.results import statistics
from lorabench.results.case import Case
from lorabench.results.claims import ROWS
from lorabench.results.limit import MIN_ROUNDS, Limit, claim
from lorabench.results.metrics import MetricTable
from lorabench.results.schema import Basis, Claim, Round, Verdict
from lorabench.results.statistics import Estimate

ISOLATED = Limit(
    "latency.isolated",
    "co-located p99 / solo p99 <= 1.10, on this machine, its host included",
    1.10,
)
TRAINING = Limit(
    "latency.training",
    "co-located p99 / sham p99 <= 1.10: what training costs, a busy core's own cost apart",
    1.10,
)
IMPACT = Limit("latency.impact", "co-located p99 - solo p99 < 20 ms", 0.020, strict=True)
GAIN = Limit(
    "isolation.gain", "naive p99 / isolated p99 > 1: isolation pays", 1.0, strict=True, least=True
)

LEAST_TRAINING = 0.5
"""A trainer that is slower than this share of its rate alone proves nothing about its cost."""

# A throttle at this duty or below lets next to nothing be learned.
_FLOOR_DUTY = 0.06

# How far serving alone may be from itself for a difference to be judged, as a share of its limit.
_BIAS_SHARE = 0.1

_STUCK_SHARE = 0.1

SOLO, SOLO_REPEAT, SHAM, PLANTED, NAIVE = "solo", "solo_repeat", "sham", "planted", "naive"


@dataclass(frozen=True)
class Run:
    """What the verdicts of a run rest on.

    Parameters
    ----------
    table : MetricTable
        Its values, one a block.
    judged : Case or None
        The case that the verdicts are about; None where none isolates its trainer.
    basis : str
        What kind of rows were served.
    level : float
        What an interval leaves out on either side (`lorabench.results.sequential`).
    saturated : frozenset of str
        Cases whose queue only grew in some block.
    machine : str or None
        What is known of the machine that puts the figure into its place.
    lacking : str or None
        What a block lacks for a p99, and what to do.
    more : str
        What to do for a narrower interval.
    """

    table: MetricTable
    judged: Case | None
    basis: Basis
    level: float = statistics.LEVEL
    saturated: frozenset[str] = field(default_factory=frozenset)
    machine: str | None = None
    lacking: str | None = None
    more: str = "run more rounds (--rounds)"

    def estimate(self, name: str, case: Case | str | None = None) -> Estimate | None:
        """Return a metric of a case, by default of the judged one, at the run's level."""
        case = self.judged if case is None else case
        return None if case is None else self.table.estimate(name, case, self.level)

    @property
    def rate(self) -> float | None:
        """Samples/s that the judged case's trainer learned."""
        found = self.estimate("train_samples_per_s")
        return None if found is None else found.value


def saturated_cases(blocks: Sequence[Round]) -> frozenset[str]:
    """Return the cases whose queue only grew in more than a tenth of their blocks."""
    ran = Counter(name for block in blocks for name in set(block.order))
    stuck = Counter(name for block in blocks for name in block.saturated)
    return frozenset(name for name, count in stuck.items() if count > _STUCK_SHARE * ran[name])


def latency_claims(run: Run) -> list[Claim]:
    """Judge all claims about latency."""
    if run.judged is None:
        reason = "no condition that isolates the trainer was run (--conditions pinned)"
        targets = (IMPACT, ISOLATED, TRAINING)
        return [claim(target, None, "unavailable", run.basis, reason) for target in targets]
    found = [_impact(run), _isolated(run), _training(run)]
    if run.table.named("isolation_gain") or NAIVE in run.saturated:
        found.append(_gain(run))
    return found


def settled(claims: Sequence[Claim], run: Run) -> bool:
    """Whether more blocks would change nothing: each verdict is reached, or out of reach."""
    if any(claim.verdict == "inconclusive" for claim in claims):
        return run.judged is None or next(_unfit(run), None) is not None
    return True


def _impact(run: Run) -> Claim:
    estimate = run.estimate("latency_impact")
    return _judge(
        run,
        IMPACT,
        estimate,
        found="p99 is {} ms above that of solo",
        show=lambda value: f"{value * 1e3:.2f}",
        obstacles=[_biased_difference(run)],
    )


def _isolated(run: Run) -> Claim:
    seen = run.estimate("latency_p99_ratio", PLANTED)
    found = _judge(
        run,
        ISOLATED,
        run.estimate("latency_p99_ratio"),
        found="p99 is {} times that of solo",
        obstacles=[_biased_ratio(run)],
        proof=_blind(seen, "p99"),
    )
    return _with(found, machine_answer(run))


def _training(run: Run) -> Claim:
    raw = run.estimate("latency_p99_sham_ratio")
    clear = run.estimate("latency_p99_unstalled_sham_ratio")
    rates = [run.table.values("stalls_per_s", case) for case in (run.judged or SHAM, SHAM)]
    if not rates[1]:
        return claim(TRAINING, None, "unavailable", run.basis, "no sham was run")
    # Stalls are partly the trainer's doing: without them only where both sides had as many.
    apart = statistics.mean(
        [a - b for a, b in zip(*rates, strict=False) if a is not None and b is not None],
        run.level,
    )
    alike = apart is not None and apart.interval is not None and _holds(apart.interval, 0.0)
    if alike and clear is not None:
        seen = run.estimate("latency_p99_unstalled_ratio", PLANTED)
        found = _judge(
            run,
            TRAINING,
            clear,
            found="p99 without the queries that a host stall touched is {} times that of a sham",
            obstacles=[_biased_ratio(run, "latency_p99_unstalled_ratio")],
            proof=_blind(seen, "p99 without stalls"),
        )
        why = (
            "stalls are set aside since both had as many "
            f"({_mean(run, 'stalls_per_s', run.judged)} and {_mean(run, 'stalls_per_s', SHAM)} a "
            "second)"
        )
        return _with(found, why + ("" if raw is None else f"; with them {_shown(raw)}"))
    seen = run.estimate("latency_p99_ratio", PLANTED)
    found = _judge(
        run,
        TRAINING,
        raw,
        found="p99 is {} times that of a sham",
        obstacles=[_biased_ratio(run)],
        proof=_blind(seen, "p99"),
    )
    return _with(found, "stalls count, since the two did not have as many of them")


def _gain(run: Run) -> Claim:
    if NAIVE in run.saturated and run.judged is not None and run.judged.text not in run.saturated:
        reason = (
            f"the queue of naive only grew, while that of {run.judged} emptied, on "
            f"{ROWS[run.basis]}"
        )
        return claim(GAIN, None, "met", run.basis, reason)
    return _judge(
        run,
        GAIN,
        run.estimate("isolation_gain", NAIVE),
        found="p99 of naive is {} times that of " + str(run.judged),
        obstacles=[_biased_ratio(run)],
    )


def _judge(
    run: Run,
    target: Limit,
    estimate: Estimate | None,
    *,
    found: str,
    show: Callable[[float], str] = "{:.2f}".format,
    obstacles: Sequence[str | None] = (),
    proof: str | None = None,
) -> Claim:
    """Hold an estimate against its limit, if nothing keeps it from being judged.

    Parameters
    ----------
    found : str
        What was found, with a place for the figure.
    obstacles : sequence of str or None
        What keeps it from being judged at all.
    proof : str or None
        What keeps it from being met.
    """
    hindered = [*_unfit(run), *_scant(run, estimate), *obstacles]
    obstacle = next((one for one in hindered if one is not None), None)
    if {run.judged and run.judged.text, SOLO, SOLO_REPEAT} & run.saturated:
        estimate = None  # what the other blocks gave would flatter it
    verdict: Verdict = "inconclusive"
    if obstacle is None and estimate is not None and estimate.interval is not None:
        verdict = target.verdict(*estimate.interval)
        if verdict == "inconclusive":
            obstacle = f"the interval contains {show(target.limit)}; {run.more}"
        elif verdict == "met" and proof is not None:
            verdict, obstacle = "inconclusive", proof
    said = "there is no p99 to judge"
    if estimate is not None:
        said = found.format(show(estimate.value))
        if estimate.interval is not None and estimate.n >= MIN_ROUNDS:
            said = found.format(f"{show(estimate.value)} [{{}}..{{}}]").format(
                *map(show, estimate.interval)
            )
        said += f", in {estimate.n} block{'' if estimate.n == 1 else 's'}"
    rate = "" if run.rate is None else f" at {run.rate:,.0f} samples/s"
    reason = f"{said}, with the trainer {run.judged}{rate}, on {ROWS[run.basis]}"
    judged = claim(target, estimate, verdict, run.basis, reason)
    return _with(judged, obstacle)


def _unfit(run: Run) -> Iterator[str]:
    """Return what no further block would mend: queues that grow, training that does not go on."""
    stuck = {run.judged and run.judged.text, SOLO, SOLO_REPEAT} & run.saturated
    if stuck:
        yield (
            f"the queue of {' and '.join(sorted(map(str, stuck)))} only grew in some block; offer "
            "less load (--load)"
        )
    yield from _untrained(run)


def _untrained(run: Run) -> Iterator[str]:
    """Return what shows that training did not go on."""
    if any(value for value in run.table.values("diverged", run.judged or "") if value):
        yield "training diverged: lower --learning-rate"
    trips = sum(value or 0 for value in run.table.values("guard_trips", run.judged or ""))
    if trips:
        yield (
            f"the quality guard switched the adapter off {trips:.0f} times: nothing was learned "
            "meanwhile (lower --learning-rate)"
        )
    duty = run.estimate("duty")
    if duty is not None and duty.value <= _FLOOR_DUTY:
        yield f"the throttle held the trainer at its floor ({duty.value:.0%} of its time)"
    share, alone = (
        run.estimate("train_rate_ratio"),
        run.table.estimate("train_samples_per_s", "alone"),
    )
    if run.rate is not None and run.rate <= 0:
        yield "nothing was learned; measure for longer (--warmup)"
    elif share is not None and share.value < LEAST_TRAINING:
        of = "" if alone is None else f" of the {alone.value:,.0f} samples/s that it learns alone"
        yield (
            f"the trainer learned only {share.value:.0%}{of}, and less than "
            f"{LEAST_TRAINING:.0%} is no evidence of what training costs; give it more to learn "
            "(--load) or more of its cores"
        )


def _scant(run: Run, estimate: Estimate | None) -> Iterator[str]:
    """Return what further blocks would mend, beside a wide interval."""
    if estimate is None:
        yield run.lacking or "there was no p99 in any block; measure for longer (--duration)"
    elif estimate.n < MIN_ROUNDS or estimate.interval is None:
        lacking = f"; {run.lacking}" if run.lacking else ""
        yield f"at least {MIN_ROUNDS} blocks are needed{lacking or '; ' + run.more}"


def _biased_ratio(run: Run, name: str = "latency_p99_ratio") -> str | None:
    """Return that serving alone differs from itself; that it varies says nothing against it."""
    control = run.estimate(name, SOLO_REPEAT)
    if control is None or control.interval is None:
        return "solo gave no second p99 to compare its first with"
    if _holds(control.interval, 1.0):
        return None
    return (
        f"the second solo differs from the first: its p99 is {_shown(control)} times that, so the "
        "order of cases or the load of this machine favours one side; run it again"
    )


def _biased_difference(run: Run) -> str | None:
    """Return that serving alone differs from itself by as much as would weigh in the limit."""
    control = run.estimate("latency_impact", SOLO_REPEAT)
    if control is None or control.interval is None:
        return "solo gave no second p99 to compare its first with"
    low, high = control.interval
    most = _BIAS_SHARE * IMPACT.limit
    if low <= most and high >= -most:
        return None
    return (
        f"the second solo differs from the first by {control.value * 1e3:.2f} ms "
        f"[{low * 1e3:.2f}..{high * 1e3:.2f}], and more than {most * 1e3:.0f} ms weigh in the limit"
    )


def _blind(seen: Estimate | None, what: str) -> str | None:
    """Return that a planted slowdown was not seen, and the smallest one that could have been."""
    if seen is None or seen.interval is None:
        return "no slowdown was planted to show that this run could have seen one"
    low, high = seen.interval
    if low > ISOLATED.limit:
        return None
    # What would have had to be planted for the interval to lie above the limit.
    half = math.log(high / low) / 2
    least = ISOLATED.limit * math.exp(half) - 1
    return (
        f"this run could not have seen a slowdown of 20 %: {what} of solo with a fifth added to "
        f"its service came out {_shown(seen)} times that of solo; the smallest one it could have "
        f"seen is {least:.0%}"
    )


def machine_answer(run: Run) -> str | None:
    """Return what a busy core costs by itself on this machine, in words."""
    busy = run.estimate("latency_p99_ratio", SHAM)
    if busy is None or busy.interval is None:
        return run.machine
    share = run.table.estimate("stalled_share", SHAM)
    withheld = (
        "" if share is None else f" (its host withheld {share.value:.1%} of the servers' time)"
    )
    verb = "makes" if busy.interval[0] > 1 or busy.interval[1] < 1 else "is not shown to change:"
    said = (
        f"a core that only calculates {verb} p99 {_shown(busy)} times that of solo{withheld}"
        if verb == "makes"
        else f"a core that only calculates is not shown to change p99: {_shown(busy)} times that "
        f"of solo{withheld}"
    )
    return "; ".join(filter(None, (said, run.machine)))


def _holds(interval: tuple[float, float], value: float) -> bool:
    return interval[0] <= value <= interval[1]


def _shown(estimate: Estimate) -> str:
    if estimate.interval is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.interval[0]:.2f}..{estimate.interval[1]:.2f}]"


def _mean(run: Run, name: str, case: Case | str | None) -> str:
    found = None if case is None else run.table.estimate(name, case)
    return "-" if found is None else f"{found.value:.1f}"


def _with(found: Claim, more: str | None) -> Claim:
    return found if not more else found.model_copy(update={"why": [*found.why, more]})
