"""What verdicts on a replay rest on: memory held, quality gained, how late updates are served."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from lorabench.experiments.freshness.metrics import FreshnessTable
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.quality import Replayed, Replicate
from lorabench.experiments.freshness.replicates import (
    DELTA,
    IDEAL,
    Replicates,
    mean_difference,
)
from lorabench.experiments.freshness.states import fraction
from lorabench.results import statistics
from lorabench.results.freshness import Gain, Lateness, Over, UpdateLatency
from lorabench.updates.fixed_point import PushCycle
from lorabench.updates.link import Handling
from lorabench.updates.payload import PAYLOADS

_LORA, _FULL = "lora", "full"

_MEDIAN = 0.5
_LEAST_BYTES, _MOST_BYTES = 1.0, 1e24
_BISECTIONS = 60


def most_fraction(found: Replicates) -> float | None:
    """Return the most LoRA state held in any replay, as a share of the table bytes."""
    held = [
        fraction(replay, one)
        for replay in found.replays
        for one in replay.strategies
        if one.peak_bytes and one.spec.kind.has_adapter
    ]
    return max(held, default=None)


def _judged(found: Replicates) -> str | None:
    """Return which strategy that learns beside the servers is judged; None where there is none.

    Chosen by its name and before there are figures: the best of several by the figures that it is
    judged by would seem better than it is.
    """
    beside = [name for name, spec in found.specs.items() if spec.kind.colocatable]
    return _LORA if _LORA in beside else next(iter(beside), None)


def gain(measured: FreshnessTable, *, stored: bool) -> Gain | None:
    """Return what a strategy gains on each of those that ship deltas, paired by replicate.

    Parameters
    ----------
    measured : FreshnessTable
        Whose replicates are those that its differences of AUC are over.
    stored : bool
        The rows are there, so that there are no others like them.

    Returns
    -------
    Gain or None
        None where not both were replayed.
    """
    found = measured.found
    # Who sends whole tables sends no deltas.
    deltas = [
        name for name, spec in found.specs.items() if spec.kind.ships_deltas and name != _FULL
    ]
    strategy = _judged(found)
    if not deltas or strategy is None:
        return None
    areas = {
        name: statistics.mean(found.paired(strategy, name, mean_difference)) for name in deltas
    }
    over: Over = "seeds"
    if len(found.blocks) > 1:
        over = "blocks" if stored else "blocks of one seed"
    return Gain(strategy, areas, over, [name for name in deltas if _never_landed(found, name)])


def _never_landed(found: Replicates, name: str) -> bool:
    """Whether no push of a strategy came to be served in any replay."""
    pushes = [one.at_end["pushes"] for one in found.of(name) if "pushes" in one.at_end]
    return bool(pushes) and not any(map(sum, pushes))


def lateness(found: Replicates, options: FreshnessOptions, handling: Handling) -> Lateness | None:
    """Return how late updates of ``delta`` are served beside those of what learns here.

    Parameters
    ----------
    found : Replicates
        What was replayed.
    options : FreshnessOptions
        Of the run, which have the link.
    handling : Handling
        What the two ends of a push do.

    Returns
    -------
    Lateness or None
        None where not both were replayed to the end and had labels.
    """
    specs = found.specs
    beside = _judged(found)
    if beside is None or DELTA not in specs:
        return None
    pairs = [
        (ours, theirs)
        for ours, theirs in zip(found.of(beside), found.of(DELTA), strict=True)
        if ours.comparable and theirs.comparable
    ]
    ours, theirs = ([_median(pair[side]) for pair in pairs] for side in (0, 1))
    known = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if not known:
        return None
    latencies = [a for a, _ in known]
    judged = Lateness(beside, latencies, [b for _, b in known], options.push_interval_s)
    model = _model(found, options, handling)
    if model is None:
        return judged
    ours_s = _mean_s(latencies)
    # What the cluster learned is served at once by `ideal`; without it, by us about as soon.
    at_once = [_median(one) for one in found.of(IDEAL) if one.comparable]
    learned_s = _mean_s([one for one in at_once if one is not None]) or ours_s
    interval_s = options.push_interval_s

    def pushed_s(size: float, every_s: float = interval_s) -> float:
        return model(size).settle(every_s).update_latency_s

    left_s = 2 * ours_s - learned_s
    return replace(
        judged,
        modelled_s=learned_s + pushed_s(options.emt_bytes),
        twice_bytes=_size_at(pushed_s, left_s),
        back_to_back_bytes=_size_at(lambda size: pushed_s(size, 0.0), left_s),
    )


def _mean_s(latencies: Sequence[UpdateLatency]) -> float:
    """Return the mean over replays, s; 0 where there are none."""
    found = [one.least_s if one.most_s is None else one.most_s for one in latencies]
    return math.fsum(found) / len(found) if found else 0.0


def _median(one: Replayed) -> UpdateLatency | None:
    """Return the bounds of a replay's median update latency; None where no label came."""
    least = one.latency_bound(_MEDIAN)
    return None if least is None else UpdateLatency(least, one.latency(_MEDIAN))


def _model(
    found: Replicates, options: FreshnessOptions, handling: Handling
) -> Callable[[float], PushCycle] | None:
    """Return how pushes of ``delta`` follow one another, by the size of the tables.

    The rows that they take are those that the first replay touched.
    """
    replay = found.replays[0]
    curve = replay.touched
    if curve is None:
        return None
    payload = next(one for one in PAYLOADS if one.name == DELTA)

    def cycle(size: float) -> PushCycle:
        sync = replace(options, emt_bytes=size).sync(replay.table_bytes, handling)
        return PushCycle(sync, payload, replay.dim, curve)

    return cycle


def _size_at(latency_s: Callable[[float], float], wanted_s: float) -> float | None:
    """Return the size of the tables whose latency is a given one; None where none is so low.

    Where the latency leaps, from pushes that the link outruns to such that grow, it is the size at
    which it leaps over that one.
    """
    low, high = _LEAST_BYTES, _MOST_BYTES
    if latency_s(low) > wanted_s:
        return None
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        if latency_s(middle) > wanted_s:
            high = middle
        else:
            low = middle
    return low


def most_bytes(found: Iterable[Replicate]) -> dict[str, dict[str, int]]:
    """Return what each strategy held at most, by purpose, in the replicate in which that was."""
    most: dict[str, dict[str, int]] = {}
    for replicate in found:
        for one in replicate.strategies:
            before = most.get(one.spec.name, {})
            if sum(one.peak_bytes.values()) > sum(before.values()):
                most[one.spec.name] = one.peak_bytes
    return most
