"""Taking in real rows: raw Criteo lines, or the columns of Parquet and CSV files, as a workload.

Rows are read in order and written part by part in constant memory; only exact dictionaries grow
with the number of distinct ids. A run that was killed goes on behind the last finished part. It
reads its input from the beginning again, without parsing, to see that it is still the same: the
journal has the checksum of all lines up to each part. So that works for a gzip stream and for stdin
as well, and an input that changed is refused. Rows that are in no order of time can be sorted
first (`lorabench.workload.sorting`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.criteo import row_gap_ns
from lorabench.workload.features import plain_dense
from lorabench.workload.id_rows import ExactRows, GivenRows, HashedRows
from lorabench.workload.inputs import Input, RawBatch
from lorabench.workload.manifest import Format, Manifest, part_name
from lorabench.workload.moments import Moments, standardised
from lorabench.workload.parts import Unfinished
from lorabench.workload.sorting import sort_rows
from lorabench.workload.spec import WorkloadSpec
from lorabench.workload.store import write_rows
from lorabench.workload.writing import Progress

Ids = Literal["hash", "exact"]

# Text of a part: some 1.1 million rows. Where parts are cut depends on the input alone.
_CHUNKS_A_PART = 64

_VERSION = 2


@dataclass
class _Totals:
    """What a part's note carries over: all counts up to the part's end."""

    batches: int = 0
    read: str = ""
    rows: int = 0
    skipped: int = 0
    clicks: int = 0
    first_ns: int = 0
    last_ns: int = 0
    missing_dense: list[int] = field(default_factory=list)
    missing_sparse: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)  # distinct ones, of exact dictionaries
    moments: Moments = field(default_factory=lambda: Moments([]))
    remarks: dict[str, int] = field(default_factory=dict)

    def as_note(self) -> dict[str, Any]:
        """Return them as JSON."""
        return {**vars(self), "moments": vars(self.moments)}

    @classmethod
    def of_note(cls, note: dict[str, Any]) -> Self:
        """Make them of what `as_note` gave."""
        return cls(**{**note, "moments": Moments(**note["moments"])})

    def notes(self, *, labelled: bool) -> tuple[str, ...]:
        """Say what was done to values, and whether there is anything to learn from."""
        said = [f"{words} ({count:,})" for words, count in sorted(self.remarks.items())]
        if self.clicks in (0, self.rows):
            what = "no clicks in" if labelled else "no labels in"
            if self.clicks:
                what = "nothing but clicks in"
            said.append(
                f"{what} {self.rows:,} rows: nothing can be learned from them or judged on them"
            )
        return tuple(said)


def ingest(
    folder: Path,
    source: Input,
    base: WorkloadSpec,
    *,
    ids: Ids = "hash",
    form: Format = "arrow",
    skip_bad: int = 0,
    sort: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
    on_bad: Callable[[InputError], None] = lambda _error: None,
) -> Manifest:
    """Take in rows as a workload.

    Parameters
    ----------
    folder : Path
        Where to: new, empty, or what a killed run of the same call left, to go on with.
    source : Input
        The rows.
    base : WorkloadSpec
        Gives the model, the rate of rows without times and, for hashing, the cardinalities.
    ids : {"hash", "exact"}
        Rows by hashing into the base's tables, or numbered as they first appear. Ids that are rows
        already stay as they are.
    form : {"arrow", "parquet"}
        Of the parts.
    skip_bad : int
        Bad lines that may be left out.
    sort : bool
        Put the rows in order of time first; they are written to the disk twice.
    jobs : int
        Threads that parse; no influence on the bytes.
    progress : Progress, optional
        Told how many rows are done.
    on_bad : callable
        Told of every line that is left out.

    Returns
    -------
    Manifest
        Its spec is the base's with what was measured.

    Raises
    ------
    InputError
        Bad input, one that changed since a run was killed, or a folder that cannot be written to.
    """
    _check_columns(source, base)
    run = _run(source, base, ids, form, sort=sort)
    with Unfinished(folder, run) as unfinished:
        maker = _Maker(base, source, ids, skip_bad=skip_bad, progress=progress, on_bad=on_bad)
        if sort:
            maker.sort(unfinished, jobs)
        maker.write(unfinished, form, jobs)
        manifest = maker.manifest(unfinished, form)
        unfinished.finish(manifest.as_text())
    return manifest


def _run(
    source: Input, base: WorkloadSpec, ids: Ids, form: Format, *, sort: bool
) -> dict[str, Any]:
    """Return what must be the same when a killed run goes on."""
    return {
        "command": "ingest",
        "version": _VERSION,
        "input": source.identity,
        "ids": ids,
        "spec": base.model_dump(mode="json", exclude={"description"}),
        "format": form,
        **({"sort": True} if sort else {}),
    }


def _check_columns(source: Input, base: WorkloadSpec) -> None:
    if (base.num_dense, base.num_sparse) != (source.num_dense, source.num_sparse):
        raise InputError(
            f"{source.name}: found {source.num_dense} dense and {source.num_sparse} sparse "
            f"columns, expected the {base.num_dense} and {base.num_sparse} of {base.name}"
        )


def base_for(preset: WorkloadSpec, source: Input, table_rows: int) -> WorkloadSpec:
    """Return a preset the columns of the input, where it has others.

    Parameters
    ----------
    preset : WorkloadSpec
        Gives the model and the rate of rows without times.
    source : Input
        The rows.
    table_rows : int
        Cardinality of each categorical feature, if there are not as many as the preset has.

    Raises
    ------
    InputError
        The preset says what becomes of other dense columns, and the input does not of its own.
    """
    content = preset.model_dump()
    if preset.num_sparse != source.num_sparse or max(preset.sparse.hotness) > 1:
        content["sparse"] = {
            "cardinality": (table_rows,) * source.num_sparse,
            "zipf": 1.0,
            "missing": 0.0,
        }
    if preset.num_dense != source.num_dense:
        if source.transforms is None and not preset.dense.counts:
            raise InputError(
                f"{preset.name}: found transforms of {preset.num_dense} dense columns, expected "
                f"those of the {source.num_dense} of {source.name}: transform = ... in the map"
            )
        content["dense"] = plain_dense(source.num_dense).model_dump()
    content["name"] = source.name
    return WorkloadSpec.model_validate(content)


class _Maker:
    """Makes blocks of batches and keeps the totals."""

    def __init__(
        self,
        base: WorkloadSpec,
        source: Input,
        ids: Ids,
        *,
        skip_bad: int,
        progress: Progress | None,
        on_bad: Callable[[InputError], None],
    ) -> None:
        self._base = base
        self._source = source
        self._ids = ids
        self._gap_ns = row_gap_ns(base.rows_per_s)
        self._rows_of: HashedRows | ExactRows | GivenRows = HashedRows(base)
        if source.rows_given:
            self._rows_of = GivenRows()
        elif ids == "exact":
            self._rows_of = ExactRows(source.num_sparse)
        self._totals = _Totals(
            missing_dense=[0] * source.num_dense,
            missing_sparse=[0] * source.num_sparse,
            moments=Moments.of(source.transforms or ()),
        )
        self._skip_bad = skip_bad
        self._progress = progress
        self._on_bad = on_bad
        self._waiting: Block | None = None

    def _take_up(self, unfinished: Unfinished) -> None:
        """Go on behind the parts that an earlier run finished."""
        for number, done in enumerate(unfinished.done):
            self._totals = _Totals.of_note(done.note)
            self._rows_of.take_up(unfinished.side(number))
        if self._progress is not None:
            self._progress.start_at(self._totals.rows)

    def sort(self, unfinished: Unfinished, jobs: int) -> None:
        """Go on with the rows in order of time."""
        with unfinished.beside() as place:
            self._source = sort_rows(
                self._source,
                place,
                self._hear,
                keep_bad=self._skip_bad > 0,
                jobs=jobs,
                progress=lambda rows: self._progress.done(rows) if self._progress else None,
            )

    def _hear(self, bad: Sequence[InputError], remarks: Mapping[str, int]) -> None:
        """Count bad rows and what was done to values; refuse more bad rows than may be."""
        totals = self._totals
        for error in bad:
            totals.skipped += 1
            if totals.skipped > self._skip_bad:
                raise InputError(
                    f"{error} (bad line {totals.skipped} of --skip-bad {self._skip_bad})"
                )
            self._on_bad(error)
        for words, count in remarks.items():
            totals.remarks[words] = totals.remarks.get(words, 0) + count

    def write(self, unfinished: Unfinished, form: Format, jobs: int) -> None:
        """Write all parts but those that an earlier run has finished."""
        self._take_up(unfinished)
        done, read = self._totals.batches, self._totals.read
        batches = self._source.batches(done, read, keep_bad=self._skip_bad > 0, jobs=jobs)
        while self.pull(batches):
            unfinished.part(
                part_name(len(unfinished.done), form),
                lambda path: write_rows(path, self.part(batches), self._base, form),
                self.note,
            )
        if not unfinished.done:
            raise InputError(f"{self._source.name}: found no good row, expected at least one")

    def manifest(self, unfinished: Unfinished, form: Format) -> Manifest:
        """Return what the rows turned out to be."""
        how = "by hashing" if self._ids == "hash" else "by exact dictionaries"
        if self._source.rows_given:
            how = "as they are"
        return Manifest(
            kind="ingested",
            origin=f"{self._source.name}; ids {how}",
            format=form,
            seed=None,
            rows=self._totals.rows,
            skipped=self._totals.skipped,
            synthetic=self._source.synthetic,
            labelled=self._source.labelled,
            notes=(*self._source.notes, *self._totals.notes(labelled=self._source.labelled)),
            parts=tuple(done.part for done in unfinished.done),
            spec=self._spec(),
        )

    def _spec(self) -> WorkloadSpec:
        spec = _measured(self._base, self._totals, exact=isinstance(self._rows_of, ExactRows))
        if self._source.transforms is None:
            return spec
        dense = standardised(spec.dense, self._source.transforms, self._totals.moments)
        return WorkloadSpec.model_validate({**spec.model_dump(), "dense": dense.model_dump()})

    def pull(self, batches: Iterator[RawBatch]) -> bool:
        """Read on until there is a row for the next part; tell whether there is one."""
        while self._waiting is None and (batch := next(batches, None)) is not None:
            block = self._block(batch)
            self._waiting = block if len(block) else None
        return self._waiting is not None

    def part(self, batches: Iterator[RawBatch]) -> Iterator[Block]:
        """Blocks of the part that begins with the one that waits."""
        assert self._waiting is not None
        yield self._waiting
        self._waiting = None
        while self._totals.batches % _CHUNKS_A_PART:
            batch = next(batches, None)
            if batch is None:
                return
            block = self._block(batch)
            if len(block):
                yield block

    def note(self, side: Path) -> dict[str, Any]:
        """Return what the run needs to go on behind the part."""
        self._rows_of.put_down(side)
        return self._totals.as_note()

    def _block(self, batch: RawBatch) -> Block:
        totals = self._totals
        self._hear(batch.bad, batch.remarks)
        n = len(batch.label)
        totals.batches += 1
        totals.read = batch.read
        time_ns = batch.time_ns
        if time_ns is None:
            time_ns = (totals.rows + np.arange(n, dtype=np.int64)) * self._gap_ns
        if n:
            if totals.rows == 0:
                totals.first_ns = int(time_ns[0])
            elif time_ns[0] < totals.last_ns:
                raise InputError(
                    f"row {totals.rows + 1}: found a time before that of the row before it, "
                    "expected rows, and files, in order of time (--sort sorts them)"
                )
            totals.last_ns = int(time_ns[-1])
        totals.rows += n
        totals.clicks += int(batch.label.sum())
        _add(totals.missing_dense, np.isnan(batch.dense))
        if not self._source.rows_given:
            _add(totals.missing_sparse, batch.ids < 0)
        if totals.moments.columns:
            totals.moments.add(batch.dense)
        sparse = self._rows_of.rows(batch.ids)
        totals.ids = self._rows_of.distinct()
        if self._progress is not None:
            self._progress.done(totals.rows)
        # Time counts from the stream's first row, as in generated streams.
        return Block(batch.label, time_ns - totals.first_ns, batch.dense.T, sparse.T)


def _add(counts: list[int], flags: NDArray[np.bool_]) -> None:
    for i, count in enumerate(flags.sum(axis=1)):
        counts[i] += int(count)


def _measured(base: WorkloadSpec, totals: _Totals, *, exact: bool) -> WorkloadSpec:
    """Return the base spec what the rows turned out to be."""
    content = base.model_dump()
    rows = totals.rows
    below_one = np.nextafter(1.0, 0.0)
    span_s = (totals.last_ns - totals.first_ns) / 1e9
    content.update(
        rows=rows,
        pretrain_rows=min(base.pretrain_rows, rows // 2),
        rows_per_s=float(np.clip((rows - 1) / span_s, 1e-3, 1e9))
        if span_s > 0
        else base.rows_per_s,
    )
    content["sparse"].update(
        missing=tuple(min(count / rows, below_one) for count in totals.missing_sparse),
        head=(),
    )
    if exact:
        content["sparse"]["cardinality"] = tuple(max(1, count) for count in totals.ids)
    content["dense"].update(
        missing=tuple(min(count / rows, below_one) for count in totals.missing_dense),
        quantiles=(),
    )
    content["labels"]["base_rate"] = min(max(totals.clicks / rows, 1e-9), 1 - 1e-9)
    return WorkloadSpec.model_validate(content)
