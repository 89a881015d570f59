"""How a served model ages, and what keeps it fresh: quality over workload time, by strategy.

The stream's head pre-trains the model; the rest is replayed under a virtual clock, the rows' own
times, and without a network. Every row is predicted by what a strategy serves at that moment and
learned from once its label has arrived (prequential evaluation, Gama et al. 2013). On generated
rows ``ceiling`` stands beside the strategies, the classifier that knows the planted truth. Where
nothing learns, only the windows are read.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.host import environment
from lorabench.host.topology import read_topology
from lorabench.lora.basis import LearnLog
from lorabench.lora.file import load_adapter, save_adapter
from lorabench.model.prepare import Prepared, prepare
from lorabench.results import schema, statistics
from lorabench.results.program import program
from lorabench.results.quality import auc, normalized_entropy
from lorabench.strategies.base import IDEAL, LORA, NONE, Lora, Strategy, StrategySpec, make
from lorabench.workload.block import Block, dense_features
from lorabench.workload.planted import sigmoid
from lorabench.workload.source import RowSource, RowStream, generated, with_dim

CEILING = "ceiling"

_BATCH = 1024
_LEAST_ROWS = 256  # of a window: an area of fewer rows says little
_TUNING_RATES = (0.05, 0.1, 0.2, 0.4)
_TUNING_DECAYS = (1.0, 0.5, 0.25)

Report = Callable[[str, float], None]
Tried = tuple[float, float, float]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FreshnessConfig:
    """What to measure.

    Parameters
    ----------
    strategies : tuple of str
        As `lorabench.strategies.base.StrategySpec` reads them.
    windows : int
        Into how many stretches the rows are divided, each with its own quality.
    window_rows : int
        Where nothing learns, rows of each that are predicted.
    rows : int or None
        Rows to replay; None for all.
    dim : int or None
        Embedding dim; None for the workload's.
    memory_budget : float
        LoRA state as a share of the table bytes.
    learning_rate : float or None
        Of all strategies that learn; None for each one's own.
    tune : bool
        Choose each one's, and the decay of its accumulators, on a held-out seed.
    tune_rows : int
        Rows replayed for that.
    adapter, save_adapter : str or None
        Files: what LoRA strategies begin with, and where the only one's adapter goes at the end.
    seed : int
        Of generated rows and initial weights.
    """

    strategies: tuple[str, ...] = (NONE, LORA, IDEAL)
    windows: int = 12
    window_rows: int = 65_536
    rows: int | None = None
    dim: int | None = None
    memory_budget: float = 0.02
    learning_rate: float | None = None
    tune: bool = False
    tune_rows: int = 400_000
    adapter: str | None = None
    save_adapter: str | None = None
    seed: int = 0

    def validate(self) -> tuple[StrategySpec, ...]:
        """Check what the options alone tell; give the strategies.

        Raises
        ------
        InputError
            A value out of range, or an unknown strategy.
        """
        for option, value, least in (
            ("--windows", self.windows, 2),
            ("--window-rows", self.window_rows, _LEAST_ROWS),
            ("--rows", self.rows, 2 * _LEAST_ROWS),
            ("--tune-rows", self.tune_rows, 2 * _LEAST_ROWS),
            ("--dim", self.dim, 1),
            ("--seed", self.seed, 0),
        ):
            if value is not None and value < least:
                raise InputError(f"{option}: found {value}, expected an integer >= {least}")
        if not 0 < self.memory_budget <= 1:
            raise InputError(
                f"--memory-budget: found {self.memory_budget}, expected above 0 and at most 1"
            )
        rate = self.learning_rate
        if rate is not None and not 0 < rate < np.inf:
            raise InputError(f"--learning-rate: found {rate}, expected above 0 and finite")
        if rate is not None and self.tune:
            raise InputError("--tune: found --learning-rate beside it, expected one or the other")
        loras = [name for name in dict.fromkeys(self.strategies) if name.startswith(LORA)]
        if self.adapter is not None and not loras:
            raise InputError("--adapter: found no lora among --strategies, expected one")
        if self.save_adapter is not None and len(loras) != 1:
            raise InputError(f"--save-adapter: found {len(loras)} lora strategies, expected one")
        if not self.strategies:
            raise InputError("--strategies: found none, expected some, such as none,lora,ideal")
        arms = tuple(map(StrategySpec.parse, dict.fromkeys(self.strategies)))
        if rate is None:
            return arms
        return tuple(replace(arm, learning_rate=rate) if arm.learns else arm for arm in arms)


@dataclass(frozen=True, eq=False)
class _Window:
    """Rows and how each strategy scored them."""

    time_s: float
    label: NDArray[np.int8]
    scores: dict[str, Floats]


@dataclass
class _Outcome:
    """What was run, and what came out."""

    arms: tuple[StrategySpec, ...]
    rates: dict[str, list[Tried]]
    windows: list[_Window] = field(default_factory=list)
    notes: "dict[str, _Note]" = field(default_factory=dict)


def measure(source: RowSource, config: FreshnessConfig, report: Report) -> schema.Result:
    """Pre-train on the stream's head, then replay the rest.

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
        Too few rows for the windows, bad data, or memory that does not suffice.
    """
    arms = config.validate()
    if config.dim is not None:
        source = with_dim(source, config.dim)
    rates: dict[str, list[Tried]] = {}
    if config.tune:
        arms, rates = _tune(source, config, arms, report)
    prepared = prepare(source, None, config.seed, report)
    outcome = _Outcome(arms, rates)
    if any(arm.learns for arm in arms):
        replay = _Replay(source, prepared, config, report)
        outcome.windows = replay.run(arms)
        outcome.notes = replay.notes
    else:
        outcome.windows = _spread(source, prepared, config, report)
    return _document(source, prepared, config, outcome)


def _spread(
    source: RowSource, prepared: Prepared, config: FreshnessConfig, report: Report
) -> list[_Window]:
    """Predict windows spread over the stream by the model as it is."""
    first, end = prepared.serving_start, _end(source, prepared, config)
    rows = min(config.window_rows, _window_rows(source, end - first, config))
    starts = np.linspace(first, end - rows, config.windows).astype(np.int64)
    frozen = make(StrategySpec(NONE, None), prepared.tables, prepared.net, config.memory_budget)
    found = []
    for number, start in enumerate(starts):
        report("predicting", number / len(starts))
        taken = Block.concat(list(_take(source.blocks(int(start)), rows)))
        parts = [
            _scores(frozen, taken.slice(begin, begin + _BATCH)) for begin in range(0, rows, _BATCH)
        ]
        scores = {NONE: np.concatenate(parts)}
        if source.truth is not None:
            scores[CEILING] = _ceiling(source, taken, int(start))
        found.append(_Window(float(taken.time_ns.mean()) / 1e9, taken.label, scores))
    report("predicting", 1.0)
    return found


@dataclass(frozen=True, eq=False)
class _Note:
    """What is known of a LoRA strategy beside its scores; ranks and bytes at each window's end."""

    ranks: list[float]
    used_bytes: list[float]
    log: LearnLog

    @property
    def most_bytes(self) -> int:
        """Bytes of all LoRA state at their most."""
        return sum(self.log.peak_bytes.values())


