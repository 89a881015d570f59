"""Runs made up from a recorded one, asked what they say where the truth is known.

How they are made up, and what that leaves out: `lorabench.results.simulation`.
"""

import math
from collections.abc import Iterator

import numpy as np

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.errors import InputError
from lorabench.experiments.calibrate.options import CalibrateOptions
from lorabench.experiments.calibrate.questions import RAW, UNSTALLED, Answers
from lorabench.experiments.calibrate.samples import CONTROLS, Recorded, read
from lorabench.host.missing import Missing
from lorabench.results.files import newest_result
from lorabench.results.metrics import MetricTable
from lorabench.results.sequential import MOST_BLOCKS, Looks, plan_looks
from lorabench.results.simulation import draw, false_verdicts, log_ratios
from lorabench.results.statistics import MIN_BEYOND

_Q = 0.99
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
        observer.stage("simulating runs", 1.0)
        self._findings = Findings(
            _config(recorded, looks, options),
            table=table,
            claims=[false_verdicts(answers[0].errors(), len(recorded.blocks))],
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
    samples = {
        RAW: [[one.latency_s for one in block] for block in recorded.blocks],
        UNSTALLED: [[one.latency_s[~one.touched] for one in block] for block in recorded.blocks],
    }
    each = math.ceil(_SIMULATED_BLOCKS / len(recorded.blocks))
    drawn = draw(list(map(len, recorded.blocks)), each, options.seed)
    for measure, latencies in samples.items():
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


def _too_few_untouched() -> Missing:
    return Missing(
        UNSTALLED,
        f"stalls of the host left fewer than {_LEAST_QUERIES:,} queries of an arm untouched",
        "measure for longer",
    )


def _config(recorded: Recorded, looks: Looks, options: CalibrateOptions) -> dict[str, object]:
    raw = recorded.result.raw
    return {
        "experiment": {"runs": options.runs, "minutes": options.minutes, "seed": options.seed},
        "result": {
            "id": recorded.result.id,
            "config_hash": recorded.result.config_hash,
            "raw_sha256": raw.sha256 if raw else None,
            "blocks": len(recorded.blocks),
            "blocks_left_out": recorded.left_out,
            "slices": sum(map(len, recorded.blocks)),
        },
        "looks": {"blocks": list(looks.blocks), "level": looks.level},
    }
