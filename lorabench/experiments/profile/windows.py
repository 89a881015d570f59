"""Ordinary training, window by window, with the three spectra of every table beside it.

At the start of a window the parameters stand still for the signal pass (c), over a random sample of
the window's rows; then the window is trained on as usual, and (a) is gathered batch by batch. For
(b) the rows that the window will touch are known beforehand, so each is copied once, and what it
moved by is told at the end, with what other optimisers would have moved it by
(`lorabench.experiments.profile.otherwise`). Memory: D x D a table and one copy of the touched rows
and their accumulators, whatever the length of the stream.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import LorabenchError
from lorabench.experiments.profile.otherwise import moments
from lorabench.lora.spectrum import MomentSum, Signal, Spectrum, SplitGradientSums, rows_of
from lorabench.model.full import FullTrainer, OptimizerName, TrainedModel
from lorabench.model.gradients import embedding_gradients
from lorabench.results.quality import mean_entropy
from lorabench.workload.block import Block, dense_features
from lorabench.workload.features import DenseSpec

# (a) is a mean over far more samples than it needs; its cost at D = 64 is not small.
_GRADIENT_STRIDE = 4

# A map of the rows is faster than a sort where it is not mostly empty.
_MAP_ROWS_A_LOOKUP = 64


class DivergedError(LorabenchError):
    """Training met a loss or a gradient that is not finite."""

    exit_code = 2


@dataclass(frozen=True, eq=False)
class TableWindow:
    """What one window showed of one table.

    Attributes
    ----------
    gradient, update : Spectrum
        (a) and (b) of `lorabench.lora.spectrum`.
    signal : Signal
        (c).
    touched : int
        Rows that were looked up.
    otherwise : mapping of str to Spectrum
        (b) had another optimiser moved the rows, by its name; empty where SGD did.
    """

    gradient: Spectrum
    update: Spectrum
    signal: Signal
    touched: int
    otherwise: Mapping[str, Spectrum]


@dataclass(frozen=True, eq=False)
class Window:
    """What one window showed.

    Attributes
    ----------
    tables : tuple of TableWindow, length F
    rows : int
        Samples trained on.
    loss : float
        Mean log loss, each sample before it was learned from.
    positives : int
        Samples whose label is 1.
    train_s, measure_s : float
        Time spent in training itself, and on top of it.
    """

    tables: tuple[TableWindow, ...]
    rows: int
    loss: float
    positives: int
    train_s: float
    measure_s: float

    @property
    def normalized_entropy(self) -> float | None:
        """The loss over that of always predicting the window's mean; None of labels all alike."""
        best = mean_entropy(self.positives, self.rows)
        return self.loss / best if best else None


@dataclass
class Profiled:
    """One dim's windows so far, the warm-up first.

    `stability` has, for every window but the first, how alike each table's leading subspace is to
    that of the window before.
    """

    dim: int
    windows: list[Window] = field(default_factory=list)
    stability: list[list[float]] = field(default_factory=list)
    wraps: int = 0
    origin: str = ""
    window_rows: int = 0


@dataclass(frozen=True)
class MeterConfig:
    """How windows are trained on and measured.

    Parameters
    ----------
    batch : int
        Samples of a training step.
    optimizer : {"adagrad", "sgd"}
        Of the tables.
    learning_rate : float or None
        Of the tables; None for the optimiser's default.
    signal_samples : int
        Samples of a window that the signal is taken from.
    signal_rows : int
        Rows of a table that it is kept for.
    seed : int
        Of the samples chosen.
    """

    batch: int = 2048
    optimizer: OptimizerName = "adagrad"
    learning_rate: float | None = None
    signal_samples: int = 16_384
    signal_rows: int = 1024
    seed: int = 0


