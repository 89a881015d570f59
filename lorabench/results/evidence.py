"""What a run shows beside its figures, and what of it is in the way of a verdict about latency.

Each obstacle is a sentence: what was found, and what to do about it. None is in the way where
nothing is returned. What is made of them is in `lorabench.results.latency`.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lorabench.results import statistics
from lorabench.results.case import Case
from lorabench.results.learnable import LabelCount
from lorabench.results.limit import MIN_ROUNDS, Limit
from lorabench.results.metrics import MetricTable
from lorabench.results.schema import Basis, Round
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

STUCK_SHARE = 0.1
"""A case whose queue only grew in more of its blocks is saturated."""
# ... and of so many, that no further block would change it.
HOPELESS = 0.5

# Stalls that touch this share of the queries are half of what sets a p99.
TOUCHED = 0.005

# How far a sham may be from as busy as its trainer.
_AS_BUSY = 0.1

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
    saturated : mapping of str to float
        Of each case whose queue only grew in some block: in what share of them.
    machine : str or None
        What is known of the machine that puts the figure into its place.
    lacking : str or None
        What a block lacks for a p99, and what to do.
    more : str
        What to do for a narrower interval.
    labels : LabelCount
        Of the rows that were served.
    """

    table: MetricTable
    judged: Case | None
    basis: Basis
    level: float = statistics.LEVEL
    saturated: Mapping[str, float] = field(default_factory=dict)
    machine: str | None = None
    lacking: str | None = None
    more: str = "run more rounds (--rounds)"
    labels: LabelCount = field(default_factory=lambda: LabelCount(0, 0))

    def estimate(self, name: str, case: Case | str | None = None) -> Estimate | None:
        """Return a metric of a case, by default of the judged one, at the run's level."""
        case = self.judged if case is None else case
        return None if case is None else self.table.estimate(name, case, self.level)

    def stopped(self, more_than: float, *others: str) -> list[str]:
        """Return which of the judged case, solo and others a limit stopped in such a share."""
        found = {
            name: statistics.mean([float(bool(value)) for value in values])
            for name in (str(self.judged), SOLO, SOLO_REPEAT, *others)
            if (values := self.table.values("throttled_slices", name))
        }
        return [name for name, share in found.items() if share and share.value > more_than]

    def stuck(self, more_than: float, *others: str) -> list[str]:
        """Return which of the judged case, solo and others were saturated in over such a share."""
        cases = (str(self.judged), SOLO, SOLO_REPEAT, *others)
        return [name for name in cases if self.saturated.get(name, 0.0) > more_than]

    @property
    def rate(self) -> float | None:
        """Samples/s that the judged case's trainer learned."""
        found = self.estimate("train_samples_per_s")
        return None if found is None else found.value


def saturated_shares(blocks: Sequence[Round]) -> dict[str, float]:
    """Return in what share of its blocks the queue of each case only grew, where it did at all."""
    found = saturated_blocks(blocks)
    return {name: stuck / ran for name, (stuck, ran) in found.items() if stuck}


def saturated_blocks(blocks: Sequence[Round]) -> dict[str, tuple[int, int]]:
    """Return in how many of its blocks the queue of each case only grew, and how many it had."""
    ran = Counter(name for block in blocks for name in set(block.order))
    stuck = Counter(name for block in blocks for name in block.saturated)
    return {name: (stuck[name], count) for name, count in ran.items()}


def apart(run: Run, name: str) -> tuple[float, float] | None:
    """Return the interval of what a metric of the judged case is above that of the sham."""
    sides = zip(
        run.table.values(name, run.judged or ""), run.table.values(name, SHAM), strict=False
    )
    found = statistics.mean(
        [None if a is None or b is None else a - b for a, b in sides], run.level
    )
    return None if found is None else found.interval


def other_sham(run: Run) -> Iterator[str]:
    """Return what makes the sham another than the trainer's, or leaves none to compare with."""
    if run.saturated.get(SHAM, 0.0) > STUCK_SHARE:
        yield "the queue of sham only grew in over a tenth of its blocks; offer less load (--load)"
    busy = [run.table.estimate("trainer_cores", case) for case in (run.judged or "", SHAM)]
    if busy[0] is not None and busy[1] is not None:
        trainer, sham = busy[0].value, busy[1].value
        if abs(sham - trainer) > _AS_BUSY * trainer:
            yield (
                f"the sham was not as busy as the trainer ({sham:.2f} cores, and not "
                f"{trainer:.2f}), so that it shows another cost; run it again"
            )


def masked(run: Run) -> str | None:
    """Return that stalls of two busy cores could set p99 on both sides and hide a slowdown."""
    touched = run.estimate("stall_touched_share", SHAM)
    if touched is not None and touched.interval is not None and touched.interval[1] <= TOUCHED:
        return None
    return (
        f"stalls of the host touched {share(run, SHAM)} of the queries beside a busy core, enough "
        "to set p99 with training and without; a slowdown of the rest would not show"
    )


REMEDY = (
    "raise the quota, give the container a cpuset of whole CPUs instead, or run fewer servers "
    "(--servers)"
)
"""Of servers that a CPU quota has stopped."""


