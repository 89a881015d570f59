"""What co-located training does to tail latency: from a run's values to verdicts, with reasons.

Pure functions of a table of values, so that whoever has a document reaches its verdicts again. A
claim is judged by its interval, and only where it can be: enough blocks, training that went on,
queues that empty. A ratio also takes a control that does not differ from itself, and can be ``met``
only in a run that has seen a slowdown which was planted. What keeps a claim from being judged
(`lorabench.results.evidence`) is its reason, and says what to do.
"""

from collections.abc import Callable, Sequence

from lorabench.results.claims import ROWS
from lorabench.results.evidence import (
    GAIN,
    HOPELESS,
    IMPACT,
    ISOLATED,
    NAIVE,
    SHAM,
    SOLO,
    STUCK_SHARE,
    TOUCHED,
    TRAINING,
    Run,
    apart,
    biased_difference,
    biased_ratio,
    blind,
    holds,
    masked,
    other_sham,
    scant,
    share,
    shown,
    stops,
    unfit,
    untrained,
)
from lorabench.results.limit import MIN_ROUNDS, Limit, claim
from lorabench.results.schema import Claim, Verdict
from lorabench.results.statistics import Estimate


def latency_claims(run: Run) -> list[Claim]:
    """Judge all claims about latency."""
    if run.judged is None:
        reason = "no condition that isolates the trainer was run (--conditions pinned)"
        targets = (IMPACT, ISOLATED, TRAINING)
        return [claim(target, None, "unavailable", run.basis, reason) for target in targets]
    found = [_impact(run), _isolated(run), _training(run)]
    if run.table.named("isolation_gain"):
        found.append(_gain(run))
    return found


def settled(claims: Sequence[Claim], run: Run) -> bool:
    """Whether more blocks would change nothing: each verdict is reached, or out of reach."""
    if all(claim.verdict != "inconclusive" for claim in claims) or run.judged is None:
        return True
    return bool(run.stopped(HOPELESS) or run.stuck(HOPELESS) or next(untrained(run), None))


def _impact(run: Run) -> Claim:
    # Its upper bound itself says what may have been overlooked: it takes no planted slowdown.
    estimate = run.estimate("latency_impact")
    return _judge(
        run,
        IMPACT,
        estimate,
        found="p99 is {} ms above that of solo",
        show=lambda value: f"{value * 1e3:.2f}",
        obstacles=[biased_difference(run)],
    )


def _isolated(run: Run) -> Claim:
    found = _judge(
        run,
        ISOLATED,
        run.estimate("latency_p99_ratio"),
        found="p99 is {} times that of solo",
        obstacles=[biased_ratio(run)],
        proof=blind(run, "latency_p99_ratio", "p99"),
    )
    return _with(found, machine_answer(run))


def _training(run: Run) -> Claim:
    raw = run.estimate("latency_p99_sham_ratio")
    clear = run.estimate("latency_p99_unstalled_sham_ratio")
    if not run.table.values("latency_p99", SHAM):
        return claim(TRAINING, None, "unavailable", run.basis, "no sham was run")
    gap = apart(run, "stall_touched_share")
    alike = gap is not None and holds(gap, 0.0) and max(map(abs, gap)) <= TOUCHED
    if clear is not None and alike:
        found = _judge(
            run,
            TRAINING,
            clear,
            beside=(SHAM,),
            found="p99 without the queries that a host stall touched is {} times that of a sham",
            obstacles=[
                *other_sham(run),
                biased_ratio(run, "latency_p99_unstalled_ratio"),
            ],
            proof=blind(run, "latency_p99_unstalled_ratio", "p99 without stalls"),
        )
        why = (
            "stalls are set aside since they touched as many queries of both "
            f"({share(run, run.judged)} and {share(run, SHAM)})"
        )
        return _with(found, why + ("" if raw is None else f"; with them {shown(raw)}"))
    found = _judge(
        run,
        TRAINING,
        raw,
        beside=(SHAM,),
        found="p99 is {} times that of a sham",
        obstacles=[*other_sham(run), biased_ratio(run)],
        proof=blind(run, "latency_p99_ratio", "p99") or masked(run),
    )
    return _with(found, "stalls count, since the two are not shown to have as many of them")


