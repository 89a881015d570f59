"""How low-rank embedding updates are: three spectra a table, window by window.

A pre-trained model goes on training on the stream. Each window gives, for every table, the spectra
of `lorabench.lora.spectrum`; the first windows are warm-up and are shown but not summarised.
Several embedding dims are profiled one after the other on the same rows. Tables that are already
trained can be compared instead (`lorabench.experiments.profile.snapshots`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.bench.options import resolved
from lorabench.bench.turns import Turns
from lorabench.errors import InputError
from lorabench.experiments.profile.metrics import ProfileTable, ranks_by_optimizer
from lorabench.experiments.profile.options import LEAST_WINDOW, ProfileOptions
from lorabench.experiments.profile.otherwise import OTHERWISE
from lorabench.experiments.profile.snapshots import SnapshotProfile
from lorabench.experiments.profile.windows import MeterConfig, Profiled, Window, WindowMeter
from lorabench.lora.spectrum import alignment
from lorabench.model.prepare import prepare
from lorabench.results import claims as claim
from lorabench.results import schema, statistics
from lorabench.results.learnable import LabelCount, Learned
from lorabench.workload.source import RowSource, open_asked, with_dim
from lorabench.workload.stream import RowStream

_LARGEST_WINDOW = 262_144

Report = Callable[[str, float], None]


def make(options: ProfileOptions) -> Experiment:
    """Return the experiment that the options ask for: training, or two snapshots compared."""
    return TrainingProfile(options) if options.old is None else SnapshotProfile(options)


class TrainingProfile(Experiment):
    """Train on a stream and profile its updates, dim by dim.

    As `Experiment`.
    """

    options: ProfileOptions

    def __init__(self, options: ProfileOptions) -> None:
        super().__init__(options)
        self._source = open_asked(options, options.seed)
        self._found: list[Profiled] = []

    def measure(self, observer: Observer) -> None:
        """Profile every dim.

        Raises
        ------
        InputError
            Bad data, a window longer than the stream, or tables that do not fit.
        DivergedError
            Training met a loss or gradient that is not finite.
        """
        for dim in self._dims:
            source = with_dim(self._source, dim) if self.options.dims else self._source
            self._found.append(Profiled(dim))
            _profile(source, self.options, observer.stage, self._found[-1], self.turns)

    @property
    def _dims(self) -> tuple[int, ...]:
        return self.options.dims or (self._source.spec.model.dim,)

    def findings(self) -> Findings | None:
        """Return what the windows say that have been finished, once one is no warm-up."""
        options, source = self.options, self._source
        warmup = options.warmup_windows
        found = [one for one in self._found if len(one.windows) > warmup]
        if not found:
            return None
        config = {
            "experiment": resolved(options, "old", "new") | {"dims": list(self._dims)},
            "workload": {
                "kind": source.kind,
                "digest": source.digest,
                "description": source.description,
                "spec": source.spec.model_dump(mode="json"),
            },
            "window_rows": found[0].window_rows,
            "wraps": max(one.wraps for one in found),
            "model": {"origin": [one.origin for one in found]},
        }
        hashed = {key: config[key] for key in ("experiment", "workload", "window_rows")}
        told = Findings(config, hashed, notes=source.notes)
        names = [f"C{f + 1}" for f in range(source.spec.num_sparse)]
        series: list[schema.Series] = []
        claims: list[schema.Claim] = []
        for profiled in found:
            table = ProfileTable(
                told.table, series, profiled.dim if len(self._dims) > 1 else None, options
            )
            table.fill(profiled, names, source.spec.table_rows)
            claims.append(claim.lowrank_variance(self._evidence(profiled), source.basis))
        told.series, told.claims = series, claims
        return told

    def _evidence(self, profiled: Profiled) -> claim.LowRank:
        """Return what the verdict on a dim rests on: its windows behind the warm-up."""
        options = self.options
        steady = profiled.windows[options.warmup_windows :]
        ranks = ranks_by_optimizer(steady, options.optimizer, options.variance)
        estimates = {name: statistics.mean(values) for name, values in ranks.items()}
        return claim.LowRank(
            profiled.dim,
            options.variance,
            estimates.pop(options.optimizer),
            len(steady),
            profiled.window_rows,
            profiled.wraps,
            {OTHERWISE[name]: found.value for name, found in estimates.items() if found},
            learned(steady, known=self._source.labelled),
        )


def learned(windows: Sequence[Window], *, known: bool = True) -> Learned:
    """Return what shows that something was learned in windows; `known`: their rows have labels."""
    rows, positives = (sum(getattr(one, of) for one in windows) for of in ("rows", "positives"))
    return Learned(
        LabelCount(rows, positives, known),
        sum(one.positives in (0, one.rows) for one in windows),
        len(windows),
        statistics.mean([one.normalized_entropy for one in windows]),
    )


def _profile(
    source: RowSource, options: ProfileOptions, report: Report, found: Profiled, turns: Turns
) -> None:
    """Train through the windows of one dim, and write each down as it ends."""
    carried_over = options.optimizer == "adagrad"
    prepared = prepare(source, None, options.seed, report, accumulators=carried_over)
    found.origin = prepared.origin
    found.window_rows = _window_rows(source, prepared.serving_start, options)
    meter = WindowMeter(
        prepared.model,
        MeterConfig(
            batch=min(options.batch, found.window_rows),
            optimizer="sgd" if options.optimizer == "sgd" else "adagrad",
            learning_rate=options.learning_rate,
            signal_samples=options.signal_samples,
            seed=options.seed,
        ),
        source.spec.dense,
    )
    stream = RowStream(source, prepared.serving_start)
    total = options.warmup_windows + options.windows
    for number in range(total):
        turns.next(f"D = {found.dim}, window {number + 1}", number / total)
        report(f"profiling D = {found.dim}", number / total)
        window = meter.window(stream.take(found.window_rows))
        if found.windows:
            found.stability.append(_stability(found.windows[-1], window, options.variance))
            found.windows[-1] = _light(found.windows[-1])
        found.windows.append(window)
        found.wraps = stream.wraps
    report(f"profiling D = {found.dim}", 1.0)


def _light(window: Window) -> Window:
    """Return a window without its directions, D x D each, which only its neighbour needs."""
    none = np.zeros((0, 0))
    return replace(
        window,
        tables=tuple(
            replace(
                table,
                gradient=replace(table.gradient, directions=none),
                update=replace(table.update, directions=none),
                signal=replace(table.signal, directions=none),
                otherwise={
                    name: replace(spectrum, directions=none)
                    for name, spectrum in table.otherwise.items()
                },
            )
            for table in window.tables
        ),
    )


def _window_rows(source: RowSource, first: int, options: ProfileOptions) -> int:
    """Return the samples of a window: what is asked for, or a share of what there is."""
    known = source.rows - first
    if options.window is not None:
        if options.window > known:
            raise InputError(
                f"--window: found {options.window}, expected at most the {known} rows that "
                f"{source.description} has behind those to pre-train on"
            )
        return options.window
    fitting = known // (options.windows + options.warmup_windows)
    return max(min(fitting, _LARGEST_WINDOW), min(LEAST_WINDOW, known))


def _stability(before: Window, after: Window, variance: float) -> list[float]:
    """Return how alike each table's leading subspace is to that of the window before."""
    found = []
    for old, new in zip(before.tables, after.tables, strict=True):
        rank = max(old.update.rank(variance), 1)
        found.append(alignment(old.update.directions[:rank], new.update.directions[:rank]))
    return found
