"""Learning rates and decays of the accumulators, chosen in turns on a stream of another seed.

Either is sought by factors of 2 around what the strategy has by default, and further out as long as
the best lies at an end of what was tried: the rate, the decay at that rate, the rate at that decay,
until neither moves. A strategy that diverges is never chosen.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from lorabench.errors import InputError
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.race import Pace
from lorabench.experiments.freshness.replay import Replay, Report
from lorabench.model.prepare import prepare
from lorabench.model.tables import TableSet
from lorabench.strategies.base import StrategySpec
from lorabench.strategies.deployment import Pushes
from lorabench.strategies.ideal import Ideal
from lorabench.strategies.registry import strategies
from lorabench.updates.cluster import TrainerKind
from lorabench.workload.source import RowSource, generated
from lorabench.workload.spec import with_rows

Tried = dict[float, float | None]

_RATE_STEPS = 2
_DECAY_STEPS = 1
# Of the default, in factors of 2: a rate below a 256th learns nothing, and the search has to end.
_FURTHEST = 8
# Of rate and decay each; they pull at each other but little, and the search has to end.
_TURNS = 4


@dataclass
class Tuning:
    """What was tried of each strategy that learns.

    Attributes
    ----------
    specs : list of StrategySpec
        With the best rate and decay each.
    tried : dict of str to list of tuple
        Of each, the rates and decays tried and their normalized entropies; None where it diverged.
    """

    specs: list[StrategySpec] = field(default_factory=list)
    tried: dict[str, list[tuple[float, float, float | None]]] = field(default_factory=dict)


def search(
    default: float,
    loss: Callable[[float], float | None],
    *,
    steps: int,
    most: float = math.inf,
) -> tuple[float, Tried]:
    """Seek the value of least loss among a default times powers of 2.

    Parameters
    ----------
    default : float
        Where to begin.
    loss : callable
        Of a value; None, or a number that is not finite, where there is none to speak of.
    steps : int
        How many factors of 2 to try below and above, before any that lie further out.
    most : float
        What no value exceeds.

    Returns
    -------
    best : float
        With values of a greater loss on either side, unless it is the last below `most` or the
        search ended 8 factors from the default. Of equals, the one closest to the default; the
        default itself where no value has a loss.
    tried : dict of float to float or None
        The losses of all values tried, in their order; None where there is none to speak of.
    """
    tried: dict[int, float | None] = {}

    def value(step: int) -> float:
        return default * 2.0**step

    low, high = -steps, steps
    while True:
        for step in range(low, high + 1):
            if step not in tried and value(step) <= most:
                found = loss(value(step))
                tried[step] = found if found is not None and math.isfinite(found) else None
        known = {step: found for step, found in tried.items() if found is not None}
        # What diverges everywhere may learn at lower values.
        best = min(known, key=lambda step: (known[step], abs(step))) if known else min(tried)
        if best == min(tried) and best > -_FURTHEST:
            low = best - 1
        elif best == max(tried) and best < _FURTHEST and value(best + 1) <= most:
            high = best + 1
        else:
            chosen = value(best) if known else default
            return chosen, {value(step): tried[step] for step in sorted(tried)}


def tune(
    source: RowSource,
    options: FreshnessOptions,
    specs: Sequence[StrategySpec],
    report: Report,
    *,
    pushes: Callable[[TableSet], Pushes] | None = None,
    pace: Pace = lambda _: None,
) -> Tuning:
    """Choose each one's learning rate and decay by the log loss on another stream.

    A training cluster's are chosen once, by ``ideal``: all that ship what it learns have them. Its
    seed is the first behind those of the replicates; the second half of `tune_rows` counts.
    Updates come by the run's `pushes`, and learning takes what it has by `pace`, as in `Replay`.

    Raises
    ------
    InputError
        The rows are not generated, so that there is no other stream like them.
    """
    seed = options.seed + options.replicates
    held_out = _held_out(source, options, seed)
    prepared = prepare(held_out, None, seed, report, accumulators=True)
    shipped = None if pushes is None else pushes(prepared.tables)
    shorter = replace(
        options,
        rows=options.tune_rows,
        minutes=None,
        windows=2,
        tune=False,
        protocol=None,
        adapter=None,
        save_adapter=None,
        save_deltas=None,
        save_touch_trace=None,
    )

    def entropy(spec: StrategySpec) -> float | None:
        def told(_what: str, done: float) -> None:
            rate, decay = spec.learning_rate, spec.accumulator_decay
            report(f"tuning {spec.name}: {rate:g} x {decay:g}", done)

        replay = Replay(held_out, prepared, shorter, told, pushes=shipped, pace=pace, slices=False)
        replay.run([spec])
        (found,) = replay.strategies
        return None if found.diverged else found.quality.normalized_entropy[-1]

    return _tuned(specs, entropy)


def _held_out(source: RowSource, options: FreshnessOptions, seed: int) -> RowSource:
    """Return rows of another seed, as many as tuning takes."""
    if source.kind != "generated":
        raise InputError(
            f"--tune: found {source.description}, expected a preset: rates are chosen on rows of "
            "another seed; or give --learning-rate"
        )
    workload = source.spec
    if options.minutes is not None:  # these are as many as the replay takes, and no more
        behind = workload.pretrain_rows
        enough = max(behind + options.tune_rows, 2 * behind)
        workload = with_rows(workload, max(workload.rows, enough))
    return generated(workload, seed)


def _tuned(
    specs: Sequence[StrategySpec], entropy: Callable[[StrategySpec], float | None]
) -> Tuning:
    """Choose the rates and decays of strategies, and of their training clusters, once each."""
    tuning = Tuning()
    clusters: dict[TrainerKind, StrategySpec] = {}
    for spec in specs:
        trainer = spec.kind.trained_by
        if trainer is not None and trainer not in clusters:
            # By what serves all that a cluster learns at once: rates are its own, whoever ships it.
            served = _served_at_once(trainer, spec)
            assert served.learning_rate is not None
            clusters[trainer], tried = _best(served, served.learning_rate, entropy)
            tuning.tried[served.name] = tried
        best = spec
        if spec.kind.learns_here and spec.learning_rate is not None:
            best, tuning.tried[spec.name] = _best(spec, spec.learning_rate, entropy)
        tuning.specs.append(_with_cluster(best, clusters[trainer]) if trainer else best)
    return tuning


def _served_at_once(trainer: TrainerKind, spec: StrategySpec) -> StrategySpec:
    """Return the strategy that serves a cluster's tables as they are, which trains like this."""
    for kind in strategies().values():
        if issubclass(kind, Ideal) and kind.trained_by == trainer:
            rate, decay = spec.learning_rate, spec.accumulator_decay
            if spec.kind.learns_here:  # these are not the cluster's
                rate, decay = kind.default_rate, kind.default_decay
            return StrategySpec(kind.forms[0], kind, rate, decay, seed=spec.seed)
    return spec