class WindowMeter:
    """Trains a model on one window after another.

    Parameters
    ----------
    model : TrainedModel
        Tables, writable, and net are trained in place; Adagrad goes on from a copy of the
        accumulators.
    config : MeterConfig
        How.
    dense : DenseSpec
        How dense values become the model's inputs.
    """

    def __init__(self, model: TrainedModel, config: MeterConfig, dense: DenseSpec) -> None:
        self._dense = dense
        self._tables = model.tables
        self._kernels = model.tables.kernels
        self._net = model.net
        self._config = config
        self._trainer = FullTrainer(
            model.tables, model.net, config.optimizer, config.learning_rate, model.accumulators
        )
        every = range(self._kernels.count)
        self._gradients = MomentSum(every, self._kernels.dim)
        self._halves = SplitGradientSums(
            every, self._kernels.dim, config.signal_rows, config.seed, self._kernels.hotness
        )
        self._rng = np.random.default_rng(config.seed)
        self._maps: dict[int, NDArray[np.bool_]] = {}

    def window(self, block: Block) -> Window:
        """Measure and train on one window.

        Parameters
        ----------
        block : Block
            Its rows, contiguous by row.

        Raises
        ------
        DivergedError
            A loss or gradient is not finite; tables and net are as the last good step left them,
            or worse.
        """
        began = time.perf_counter()
        dense = dense_features(block.dense, self._dense)
        self._signal_pass(dense, block)
        rows = [
            self._touched(table, rows_of(block.sparse, table, self._kernels.hotness))
            for table in range(self._kernels.count)
        ]
        before = [self._rows(table, touched) for table, touched in enumerate(rows)]
        self._gradients.clear()
        measured = time.perf_counter() - began
        trained, loss = 0.0, 0.0
        for number, begin in enumerate(range(0, len(block), self._config.batch)):
            part = slice(begin, begin + self._config.batch)
            started = time.perf_counter()
            logits, grad = self._trainer.step(dense[part], block.sparse[part], block.label[part])
            stepped = time.perf_counter()
            loss += _summed_loss(logits, block.label[part], begin)
            if number % _GRADIENT_STRIDE == 0:
                self._gradients.add(grad)
            trained += stepped - started
            measured += time.perf_counter() - stepped
        began = time.perf_counter()
        found = tuple(self._table(table, rows[table], *before[table]) for table in range(len(rows)))
        measured += time.perf_counter() - began
        positives = int(block.label.sum())
        return Window(found, len(block), loss / len(block), positives, trained, measured)

    def _signal_pass(self, dense: NDArray[np.float32], block: Block) -> None:
        count = min(self._config.signal_samples, len(block))
        chosen = np.sort(self._rng.choice(len(block), count, replace=False))
        self._halves.clear()
        for begin in range(0, count, self._config.batch):
            part = chosen[begin : begin + self._config.batch]
            sparse = block.sparse[part]
            embeddings = np.empty((len(part), self._kernels.count, self._kernels.dim), np.float32)
            self._kernels.lookup(sparse, embeddings)
            _, grad = embedding_gradients(self._net, dense[part], embeddings, block.label[part])
            self._halves.add(sparse, grad)

    def _touched(self, table: int, bags: NDArray[np.int32]) -> NDArray[np.int64]:
        """Rows of `table` that a window's bags [N, L] name, each once, rising."""
        size = len(self._tables.arrays[table])
        if size > _MAP_ROWS_A_LOOKUP * bags.size:
            return np.unique(bags).astype(np.int64)
        seen = self._maps.setdefault(table, np.zeros(size, bool))
        seen[bags] = True
        rows = np.flatnonzero(seen)
        seen[rows] = False
        return rows

    def _rows(
        self, table: int, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Copy rows and, for Adagrad, their accumulators."""
        sums = self._trainer.accumulators
        return self._tables.arrays[table][rows], None if sums is None else sums[table][rows]

    def _table(
        self,
        table: int,
        rows: NDArray[np.int64],
        before: NDArray[np.float32],
        sums_before: NDArray[np.float32] | None,
    ) -> TableWindow:
        after, sums = self._rows(table, rows)
        update = np.subtract(after, before, out=after)
        moment = (update.T @ update).astype(np.float64)
        if not (np.isfinite(moment).all() and np.isfinite(self._gradients.packed[table]).all()):
            raise DivergedError(
                f"training diverged: found a gradient of table {table} that is not finite, "
                "expected finite ones; use a lower --learning-rate"
            )
        otherwise: Mapping[str, NDArray[np.float64]] = {}
        if sums is not None and sums_before is not None:
            otherwise = moments(update, sums_before, sums)
        return TableWindow(
            gradient=Spectrum.of(self._gradients.matrix(table)),
            update=Spectrum.of(moment),
            signal=self._halves.signal(table),
            touched=len(rows),
            otherwise={name: Spectrum.of(matrix) for name, matrix in otherwise.items()},
        )


def _summed_loss(logits: NDArray[np.float32], labels: NDArray[np.int8], begin: int) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        loss = float((np.logaddexp(0.0, logits) - labels * logits).sum())
    if not np.isfinite(loss):
        raise DivergedError(
            f"training diverged in the batch from row {begin} of a window: found a loss of "
            f"{loss}, expected a finite one; use a lower --learning-rate"
        )
    return loss
