"""Where rows come from: the one seam between a workload and the experiments.

A generated stream, a stored one, raw Criteo rows and click logs that others have made ready stand
behind the same few attributes and `blocks`. Which it is gets recognised from the data, never
declared. This module opens; what others wrote is read through `lorabench.workload.given`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Protocol

from pydantic import ValidationError

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.criteo import NUM_DENSE, NUM_SPARSE, read_criteo
from lorabench.workload.generator import Generator, generate_blocks
from lorabench.workload.given import (
    PRESET,
    RANKED,
    evenly_spaced,
    hashed_to,
    open_columns,
    open_processed,
    with_tables,
)
from lorabench.workload.manifest import is_synthetic, is_workload, manifest_beside
from lorabench.workload.opened import Basis, OpenedSource, SourceKind, digest_of, file_digest
from lorabench.workload.planted import PlantedModel
from lorabench.workload.processed_files import is_processed
from lorabench.workload.spec import WorkloadSpec, load_spec
from lorabench.workload.store import Store

MINIMUM_ROWS = 64
"""Fewer rows than this cannot be both trained on and served from."""


class RowSource(Protocol):
    """A finite, repeatable stream of rows, and what is known of it.

    Attributes
    ----------
    spec : WorkloadSpec
        Shape of the tables and of the model that go with the rows.
    digest : str
        Identity of the data, 64 hex digits: equal digests, equal rows.
    description : str
        One line for the reader.
    kind : SourceKind
        What was recognised.
    basis : {"measured-synthetic", "measured-real"}
        What a claim measured on these rows may call itself.
    truth : callable or None
        Makes the planted model of generated rows, which knows each row's click probability.
    labelled : bool
        Its rows have labels; where not, those of its blocks are all 0 and mean nothing.
    notes : tuple of str
        What was assumed of the data and what was left out, a sentence each.
    counted : bool
        The number of rows is known without reading them.
    """

    @property
    def spec(self) -> WorkloadSpec: ...  # noqa: D102

    @property
    def digest(self) -> str: ...  # noqa: D102

    @property
    def description(self) -> str: ...  # noqa: D102

    @property
    def kind(self) -> SourceKind: ...  # noqa: D102

    @property
    def basis(self) -> Basis: ...  # noqa: D102

    @property
    def truth(self) -> "Callable[[], PlantedModel] | None": ...  # noqa: D102

    @property
    def labelled(self) -> bool: ...  # noqa: D102

    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def counted(self) -> bool: ...  # noqa: D102

    @property
    def rows(self) -> int:
        """Number of rows; counting those of a raw file reads it once."""
        ...

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """Blocks from row `start` to the end of the data; the same ones on every call."""
        ...


class Asked(Protocol):
    """Options that name rows (`lorabench.bench.options.Workload`)."""

    @property
    def preset(self) -> str | None: ...  # noqa: D102

    @property
    def data(self) -> Path | None: ...  # noqa: D102

    @property
    def columns(self) -> Path | None: ...  # noqa: D102

    @property
    def wrap_ids(self) -> bool: ...  # noqa: D102


def open_asked(options: Asked, seed: int, tables: tuple[int, ...] | None = None) -> RowSource:
    """Open the rows that options name; all else as `open_source`."""
    columns, wrap_ids = options.columns, options.wrap_ids
    return open_source(
        options.preset, options.data, seed, tables, columns=columns, wrap_ids=wrap_ids
    )


def open_source(
    preset: str | None,
    data: Path | None,
    seed: int,
    tables: tuple[int, ...] | None = None,
    *,
    columns: Path | None = None,
    wrap_ids: bool = False,
) -> RowSource:
    """Open what the user named; the kind of `data` is recognised.

    Without `data` the preset is generated. What `generate` and `ingest` wrote, a folder or a part
    of it, brings its own spec. With all else `preset` (default: criteo-kaggle) gives the model, and
    with raw Criteo TSV, plain or gzipped, the tables. First rows are parsed at once so that bad
    input shows early.

    Parameters
    ----------
    preset : str or None
        Name of a preset, or path to a spec in TOML.
    data : Path or None
        Folder or file of rows.
    seed : int
        Seed of a generated stream.
    tables : tuple of int, length F, or None
        Rows V of each table of a checkpoint: ids of text are then hashed to these, and those that
        are rows must lie within them.
    columns : Path or None
        Map of the columns of Parquet or CSV, in TOML.
    wrap_ids : bool
        Take ids that are rows modulo those of their table.

    Raises
    ------
    InputError
        Neither or both given where one belongs, nothing at the path, or bad data.
    """
    if data is None:
        _only_with(data, "--data", columns=columns is not None, wrap_ids=wrap_ids)
        if preset is None:
            raise InputError("no workload: found neither --preset nor --data, expected one of them")
        return generated(load_spec(preset), seed)
    folder = _is_folder(data)
    part = None if folder else manifest_beside(data)
    if is_workload(data) or (part is not None and part.format != "criteo-tsv"):
        what = "rows that lorabench did not write"
        _only_with(data, what, columns=columns is not None, wrap_ids=wrap_ids)
        if preset is not None:
            raise InputError(
                f"{data}: found --preset {preset} beside a workload folder, "
                "which has its own spec; expected one of them"
            )
        return _stored(data, part is not None)
    if is_processed(data):
        _only_with(data, "Parquet or CSV", columns=columns is not None)
        return open_processed(data, preset, tables, wrap=wrap_ids)
    _only_with(data, RANKED, wrap_ids=wrap_ids)
    found = open_columns(data, columns, preset, tables)
    return _criteo(data, load_spec(preset or PRESET), tables) if found is None else found


def _is_folder(data: Path) -> bool:
    try:
        mode = data.stat().st_mode
    except OSError as error:
        raise InputError(
            f"{data}: {error.strerror}; expected a workload folder or a file of rows"
        ) from error
    if not S_ISDIR(mode) and not S_ISREG(mode):
        raise InputError(
            f"{data}: found neither a file nor a folder, expected one that can be read twice"
        )
    return S_ISDIR(mode)


def _only_with(data: Path | None, expected: str, **given: bool) -> None:
    """Refuse options that say nothing of such rows."""
    for name, is_given in given.items():
        if is_given:
            found = "no --data" if data is None else str(data)
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag}: found {found} beside it, expected {expected}")


def with_dim(source: RowSource, dim: int) -> RowSource:
    """Return the same rows, for a model whose embedding dim is `dim`.

    Raises
    ------
    InputError
        No model can have it.
    """
    assert isinstance(source, OpenedSource)
    content = source.spec.model_dump()
    content["model"]["dim"] = dim
    try:
        spec = WorkloadSpec.model_validate(content)
    except ValidationError as error:
        raise InputError(f"--dim: found {dim}; {error.errors()[0]['msg']}") from None
    return replace(source, spec=spec)


def generated(spec: WorkloadSpec, seed: int) -> RowSource:
    """Return the stream that a spec and a seed generate."""
    return OpenedSource(
        spec=spec,
        digest=digest_of("generated", spec.digest, str(seed)),
        description=f"{spec.name}, {spec.rows} generated rows, seed {seed}",
        kind="generated",
        basis="measured-synthetic",
        read=lambda start: generate_blocks(spec, seed, start=start),
        known_rows=spec.rows,
        truth=_truth(spec, seed),
    )


def _stored(path: Path, alone: bool) -> RowSource:
    """Open a workload, or a part of it alone."""
    store = Store.open(path.parent, path.name) if alone else Store.open(path)
    manifest = store.manifest
    seed, lines = manifest.seed, manifest.format == "criteo-tsv"
    known = seed is not None and manifest.kind == "generated" and not lines
    note = (
        f"{path}: raw lines have no times: rows are evenly spaced, and the ceiling of the "
        "generated stream is not theirs"
    )
    return OpenedSource(
        spec=store.spec,
        digest=store.digest,
        description=f"{path}: {store.spec.name}, {store.rows} stored rows ({manifest.kind})",
        kind="store",
        basis="measured-synthetic" if manifest.generated else "measured-real",
        read=store.blocks,
        known_rows=store.rows,
        truth=_truth(store.spec, seed) if known and seed is not None else None,
        labelled=manifest.labelled,
        notes=(*manifest.notes, note) if lines else manifest.notes,
    )


def _truth(spec: WorkloadSpec, seed: int) -> Callable[[], PlantedModel]:
    return cache(lambda: Generator(spec, seed).planted)


def _criteo(path: Path, spec: WorkloadSpec, tables: tuple[int, ...] | None) -> RowSource:
    if (spec.num_dense, spec.num_sparse) != (NUM_DENSE, NUM_SPARSE):
        raise InputError(
            f"{spec.name}: found {spec.num_dense} dense and {spec.num_sparse} sparse features, "
            f"expected {NUM_DENSE} and {NUM_SPARSE} for Criteo rows"
        )
    if tables is not None:
        spec = with_tables(spec, tables)
    cardinalities = spec.sparse.cardinality
    read = partial(_read_from, path, cardinalities, spec.rows_per_s)
    next(read(0))
    return OpenedSource(
        spec=spec,
        digest=digest_of(
            "criteo-tsv", file_digest(path), repr(cardinalities), repr(spec.rows_per_s)
        ),
        description=f"{path}: Criteo rows",
        kind="criteo-tsv",
        basis="measured-synthetic" if is_synthetic(path) else "measured-real",
        read=read,
        notes=(evenly_spaced(path.name, spec), *hashed_to(tables)),
    )


def _read_from(
    path: Path, cardinalities: tuple[int, ...], rows_per_s: float, start: int
) -> Iterator[Block]:
    return read_criteo(path, cardinalities, start=start, rows_per_s=rows_per_s)
