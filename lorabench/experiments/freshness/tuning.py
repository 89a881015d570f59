"""Learning rates, then decays of the accumulators, chosen on a stream of another seed.

Either is sought by factors of 2 around what the strategy has by default, and further out as long as
the best lies at an end of what was tried. A strategy that diverges is never chosen.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lorabench.errors import InputError
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.replay import Replay, Report
from lorabench.model.prepare import prepare
from lorabench.strategies.base import StrategySpec
from lorabench.workload.source import RowSource, generated

Tried = dict[float, float | None]

_RATE_STEPS = 2
_DECAY_STEPS = 1
# Of the default, in factors of 2: a rate below a 256th learns nothing, and the search has to end.
_FURTHEST = 8


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
    source: RowSource, options: FreshnessOptions, specs: Sequence[StrategySpec], report: Report
) -> Tuning:
    """Choose each one's learning rate, then its decay, by the log loss on another stream.

    Its seed is the first behind those of the replicates.

    Raises
    ------
    InputError
        The rows are not generated, so that there is no other stream like them.
    """
    if source.kind != "generated":
        raise InputError(
            f"--tune: found {source.description}, expected a preset: rates are chosen on rows of "
            "another seed; or give --learning-rate"
        )
    seed = options.seed + options.replicates
    held_out = generated(source.spec, seed)
    prepared = prepare(held_out, None, seed, report, accumulators=True)
    shorter = replace(
        options, rows=options.tune_rows, windows=2, tune=False, adapter=None, save_adapter=None
    )

    def entropy(spec: StrategySpec) -> float | None:
        def told(_what: str, done: float) -> None:
            rate, decay = spec.learning_rate, spec.accumulator_decay
            report(f"tuning {spec.name}: {rate:g} x {decay:g}", done)

        replay = Replay(held_out, prepared, shorter, told)
        replay.run([spec])
        (found,) = replay.strategies
        return None if found.diverged else found.quality.normalized_entropy[-1]

    tuning = Tuning()
    for spec in specs:
        if spec.learning_rate is None:
            tuning.specs.append(spec)
            continue
        best, tried = _best(spec, spec.learning_rate, entropy)
        tuning.specs.append(best)
        tuning.tried[spec.name] = tried
    return tuning


def _best(
    spec: StrategySpec, rate: float, entropy: Callable[[StrategySpec], float | None]
) -> tuple[StrategySpec, list[tuple[float, float, float | None]]]:
    """Choose the rate at the default decay, then the decay at that rate."""
    decay = spec.accumulator_decay
    rate, rates = search(
        rate, lambda one: entropy(replace(spec, learning_rate=one)), steps=_RATE_STEPS
    )
    best = replace(spec, learning_rate=rate)
    tried = [(one, decay, found) for one, found in rates.items()]
    if rates[rate] is None:
        return best, tried

    def at_decay(one: float) -> float | None:
        return rates[rate] if one == decay else entropy(replace(best, accumulator_decay=one))

    chosen, decays = search(decay, at_decay, steps=_DECAY_STEPS, most=1.0)
    tried += [(rate, one, found) for one, found in decays.items() if one != decay]
    return replace(best, accumulator_decay=chosen), tried
