"""A stream replayed under a virtual clock, the rows' own times, by one strategy after the other.

Every row is predicted by what a strategy serves at that moment and learned from once its label has
arrived (prequential evaluation, Gama et al. 2013). Where nothing learns, only windows spread over
the stream are read and predicted. A strategy whose predictions are not finite has diverged, and its
replay ends there.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.experiments.freshness.options import LEAST_ROWS, FreshnessOptions
from lorabench.experiments.freshness.quality import Floats, Quality, Replayed, Replicate
from lorabench.model.prepare import Prepared
from lorabench.strategies.base import Strategy, StrategySpec
from lorabench.workload.block import Block, dense_features
from lorabench.workload.planted import sigmoid
from lorabench.workload.source import RowSource, RowStream

_BATCH = 1024

Report = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of the stream.

    Attributes
    ----------
    time_s : float
        Mean of its rows' times.
    label : int8 [N]
    """

    time_s: float
    label: NDArray[np.int8]


class Replay:
    """Predicts and learns a stream, strategy by strategy; what is finished can be read meanwhile.

    Parameters
    ----------
    source : RowSource
        The workload.
    prepared : Prepared
        The pre-trained model.
    options : FreshnessOptions
        Of the run.
    report : callable
        Told what is going on and how much of it is done.

    Attributes
    ----------
    windows : list of Window
        Of the stream.
    strategies : list of Replayed
        In the order in which they run.
    ceiling : Quality or None
        Of the planted truth; None where nothing is planted.

    Raises
    ------
    InputError
        There are too few rows for the windows.
    """

    def __init__(
        self, source: RowSource, prepared: Prepared, options: FreshnessOptions, report: Report
    ) -> None:
        self._source = source
        self._prepared = prepared
        self._options = options
        self._report = report
        self._first = prepared.serving_start
        self._end = source.rows
        if options.rows is not None:
            self._end = min(self._end, self._first + options.rows)
        available = self._end - self._first
        self._rows = available // options.windows
        if self._rows < LEAST_ROWS:
            raise InputError(
                f"{source.description}: found {available} rows behind those to pre-train on, "
                f"expected at least {options.windows * LEAST_ROWS} for {options.windows} windows"
            )
        self.windows: list[Window] = []
        self.strategies: list[Replayed] = []
        self.ceiling = Quality(options.windows) if source.truth is not None else None

    def replicate(self) -> Replicate:
        """Return what is known so far, without rows and model."""
        return Replicate(
            seed=self._options.seed,
            table_bytes=self._prepared.tables.layout.table_bytes,
            pretrain_rows=self._prepared.pretrain_rows,
            origin=self._prepared.origin,
            times_s=[window.time_s for window in self.windows],
            strategies=[one for one in self.strategies if one.quality.auc or one.diverged],
            ceiling=self.ceiling,
        )

    def run(self, specs: Sequence[StrategySpec], saved: Mapping[str, Any] | None = None) -> None:
        """Replay for every strategy, or spread windows over the stream where none learns.

        Parameters
        ----------
        specs : sequence of StrategySpec
            In the order in which they run.
        saved : mapping of str to object, optional
            What some of them, by name, begin with (`Strategy.load`).

        Raises
        ------
        InputError
            What was saved does not fit, or memory does not suffice.
        """
        if any(spec.learns for spec in specs):
            self._replay(specs, saved or {})
        else:
            self._spread(specs)

    def _replay(self, specs: Sequence[StrategySpec], saved: Mapping[str, Any]) -> None:
        for begin, rows in self._stretches():
            self._add_window(rows, begin)
        for spec in specs:
            with closing(self._make(spec)) as strategy:
                found = self.strategies[-1]
                if spec.name in saved:
                    strategy.resume(saved[spec.name])
                self._learn(strategy, found)
                kept = self._options.save_adapter
                if kept is not None and spec.kind.resumable and not found.diverged:
                    strategy.save(Path(kept))

    def _learn(self, strategy: Strategy, found: Replayed) -> None:
        """Replay for one strategy, to the end or until it diverges."""
        name = found.spec.name
        delay_ns = int(self._source.spec.labels.delay_s * 1e9)
        waiting: deque[Block] = deque()

        def batches(rows: Block) -> Iterator[Block]:
            for batch in _batches(rows):
                while waiting and int(waiting[0].time_ns[-1]) + delay_ns <= batch.time_ns[0]:
                    found.learn(strategy, waiting.popleft())
                yield batch
                waiting.append(batch)

        for number, (_, rows) in enumerate(self._stretches()):
            self._report(f"replaying {name}", number / self._options.windows)
            scores = _scores(strategy, batches(rows))
            if scores is None:
                found.diverge(strategy)
                return
            found.note(strategy, self.windows[number].label, scores)
        found.finish(strategy)
        self._report(f"replaying {name}", 1.0)

    def _spread(self, specs: Sequence[StrategySpec]) -> None:
        """Predict windows spread over the stream by models as they are."""
        rows = min(self._options.window_rows, self._rows)
        starts = np.linspace(self._first, self._end - rows, self._options.windows).astype(np.int64)
        for spec in specs:
            with closing(self._make(spec)) as strategy:
                found = self.strategies[-1]
                for number, start in enumerate(starts):
                    self._report("predicting", number / len(starts))
                    taken = Block.concat(list(_take(self._source.blocks(int(start)), rows)))
                    scores = _scores(strategy, _batches(taken))
                    if len(self.windows) == number:
                        self._add_window(taken, int(start))
                    if scores is None:
                        found.diverge(strategy)
                        break
                    found.note(strategy, taken.label, scores)
                else:
                    found.finish(strategy)
        self._report("predicting", 1.0)

    def _make(self, spec: StrategySpec) -> Strategy:
        prepared = self._prepared
        strategy = spec.make(prepared.model, self._options.memory_budget)
        self.strategies.append(Replayed(spec, Quality(self._options.windows)))
        return strategy

    def _stretches(self) -> Iterator[tuple[int, Block]]:
        """Return each window's first row and its rows; the last one takes what is left over."""
        count = self._options.windows
        edges = [*(self._first + self._rows * number for number in range(count)), self._end]
        stream = RowStream(self._source, self._first)
        for begin, end in pairwise(edges):
            yield begin, stream.take(end - begin)

    def _add_window(self, rows: Block, first: int) -> None:
        self.windows.append(Window(float(rows.time_ns.mean()) / 1e9, rows.label))
        if self.ceiling is not None and self._source.truth is not None:
            truth = sigmoid(self._source.truth().logit(rows, first)).astype(np.float32)
            self.ceiling.add(rows.label, truth)


def _batches(rows: Block) -> Iterator[Block]:
    return (rows.slice(begin, begin + _BATCH) for begin in range(0, len(rows), _BATCH))


def _scores(strategy: Strategy, batches: Iterable[Block]) -> Floats | None:
    """Return click probabilities [N]; None as soon as a logit is not finite."""
    parts = []
    for batch in batches:
        rows = batch.by_row()
        logits = strategy.predict(dense_features(rows.dense), rows.sparse)
        # The sigmoid of an infinite logit would pass for a sure prediction.
        if not np.isfinite(logits).all():
            return None
        parts.append(sigmoid(logits.astype(np.float64)).astype(np.float32))
    return np.concatenate(parts)


def _take(blocks: Iterator[Block], rows: int) -> Iterator[Block]:
    while rows > 0 and (block := next(blocks, None)) is not None:
        yield block.slice(0, rows)
        rows -= len(block)
