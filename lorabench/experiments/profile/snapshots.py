"""How low-rank the difference of two snapshots of trained tables is."""

import numpy as np

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.bench.options import resolved
from lorabench.errors import InputError
from lorabench.experiments.profile.metrics import (
    add_recommendation,
    add_spectra,
    explained,
    table_case,
    weighted_rank,
)
from lorabench.experiments.profile.options import ProfileOptions
from lorabench.lora.spectrum import Spectrum
from lorabench.model.snapshot import Snapshot, open_snapshot
from lorabench.results import claims as claim
from lorabench.results import schema, statistics
from lorabench.results.metrics import MetricTable

_CHUNK_BYTES = 64 << 20


class SnapshotProfile(Experiment):
    """Profile the difference of two snapshots; see `lorabench.model.snapshot`.

    As `Experiment`.

    Raises
    ------
    InputError
        A file cannot be read, or the two do not hold the same tables.
    """

    options: ProfileOptions

    def __init__(self, options: ProfileOptions) -> None:
        super().__init__(options)
        assert options.old is not None
        assert options.new is not None
        self._before, self._after = open_snapshot(options.old), open_snapshot(options.new)
        _check_alike(self._before, self._after)
        self._table = MetricTable()
        self._series: list[schema.Series] = []
        self._spectra: list[Spectrum] = []
        self._dims: set[int] = set()

    def measure(self, observer: Observer) -> None:
        """Compare table after table.

        Raises
        ------
        InputError
            A value is not finite.
        """
        variance, names = self.options.variance, self._before.names
        for number, name in enumerate(names):
            observer.stage("comparing", number / len(names))
            spectrum, touched = _difference(name, self._before, self._after)
            rows, dim = self._before.shape(name)
            case = table_case(name)
            self._table.add("rows_changed", case, float(touched))
            self._table.add("update_energy", case, spectrum.energy)
            add_spectra(self._table, case, [spectrum], variance)
            add_recommendation(
                self._table,
                case,
                rank=spectrum.rank(variance),
                touched=touched,
                rows=rows,
                dim=dim,
            )
            self._series.append(explained("explained_variance", case, [spectrum]))
            self._spectra.append(spectrum)
            self._dims.add(dim)
        observer.stage("comparing", 1.0)

    def findings(self) -> Findings | None:
        """Return what is known of the tables that have been compared."""
        options = self.options
        if not self._spectra or options.old is None or options.new is None:
            return None
        config = {
            "experiment": resolved(options, "old", "new"),
            "from": {"file": options.old.name, "sha256": self._before.digest},
            "to": {"file": options.new.name, "sha256": self._after.digest},
        }
        claims = []
        if len(self._dims) == 1:
            evidence = claim.LowRank(min(self._dims), options.variance, self._rank(), 1, 0)
            claims.append(claim.lowrank_variance(evidence, "measured-real"))
        return Findings(config, table=self._table, series=self._series, claims=claims)

    def _rank(self) -> statistics.Estimate | None:
        """Return the rank over all tables, weighted by energy."""
        rank = weighted_rank(self._spectra, self.options.variance)
        return None if rank is None else statistics.Estimate(rank, None, 1)


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
    """Return the spectrum of a table's difference, and how many rows differ."""
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
