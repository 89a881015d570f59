"""Runs made up from a recorded one, asked what they say where the truth is known.

How they are made up, and what that leaves out: `lorabench.results.simulation`.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.errors import InputError
from lorabench.experiments.calibrate.options import CalibrateOptions
from lorabench.experiments.calibrate.questions import RAW, UNSTALLED, Answers
from lorabench.experiments.calibrate.samples import CONTROLS, Recorded, read
from lorabench.experiments.calibrate.versions import Comparisons
from lorabench.host.missing import Missing
from lorabench.results.files import newest_result
from lorabench.results.limit import MIN_ROUNDS, claim
from lorabench.results.metrics import MetricTable
from lorabench.results.pairs import pair_log_ratios
from lorabench.results.schema import Claim
from lorabench.results.sequential import MOST_BLOCKS, Looks, plan_looks
from lorabench.results.shares import FALSE_ALARMS, SIGHT, false_verdicts, gate_claims
from lorabench.results.simulation import Values, draw, log_ratios
from lorabench.results.statistics import MIN_BEYOND

_Q = 0.99
SOLO = CONTROLS[0]
# Calibrating both versions, starting rounds, switching: what a comparison takes beside its blocks.
_OVERHEAD = 1.35
# Simulated blocks that runs are drawn from, so many that hardly any run has one twice.
_SIMULATED_BLOCKS = 16_000
_LEAST_QUERIES = round(MIN_BEYOND / (1 - _Q))


class Calibrate(Experiment):
    """Make up runs from a result, and count what they say.

    Parameters
    ----------
    options : CalibrateOptions
        From what, and how many.
    """

    options: CalibrateOptions

    def __init__(self, options: CalibrateOptions) -> None:
        super().__init__(options)
        self._findings: Findings | None = None

    def measure(self, observer: Observer) -> None:
        """Read the samples, then simulate.

        Raises
        ------
        InputError
            There is nothing to make runs up from.
        """
        options = self.options
        # Before anything is said: what is refused gets one line.
        recorded = read(options.result or newest_result("colocate-*.json"))
        observer.stage("simulating runs", 0.0)
        looks = plan_looks(MOST_BLOCKS)
        table = MetricTable()
        table.add("block_s", "recorded", recorded.block_s)
        answers = list(_answers(recorded, looks, options, table))
        blocks = int(options.minutes * 60 / recorded.block_s)
        for one in answers:
            one.write(table)
            one.write_least(table, options.minutes, blocks)
        observer.stage("simulating comparisons", 0.5)
        # Each version has its own block of a pair.
        each_s = recorded.block_s * _OVERHEAD
        pairs = min(int(options.compare_minutes * 60 / each_s) // 2, MOST_BLOCKS)
        of_case = recorded if options.case is None else read(recorded.path, (options.case,))
        comparisons = list(_comparisons(of_case, pairs, options, table))
        for compared in comparisons:
            compared.write(table)
        observer.stage("simulating comparisons", 1.0)
        self._findings = Findings(
            _config(recorded, looks, pairs, options),
            table=table,
            claims=[
                false_verdicts(answers[0].errors(), len(recorded.blocks)),
                *_gate_claims(comparisons, pairs, of_case, options.case or SOLO),
            ],
            series=[series for one in answers for series in one.series()],
            unavailable=[_too_few_untouched()] if len(answers) == 1 else [],
            # What is told is of the machine that measured, wherever that is told.
            machine=recorded.result.environment,
        )

    def findings(self) -> Findings | None:
        """Return what was counted; None before."""
        return self._findings


def _answers(
    recorded: Recorded, looks: Looks, options: CalibrateOptions, table: MetricTable
) -> Iterator[Answers]:
    """Return what runs say of p99 and, where enough queries were untouched, of theirs."""
    drawn = draw(_slices(recorded), _each(recorded), options.seed)
    for measure, latencies in _latencies(recorded).items():
        ratios = log_ratios(drawn, latencies, _Q)
        values = ratios[~np.isnan(ratios)]
        if len(values) > 0:
            table.add("aa_log_ratio_sd", measure, float(values.std(ddof=1)))
            yield Answers.simulated(measure, ratios, looks, options.runs, options.seed)
        elif measure == RAW:
            longest = max(sum(len(one.latency_s) for one in block) for block in recorded.blocks)
            raise InputError(
                f"{recorded.path}: found at most {longest:,} measured queries of "
                f"{' and '.join(CONTROLS)} in a block, expected {2 * _LEAST_QUERIES:,} for two "
                "p99; measure for longer, or at more queries a second"
            )


def _comparisons(
    recorded: Recorded, pairs: int, options: CalibrateOptions, table: MetricTable
) -> Iterator[Comparisons]:
    """Return what comparisons of two versions say, of each measure that has enough queries."""
    if pairs < MIN_ROUNDS:
        return
    cases = len(CONTROLS) if options.case is None else 1
    drawn = draw(_slices(recorded), _each(recorded), options.seed, arms=2, cases=cases)
    for measure, latencies in _latencies(recorded).items():
        ratios = pair_log_ratios(drawn, latencies, _Q)
        values = ratios[~np.isnan(ratios)]
        if len(values) > 0:
            table.add("aa_pair_log_ratio_sd", measure, float(values.std(ddof=1)))
            yield Comparisons.simulated(
                measure,
                ratios,
                plan_looks(pairs),
                tolerance=options.tolerance / 100,
                runs=options.runs,
                seed=options.seed,
            )


def _gate_claims(
    comparisons: Sequence[Comparisons], pairs: int, recorded: Recorded, case: str
) -> list[Claim]:
    """Judge gates on p99 by what comparisons of two versions say."""
    raw = next((one for one in comparisons if one.measure == RAW), None)
    if raw is None:
        why = (
            f"a comparison has {pairs} pairs of blocks, expected {MIN_ROUNDS} or more; give it "
            "more time (--compare-minutes)"
        )
        return [
            claim(target, None, "unavailable", "derived", why) for target in (FALSE_ALARMS, SIGHT)
        ]
    size = f"a gate of {raw.tolerance * 100:g} % on p99 of {case} in {pairs} pairs of blocks"
    return gate_claims(raw.false_alarms, raw.found, size, len(recorded.blocks))


def _latencies(recorded: Recorded) -> dict[str, list[list[Values]]]:
    """Return the latencies of every slice, block by block, of each measure."""
    return {
        RAW: [[one.latency_s for one in block] for block in recorded.blocks],
        UNSTALLED: [[one.latency_s[~one.touched] for one in block] for block in recorded.blocks],
    }


def _slices(recorded: Recorded) -> list[int]:
    return list(map(len, recorded.blocks))


def _each(recorded: Recorded) -> int:
    return math.ceil(_SIMULATED_BLOCKS / len(recorded.blocks))


def _too_few_untouched() -> Missing:
    return Missing(
        UNSTALLED,
        f"stalls of the host left fewer than {_LEAST_QUERIES:,} queries of an arm untouched",
        "measure for longer",
    )


def _config(
    recorded: Recorded, looks: Looks, pairs: int, options: CalibrateOptions
) -> dict[str, object]:
    raw = recorded.result.raw
    return {
        "experiment": {
            "runs": options.runs,
            "minutes": options.minutes,
            "compare_minutes": options.compare_minutes,
            "case": options.case,
            "tolerance": options.tolerance / 100,
            "seed": options.seed,
        },
        "result": {
            "id": recorded.result.id,
            "config_hash": recorded.result.config_hash,
            "raw_sha256": raw.sha256 if raw else None,
            "blocks": len(recorded.blocks),
            "blocks_left_out": recorded.left_out,
            "slices": sum(map(len, recorded.blocks)),
        },
        "looks": {"blocks": list(looks.blocks), "level": looks.level},
        "pairs": pairs,
    }
