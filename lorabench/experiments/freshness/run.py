"""How a served model ages, and what keeps it fresh: quality over workload time, by strategy.

The stream's head pre-trains the model; the rest is replayed behind a link that is modelled
(`lorabench.experiments.freshness.replay`), with generated rows once a seed and one seed after the
other, so that no two models are held at once. On generated rows ``ceiling`` stands beside the
strategies, the classifier that knows the planted truth.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.bench.options import resolved
from lorabench.errors import InputError
from lorabench.experiments.freshness.compute_model import ComputeModel, measure_handling
from lorabench.experiments.freshness.cost import sync_claim
from lorabench.experiments.freshness.metrics import FreshnessTable
from lorabench.experiments.freshness.options import LEAST_ROWS, WINDOWS, FreshnessOptions
from lorabench.experiments.freshness.protocol import Protocol
from lorabench.experiments.freshness.quality import Replicate, blocks_of
from lorabench.experiments.freshness.race import CLUSTER, Entrant
from lorabench.experiments.freshness.replay import BATCH_ROWS, Replay, Report
from lorabench.experiments.freshness.tuning import Tuning, tune
from lorabench.experiments.freshness.verdicts import (
    gain,
    lateness,
    most_bytes,
    most_fraction,
)
from lorabench.host.missing import Missing
from lorabench.model.prepare import prepare
from lorabench.model.tables import TableLayout, TableSet
from lorabench.results import claims, schema
from lorabench.results.files import write_bytes
from lorabench.results.freshness import freshness_latency, freshness_quality
from lorabench.strategies.base import StrategySpec
from lorabench.strategies.deployment import Pushes
from lorabench.strategies.pushed import Pushed
from lorabench.updates.delta_files import first_delta
from lorabench.updates.link import Handling
from lorabench.workload.source import RowSource, generated, open_asked, with_dim
from lorabench.workload.spec import with_rows
from lorabench.workload.speeds import with_drift

PushesOf = Callable[[FreshnessOptions], Pushes]
Arrange = Callable[[PushesOf], Sequence[Entrant]]


class Freshness(Experiment):
    """Pre-train on the stream's head, then replay the rest; a seed after the other.

    As `Experiment`.

    Attributes
    ----------
    source : RowSource
        Rows of the first seed, or those that are there.

    Raises
    ------
    InputError
        A strategy cannot be made for the workload's tables, or the given adapter does not fit.
    """

    options: FreshnessOptions

    def __init__(self, options: FreshnessOptions) -> None:
        self._protocol = Protocol.of(options)
        if self._protocol is not None:
            options = self._protocol.applied(options)
        self._given = options
        super().__init__(_settled(options))
        # Rows that are there are replayed once.
        replays = 1 if options.data is not None else options.replicates
        self._seeds = range(options.seed, options.seed + replays)
        self.source = self._open(options.seed)
        self._tuning = Tuning(list(options.specs()))
        # A sweep looks at each of its points.
        self._saved = {} if options.sweep else self._checked()
        if not options.sweep:
            self.check_pushes(options)
        self._compute = self._given_times()
        self._handling: list[Handling] = []
        self._finished: list[Replicate] = []
        self._under_way: Replay | None = None

    def _open(self, seed: int) -> RowSource:
        options = self.options
        source = open_asked(options, seed)
        limit = options.limit(source.spec.rows_per_s)
        spec = with_drift(source.spec, options.drift_strength, options.drift_kind)
        if options.minutes is not None and limit is not None and source.kind == "generated":
            behind = spec.pretrain_rows
            whole = max(behind + limit, 2 * behind)
            if options.pretrain is not None:
                whole = math.ceil(limit / (1 - options.pretrain))
            spec = with_rows(spec, whole)
        if spec != source.spec:
            source = generated(spec, seed)
        return source if options.dim is None else with_dim(source, options.dim)

    def _pretrain_rows(self, source: RowSource) -> int | None:
        """Return how many rows a share of the stream is; None for as many as the workload has."""
        share = self.options.pretrain
        if share is None:
            return None
        limit = self.options.limit(source.spec.rows_per_s)
        whole = source.rows if limit is None else min(source.rows, round(limit / (1 - share)))
        return max(1, round(share * whole))

    @property
    def specs(self) -> Sequence[StrategySpec]:
        """Strategies that are replayed, with the rates and decays that they have by now."""
        return self._tuning.specs

    def _replayed_rows(self) -> int:
        """Return how many rows a replay goes through."""
        source = self.source
        before = self._pretrain_rows(source)
        if before is None:
            before = min(source.spec.pretrain_rows, source.rows // 2)
        rows = source.rows - before
        return min(rows, self.options.limit(source.spec.rows_per_s) or rows)

    def check_pushes(self, options: FreshnessOptions) -> None:
        """Refuse a push interval that the replay does not last.

        Raises
        ------
        InputError
            Naming both.
        """
        pushing = [spec.name for spec in self._tuning.specs if spec.kind.by_interval]
        if not pushing or options.protocol is not None:
            return
        lasts_s = self._replayed_rows() / self.source.spec.rows_per_s
        if options.push_interval_s >= lasts_s:
            raise InputError(
                f"--push-interval: found {options.push_interval_s:g} s, expected less than the "
                f"{lasts_s:.4g} s of the stream that are replayed, so that {pushing[0]} sends any"
            )

    def _checked(self) -> dict[str, Any]:
        """Return what is resumed, by strategy; refuse what is known before anything is pre-trained.

        Tables are alike in all seeds.
        """
        options, spec = self.options, self.source.spec
        layout = TableLayout(spec.table_rows, spec.model.dim, spec.sparse.hotness)
        saved: dict[str, Any] = {}
        for one in self._tuning.specs:
            if options.adapter is not None and one.kind.resumable:
                saved[one.name] = one.kind.load(Path(options.adapter), layout)
            one.kind.check(one, layout, options.memory_budget, saved.get(one.name))
        return saved

    def _given_times(self) -> ComputeModel | None:
        """Return what is given in place of measured times."""
        path = self.options.compute_model
        if path is None:
            return None
        found = ComputeModel.read(path)
        found.check(path, self._tuning.specs)
        return found

    def also_written(self) -> Sequence[str]:
        """Return where adapter, compute model, touch trace and the first delta go."""
        options = self.options
        written = [options.save_adapter, options.save_compute_model, options.save_touch_trace]
        if options.save_deltas is not None:
            written.append(str(first_delta(Path(options.save_deltas))))
        return tuple(filter(None, written))

    def measure(self, observer: Observer) -> None:
        """Replay the stream of every seed for every strategy.

        Raises
        ------
        InputError
            Too few rows for the windows, bad data, or memory that does not suffice.
        """
        self.fit_windows()
        if self.options.tune:
            self.tune(observer.stage)
        for seed in self._seeds:
            self._finished.append(self.replay(seed, observer.stage))
            self._under_way = None
        path = self.options.save_compute_model
        if path is not None:
            write_bytes(Path(path), self._measured().text().encode())

    def fit_windows(self) -> None:
        """Take fewer windows than usual of rows that are too few for them.

        Raises
        ------
        InputError
            More blocks of time are asked for than there are windows then.
        """
        if self.options.data is None or self._given.windows is not None:
            return
        windows = max(2, min(WINDOWS, self._replayed_rows() // LEAST_ROWS))
        fitted = replace(self._given, windows=windows)
        fitted.check()
        self.options = _settled(fitted)

    def tune(self, report: Report) -> None:
        """Choose each one's rate and decay.

        Raises
        ------
        InputError
            The rows are not generated.
        """
        source, options, specs = self.source, self.options, self._tuning.specs

        def pushes(tables: TableSet) -> Pushes:
            return self._pushes(tables, [])(options)

        self._tuning = tune(source, options, specs, report, pushes=pushes, pace=self._pace)

    def _measured(self) -> ComputeModel:
        """Return what learning and pushing took, in the mean over replicates, and over clusters."""
        seconds: dict[str, list[float]] = {}
        for replicate in self._finished:
            for one in replicate.strategies:
                if one.learned and one.spec.learns:
                    name = one.spec.name if one.spec.kind.learns_here else CLUSTER
                    seconds.setdefault(name, []).append(one.learn_s / one.learned)
                if one.cluster_learned:
                    seconds.setdefault(CLUSTER, []).append(one.cluster_s / one.cluster_learned)
        return ComputeModel(
            {name: fmean(found) for name, found in seconds.items()}, Handling.mean(self._handling)
        )

    def _pushes(self, tables: TableSet, noted: list[Handling]) -> PushesOf:
        """Return from options to how updates come from the cluster; note what both ends do."""
        size = tables.layout.table_bytes
        if (protocol := self._protocol) is not None:
            return lambda options: protocol.pushes(size, options.full_every)
        handling: Handling | None = None
        if any(issubclass(spec.kind, Pushed) for spec in self._tuning.specs):
            handling = self._compute.handling if self._compute else measure_handling(tables)
            noted.append(handling)
        return lambda options: Pushes(
            options.sync(size, handling), options.push_interval_s, options.full_every
        )

    def _pace(self, name: str) -> float | None:
        if self._protocol is not None:
            return 0.0
        # Who learns nothing is not in a compute model, and takes no time.
        return self._compute.per_sample.get(name, 0.0) if self._compute else None

    def replay(self, seed: int, report: Report, arrange: Arrange | None = None) -> Replicate:
        """Replay one seed; rows and model go when it is over.

        Parameters
        ----------
        seed : int
            Of its rows, model and draws.
        report : callable
            Told what is going on.
        arrange : callable, optional
            From how options have updates come to who takes part; by default all strategies as the
            options have them.

        Raises
        ------
        InputError
            Too few rows for the windows, bad data, or memory that does not suffice.
        """

        def told(text: str, done: float) -> None:
            report(f"seed {seed}: {text}" if len(self._seeds) > 1 else text, done)

        # Opened anew for generated rows: what it caches of the planted truth goes with it.
        source = self._open(seed) if self.options.data is None else self.source
        pretrain_rows = self._pretrain_rows(source)
        prepared = prepare(source, None, seed, told, accumulators=True, pretrain_rows=pretrain_rows)
        pushes = self._pushes(prepared.tables, self._handling)
        self._under_way = Replay(
            source,
            prepared,
            self._of_seed(seed),
            told,
            pushes=pushes(self.options),
            pace=self._pace,
            slices=arrange is None,
        )
        entrants = [Entrant(replace(spec, seed=seed)) for spec in self.specs]
        if arrange is not None:
            entrants = list(arrange(pushes))
        self._under_way.run(entrants, self._saved)
        return self._under_way.replicate()

    def _of_seed(self, seed: int) -> FreshnessOptions:
        """Return the options of one seed's replay: a touch trace is of the first."""
        path = self.options.save_touch_trace if seed == self._seeds[0] else None
        return replace(self.options, seed=seed, save_touch_trace=path)

    def _replicates(self) -> list[Replicate]:
        """Return the finished replays; where there are none, what is known of the one under way."""
        if self._finished or self._under_way is None:
            return self._finished
        known = self._under_way.replicate()
        return [known] if known.strategies else []

    def findings(self) -> Findings | None:
        """Return what the seeds say that are through, or the windows of the first of them."""
        found = self._replicates()
        if not found:
            return None
        config = self._config(found)
        hashed = {
            key: config[key]
            for key in ("experiment", "learning_rates", "accumulator_decays", "workload")
        } | {"pretrain_rows": found[0].pretrain_rows}
        measured = FreshnessTable(found, self._blocks())
        measured.fill()
        missing: Sequence[Missing] = ()
        if self._protocol is not None:
            config["protocol"] = self._protocol.told(self.source, self.options)
            missing = self._protocol.missing(self.source, self.options)
        return Findings(
            config,
            hashed,
            measured.table,
            claims=self._claims(measured),
            series=measured.series,
            unavailable=missing,
            notes=self.source.notes,
        )

    def _blocks(self) -> list[range]:
        """Return the windows of each replicate within a replay: of the only one, blocks of time."""
        return blocks_of(self.options.stretches, self.options.blocks)

    def _config(self, found: Sequence[Replicate]) -> dict[str, Any]:
        learning = [spec for spec in self._tuning.specs if spec.learns]
        source, options, blocks = self.source, self.options, self._blocks()
        handling = Handling.mean(self._handling)
        return {
            "experiment": resolved(options),
            "batch_rows": BATCH_ROWS,
            "replicates": {
                "of": "seeds" if options.data is None and len(blocks) == 1 else "time",
                "seeds": [one.seed for one in found],
                "windows": [len(block) for block in blocks],
                "rows": [one.rows for one in found],
                "one_class_windows": [one.one_class for one in found],
            },
            "pushes": {
                "table_bytes": found[0].table_bytes,
                "hosts": options.spread,
                "encode_s_per_byte": handling.encode_s_per_byte,
                "apply_s_per_byte": handling.apply_s_per_byte,
                "span_s": found[0].span_s,
            },
            "learning_rates": {spec.name: spec.learning_rate for spec in learning},
            "accumulator_decays": {spec.name: spec.accumulator_decay for spec in learning},
            "tuning": {
                name: [list(one) for one in tried] for name, tried in self._tuning.tried.items()
            },
            "workload": {
                "kind": source.kind,
                "digest": source.digest,
                "spec": source.spec.model_dump(mode="json"),
            },
            "model": {
                "origin": found[0].origin,
                "origins": [one.origin for one in found],
                "pretrain_rows": found[0].pretrain_rows,
            },
            "memory": most_bytes(found),
        }

    def _claims(self, measured: FreshnessTable) -> list[schema.Claim]:
        """Judge what the strategies held, and how they compare with delta updates."""
        basis, found = self.source.basis, measured.found
        labels = found.labels(known=self.source.labelled)
        judged = [
            claims.memory_budget(most_fraction(found), basis),
            freshness_quality(gain(measured, stored=self.options.data is not None), basis, labels),
        ]
        # By a protocol nothing is sent over a link.
        if self._protocol is None:
            late = lateness(found, self.options, Handling.mean(self._handling))
            judged.append(freshness_latency(late, basis, labels))
        return [*judged, sync_claim()]


def _settled(options: FreshnessOptions) -> FreshnessOptions:
    """Return options with what follows from others in its place."""
    return replace(options, seeds=options.replicates, windows=options.stretches)
