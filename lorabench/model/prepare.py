"""What every experiment starts from: rows to serve and a briefly pre-trained model.

The pre-trained model is cached under the hash of everything that made it, so that a second run
starts at once and from the same weights; the cache is bounded and the least recently used model
goes first. A user's own checkpoint takes its place with ``--checkpoint``.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.model import pretrain
from lorabench.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.doubts import doubts
from lorabench.model.full import TrainedModel
from lorabench.model.tables import TableLayout, TableSet
from lorabench.workload.block import Block, dense_features
from lorabench.workload.features import DenseSpec
from lorabench.workload.source import RowSource
from lorabench.workload.split import split_pretrain
from lorabench.workload.stream import RowStream

_CACHE_BYTES = 8 << 30


@dataclass(frozen=True)
class Prepared:
    """A model and the rows that it has not seen yet.

    Attributes
    ----------
    tables : TableSet
        Filled, and on the pages it will be served from.
    net : DenseNet
        Weights.
    serving_start : int
        Row of the source at which serving starts.
    pretrain_rows : int
        Rows that the model was trained on; 0 for a user's checkpoint.
    origin : str
        Where the weights come from, in words.
    accumulators : list of float32 [V_f], or None
        Of the tables' row-wise Adagrad, where pre-training left it; None where nobody asked for
        them or a user's checkpoint has none. Whoever trains on copies them (`FullTrainer` does).
    notes : tuple of str
        What a reader has to know of it before any figure.
    checkpoint : mapping
        What a document says of a user's checkpoint, under ``checkpoint``; empty without one.
    """

    tables: TableSet
    net: DenseNet
    serving_start: int
    pretrain_rows: int
    origin: str
    accumulators: list[NDArray[np.float32]] | None = None
    notes: tuple[str, ...] = ()
    checkpoint: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> TrainedModel:
        """The model alone, from which strategies and runs of training start."""
        return TrainedModel(self.tables, self.net, self.accumulators)

    def stream(self, source: RowSource) -> RowStream:
        """Rows to serve, from the first that the model has not seen."""
        return RowStream(source, self.serving_start)


Report = Callable[[str, float], None]


def prepare(
    source: RowSource,
    checkpoint: Checkpoint | None,
    seed: int,
    report: Report,
    *,
    accumulators: bool = False,
    pretrain_rows: int | None = None,
) -> Prepared:
    """Make the model ready to serve.

    Parameters
    ----------
    source : RowSource
        The workload; its spec says what the model looks like.
    checkpoint : Checkpoint or None
        Serve this instead of pre-training.
    seed : int
        Of the initial weights.
    report : callable
        Told what is going on and how much of it is done.
    accumulators : bool
        Keep what the optimiser of the tables holds, for who trains on at full rank.
    pretrain_rows : int, optional
        Pre-train on so many rows; by default as `split_pretrain` does.

    Raises
    ------
    InputError
        The tables do not fit into memory, or the checkpoint does not fit the workload.
    """
    if checkpoint is not None:
        report("loading the checkpoint", 0.0)
        return _given(checkpoint, source, accumulators)
    spec = source.spec
    shape = DlrmShape(
        spec.num_dense, spec.num_sparse, spec.model.dim, spec.model.bottom, spec.model.top
    )
    layout = TableLayout(spec.table_rows, spec.model.dim, spec.sparse.hotness)
    tables, net = TableSet.create(layout), DenseNet(shape)
    block, serving_start = split_pretrain(source, pretrain_rows)
    key = _cache_key(layout, shape, source, len(block), seed)
    cached = _cached(key)
    loaded = None if cached is None else _load_cached(cached, tables, net)
    if loaded is not None:
        report("loading the pre-trained model", 1.0)
        sums = loaded.load_accumulators() if accumulators else None
        origin = f"pre-trained on {len(block):,} rows, cached in {cached}"
    else:
        sums = _pretrained(tables, net, block, seed, report, dense=spec.dense)
        model = TrainedModel(tables, net, sums)
        origin = f"pre-trained on {len(block):,} rows{_store_cached(cached, model)}"
    tables.region.settle()
    kept = sums if accumulators else None
    return Prepared(tables, net, serving_start, len(block), origin, kept)


def _given(checkpoint: Checkpoint, source: RowSource, accumulators: bool) -> Prepared:
    """Serve a user's checkpoint."""
    check_fits(checkpoint, source)
    layout = replace(checkpoint.layout, hotness=source.spec.sparse.hotness)
    tables, net = TableSet.create(layout), DenseNet(checkpoint.shape)
    checkpoint.load_into(tables, net)
    tables.region.settle()
    sums = checkpoint.load_accumulators() if accumulators else None
    notes = (*checkpoint.remarks, *doubts(TrainedModel(tables, net), source))
    told = {"checkpoint": checkpoint.as_document()}
    return Prepared(tables, net, 0, 0, "the given checkpoint", sums, notes, told)