def stops(run: Run) -> str:
    """Return how often the kernel stopped the servers for a limit on CPU time, and what helps."""
    names = ("throttled_periods", "quota_periods", "throttled_s")
    of = {
        case.text: [sum(v or 0.0 for v in run.table.values(name, case)) for name in names]
        for case in run.table.named("throttled_periods")
    }
    periods, all_periods, spent_s = (sum(column) for column in zip(*of.values(), strict=True))
    each = ", ".join(f"{name} in {n:,.0f} of {of_:,.0f}" for name, (n, of_, _) in of.items() if n)
    limit = run.table.estimate("cpu_quota", "machine")
    shown = "" if limit is None else f" of {limit.value:.4g} CPUs"
    return (
        f"the kernel stopped the bench in {periods:,.0f} of {all_periods:,.0f} periods, "
        f"{spent_s:.1f} s in all, for its CPU quota{shown} ({each}), and what waits for a new "
        f"period says nothing about interference; {REMEDY}"
    )


def unfit(run: Run, *others: str) -> Iterator[str]:
    """Return what keeps a claim from being judged: a limit that stops, queues that grow.

    `others` are what it compares with beside the judged case and solo.
    """
    if run.stopped(STUCK_SHARE, *others):
        yield stops(run)
    stuck = run.stuck(STUCK_SHARE)
    if stuck:
        yield (
            f"the queue of {' and '.join(stuck)} only grew in over a tenth of the blocks; offer "
            "less load (--load)"
        )
    yield from untrained(run)


def untrained(run: Run) -> Iterator[str]:
    """Return what shows that training did not go on."""
    if (nothing := run.labels.obstacle) is not None:
        yield nothing
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
    of_alone = run.estimate("train_rate_ratio")
    alone = run.table.estimate("train_samples_per_s", "alone")
    if run.rate is not None and run.rate <= 0:
        yield "nothing was learned; measure for longer (--warmup)"
    elif of_alone is None:
        yield "what the trainer learns alone could not be measured, so nobody knows if this is much"
    elif of_alone.value < LEAST_TRAINING:
        of = "" if alone is None else f" of the {alone.value:,.0f} samples/s that it learns alone"
        yield (
            f"the trainer learned only {of_alone.value:.0%}{of}, and less than "
            f"{LEAST_TRAINING:.0%} is no evidence of what training costs; give it more to learn "
            "(--load) or more of its cores"
        )


def scant(run: Run, estimate: Estimate | None) -> Iterator[str]:
    """Return what further blocks would mend, beside a wide interval."""
    if estimate is None:
        yield run.lacking or "there was no p99 in any block; measure for longer (--duration)"
    elif estimate.n < MIN_ROUNDS or estimate.interval is None:
        lacking = f"; {run.lacking}" if run.lacking else ""
        yield f"at least {MIN_ROUNDS} blocks are needed{lacking or '; ' + run.more}"


def biased_ratio(run: Run, name: str = "latency_p99_ratio") -> str | None:
    """Return that serving alone differs from itself; that it varies says nothing against it."""
    control = run.estimate(name, SOLO_REPEAT)
    if control is None or control.interval is None:
        return "solo gave no second p99 to compare its first with"
    if holds(control.interval, 1.0):
        return None
    return (
        f"the second solo differs from the first: its p99 is {shown(control)} times that, so the "
        "order of cases or the load of this machine favours one side; run it again"
    )


def biased_difference(run: Run) -> str | None:
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


def blind(run: Run, name: str, what: str) -> str | None:
    """Return that a planted slowdown was not seen, and the smallest one that could have been."""
    if PLANTED in run.stopped(STUCK_SHARE, PLANTED):
        return stops(run)
    if run.saturated.get(PLANTED, 0.0) > STUCK_SHARE:
        return "the queue of planted only grew, so that nothing shows what this run could have seen"
    seen = run.estimate(name, PLANTED)
    if seen is None or seen.interval is None:
        return "no slowdown was planted to show that this run could have seen one"
    low, high = seen.interval
    if low > ISOLATED.limit:
        return None
    found = (
        f"this run could not have seen a slowdown of 20 %: {what} of solo with a fifth added to "
        f"its service came out {shown(seen)} times that of solo"
    )
    if seen.value <= 1.0:
        return f"{found}; none of any size is shown to be seen"
    # A queue makes more of it than there is: so much more of p99 for so much more of service.
    response = math.log(seen.value) / math.log(1.2)
    half = math.log(high / low) / 2
    least = math.exp((math.log(ISOLATED.limit) + half) / response) - 1
    return f"{found}; the smallest one it could have seen is {least:.0%} of its service time"


def holds(interval: tuple[float, float], value: float) -> bool:
    """Return whether an interval contains a value."""
    return interval[0] <= value <= interval[1]


def shown(estimate: Estimate) -> str:
    """Return a ratio with its interval."""
    if estimate.interval is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.interval[0]:.2f}..{estimate.interval[1]:.2f}]"


def share(run: Run, case: Case | str | None) -> str:
    """Return what share of a case's queries a stall touched."""
    found = None if case is None else run.table.estimate("stall_touched_share", case)
    return "-" if found is None else f"{found.value:.2%}"
