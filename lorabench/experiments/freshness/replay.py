"""A stream replayed under a virtual clock, the rows' own times, by one strategy after the other.

Every row is predicted by what a strategy serves at that moment and learned from once its label has
arrived (prequential evaluation, Gama et al. 2013). Where nothing learns, only windows spread over
the stream are read and predicted.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.experiments.freshness.options import LEAST_ROWS, FreshnessOptions
from lorabench.model.prepare import Prepared
from lorabench.strategies.base import Strategy, StrategySpec
from lorabench.workload.block import Block, dense_features
from lorabench.workload.planted import sigmoid
from lorabench.workload.source import RowSource, RowStream

_BATCH = 1024

Report = Callable[[str, float], None]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of the stream.

    Attributes
    ----------
    time_s : float
        Mean of its rows' times.
    label : int8 [N]
    ceiling : float32 [N] or None
        Probabilities by the planted truth; None where nothing is planted.
    """

    time_s: float
    label: NDArray[np.int8]
    ceiling: Floats | None


@dataclass
class Replayed:
    """What a strategy has served so far.

    Attributes
    ----------
    spec : StrategySpec
    scores : list of float32 [N]
        Click probabilities, a window each.
    by_window : dict of str to list of float
        Metrics that the strategy tells at each window's end.
    at_end : mapping of str to sequence of float
        Metrics that it tells once it is `done`.
    peak_bytes : dict of str to int
        What it held beside the tables, by purpose, when that was most.
    learned : int
        Samples that it has learned from.
    learn_s : float
        Time spent inside its `learn`.
    done : bool
        It has gone through all windows.
    """

    spec: StrategySpec
    scores: list[Floats] = field(default_factory=list)
    by_window: dict[str, list[float]] = field(default_factory=dict)
    at_end: Mapping[str, Sequence[float]] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    learned: int = 0
    learn_s: float = 0.0
    done: bool = False

    def note(self, strategy: Strategy, scores: Floats) -> None:
        """Write down a window at its end."""
        self.scores.append(scores)
        for name, value in strategy.window_metrics().items():
            self.by_window.setdefault(name, []).append(value)
        self.peak_bytes = dict(strategy.peak_bytes)

    def learn(self, strategy: Strategy, due: Block) -> None:
        """Let it take in rows whose labels have arrived."""
        dense = dense_features(due.dense)
        began = perf_counter()
        strategy.learn(dense, due.sparse, due.label)
        self.learn_s += perf_counter() - began
        self.learned += len(due)

    def finish(self, strategy: Strategy) -> None:
        """Write down that all windows are through."""
        self.at_end = strategy.final_metrics()
        self.done = True


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

    def run(self, specs: Sequence[StrategySpec]) -> None:
        """Replay for every strategy, or spread windows over the stream where none learns.

        Raises
        ------
        InputError
            A saved adapter cannot be read or does not fit, or memory does not suffice.
        """
        if any(spec.learns for spec in specs):
            self._replay(specs)
        else:
            self._spread(specs)

    def _replay(self, specs: Sequence[StrategySpec]) -> None:
        tables, given = self._prepared.tables, self._options.adapter
        saved = {
            spec.name: spec.kind.load(Path(given), tables.layout)
            for spec in specs
            if given is not None and spec.kind.resumable
        }
        self.windows += [self._window(rows, begin) for begin, rows in self._stretches()]
        for spec in specs:
            strategy = self._make(spec)
            try:
                if spec.name in saved:
                    strategy.resume(saved[spec.name])
                self._learn(strategy, self.strategies[-1])
                if self._options.save_adapter is not None and spec.kind.resumable:
                    strategy.save(Path(self._options.save_adapter))
            finally:
                strategy.close()

    def _learn(self, strategy: Strategy, found: Replayed) -> None:
        """Replay for one strategy."""
        name = found.spec.name
        delay_ns = int(self._source.spec.labels.delay_s * 1e9)
        waiting: deque[Block] = deque()
        for number, (_, rows) in enumerate(self._stretches()):
            self._report(f"replaying {name}", number / self._options.windows)
            parts = []
            for batch in _batches(rows):
                while waiting and int(waiting[0].time_ns[-1]) + delay_ns <= batch.time_ns[0]:
                    found.learn(strategy, waiting.popleft())
                parts.append(_scores(strategy, batch))
                waiting.append(batch)
            found.note(strategy, np.concatenate(parts))
        found.finish(strategy)
        self._report(f"replaying {name}", 1.0)

    def _spread(self, specs: Sequence[StrategySpec]) -> None:
        """Predict windows spread over the stream by models as they are."""
        rows = min(self._options.window_rows, self._rows)
        starts = np.linspace(self._first, self._end - rows, self._options.windows).astype(np.int64)
        for spec in specs:
            strategy = self._make(spec)
            found = self.strategies[-1]
            for number, start in enumerate(starts):
                self._report("predicting", number / len(starts))
                taken = Block.concat(list(_take(self._source.blocks(int(start)), rows)))
                parts = [_scores(strategy, batch) for batch in _batches(taken)]
                if len(self.windows) == number:
                    self.windows.append(self._window(taken, int(start)))
                found.note(strategy, np.concatenate(parts))
            found.finish(strategy)
            strategy.close()
        self._report("predicting", 1.0)

    def _make(self, spec: StrategySpec) -> Strategy:
        prepared = self._prepared
        strategy = spec.make(prepared.model, self._options.memory_budget)
        self.strategies.append(Replayed(spec))
        return strategy

    def _stretches(self) -> Iterator[tuple[int, Block]]:
        """Return each window's first row and its rows; the last one takes what is left over."""
        count = self._options.windows
        edges = [*(self._first + self._rows * number for number in range(count)), self._end]
        stream = RowStream(self._source, self._first)
        for begin, end in pairwise(edges):
            yield begin, stream.take(end - begin)

    def _window(self, rows: Block, first: int) -> Window:
        ceiling = None
        if self._source.truth is not None:
            ceiling = sigmoid(self._source.truth().logit(rows, first)).astype(np.float32)
        return Window(float(rows.time_ns.mean()) / 1e9, rows.label, ceiling)


def _batches(rows: Block) -> Iterator[Block]:
    return (rows.slice(begin, begin + _BATCH) for begin in range(0, len(rows), _BATCH))


def _scores(strategy: Strategy, batch: Block) -> Floats:
    batch = batch.by_row()
    logits = strategy.predict(dense_features(batch.dense), batch.sparse)
    return sigmoid(logits.astype(np.float64)).astype(np.float32)


def _take(blocks: Iterator[Block], rows: int) -> Iterator[Block]:
    while rows > 0 and (block := next(blocks, None)) is not None:
        yield block.slice(0, rows)
        rows -= len(block)