class _Replay:
    """Predicts and learns a stream, strategy by strategy.

    Attributes
    ----------
    notes : dict
        What is known of each LoRA strategy.
    """

    def __init__(
        self, source: RowSource, prepared: Prepared, config: FreshnessConfig, report: Report
    ) -> None:
        self._source = source
        self._prepared = prepared
        self._config = config
        self._report = report
        first, end = prepared.serving_start, _end(source, prepared, config)
        rows = _window_rows(source, end - first, config)
        self._edges = [*(first + rows * number for number in range(config.windows)), end]
        self.notes: dict[str, _Note] = {}

    def run(self, arms: Sequence[StrategySpec]) -> list[_Window]:
        """Replay for every arm."""
        layout = self._prepared.tables.layout
        given = self._config.adapter
        saved = None if given is None else load_adapter(Path(given), layout)
        windows = [
            _Window(float(rows.time_ns.mean()) / 1e9, rows.label, self._truth(rows, begin))
            for begin, rows in self._rows()
        ]
        for arm in arms:
            strategy = make(
                arm, self._prepared.tables, self._prepared.net, self._config.memory_budget
            )
            try:
                if saved is not None and isinstance(strategy, Lora):
                    strategy.resume(saved)
                for window, scores in zip(windows, self._arm(arm, strategy), strict=True):
                    window.scores[arm.name] = scores
                if self._config.save_adapter is not None and isinstance(strategy, Lora):
                    save_adapter(Path(self._config.save_adapter), strategy.state)
            finally:
                strategy.close()
        return windows

    def _rows(self) -> Iterator[tuple[int, Block]]:
        stream = RowStream(self._source, self._edges[0])
        for begin, end in pairwise(self._edges):
            yield begin, stream.take(end - begin)

    def _truth(self, rows: Block, first: int) -> dict[str, Floats]:
        return {} if self._source.truth is None else {CEILING: _ceiling(self._source, rows, first)}

    def _arm(self, arm: StrategySpec, strategy: Strategy) -> Iterator[Floats]:
        """Scores of each window."""
        delay_ns = int(self._source.spec.labels.delay_s * 1e9)
        waiting: deque[Block] = deque()
        ranks, used = [], []
        for number, (_, rows) in enumerate(self._rows()):
            self._report(f"replaying {arm.name}", number / self._config.windows)
            parts = []
            for begin in range(0, len(rows), _BATCH):
                batch = rows.slice(begin, begin + _BATCH)
                while waiting and int(waiting[0].time_ns[-1]) + delay_ns <= batch.time_ns[0]:
                    due = waiting.popleft()
                    strategy.learn(dense_features(due.dense), due.sparse, due.label)
                parts.append(_scores(strategy, batch))
                waiting.append(batch)
            if isinstance(strategy, Lora):
                plan = strategy.state.plan
                ranks.append(float(np.mean([rank for rank in plan.ranks if rank])))
                used.append(float(plan.used_bytes))
            yield np.concatenate(parts)
        if isinstance(strategy, Lora):
            self.notes[arm.name] = _Note(ranks, used, strategy.log)
        self._report(f"replaying {arm.name}", 1.0)


