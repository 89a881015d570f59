"""How low-rank embedding updates are: three spectra a table, window by window.

A pre-trained model goes on training on the stream. Each window gives, for every table, the spectra
of `lorabench.lora.spectrum`; the first windows are warm-up and are shown but not summarised.
Several embedding dims are profiled one after the other on the same rows. Tables that are already
trained can be compared instead: `compare` gives the spectrum of their difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.experiments.profile.windows import MeterConfig, Window, WindowMeter
from lorabench.host import environment
from lorabench.host.topology import read_topology
from lorabench.lora.adapter import adapted_bytes
from lorabench.lora.spectrum import Spectrum, alignment
from lorabench.model.full import OptimizerName
from lorabench.model.prepare import prepare
from lorabench.model.snapshot import Snapshot, open_snapshot
from lorabench.results import claims as verdict
from lorabench.results import schema, statistics
from lorabench.results.program import program
from lorabench.workload.source import RowSource, RowStream, with_dim

SHARES = (0.80, 0.90, 0.95)

_LARGEST_WINDOW = 262_144
_LEAST_WINDOW = 64
_CHUNK_BYTES = 64 << 20

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class ProfileConfig:
    """What to measure.

    Parameters
    ----------
    variance : float
        Share of the variance whose rank is judged.
    window : int or None
        Samples of a window; None for as many as leave the stream enough windows.
    windows : int
        Windows that are summarised.
    warmup_windows : int
        Windows before those: the pre-trained model and its optimiser settle.
    dims : tuple of int
        Embedding dims; empty for the workload's own.
    optimizer : {"adagrad", "sgd"}
        Of the tables.
    learning_rate : float or None
        Of the tables; None for the optimiser's default.
    batch : int
        Samples of a training step.
    signal_samples : int
        Samples of a window that the signal is taken from.
    seed : int
        Of generated rows, initial weights and chosen samples.
    """

    variance: float = 0.8
    window: int | None = None
    windows: int = 8
    warmup_windows: int = 2
    dims: tuple[int, ...] = ()
    optimizer: OptimizerName = "adagrad"
    learning_rate: float | None = None
    batch: int = 2048
    signal_samples: int = 16_384
    seed: int = 0

    def validate(self) -> None:
        """Check what the options alone tell.

        Raises
        ------
        InputError
            A value out of range.
        """
        if not 0 < self.variance < 1:
            raise InputError(f"--variance: found {self.variance}, expected above 0 and below 1")
        if self.learning_rate is not None and not 0 < self.learning_rate < np.inf:
            raise InputError(
                f"--learning-rate: found {self.learning_rate}, expected above 0 and finite"
            )
        for option, value, least in (
            ("--window", self.window, _LEAST_WINDOW),
            ("--windows", self.windows, 1),
            ("--warmup-windows", self.warmup_windows, 0),
            ("--batch", self.batch, 1),
            ("--signal-samples", self.signal_samples, _LEAST_WINDOW),
            ("--seed", self.seed, 0),
            *(("--dim", dim, 1) for dim in self.dims),
        ):
            if value is not None and value < least:
                raise InputError(f"{option}: found {value}, expected an integer >= {least}")


@dataclass(frozen=True)
class _Profiled:
    """One dim's windows, the warm-up first."""

    dim: int
    windows: list[Window]
    stability: list[list[float]]
    wraps: int
    origin: str
    window_rows: int


