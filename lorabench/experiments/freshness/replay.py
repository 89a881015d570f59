"""A stream replayed under a virtual clock, the rows' own times, by all strategies side by side.

Every row is predicted by what a strategy serves at that moment and learned from once its label has
arrived (prequential evaluation, Gama et al. 2013). Where nothing learns, only windows spread over
the stream are read and predicted. A strategy whose predictions are not finite has diverged, and its
replay ends there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.experiments.freshness.options import LEAST_ROWS, FreshnessOptions
from lorabench.experiments.freshness.quality import Floats, Quality, Replayed, Replicate
from lorabench.experiments.freshness.race import Entrant, Pace, Race
from lorabench.experiments.freshness.replicates import DELTA
from lorabench.host.memory import available_memory
from lorabench.model.prepare import Prepared
from lorabench.model.tables import TableLayout
from lorabench.strategies.base import Strategy, StrategySpec
from lorabench.strategies.deployment import Deployment, Pushes
from lorabench.strategies.pushed import Pushed
from lorabench.updates.delta import Delta
from lorabench.updates.delta_files import write_delta
from lorabench.updates.delta_header import NamedTables
from lorabench.updates.touch_counter import TouchCounter
from lorabench.updates.touch_trace import TouchWriter
from lorabench.workload.block import Block, dense_features
from lorabench.workload.features import DenseSpec
from lorabench.workload.planted import sigmoid
from lorabench.workload.source import RowSource
from lorabench.workload.stream import RowStream

BATCH_ROWS = 1024

# What is left for all else than copies of the tables; what goes with a copy, rows on their way
# included, as a multiple of it.
_RESERVE_BYTES = 2 << 30
_COPY = 1.5

# Of the push interval, and in s: what is touched within one tick is touched once. Below a tick the
# curve is a line, and what pushes back to back come to leaps there: ticks are far below the latency
# of what learns here, about 1 s, but a tick of few rows would cost time and tell nothing.
_TICKS_OF_INTERVAL = 16
_LEAST_TICK_S, _MOST_TICK_S = 0.05, 1.0
_ROWS_OF_TICK = 32

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

    @property
    def of_one_class(self) -> bool:
        """Whether all of its labels are the same."""
        return bool((self.label == self.label[0]).all())


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
    pushes : Pushes, optional
        How updates come from a training cluster; by default at once and for nothing.
    pace : callable, optional
        What learning takes (`lorabench.experiments.freshness.race.Pace`); by default as measured.
    slices : bool
        Parts of each window have a quality of their own.

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
        self,
        source: RowSource,
        prepared: Prepared,
        options: FreshnessOptions,
        report: Report,
        *,
        pushes: Pushes | None = None,
        pace: Pace = lambda _: None,
        slices: bool = True,
    ) -> None:
        self._source = source
        self._prepared = prepared
        self._options = options
        self._report = report
        self._pushes = pushes
        self._pace = pace
        self._slices = slices
        self._first = prepared.serving_start
        self._end = source.rows
        limit = options.limit(source.spec.rows_per_s)
        if limit is not None:
            self._end = min(self._end, self._first + limit)
        available = self._end - self._first
        self._rows = available // options.stretches
        if self._rows < LEAST_ROWS:
            raise InputError(
                f"{source.description}: found {available} rows behind those to pre-train on, "
                f"expected at least {options.stretches * LEAST_ROWS} for {options.stretches} "
                "windows"
            )
        self.windows: list[Window] = []
        self.strategies: list[Replayed] = []
        self.ceiling = Quality(options.stretches) if source.truth is not None else None
        self._counter: TouchCounter | None = None
        self._first_ns = self._last_ns = 0

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
            rows=sum(len(window.label) for window in self.windows),
            positives=sum(int(window.label.sum()) for window in self.windows),
            one_class=sum(window.of_one_class for window in self.windows),
            touched=self._counter.curve() if self._counter is not None else None,
            span_s=(self._last_ns - self._first_ns) / 1e9,
            dim=self._prepared.tables.layout.dim,
        )

    def run(
        self, entrants: Sequence[Entrant | StrategySpec], saved: Mapping[str, Any] | None = None
    ) -> None:
        """Replay for every strategy, or spread windows over the stream where none ever changes.

        Parameters
        ----------
        entrants : sequence of Entrant or StrategySpec
            In the order in which they run.
        saved : mapping of str to object, optional
            What some of them, by name, begin with (`Strategy.load`).

        Raises
        ------
        InputError
            What was saved does not fit, or memory does not suffice.
        """
        every = [one if isinstance(one, Entrant) else Entrant(one) for one in entrants]
        # A trace is of all rows, whoever learns from them.
        whole = self._options.protocol is not None or self._options.save_touch_trace is not None
        if whole or any(one.spec.learns or one.spec.kind.ships_deltas for one in every):
            self._replay(every, saved or {})
        else:
            self._spread([one.spec for one in every])

    def _replay(self, entrants: Sequence[Entrant], saved: Mapping[str, Any]) -> None:
        """Replay the stream for all strategies at once, or in passes as memory asks for."""
        # A protocol knows a label as soon as its row has been predicted.
        by_protocol = self._options.protocol is not None
        delay_s = 0.0 if by_protocol else self._source.spec.labels.delay_s
        for number, group in enumerate(self._passes(entrants)):
            with closing(self._deployment()) as deployment, ExitStack() as stack:
                race = Race(
                    deployment, self._source.spec.dense, delay_s, self._pace, slices=self._slices
                )
                stack.callback(race.close)
                for one in group:
                    found = Replayed(one.spec, Quality(self._options.stretches))
                    self.strategies.append(found)
                    arm = race.enter(one.spec, found, one.pushes, one.memory_budget)
                    if one.spec.name in saved:
                        arm.strategy.resume(saved[one.spec.name])
                    self._record(arm.strategy, one.spec.name)
                if number == 0:
                    if (touches := self._touches()) is not None:
                        race.lookers.append(stack.enter_context(touches).add)
                    if self._slices and any(one.spec.name == DELTA for one in entrants):
                        race.lookers.append(self._touch_counter().add)
                self._run(race)

    def _record(self, strategy: Strategy, name: str) -> None:
        """Let pushes be written as files, of the strategy that is asked for."""
        folder = self._options.save_deltas
        if folder is None or name != self._options.recorded().name:
            return
        assert isinstance(strategy, Pushed)
        assert strategy.encoding is not None
        write = partial(
            write_delta, tables=NamedTables(strategy.layout), encoding=strategy.encoding
        )
        numbers = count()

        def record(delta: Delta) -> None:
            write(Path(folder), next(numbers), delta)

        strategy.on_push = record

    def _touches(self) -> TouchWriter | None:
        """Return where it is written down which rows are looked up when; None for nowhere."""
        path = self._options.save_touch_trace
        if path is None:
            return None
        layout = self._prepared.tables.layout
        resolution_s = self._options.touch_resolution_s
        return TouchWriter(Path(path), layout.rows, layout.lookups, resolution_s)

    def _run(self, race: Race) -> None:
        """Take all of a race through the stream."""
        for number, (begin, rows) in enumerate(self._stretches()):
            batches = list(_batches(rows))
            for place, batch in enumerate(batches):
                done = (number + place / len(batches)) / self._options.stretches
                self._report("replaying", done)
                race.step(batch)
            if len(self.windows) == number:
                self._add_window(rows, begin)
            race.end_window(rows.label)
        race.finish()
        self._report("replaying", 1.0)
        kept = self._options.save_adapter
        for arm in race.arms:
            if kept is not None and arm.found.spec.kind.resumable and not arm.found.diverged:
                arm.strategy.save(Path(kept))

    def _passes(self, entrants: Sequence[Entrant]) -> Iterator[list[Entrant]]:
        """Divide strategies so that the copies of the tables that a pass takes fit into memory."""
        room = copies_that_fit(self._prepared.tables.layout)
        group: list[Entrant] = []
        for one in entrants:
            if group and copies_of([each.spec for each in (*group, one)]) > room:
                yield group
                group = []
            group.append(one)
        yield group

    def _spread(self, specs: Sequence[StrategySpec]) -> None:
        """Predict windows spread over the stream by models as they are."""
        rows = min(self._options.window_rows, self._rows)
        starts = np.linspace(self._first, self._end - rows, self._options.stretches).astype(
            np.int64
        )
        for spec in specs:
            found = Replayed(spec, Quality(self._options.stretches))
            self.strategies.append(found)
            with (
                closing(self._deployment()) as deployment,
                closing(spec.make(deployment)) as strategy,
            ):
                for number, start in enumerate(starts):
                    self._report("predicting", number / len(starts))
                    taken = Block.concat(list(_take(self._source.blocks(int(start)), rows)))
                    scores = _scores(strategy, _batches(taken), self._source.spec.dense)
                    if len(self.windows) == number:
                        self._add_window(taken, int(start))
                    if scores is None:
                        found.diverge(strategy)
                        break
                    found.note(strategy, taken.label, scores)
                else:
                    found.finish(strategy)
        self._report("predicting", 1.0)

    def _touch_counter(self) -> TouchCounter:
        """Return what counts the rows touched, fine enough for a push interval and a latency."""
        tick_s = touch_tick_s(self._options.push_interval_s, self._source.spec.rows_per_s)
        self._counter = TouchCounter(self._prepared.tables.layout, tick_s)
        return self._counter

    def _deployment(self) -> Deployment:
        """Return what strategies are deployed on."""
        return Deployment(self._prepared.model, self._options.memory_budget, self._pushes)

    def _stretches(self) -> Iterator[tuple[int, Block]]:
        """Return each window's first row and its rows; the last one takes what is left over."""
        count = self._options.stretches
        edges = [*(self._first + self._rows * number for number in range(count)), self._end]
        stream = RowStream(self._source, self._first)
        for begin, end in pairwise(edges):
            yield begin, stream.take(end - begin)

    def _add_window(self, rows: Block, first: int) -> None:
        if not self.windows:
            self._first_ns = int(rows.time_ns[0])
        self._last_ns = int(rows.time_ns[-1])
        self.windows.append(Window(float(rows.time_ns.mean()) / 1e9, rows.label))
        if self.ceiling is not None and self._source.truth is not None:
            truth = sigmoid(self._source.truth().logit(rows, first)).astype(np.float32)
            self.ceiling.add(rows.label, truth)