def _scores(strategy: Strategy, batch: Block) -> Floats:
    batch = batch.by_row()
    logits = strategy.predict(dense_features(batch.dense), batch.sparse)
    return sigmoid(logits.astype(np.float64)).astype(np.float32)


def _ceiling(source: RowSource, rows: Block, first: int) -> Floats:
    assert source.truth is not None
    return sigmoid(source.truth().logit(rows, first)).astype(np.float32)


def _end(source: RowSource, prepared: Prepared, config: FreshnessConfig) -> int:
    if config.rows is None:
        return source.rows
    return min(source.rows, prepared.serving_start + config.rows)


def _window_rows(source: RowSource, available: int, config: FreshnessConfig) -> int:
    rows = available // config.windows
    if rows < _LEAST_ROWS:
        raise InputError(
            f"{source.description}: found {available} rows behind those to pre-train on, "
            f"expected at least {config.windows * _LEAST_ROWS} for {config.windows} windows"
        )
    return rows


def _take(blocks: Iterator[Block], rows: int) -> Iterator[Block]:
    while rows > 0 and (block := next(blocks, None)) is not None:
        yield block.slice(0, rows)
        rows -= len(block)


def _tune(
    source: RowSource, config: FreshnessConfig, arms: Sequence[StrategySpec], report: Report
) -> tuple[tuple[StrategySpec, ...], dict[str, list[Tried]]]:
    """Choose learning rates, then decays, by the log loss on a stream of another seed.

    Returns
    -------
    arms : tuple of StrategySpec
        With the best rate and decay each.
    tried : dict
        Of each, the rates and decays tried and their normalized entropies.
    """
    if source.kind != "generated":
        raise InputError(
            f"--tune: found {source.description}, expected a preset: rates are chosen on rows of "
            "another seed; or give --learning-rate"
        )
    held_out = generated(source.spec, config.seed + 1)
    prepared = prepare(held_out, None, config.seed + 1, report)
    trial = replace(
        config,
        rows=config.tune_rows,
        windows=2,
        tune=False,
        adapter=None,
        save_adapter=None,
    )

    def entropy(arm: StrategySpec) -> float:
        def told(_what: str, done: float) -> None:
            report(f"tuning {arm.name}: {arm.learning_rate:g} x {arm.accumulator_decay:g}", done)

        last = _Replay(held_out, prepared, trial, told).run([arm])[-1]
        found = normalized_entropy(last.label, last.scores[arm.name])
        return float("inf") if found is None else found

    chosen, notes = [], {}
    for arm in arms:
        if not arm.learns:
            chosen.append(arm)
            continue
        tried = {
            one: entropy(one) for one in (replace(arm, learning_rate=r) for r in _TUNING_RATES)
        }
        best = min(tried, key=tried.__getitem__)
        for decay in _TUNING_DECAYS:
            one = replace(best, accumulator_decay=decay)
            if one not in tried:
                tried[one] = entropy(one)
        chosen.append(min(tried, key=tried.__getitem__))
        notes[arm.name] = [
            (one.learning_rate or 0.0, one.accumulator_decay, found) for one, found in tried.items()
        ]
    return tuple(chosen), notes


