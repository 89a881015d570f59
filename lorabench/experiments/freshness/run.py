"""How a served model ages, and what keeps it fresh: quality over workload time, by strategy.

The stream's head pre-trains the model; the rest is replayed without a network
(`lorabench.experiments.freshness.replay`). On generated rows ``ceiling`` stands beside the
strategies, the classifier that knows the planted truth.
"""

from collections.abc import Sequence

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.bench.options import resolved
from lorabench.experiments.freshness.metrics import FreshnessTable
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.replay import Replay
from lorabench.experiments.freshness.tuning import Tuning, tune
from lorabench.model.prepare import Prepared, prepare
from lorabench.results import claims, schema
from lorabench.workload.source import open_source, with_dim


class Freshness(Experiment):
    """Pre-train on the stream's head, then replay the rest.

    As `Experiment`.
    """

    options: FreshnessOptions

    def __init__(self, options: FreshnessOptions) -> None:
        super().__init__(options)
        source = open_source(options.preset, options.data, options.seed)
        self._source = source if options.dim is None else with_dim(source, options.dim)
        self._tuning = Tuning(list(options.specs()))
        self._prepared: Prepared | None = None
        self._replay: Replay | None = None

    def also_written(self) -> Sequence[str]:
        """Return where the adapter goes."""
        return () if self.options.save_adapter is None else (self.options.save_adapter,)

    def measure(self, observer: Observer) -> None:
        """Replay the stream for every strategy.

        Raises
        ------
        InputError
            Too few rows for the windows, bad data, or memory that does not suffice.
        """
        options, source = self.options, self._source
        if options.tune:
            self._tuning = tune(source, options, self._tuning.specs, observer.stage)
        self._prepared = prepare(source, None, options.seed, observer.stage, accumulators=True)
        self._replay = Replay(source, self._prepared, options, observer.stage)
        self._replay.run(self._tuning.specs)

    def findings(self) -> Findings | None:
        """Return what the strategies say that have finished a window."""
        if self._prepared is None or self._replay is None:
            return None
        found = [one for one in self._replay.strategies if one.scores]
        if not found:
            return None
        learning = [spec for spec in self._tuning.specs if spec.learns]
        source, prepared = self._source, self._prepared
        config = {
            "experiment": resolved(self.options),
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
            "model": {"origin": prepared.origin, "pretrain_rows": prepared.pretrain_rows},
            "memory": {one.spec.name: one.peak_bytes for one in found if one.peak_bytes},
        }
        hashed = {
            key: config[key]
            for key in ("experiment", "learning_rates", "accumulator_decays", "workload")
        } | {"pretrain_rows": prepared.pretrain_rows}
        measured = FreshnessTable(self._replay.windows, prepared.tables.layout.table_bytes)
        measured.fill(found)
        return Findings(
            config, hashed, measured.table, claims=self._claims(measured), series=measured.series
        )

    def _claims(self, measured: FreshnessTable) -> list[schema.Claim]:
        """Judge what the strategies held, and whether the best beats delta updates."""
        assert self._replay is not None
        basis, strategies = self._source.basis, self._replay.strategies
        held = [measured.fraction(one) for one in strategies if one.peak_bytes]
        return [
            claims.memory_budget(max(held, default=None), basis),
            claims.freshness_quality(measured.gain(strategies), basis),
        ]