def _with_cluster(spec: StrategySpec, cluster: StrategySpec) -> StrategySpec:
    """Return a strategy with the rate and decay of its training cluster."""
    rate, decay = cluster.learning_rate, cluster.accumulator_decay
    if spec.kind.learns_here:
        return spec.given(cluster=(rate, decay))
    return replace(spec, learning_rate=rate, accumulator_decay=decay)


def _best(
    spec: StrategySpec, rate: float, entropy: Callable[[StrategySpec], float | None]
) -> tuple[StrategySpec, list[tuple[float, float, float | None]]]:
    """Choose the rate at the default decay, the decay at that rate, and so on until neither moves.

    Where it diverges at every rate no decay is tried; nor where all losses are equal, which is to
    have learned nothing from the rows.
    """
    default, decay = rate, spec.accumulator_decay
    found: dict[tuple[float, float], float | None] = {}

    def loss(decay: float, rate: float) -> float | None:
        if (rate, decay) not in found:
            value = entropy(replace(spec, learning_rate=rate, accumulator_decay=decay))
            found[rate, decay] = value if value is not None and math.isfinite(value) else None
        return found[rate, decay]

    for _ in range(_TURNS):
        before = rate, decay
        rate, rates = search(default, partial(loss, decay), steps=_RATE_STEPS)
        known = [value for value in rates.values() if value is not None]
        if not known or (len(known) > 1 and len(set(known)) == 1):
            break
        decay, _ = search(
            spec.accumulator_decay, partial(loss, rate=rate), steps=_DECAY_STEPS, most=1.0
        )
        if (rate, decay) == before:
            break
    # A later turn need not pass again what an earlier one found to be better.
    losses = {at: value for at, value in found.items() if value is not None}
    if losses:
        start = default, spec.accumulator_decay
        rate, decay = min(losses, key=lambda at: (losses[at], _factors(at, start)))
    best = replace(spec, learning_rate=rate, accumulator_decay=decay)
    # Rates at the default decay first, as they were sought.
    order = sorted(found, key=lambda at: (at[1] != spec.accumulator_decay, at[1], at[0]))
    return best, [(*at, found[at]) for at in order]


def _factors(at: tuple[float, float], start: tuple[float, float]) -> float:
    """Return how many factors of 2 rate and decay are from where they started."""
    return sum(abs(math.log2(one / other)) for one, other in zip(at, start, strict=True))