def measure(source: RowSource, config: ProfileConfig, report: Report) -> schema.Result:
    """Train on the stream and profile the updates.

    Parameters
    ----------
    source : RowSource
        The workload.
    config : ProfileConfig
        What to measure.
    report : callable
        Told what is going on and how much of it is done.

    Raises
    ------
    InputError
        Bad options or data, a window longer than the stream, or tables that do not fit.
    DivergedError
        Training met a loss or gradient that is not finite.
    """
    config.validate()
    dims = config.dims or (source.spec.model.dim,)
    found = [
        _profile(with_dim(source, dim) if config.dims else source, config, report) for dim in dims
    ]
    metrics: list[schema.Metric] = []
    series: list[schema.Series] = []
    claims: list[schema.Claim] = []
    names = [f"C{f + 1}" for f in range(source.spec.num_sparse)]
    for profiled in found:
        prefix = f"D{profiled.dim}/" if len(found) > 1 else ""
        sheet = _Sheet(prefix, names, config)
        sheet.fill(profiled, source.spec.table_rows)
        metrics += sheet.metrics
        series += sheet.series
        steady = profiled.windows[config.warmup_windows :]
        claims.append(
            verdict.lowrank_variance(
                verdict.LowRank(
                    profiled.dim,
                    config.variance,
                    statistics.mean([_weighted_rank(w, config.variance) for w in steady]),
                    len(steady),
                    profiled.window_rows,
                ),
                source.basis,
            )
        )
    return _document(
        "profile",
        {
            "experiment": asdict(config) | {"dims": list(dims)},
            "workload": {
                "kind": source.kind,
                "digest": source.digest,
                "description": source.description,
                "spec": source.spec.model_dump(mode="json"),
            },
            "window_rows": found[0].window_rows,
            "wraps": max(one.wraps for one in found),
            "model": {"origin": [one.origin for one in found]},
        },
        metrics,
        series,
        claims,
        hashed=("experiment", "workload", "window_rows"),
    )


def compare(old: Path, new: Path, config: ProfileConfig, report: Report) -> schema.Result:
    """Profile the difference of two snapshots of trained tables.

    Parameters
    ----------
    old, new : Path
        ``.pt``, ``.npy`` or ``.safetensors``; see `lorabench.model.snapshot`.
    config : ProfileConfig
        `variance` counts here.
    report : callable
        Told what is going on and how much of it is done.

    Raises
    ------
    InputError
        A file cannot be read, or the two do not hold the same tables.
    """
    config.validate()
    before, after = open_snapshot(old), open_snapshot(new)
    _check_alike(before, after)
    metrics: list[schema.Metric] = []
    series: list[schema.Series] = []
    spectra, dims = [], set()
    for number, name in enumerate(before.names):
        report("comparing", number / len(before.names))
        spectrum, touched = _difference(name, before, after)
        spectra.append(spectrum)
        rows, dim = before.shape(name)
        dims.add(dim)
        add = _adder(metrics, name)
        add("rows_changed", "1", "lower", [float(touched)])
        add("update_energy", "1", "lower", [spectrum.energy])
        _spectrum_metrics(add, "", [spectrum], config.variance)
        rank = spectrum.rank(config.variance)
        add("recommended_rank", "1", "lower", [float(rank)])
        add("recommended_bytes", "B", "lower", [float(adapted_bytes(touched, rank, dim))])
        add("table_bytes", "B", "lower", [float(rows * dim * 4)])
        series.append(_explained("explained_variance", name, [spectrum]))
    report("comparing", 1.0)
    energy = np.array([spectrum.energy for spectrum in spectra])
    ranks = np.array([spectrum.rank(config.variance) for spectrum in spectra])
    estimate = (
        statistics.Estimate(float(energy @ ranks / energy.sum()), None, 1)
        if energy.sum() > 0
        else None
    )
    claims = []
    if len(dims) == 1:
        evidence = verdict.LowRank(dims.pop(), config.variance, estimate, 1, 0)
        claims.append(verdict.lowrank_variance(evidence, "measured-real"))
    return _document(
        "profile",
        {
            "experiment": asdict(config) | {"dims": []},
            "from": {"file": old.name, "sha256": before.digest},
            "to": {"file": new.name, "sha256": after.digest},
        },
        metrics,
        series,
        claims,
        hashed=("experiment", "from", "to"),
    )


def _profile(source: RowSource, config: ProfileConfig, report: Report) -> _Profiled:
    prepared = prepare(source, None, config.seed, report)
    window_rows = _window_rows(source, prepared.serving_start, config)
    dim = source.spec.model.dim
    meter = WindowMeter(
        prepared.tables,
        prepared.net,
        MeterConfig(
            batch=min(config.batch, window_rows),
            optimizer=config.optimizer,
            learning_rate=config.learning_rate,
            signal_samples=config.signal_samples,
            seed=config.seed,
        ),
    )
    stream = RowStream(source, prepared.serving_start)
    windows: list[Window] = []
    stability: list[list[float]] = []
    total = config.warmup_windows + config.windows
    for number in range(total):
        report(f"profiling D = {dim}", number / total)
        window = meter.window(stream.take(window_rows))
        if windows:
            stability.append(_stability(windows[-1], window, config.variance))
            windows[-1] = _light(windows[-1])
        windows.append(window)
    report(f"profiling D = {dim}", 1.0)
    return _Profiled(dim, windows, stability, stream.wraps, prepared.origin, window_rows)


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
            )
            for table in window.tables
        ),
    )


