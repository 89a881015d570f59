"""What `profile` says of its windows: metrics of tables, series over components and windows.

A table is labelled by its name, and by D where several dims were profiled.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lorabench.experiments.profile.options import ProfileOptions
from lorabench.experiments.profile.windows import Profiled, TableWindow, Window
from lorabench.lora.layout import adapted_bytes
from lorabench.lora.spectrum import Spectrum
from lorabench.results import schema
from lorabench.results.case import Case
from lorabench.results.metrics import MetricTable

SHARES = (0.80, 0.90, 0.95)


def table_case(name: str, dim: int | None = None) -> Case:
    """Return the case of a table, of all of them as ``all``; with D where there are several."""
    if dim is None:
        return Case(name, {"table": name})
    return Case(f"D{dim}/{name}", {"table": name, "dim": dim})


def add_spectra(
    table: MetricTable, case: Case, spectra: Sequence[Spectrum], variance: float, prefix: str = ""
) -> None:
    """Write down the ranks of spectra, a window each."""
    dim = len(spectra[0].values)
    for share in sorted({*SHARES, variance}):
        ranks = [float(spectrum.rank(share)) for spectrum in spectra]
        table.add(f"{prefix}rank_at_{100 * share:.3g}", case, *ranks)
        fractions = [rank / dim for rank in ranks]
        table.add(f"{prefix}rank_fraction_at_{100 * share:.3g}", case, *fractions)
    effective = [spectrum.effective_rank for spectrum in spectra]
    table.add(f"{prefix}effective_rank", case, *effective)


def add_recommendation(
    table: MetricTable, case: Case, *, rank: int, touched: int, rows: int, dim: int
) -> None:
    """Write down which rank a table needs and what that costs for the rows touched."""
    table.add("recommended_rank", case, float(rank))
    table.add("recommended_bytes", case, float(adapted_bytes(touched, rank, dim)))
    table.add("table_bytes", case, float(rows * dim * 4))


def explained(name: str, case: Case, spectra: Sequence[Spectrum]) -> schema.Series:
    """Return the share of the variance that leading components hold, averaged over windows."""
    mean: NDArray[np.float64] = np.mean([spectrum.explained for spectrum in spectra], axis=0)
    return schema.Series.of(name, case, range(1, len(mean) + 1), mean, units=("1", "1"))


def weighted_rank(spectra: Sequence[Spectrum], variance: float) -> float | None:
    """Return the rank at a share of the variance, tables weighted by energy; None without any."""
    energy = np.array([spectrum.energy for spectrum in spectra])
    ranks = np.array([spectrum.rank(variance) for spectrum in spectra])
    return float(energy @ ranks / energy.sum()) if energy.sum() > 0 else None


def ranks_by_optimizer(
    windows: Sequence[Window], trained_by: str, variance: float
) -> dict[str, list[float | None]]:
    """Return the weighted rank of each window by who moved the rows, or might have.

    Parameters
    ----------
    windows : sequence of Window
        At least one.
    trained_by : str
        The optimiser that did, which comes first.
    variance : float
        Share of it to be explained.
    """
    found = {
        trained_by: [weighted_rank([t.update for t in one.tables], variance) for one in windows]
    }
    for name in windows[0].tables[0].otherwise:
        found[name] = [
            weighted_rank([table.otherwise[name] for table in one.tables], variance)
            for one in windows
        ]
    return found


class ProfileTable:
    """Metrics and series of one dim.

    Parameters
    ----------
    table : MetricTable
        Filled.
    series : list of schema.Series
        Likewise.
    dim : int or None
        D as a label; None where all was profiled at one.
    options : ProfileOptions
        Of the run.
    """

    def __init__(
        self,
        table: MetricTable,
        series: list[schema.Series],
        dim: int | None,
        options: ProfileOptions,
    ) -> None:
        self._table = table
        self._series = series
        self._dim = dim
        self._options = options

    def fill(self, found: Profiled, names: Sequence[str], table_rows: Sequence[int]) -> None:
        """Write down all tables of a dim whose warm-up is over."""
        warmup, variance = self._options.warmup_windows, self._options.variance
        steady = found.windows[warmup:]
        self._add_training(steady)
        trained_by = self._options.optimizer
        every = ranks_by_optimizer(found.windows, trained_by, variance)
        self._over_windows(
            "weighted_rank", self._case("all"), [rank or 0.0 for rank in every[trained_by]]
        )
        for name, ranks in every.items():
            case = self._case("all")
            by = Case(f"{case.text}/{name}", dict(case.labels) | {"optimizer": name})
            self._table.add(f"weighted_rank_at_{100 * variance:.3g}", by, *ranks[warmup:])
        energy = [[table.update.energy for table in window.tables] for window in steady]
        total: NDArray[np.float64] = np.sum(energy, axis=0)
        whole = float(total.sum()) or 1.0
        for number, name in enumerate(names):
            case = self._case(name)
            tables = [window.tables[number] for window in steady]
            stable = [row[number] for row in found.stability[max(warmup - 1, 0) :]]
            self._table.add("update_energy_share", case, float(total[number]) / whole)
            self._table.add("subspace_alignment", case, *stable)
            self._add_table(case, tables)
            wanted = [table.signal.kept.rank(variance) for table in tables]
            add_recommendation(
                self._table,
                case,
                rank=int(np.median(wanted)),
                touched=int(np.mean([table.touched for table in tables])),
                rows=table_rows[number],
                dim=found.dim,
            )
            of = [window.tables[number] for window in found.windows]
            self._over_windows("rank", case, [one.update.rank(variance) for one in of])
            self._over_windows("signal_rank", case, [one.signal.significant for one in of])

    def _case(self, name: str) -> Case:
        return table_case(name, self._dim)

    def _add_training(self, steady: Sequence[Window]) -> None:
        every, whole = self._case("all"), [w.train_s + w.measure_s for w in steady]
        rates = [window.rows / s for window, s in zip(steady, whole, strict=True)]
        shares = [window.train_s / s for window, s in zip(steady, whole, strict=True)]
        self._table.add("train_samples_per_s", every, *rates)
        self._table.add("train_time_share", every, *shares)
        self._table.add("log_loss", every, *(window.loss for window in steady))
        entropy = [window.normalized_entropy for window in steady]
        self._table.add("normalized_entropy", every, *entropy)

    def _add_table(self, case: Case, tables: Sequence[TableWindow]) -> None:
        """Write down a table's spectra: of updates, of gradients, of the signal in them."""
        variance, add = self._options.variance, self._table.add
        updates = [table.update for table in tables]
        gradients = [table.gradient for table in tables]
        kept = [table.signal.kept for table in tables]
        add("rows_touched", case, *(float(table.touched) for table in tables))
        add_spectra(self._table, case, updates, variance)
        add_spectra(self._table, case, gradients, variance, "gradient_")
        add("signal_rank", case, *(float(table.signal.significant) for table in tables))
        wanted = [float(spectrum.rank(variance)) for spectrum in kept]
        add(f"signal_rank_at_{100 * variance:.3g}", case, *wanted)
        add("signal_share", case, *(table.signal.share for table in tables))
        floors = [t.signal.floor for t in tables if np.isfinite(t.signal.floor)]
        add("signal_floor", case, *floors)
        self._series += [
            explained("explained_variance", case, updates),
            explained("gradient_explained_variance", case, gradients),
            explained("signal_explained_variance", case, kept),
        ]

    def _over_windows(self, name: str, case: Case, values: Sequence[float]) -> None:
        self._series.append(
            schema.Series.of(
                f"{name}_by_window", case, range(len(values)), values, units=("window", "1")
            )
        )
