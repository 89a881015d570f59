"""Learning rates, then decays of the accumulators, chosen on a stream of another seed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lorabench.errors import InputError
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.replay import Replay, Report
from lorabench.model.prepare import prepare
from lorabench.results.quality import normalized_entropy
from lorabench.strategies.base import StrategySpec
from lorabench.workload.source import RowSource, generated

_RATES = (0.05, 0.1, 0.2, 0.4)
_DECAYS = (1.0, 0.5, 0.25)


@dataclass
class Tuning:
    """What was tried of each strategy that learns.

    Attributes
    ----------
    specs : list of StrategySpec
        With the best rate and decay each.
    tried : dict of str to list of tuple
        Of each, the rates and decays tried and their normalized entropies.
    """

    specs: list[StrategySpec] = field(default_factory=list)
    tried: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)


def tune(
    source: RowSource, options: FreshnessOptions, specs: Sequence[StrategySpec], report: Report
) -> Tuning:
    """Choose each one's learning rate, then its decay, by the log loss on another stream.

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
    held_out = generated(source.spec, options.seed + 1)
    prepared = prepare(held_out, None, options.seed + 1, report, accumulators=True)
    shorter = replace(
        options, rows=options.tune_rows, windows=2, tune=False, adapter=None, save_adapter=None
    )

    def entropy(spec: StrategySpec) -> float:
        def told(_what: str, done: float) -> None:
            rate, decay = spec.learning_rate, spec.accumulator_decay
            report(f"tuning {spec.name}: {rate:g} x {decay:g}", done)

        replay = Replay(held_out, prepared, shorter, told)
        replay.run([spec])
        found = normalized_entropy(replay.windows[-1].label, replay.strategies[-1].scores[-1])
        return float("inf") if found is None else found

    tuning = Tuning()
    for spec in specs:
        if not spec.learns:
            tuning.specs.append(spec)
            continue
        tried = {one: entropy(one) for one in (replace(spec, learning_rate=r) for r in _RATES)}
        best = min(tried, key=tried.__getitem__)
        for decay in _DECAYS:
            one = replace(best, accumulator_decay=decay)
            if one not in tried:
                tried[one] = entropy(one)
        tuning.specs.append(min(tried, key=tried.__getitem__))
        tuning.tried[spec.name] = [
            (one.learning_rate or 0.0, one.accumulator_decay, found) for one, found in tried.items()
        ]
    return tuning