def _window_rows(source: RowSource, first: int, config: ProfileConfig) -> int:
    """Give the samples of a window: what is asked for, or a share of what there is."""
    known = source.rows - first
    if config.window is not None:
        if config.window > known:
            raise InputError(
                f"--window: found {config.window}, expected at most the {known} rows that "
                f"{source.description} has behind those to pre-train on"
            )
        return config.window
    fitting = known // (config.windows + config.warmup_windows)
    return max(min(fitting, _LARGEST_WINDOW), min(_LEAST_WINDOW, known))


def _stability(before: Window, after: Window, variance: float) -> list[float]:
    """How alike each table's leading subspace is to that of the window before."""
    found = []
    for old, new in zip(before.tables, after.tables, strict=True):
        rank = max(old.update.rank(variance), 1)
        found.append(alignment(old.update.directions[:rank], new.update.directions[:rank]))
    return found


def _weighted_rank(window: Window, variance: float) -> float | None:
    energy = np.array([table.update.energy for table in window.tables])
    ranks = np.array([table.update.rank(variance) for table in window.tables])
    return float(energy @ ranks / energy.sum()) if energy.sum() > 0 else None


Add = Callable[[str, str, Literal["lower", "higher"], list[float]], None]


def _adder(metrics: list[schema.Metric], condition: str) -> Add:
    def add(name: str, unit: str, better: Literal["lower", "higher"], values: list[float]) -> None:
        present: list[float | None] = list(values)
        metrics.append(
            schema.Metric.of(
                name,
                condition,
                unit=unit,
                better=better,
                values=present,
                estimate=statistics.mean(present),
            )
        )

    return add


def _spectrum_metrics(add: Add, prefix: str, spectra: Sequence[Spectrum], variance: float) -> None:
    for share in sorted({*SHARES, variance}):
        name = f"{prefix}rank_at_{100 * share:.3g}"
        ranks = [float(spectrum.rank(share)) for spectrum in spectra]
        add(name, "1", "lower", ranks)
        dim = len(spectra[0].values)
        fraction = f"{prefix}rank_fraction_at_{100 * share:.3g}"
        add(fraction, "1", "lower", [rank / dim for rank in ranks])
    name = f"{prefix}effective_rank"
    add(name, "1", "lower", [spectrum.effective_rank for spectrum in spectra])


def _explained(name: str, condition: str, spectra: Sequence[Spectrum]) -> schema.Series:
    explained: NDArray[np.float64] = np.mean([spectrum.explained for spectrum in spectra], axis=0)
    return schema.Series(
        name=name,
        condition=condition,
        x=[float(k) for k in range(1, len(explained) + 1)],
        y=[float(value) for value in explained],
        x_unit="1",
        y_unit="1",
    )