def _pretrained(
    tables: TableSet,
    net: DenseNet,
    block: Block,
    seed: int,
    report: Report,
    *,
    dense: DenseSpec,
) -> list[NDArray[np.float32]]:
    """Initialise a model and train it on a block; return the tables' accumulators."""
    report("filling the tables", 0.0)
    tables.initialise(np.random.default_rng(seed))
    net.initialise(seed)
    return pretrain.pretrain(
        tables,
        net,
        dense_features(block.dense, dense),
        block.sparse,
        block.label,
        progress=lambda done: report("pre-training", done),
    )


def check_fits(checkpoint: Checkpoint, source: RowSource) -> None:
    """Hold a user's checkpoint against the workload that it is to serve.

    Raises
    ------
    InputError
        It has other features or tables.
    """
    spec, rows = source.spec, checkpoint.layout.rows
    if checkpoint.shape.num_dense != spec.num_dense:
        raise InputError(
            f"--checkpoint: found {checkpoint.shape.num_dense} dense features, "
            f"expected the workload's {spec.num_dense}"
        )
    if len(rows) != spec.num_sparse:
        raise InputError(
            f"--checkpoint: found {len(rows)} tables, expected the workload's {spec.num_sparse}"
        )
    for f, (found, expected) in enumerate(zip(rows, spec.table_rows, strict=True)):
        if found != expected:
            raise InputError(
                f"--checkpoint: {checkpoint.table(f)}: found {found} rows, expected {expected} "
                "(the workload's cardinality and one row for missing values)"
            )


def cache_folder() -> Path:
    """Where pre-trained models are kept: ``$XDG_CACHE_HOME/lorabench``.

    Raises
    ------
    RuntimeError
        That is not set, and this user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lorabench" / "models"


def _cached(key: str) -> Path | None:
    """Return where a model would be kept; None for a user who has no place."""
    try:
        return cache_folder() / f"{key}.pt"
    except RuntimeError:
        return None


def _cache_key(
    layout: TableLayout, shape: DlrmShape, source: RowSource, rows: int, seed: int
) -> str:
    made_from: dict[str, Any] = {
        "version": pretrain.VERSION,
        "rows": layout.rows,
        "shape": [shape.num_dense, shape.dim, shape.bottom, shape.top],
        "source": source.digest,
        "pretrain_rows": rows,
        "seed": seed,
    }
    dense = source.spec.dense
    if not dense.counts:
        # Not a part of the digest where rows come from a file.
        made_from["dense"] = [dense.transform, dense.mean, dense.deviation]
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:32]


def _load_cached(path: Path, tables: TableSet, net: DenseNet) -> Checkpoint | None:
    if not os.access(path, os.R_OK):
        return None
    try:
        found = load_checkpoint(path)
        found.load_into(tables, net)
    except InputError:
        # Cut short by a full disk or a crash: make it anew.
        with suppress(OSError):
            path.unlink()
        return None
    # The last to be used is the last to go; of a home that is read-only none goes.
    with suppress(OSError):
        path.touch()
    return found


def _store_cached(path: Path | None, model: TrainedModel) -> str:
    """Keep the model for the next run, if the disk has room; say where, in words."""
    if path is None:
        return ", not cached (there is no home folder; set XDG_CACHE_HOME)"
    need = model.tables.layout.table_bytes + sum(sums.nbytes for sums in model.accumulators or ())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        kept = sorted(path.parent.glob("*.pt"), key=lambda p: p.stat().st_mtime, reverse=True)
        room = _CACHE_BYTES - need
        for old in kept:
            room -= old.stat().st_size
            if room < 0:
                old.unlink(missing_ok=True)
        if need > _CACHE_BYTES:
            return ", not cached (larger than the cache)"
        save_checkpoint(path, model)
    except (OSError, RuntimeError) as error:
        return f", not cached ({error})"
    return f", cached in {path}"