def _gain(run: Run) -> Claim:
    obstacle = next(unfit(run, NAIVE), None)
    if run.saturated.get(NAIVE, 0.0) > HOPELESS and obstacle is None:
        reason = (
            f"the queue of naive only grew in {run.saturated[NAIVE]:.0%} of the blocks, while that "
            f"of {run.judged} emptied, on {ROWS[run.basis]}"
        )
        return claim(GAIN, None, "met", run.basis, reason)
    return _judge(
        run,
        GAIN,
        run.estimate("isolation_gain", NAIVE),
        found="p99 of naive is {} times that of " + str(run.judged),
        beside=(NAIVE,),
        obstacles=[biased_ratio(run)],
    )


def _judge(
    run: Run,
    target: Limit,
    estimate: Estimate | None,
    *,
    found: str,
    show: Callable[[float], str] = "{:.2f}".format,
    beside: Sequence[str] = (),
    obstacles: Sequence[str | None] = (),
    proof: str | None = None,
) -> Claim:
    """Hold an estimate against its limit, if nothing keeps it from being judged.

    Parameters
    ----------
    found : str
        What was found, with a place for the figure.
    beside : sequence of str
        What is compared with, beside solo.
    obstacles : sequence of str or None
        What keeps it from being judged at all.
    proof : str or None
        What keeps it from being met.
    """
    hindered = [*unfit(run, *beside), *scant(run, estimate), *obstacles]
    obstacle = next((one for one in hindered if one is not None), None)
    if run.stuck(STUCK_SHARE):
        estimate = None  # what the other blocks gave would flatter it
    verdict: Verdict = "inconclusive"
    if obstacle is None and estimate is not None and estimate.interval is not None:
        verdict = target.verdict(*estimate.interval)
        if verdict == "inconclusive":
            obstacle = f"the interval contains {show(target.limit)}; {run.more}"
        elif verdict == "met" and (some := proof or _some(run)):
            verdict, obstacle = "inconclusive", some
    said = "there is no p99 to judge"
    if estimate is not None:
        figure = show(estimate.value)
        if estimate.interval is not None and estimate.n >= MIN_ROUNDS:
            figure += " [{}..{}]".format(*map(show, estimate.interval))
        said = found.format(figure) + f", in {estimate.n} block{'' if estimate.n == 1 else 's'}"
    rate = "" if run.rate is None else f" at {run.rate:,.0f} samples/s"
    reason = f"{said}, with the trainer {run.judged}{rate}, on {ROWS[run.basis]}"
    judged = claim(target, estimate, verdict, run.basis, reason)
    return _with(judged, obstacle)


def _some(run: Run) -> str | None:
    """Return what happened in a few blocks only, which say nothing then."""
    if run.stopped(0.0):
        return stops(run)
    stuck = run.stuck(0.0)
    if not stuck:
        return None
    grew = f"the queue of {' and '.join(stuck)} only grew in some block"
    return f"{grew}; offer less load (--load)"


def machine_answer(run: Run) -> str | None:
    """Return what a busy core costs by itself on this machine, in words."""
    busy = run.estimate("latency_p99_ratio", SHAM)
    if busy is None or busy.interval is None:
        return run.machine
    shares = [run.table.estimate("stalled_share", case) for case in (SHAM, SOLO)]
    withheld = ""
    if shares[0] is not None and shares[1] is not None:
        withheld = (
            f" (the host withheld {shares[0].value:.1%} of the servers' time then, and "
            f"{shares[1].value:.1%} in solo)"
        )
    said = (
        f"a core that only calculates is not shown to change p99: {shown(busy)} times that of solo"
    )
    if not holds(busy.interval, 1.0):
        said = f"a core that only calculates makes p99 {shown(busy)} times that of solo"
    return "; ".join(filter(None, (said + withheld, run.machine)))


def _with(found: Claim, more: str | None) -> Claim:
    return found if not more else found.model_copy(update={"why": [*found.why, more]})