class _Sheet:
    """Metrics and series of one dim."""

    def __init__(self, prefix: str, names: Sequence[str], config: ProfileConfig) -> None:
        self._prefix = prefix
        self._names = names
        self._config = config
        self.metrics: list[schema.Metric] = []
        self.series: list[schema.Series] = []

    def fill(self, found: _Profiled, table_rows: Sequence[int]) -> None:
        warmup = self._config.warmup_windows
        steady = found.windows[warmup:]
        add = _adder(self.metrics, f"{self._prefix}all")
        share = [w.train_s / (w.train_s + w.measure_s) for w in steady]
        add(
            "train_samples_per_s",
            "1/s",
            "higher",
            [w.rows / (w.train_s + w.measure_s) for w in steady],
        )
        add("train_time_share", "1", "higher", share)
        add("log_loss", "1", "lower", [w.loss for w in steady])
        variance = self._config.variance
        self._over_windows(
            "weighted_rank", [_weighted_rank(w, variance) or 0.0 for w in found.windows]
        )
        energy = [[table.update.energy for table in window.tables] for window in steady]
        total: NDArray[np.float64] = np.sum(energy, axis=0)
        whole = float(total.sum()) or 1.0
        for number, name in enumerate(self._names):
            tables = [window.tables[number] for window in steady]
            condition = self._prefix + name
            add = _adder(self.metrics, condition)
            add("rows_touched", "1", "lower", [float(table.touched) for table in tables])
            add("update_energy_share", "1", "lower", [float(total[number]) / whole])
            _spectrum_metrics(add, "", [table.update for table in tables], variance)
            _spectrum_metrics(add, "gradient_", [table.gradient for table in tables], variance)
            kept = [table.signal.kept for table in tables]
            add("signal_rank", "1", "lower", [float(t.signal.significant) for t in tables])
            wanted = [float(spectrum.rank(variance)) for spectrum in kept]
            add(f"signal_rank_at_{100 * variance:.3g}", "1", "lower", wanted)
            add("signal_share", "1", "higher", [table.signal.share for table in tables])
            floors = [t.signal.floor for t in tables if np.isfinite(t.signal.floor)]
            add("signal_floor", "1", "lower", floors)
            stable = [row[number] for row in found.stability[max(warmup - 1, 0) :]]
            add("subspace_alignment", "1", "higher", stable)
            rank = int(np.median(wanted)) if wanted else 0
            touched = int(np.mean([table.touched for table in tables]))
            add("recommended_rank", "1", "lower", [float(rank)])
            cost = float(adapted_bytes(touched, rank, found.dim))
            add("recommended_bytes", "B", "lower", [cost])
            add("table_bytes", "B", "lower", [float(table_rows[number] * found.dim * 4)])
            for label, spectra in (
                ("explained_variance", [table.update for table in tables]),
                ("gradient_explained_variance", [table.gradient for table in tables]),
                ("signal_explained_variance", kept),
            ):
                self.series.append(_explained(label, condition, spectra))
            self._over_windows(
                "rank", [w.tables[number].update.rank(variance) for w in found.windows], name
            )
            self._over_windows(
                "signal_rank", [w.tables[number].signal.significant for w in found.windows], name
            )

    def _over_windows(self, name: str, values: Sequence[float], condition: str = "all") -> None:
        self.series.append(
            schema.Series(
                name=f"{name}_by_window",
                condition=self._prefix + condition,
                x=[float(n) for n in range(len(values))],
                y=[float(value) for value in values],
                x_unit="window",
                y_unit="1",
            )
        )


def _check_alike(before: Snapshot, after: Snapshot) -> None:
    if before.names != after.names:
        lacking = sorted(set(before.names) ^ set(after.names))
        raise InputError(
            f"{after.path}: found other tables than {before.path} has "
            f"({', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''}), expected the same"
        )
    for name in before.names:
        if before.shape(name) != after.shape(name):
            raise InputError(
                f"{after.path}: {name}: found shape {list(after.shape(name))}, expected "
                f"{list(before.shape(name))} as in {before.path}"
            )


def _difference(name: str, before: Snapshot, after: Snapshot) -> tuple[Spectrum, int]:
    """Spectrum of a table's difference, and how many rows differ; a part of the rows at a time."""
    rows, dim = before.shape(name)
    moment = np.zeros((dim, dim))
    touched = 0
    step = max(1, _CHUNK_BYTES // (dim * 4))
    for begin in range(0, rows, step):
        end = min(begin + step, rows)
        delta = after.read(name, begin, end) - before.read(name, begin, end)
        if not np.isfinite(delta).all():
            row = begin + int(np.flatnonzero(~np.isfinite(delta).all(axis=1))[0])
            raise InputError(
                f"{before.path} and {after.path}: {name}: found a value that is not finite in "
                f"row {row}, expected finite ones"
            )
        moment += delta.T @ delta
        touched += int(delta.any(axis=1).sum())
    return Spectrum.of(moment), touched


def _document(
    command: str,
    config: dict[str, Any],
    metrics: list[schema.Metric],
    series: list[schema.Series],
    claims: list[schema.Claim],
    *,
    hashed: Sequence[str],
) -> schema.Result:
    now = datetime.now(UTC)
    return schema.Result(
        command=command,
        id=schema.new_id(now),
        created=now,
        lorabench=program(),
        config=config,
        config_hash=schema.config_hash({key: config[key] for key in hashed}),
        environment=environment.capture(read_topology()),
        partial=False,
        rounds=[],
        metrics=metrics,
        claims=claims,
        unavailable=[],
        series=series,
    )
