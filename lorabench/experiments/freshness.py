"""How a served model ages: quality over workload time, without a network and without a clock.

The stream's head pre-trains the model; windows spread over the rest are then predicted. There is
one strategy so far, ``none``: the model stays as it is, which is what every other has to beat. On
generated rows ``ceiling`` stands beside it, the classifier that knows the planted truth.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.experiments import environment
from lorabench.experiments.prepare import Prepared, prepare
from lorabench.experiments.quality import auc, normalized_entropy
from lorabench.isolation.topology import read_topology
from lorabench.model.dlrm import InferenceNet
from lorabench.results import schema, statistics
from lorabench.workload.block import Block, dense_features
from lorabench.workload.planted import sigmoid
from lorabench.workload.source import RowSource

NONE = "none"
CEILING = "ceiling"

_BATCH = 4096
_LEAST_ROWS = 256  # of a window: an area of fewer rows says little

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class FreshnessConfig:
    """What to measure.

    Parameters
    ----------
    windows : int
        How many stretches of rows are predicted, the first right behind the pre-training rows,
        the last at the stream's end, evenly spaced between.
    window_rows : int
        Rows of each; no more than leave them apart.
    seed : int
        Of generated rows and initial weights.
    """

    windows: int = 12
    window_rows: int = 65_536
    seed: int = 0

    def validate(self) -> None:
        """Check what the options alone tell.

        Raises
        ------
        InputError
            A value out of range.
        """
        for option, value, least in (
            ("--windows", self.windows, 2),
            ("--window-rows", self.window_rows, _LEAST_ROWS),
            ("--seed", self.seed, 0),
        ):
            if value < least:
                raise InputError(f"{option}: found {value}, expected an integer >= {least}")


@dataclass
class _Window:
    """Rows and how each strategy scored them."""

    time_s: float
    label: NDArray[np.int8]
    scores: dict[str, NDArray[np.float64]]


def measure(source: RowSource, config: FreshnessConfig, report: Report) -> schema.Result:
    """Pre-train on the stream's head, then predict windows of the rest.

    Parameters
    ----------
    source : RowSource
        The workload.
    config : FreshnessConfig
        What to measure.
    report : callable
        Told what is going on and how much of it is done.

    Raises
    ------
    InputError
        Too few rows for the windows, bad data, or tables that do not fit into memory.
    """
    config.validate()
    prepared = prepare(source, None, config.seed, report)
    starts, rows = _places(source, prepared.serving_start, config)
    scorer = _Scorer(prepared)
    found = []
    for number, start in enumerate(starts):
        report("predicting", number / len(starts))
        found.append(_window(source, scorer, start, rows))
    report("predicting", 1.0)
    return _document(source, prepared, config, found)


def _places(
    source: RowSource, first: int, config: FreshnessConfig
) -> tuple[NDArray[np.int64], int]:
    """First rows of the windows, and their length."""
    end = source.rows
    apart = (end - first) // config.windows
    rows = min(config.window_rows, apart)
    if rows < _LEAST_ROWS:
        raise InputError(
            f"{source.description}: found {end - first} rows behind those to pre-train on, "
            f"expected at least {config.windows * _LEAST_ROWS} for {config.windows} windows"
        )
    return np.linspace(first, end - rows, config.windows).astype(np.int64), rows


class _Scorer:
    """The frozen model."""

    def __init__(self, prepared: Prepared) -> None:
        self._tables = prepared.tables.kernels
        self._net = InferenceNet(prepared.net.freeze(), _BATCH)

    def __call__(self, block: Block) -> NDArray[np.float64]:
        scores = np.empty(len(block))
        for begin in range(0, len(block), _BATCH):
            batch = block.slice(begin, begin + _BATCH).by_row()
            n = len(batch)
            self._net.dense.numpy()[:n] = dense_features(batch.dense)
            self._tables.lookup(batch.sparse, self._net.embeddings.numpy()[:n])
            scores[begin : begin + n] = self._net(n)
        return scores


def _window(source: RowSource, scorer: _Scorer, start: int, rows: int) -> _Window:
    taken = Block.concat(list(_take(source.blocks(start), rows)))
    scores = {NONE: scorer(taken)}
    if source.truth is not None:
        scores[CEILING] = sigmoid(source.truth().logit(taken, start))
    return _Window(float(taken.time_ns.mean()) / 1e9, taken.label, scores)


def _take(blocks: Iterator[Block], rows: int) -> Iterator[Block]:
    while rows > 0 and (block := next(blocks, None)) is not None:
        yield block.slice(0, rows)
        rows -= len(block)


def _document(
    source: RowSource, prepared: Prepared, config: FreshnessConfig, found: list[_Window]
) -> schema.Result:
    times = [window.time_s for window in found]
    metrics, series = [], []
    for strategy in found[0].scores:
        for name, better, measured in (
            ("auc", "higher", auc),
            ("normalized_entropy", "lower", normalized_entropy),
        ):
            values = [
                measured(window.label, window.scores[strategy].astype(np.float32))
                for window in found
            ]
            metrics.append(
                schema.Metric.of(
                    name,
                    strategy,
                    unit="1",
                    better="higher" if better == "higher" else "lower",
                    values=values,
                    estimate=statistics.mean(values),
                )
            )
            there = [(t, v) for t, v in zip(times, values, strict=True) if v is not None]
            series.append(
                schema.Series(
                    name=name,
                    condition=strategy,
                    x=[t for t, _ in there],
                    y=[v for _, v in there],
                    x_unit="s",
                    y_unit="1",
                )
            )
    now = datetime.now(UTC)
    document_config = {
        "experiment": asdict(config),
        "workload": {
            "kind": source.kind,
            "digest": source.digest,
            "spec": source.spec.model_dump(mode="json"),
        },
        "model": {"origin": prepared.origin, "pretrain_rows": prepared.pretrain_rows},
    }
    hashed = {**document_config, "model": prepared.pretrain_rows}
    return schema.Result(
        command="freshness",
        id=schema.new_id(now),
        created=now,
        lorabench=environment.program(),
        config=document_config,
        config_hash=schema.config_hash(hashed),
        environment=environment.capture(read_topology()),
        partial=False,
        rounds=[],
        metrics=metrics,
        claims=[],
        unavailable=[],
        series=series,
    )