def _batches(rows: Block) -> Iterator[Block]:
    return (rows.slice(begin, begin + BATCH_ROWS) for begin in range(0, len(rows), BATCH_ROWS))


def _scores(strategy: Strategy, batches: Iterable[Block], dense: DenseSpec) -> Floats | None:
    """Return click probabilities [N]; None as soon as a logit is not finite."""
    parts = []
    for batch in batches:
        rows = batch.by_row()
        logits = strategy.predict(dense_features(rows.dense, dense), rows.sparse)
        # The sigmoid of an infinite logit would pass for a sure prediction.
        if not np.isfinite(logits).all():
            return None
        parts.append(sigmoid(logits.astype(np.float64)).astype(np.float32))
    return np.concatenate(parts)


def touch_tick_s(push_interval_s: float, rows_per_s: float) -> float:
    """Return the ticks, s, in which touched rows are counted."""
    fine_s = min(_ROWS_OF_TICK / rows_per_s, _MOST_TICK_S)
    return max(_LEAST_TICK_S, min(push_interval_s / _TICKS_OF_INTERVAL, fine_s))


def copies_of(specs: Sequence[StrategySpec]) -> int:
    """Return how many copies of the tables strategies take that replay side by side."""
    trained = [spec.kind.training(spec) for spec in specs if spec.kind.trained_by is not None]
    clusters = {
        (spec.kind.trained_by, spec.learning_rate, spec.accumulator_decay) for spec in trained
    }
    return len(clusters) + sum(spec.kind.copies for spec in specs)


def copies_that_fit(layout: TableLayout) -> int:
    """Return how many copies of the tables there is memory for, at least one."""
    room = available_memory()
    left = room.huge_bytes + room.ordinary_bytes - _RESERVE_BYTES
    # What goes with a copy: a push on its way, and what is known of each row.
    return max(1, int(left / (_COPY * layout.table_bytes)))


def _take(blocks: Iterator[Block], rows: int) -> Iterator[Block]:
    while rows > 0 and (block := next(blocks, None)) is not None:
        yield block.slice(0, rows)
        rows -= len(block)
