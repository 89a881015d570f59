"""How low-rank the difference of two snapshots of trained tables is.

Vocabularies grow between two snapshots: the rows that both have are compared, and the new ones,
which no adapter of the old table holds, are counted and summarised apart.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.bench.options import resolved
from lorabench.experiments.profile.metrics import (
    add_recommendation,
    add_spectra,
    explained,
    table_case,
    weighted_rank,
)
from lorabench.experiments.profile.options import ProfileOptions
from lorabench.lora.spectrum import Spectrum
from lorabench.model.snapshot import open_snapshot, pair
from lorabench.model.stored.summary import said
from lorabench.model.stored.tensors import named
from lorabench.results import claims as claim
from lorabench.results import schema, statistics
from lorabench.results.case import Case
from lorabench.results.metrics import MetricTable

_CHUNK_BYTES = 64 << 20


class SnapshotProfile(Experiment):
    """Profile the difference of two snapshots; see `lorabench.model.snapshot`.

    As `Experiment`.

    Raises
    ------
    InputError
        A file cannot be read, or the two have no table in common.
    """

    options: ProfileOptions

    def __init__(self, options: ProfileOptions) -> None:
        super().__init__(options)
        assert options.old is not None
        assert options.new is not None
        self._before, self._after = open_snapshot(options.old), open_snapshot(options.new)
        self._pairing = pair(self._before, self._after)
        self._table = MetricTable()
        self._series: list[schema.Series] = []
        self._spectra: dict[int, list[Spectrum]] = {}
        self._resized: dict[str, list[str]] = {}

    def measure(self, observer: Observer) -> None:
        """Compare table after table.

        Raises
        ------
        InputError
            A value is not finite.
        """
        pairs = self._pairing.pairs
        for number, (name, old, new) in enumerate(pairs):
            observer.stage("comparing", number / len(pairs))
            self._compare(name, old, new)
        observer.stage("comparing", 1.0)

    def _compare(self, name: str, old: str, new: str) -> None:
        before, after = self._before, self._after
        (had, dim), (rows, _) = before.shape(old), after.shape(new)
        common, case = min(had, rows), table_case(name)
        moment, touched = np.zeros((dim, dim)), 0
        for begin, end in _parts(0, common, dim):
            delta = after.read(new, begin, end) - before.read(old, begin, end)
            moment += delta.T @ delta
            touched += int(delta.any(axis=1).sum())
        spectrum = Spectrum.of(moment)
        self._table.add("rows_changed", case, float(touched))
        self._table.add("update_energy", case, spectrum.energy)
        self._summarise(case, spectrum)
        add_recommendation(
            self._table,
            case,
            rank=spectrum.rank(self.options.variance),
            touched=touched,
            rows=rows,
            dim=dim,
        )
        self._spectra.setdefault(dim, []).append(spectrum)
        if rows > had:
            self._table.add("rows_new", case, float(rows - had))
            self._summarise(_new_rows(name), Spectrum.of(self._moment(new, had, rows, dim)))
        if rows != had:
            told = f"{name} from {had:,} to {rows:,} rows"
            self._resized.setdefault("grew" if rows > had else "shrank", []).append(told)

    def _summarise(self, case: Case, spectrum: Spectrum) -> None:
        add_spectra(self._table, case, [spectrum], self.options.variance)
        self._series.append(explained("explained_variance", case, [spectrum]))

    def _moment(self, name: str, begin: int, end: int, dim: int) -> NDArray[np.float64]:
        """Return the uncentred second moments of rows of the newer snapshot, D x D."""
        moment = np.zeros((dim, dim))
        for first, last in _parts(begin, end, dim):
            part = self._after.read(name, first, last)
            moment += part.T @ part
        return moment

    def findings(self) -> Findings | None:
        """Return what is known of the tables that have been compared."""
        options = self.options
        if not self._spectra or options.old is None or options.new is None:
            return None
        config = {
            "experiment": resolved(options, "old", "new"),
            "from": self._before.as_document(),
            "to": self._after.as_document(),
            "tables": {
                name: [self._before.found_as(old), self._after.found_as(new)]
                for name, old, new in self._pairing.pairs
            },
        }
        # A verdict for each D: tables of another width take none of them away.
        claims = [
            claim.lowrank_variance(
                claim.LowRank(dim, options.variance, self._rank(spectra), 1, 0), "measured-real"
            )
            for dim, spectra in sorted(self._spectra.items())
        ]
        return Findings(
            config,
            table=self._table,
            series=self._series,
            claims=claims,
            notes=list(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        """Tell what was left out, and what was assumed."""
        pairing = self._pairing
        yield from pairing.notes
        olds, news = (said(side.left_out) for side in (self._before, self._after))
        yield from (f"both snapshots: {text}" for text in olds if text in news)
        yield from (f"{self._before.path.name}: {text}" for text in olds if text not in news)
        yield from (f"{self._after.path.name}: {text}" for text in news if text not in olds)
        yield from said(pairing.alone)
        yield from self._coarse()
        if grown := self._resized.get("grew"):
            yield (
                f"{named(grown)}: rows are compared by their number, and those that are new are "
                "summarised apart, as they are"
            )
        if shrunk := self._resized.get("shrank"):
            yield (
                f"{named(shrunk)}: rows are compared by their number, which says nothing if the "
                "rest were numbered anew"
            )

    def _coarse(self) -> Iterator[str]:
        """Tell which values were rounded before they were written down."""
        coarse: dict[tuple[str, str], list[str]] = {}
        for name, old, new in self._pairing.pairs:
            forms = self._before.form(old), self._after.form(new)
            if not {*forms} <= {"float32", "float64"}:
                coarse.setdefault(forms, []).append(name)
        for (old, new), names in coarse.items():
            form = old if old == new else f"{old}, then {new}"
            yield f"{named(names)}: values are of {form}, and their rounding counts as change"

    def _rank(self, spectra: list[Spectrum]) -> statistics.Estimate | None:
        """Return the rank over all tables of a D, weighted by energy."""
        rank = weighted_rank(spectra, self.options.variance)
        return None if rank is None else statistics.Estimate(rank, None, 1)


def _new_rows(name: str) -> Case:
    """Return the case of a table's rows that the older snapshot does not have."""
    return Case(f"{name}, new rows", {"table": name, "rows": "new"})


def _parts(begin: int, end: int, dim: int) -> Iterator[tuple[int, int]]:
    """Cut rows into parts that memory has room for."""
    step = max(1, _CHUNK_BYTES // (dim * 4))
    for first in range(begin, end, step):
        yield first, min(first + step, end)
