"""Where rows come from: the one seam between a workload and the experiments.

Three kinds of data stand behind the same few attributes and `blocks`: a generated stream, a stored
one, and raw Criteo rows. Which it is gets recognised from the data, never declared. This module
opens and walks; reading is in `lorabench.workload.criteo` and `lorabench.workload.store`, drawing
in `lorabench.workload.generator`.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Literal, Protocol

from pydantic import ValidationError

from lorabench.errors import InputError
from lorabench.workload.block import Block
from lorabench.workload.criteo import NUM_DENSE, NUM_SPARSE, read_criteo
from lorabench.workload.generator import Generator, generate_blocks
from lorabench.workload.planted import PlantedModel
from lorabench.workload.spec import WorkloadSpec, load_spec
from lorabench.workload.store import Store

SourceKind = Literal["generated", "store", "criteo-tsv"]
Basis = Literal["measured-synthetic", "measured-real"]

MINIMUM_ROWS = 64
"""Fewer rows than this cannot be both trained on and served from."""

HASHED_WHOLE_BYTES = 64 << 20
HASHED_HEAD_BYTES = 1 << 20

_TSV_PRESET = "criteo-kaggle"


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
    kind : {"generated", "store", "criteo-tsv"}
        What was recognised.
    basis : {"measured-synthetic", "measured-real"}
        What a claim measured on these rows may call itself.
    truth : callable or None
        Makes the planted model of generated rows, which knows each row's click probability.
    labelled : bool
        Its rows have labels; where not, those of its blocks are all 0 and mean nothing.
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
    def rows(self) -> int:
        """Number of rows; counting those of a raw file reads it once."""
        ...

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """Blocks from row `start` to the end of the data; the same ones on every call."""
        ...


@dataclass(frozen=True)
class _OpenedSource:
    """A `RowSource` whose rows come from a function of the start row."""

    spec: WorkloadSpec
    digest: str
    description: str
    kind: SourceKind
    basis: Basis
    read: Callable[[int], Iterator[Block]]
    known_rows: int | None = None
    truth: Callable[[], PlantedModel] | None = None
    labelled: bool = True

    @cached_property
    def rows(self) -> int:
        if self.known_rows is not None:
            return self.known_rows
        return sum(len(block) for block in self.read(0))

    def blocks(self, start: int = 0) -> Iterator[Block]:
        return self.read(start)


def open_source(
    preset: str | None,
    data: Path | None,
    seed: int,
    tables: tuple[int, ...] | None = None,
) -> RowSource:
    """Open what the user named; the kind of `data` is recognised.

    Without `data` the preset is generated. A folder is a store and brings its own spec. A file is
    raw Criteo TSV, plain or gzipped; `preset` (default: criteo-kaggle) then gives the tables and
    the model, and its first block is parsed at once so that bad input shows early.

    Parameters
    ----------
    preset : str or None
        Name of a preset, or path to a spec in TOML.
    data : Path or None
        Folder or file of rows.
    seed : int
        Seed of a generated stream.
    tables : tuple of int, length F, or None
        Rows V of each table of a checkpoint; the ids of a TSV are then hashed to these.

    Raises
    ------
    InputError
        Neither or both given where one belongs, nothing at the path, or bad data.
    """
    if data is None:
        if preset is None:
            raise InputError("no workload: found neither --preset nor --data, expected one of them")
        return generated(load_spec(preset), seed)
    try:
        mode = data.stat().st_mode
    except OSError as error:
        raise InputError(
            f"{data}: {error.strerror}; expected a workload folder or a Criteo TSV file"
        ) from error
    if S_ISDIR(mode):
        if preset is not None:
            raise InputError(
                f"{data}: found --preset {preset} beside a workload folder, "
                "which has its own spec; expected one of them"
            )
        return _stored(data)
    if not S_ISREG(mode):
        raise InputError(
            f"{data}: found neither a file nor a folder, expected one that can be read twice"
        )
    return _criteo(data, load_spec(preset or _TSV_PRESET), tables)


def with_dim(source: RowSource, dim: int) -> RowSource:
    """Return the same rows, for a model whose embedding dim is `dim`.

    Raises
    ------
    InputError
        No model can have it.
    """
    assert isinstance(source, _OpenedSource)
    content = source.spec.model_dump()
    content["model"]["dim"] = dim
    try:
        spec = WorkloadSpec.model_validate(content)
    except ValidationError as error:
        raise InputError(f"--dim: found {dim}; {error.errors()[0]['msg']}") from None
    return replace(source, spec=spec)


def generated(spec: WorkloadSpec, seed: int) -> RowSource:
    """Return the stream that a spec and a seed generate."""
    return _OpenedSource(
        spec=spec,
        digest=_sha256("generated", spec.digest, str(seed)),
        description=f"{spec.name}, {spec.rows} generated rows, seed {seed}",
        kind="generated",
        basis="measured-synthetic",
        read=lambda start: generate_blocks(spec, seed, start=start),
        known_rows=spec.rows,
        truth=_truth(spec, seed),
    )


def _stored(folder: Path) -> RowSource:
    store = Store.open(folder)
    seed = store.manifest.seed
    return _OpenedSource(
        spec=store.spec,
        digest=store.digest,
        description=f"{folder}: {store.spec.name}, {store.rows} stored rows ({store.kind})",
        kind="store",
        basis="measured-synthetic" if store.kind == "generated" else "measured-real",
        read=store.blocks,
        known_rows=store.rows,
        truth=None if seed is None or store.kind != "generated" else _truth(store.spec, seed),
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
        spec = _with_tables(spec, tables)
    cardinalities = spec.sparse.cardinality
    read = partial(_read_from, path, cardinalities, spec.rows_per_s)
    next(read(0))
    return _OpenedSource(
        spec=spec,
        digest=_sha256(
            "criteo-tsv", _file_digest(path), repr(cardinalities), repr(spec.rows_per_s)
        ),
        description=f"{path}: Criteo rows",
        kind="criteo-tsv",
        basis="measured-real",
        read=read,
    )


def _read_from(
    path: Path, cardinalities: tuple[int, ...], rows_per_s: float, start: int
) -> Iterator[Block]:
    return read_criteo(path, cardinalities, start=start, rows_per_s=rows_per_s)


def _with_tables(spec: WorkloadSpec, tables: tuple[int, ...]) -> WorkloadSpec:
    """Return the spec a checkpoint's tables, of which row 0 is the missing value."""
    if len(tables) != NUM_SPARSE:
        raise InputError(
            f"checkpoint: found {len(tables)} tables, expected {NUM_SPARSE} for Criteo rows"
        )
    for number, rows in enumerate(tables, 1):
        if rows < 2:
            raise InputError(
                f"checkpoint: found a table of {rows} rows for C{number}, expected at least 2 "
                "(row 0 is the missing value)"
            )
    # Not model_copy: it would carry the cached digest of the old tables along.
    content = spec.model_dump()
    content["sparse"]["cardinality"] = tuple(rows - 1 for rows in tables)
    return WorkloadSpec.model_validate(content)


def _file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes; of a large file, of its size, mtime and first MiB.

    Hashing 11 GB before every run would cost more than the run. Above `HASHED_WHOLE_BYTES` a
    change that keeps size, modification time and head goes unseen.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size <= HASHED_WHOLE_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        head = hashlib.sha256(file.read(HASHED_HEAD_BYTES)).hexdigest()
    return _sha256(str(status.st_size), str(status.st_mtime_ns), head)


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