def _document(
    source: RowSource,
    prepared: Prepared,
    config: FreshnessConfig,
    outcome: _Outcome,
) -> schema.Result:
    arms, found, notes = outcome.arms, outcome.windows, outcome.notes
    sheet = _Sheet([window.time_s for window in found])
    order = [arm.name for arm in arms] + ([CEILING] if CEILING in found[0].scores else [])
    areas: dict[str, list[float | None]] = {}
    for name in order:
        areas[name] = [auc(window.label, window.scores[name]) for window in found]
        sheet.add("auc", name, "higher", areas[name])
        entropies = [normalized_entropy(window.label, window.scores[name]) for window in found]
        sheet.add("normalized_entropy", name, "lower", entropies)
        last = found[-(len(found) // 3) :] if len(found) >= 3 else found
        value = auc(
            np.concatenate([window.label for window in last]),
            np.concatenate([window.scores[name] for window in last]),
        )
        sheet.add("auc_last_third", name, "higher", [value], series=False)
    if NONE in areas and IDEAL in areas:
        for name in order:
            if name not in (NONE, IDEAL, CEILING):
                _gap(sheet, name, areas)
    for name, note in notes.items():
        sheet.add("rank", name, "lower", list(note.ranks))
        sheet.add("lora_used_bytes", name, "lower", list(note.used_bytes), unit="B")
        once: tuple[tuple[str, float], ...] = (
            ("lora_fraction", note.most_bytes / prepared.tables.layout.table_bytes),
            ("rebases", float(note.log.rebases)),
            ("guard_trips", float(note.log.guard_trips)),
            ("diverged", float(note.log.diverged)),
        )
        for metric, value_once in once:
            sheet.add(metric, name, "lower", [value_once], series=False)
        total = [float(note.most_bytes)]
        sheet.add("lora_bytes", name, "lower", total, unit="B", series=False)
        sheet.add("rebase_loss", name, "lower", list(note.log.rebase_loss), series=False)
    now = datetime.now(UTC)
    document_config: dict[str, Any] = {
        "experiment": asdict(config) | {"strategies": [arm.name for arm in arms]},
        "learning_rates": {arm.name: arm.learning_rate for arm in arms if arm.learns},
        "accumulator_decays": {arm.name: arm.accumulator_decay for arm in arms if arm.learns},
        "tuning": {name: [list(one) for one in tried] for name, tried in outcome.rates.items()},
        "workload": {
            "kind": source.kind,
            "digest": source.digest,
            "spec": source.spec.model_dump(mode="json"),
        },
        "model": {"origin": prepared.origin, "pretrain_rows": prepared.pretrain_rows},
        "memory": {name: note.log.peak_bytes for name, note in notes.items()},
    }
    hashed = {
        key: document_config[key]
        for key in ("experiment", "learning_rates", "accumulator_decays", "workload")
    } | {"pretrain_rows": prepared.pretrain_rows}
    return schema.Result(
        command="freshness",
        id=schema.new_id(now),
        created=now,
        lorabench=program(),
        config=document_config,
        config_hash=schema.config_hash(hashed),
        environment=environment.capture(read_topology()),
        partial=False,
        rounds=[],
        metrics=sheet.metrics,
        claims=[],
        unavailable=[],
        series=sheet.series,
    )


def _gap(sheet: "_Sheet", name: str, areas: dict[str, list[float | None]]) -> None:
    """Share of the gap between `none` and `ideal` that a strategy recovers.

    The ratio of mean differences, not the mean of ratios: a window without a gap has no share.
    """
    windows = list(zip(areas[NONE], areas[name], areas[IDEAL], strict=True))
    third = windows[-(len(windows) // 3) :] if len(windows) >= 3 else windows
    for metric, chosen in (("gap_recovered", windows), ("gap_recovered_last_third", third)):
        there = [
            (n, v, i) for n, v, i in chosen if n is not None and v is not None and i is not None
        ]
        gap = sum(ideal - none for none, _, ideal in there)
        share = sum(value - none for none, value, _ in there) / gap if gap > 0 else None
        sheet.add(metric, name, "higher", [share], series=False)


class _Sheet:
    """Metrics and series over windows."""

    def __init__(self, times_s: list[float]) -> None:
        self._times = times_s
        self.metrics: list[schema.Metric] = []
        self.series: list[schema.Series] = []

    def add(
        self,
        name: str,
        condition: str,
        better: Literal["lower", "higher"],
        values: list[float | None] | list[float],
        *,
        unit: str = "1",
        series: bool = True,
    ) -> None:
        held: list[float | None] = list(values)
        estimate = statistics.mean(held)
        self.metrics.append(
            schema.Metric.of(
                name, condition, unit=unit, better=better, values=held, estimate=estimate
            )
        )
        if not series:
            return
        there = [(t, v) for t, v in zip(self._times, held, strict=True) if v is not None]
        self.series.append(
            schema.Series(
                name=name,
                condition=condition,
                x=[t for t, _ in there],
                y=[v for _, v in there],
                x_unit="s",
                y_unit=unit,
            )
        )
