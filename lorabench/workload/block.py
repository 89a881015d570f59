"""A block of rows, column by column: the one currency of the workload room.

The generator, the Criteo reader and the store all hand out blocks, and nobody downstream can tell
which of them did. A block holds what was logged, ids already turned into table rows; how a model
likes its dense inputs is one function beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench.workload.features import DenseSpec

MISSING_DENSE = np.float32(np.nan)
"""Stands for a missing dense value; `numpy.isnan` finds it."""

MISSING_ROW = 0
"""The table row of a missing categorical value."""

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Block:
    """N consecutive rows of a workload.

    Parameters
    ----------
    label : int8 array [N]
        1 for a click, else 0.
    time_ns : int64 array [N]
        When the row was logged, workload time in ns; non-decreasing.
    dense : float32 array [N, num_dense]
        Values as they were logged, `MISSING_DENSE` (NaN) where missing. Integers are exact up to
        2^24, and rounded to the nearest float32 beyond.
    sparse : int32 array [N, C]
        Table rows, `MISSING_ROW` where missing; feature f's hotness[f] columns after those of the
        features before it.

    `dense` and `sparse` may be contiguous by row or by column: blocks come and are stored by
    column, models want them by row (`by_row`).
    """

    label: NDArray[np.int8]
    time_ns: NDArray[np.int64]
    dense: NDArray[np.float32]
    sparse: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.label)

    def slice(self, start: int, stop: int) -> "Block":
        """Rows start .. stop, as views."""
        cut = slice(start, stop)
        return Block(self.label[cut], self.time_ns[cut], self.dense[cut], self.sparse[cut])

    def by_row(self) -> "Block":
        """Return the same rows with `dense` and `sparse` contiguous by row."""
        return Block(
            self.label,
            self.time_ns,
            np.ascontiguousarray(self.dense),
            np.ascontiguousarray(self.sparse),
        )

    @staticmethod
    def concat(blocks: "Sequence[Block]") -> "Block":
        """One block of all rows, in order; at least one block is needed.

        Raises
        ------
        ValueError
            No blocks: then the number of columns is unknown.
        """
        if not blocks:
            raise ValueError("no blocks to concatenate")
        return Block(
            np.concatenate([block.label for block in blocks]),
            np.concatenate([block.time_ns for block in blocks]),
            np.concatenate([block.dense for block in blocks]),
            np.concatenate([block.sparse for block in blocks]),
        )


def dense_features(dense: NDArray[np.float32], spec: DenseSpec) -> NDArray[np.float32]:
    """Turn dense values into a model's inputs, each column by its transform.

    ``log1p`` is log(1 + max(x, 0)), the reference DLRM's preprocessing of Criteo's counts (Naumov
    et al. 2019, ``data_utils.py``); ``identity`` is x; ``standardise`` is (x - mean) / deviation.
    A missing value is 0 under each of them. Values are finite, and so are inputs: what overflows
    float32 becomes its largest value.

    Parameters
    ----------
    dense : float32 array [N, num_dense]
        NaN where missing; contiguous by row or by column, as are the features then.
    spec : DenseSpec
        Says the transform of each column, and mean and deviation.

    Returns
    -------
    float32 array [N, num_dense]
    """
    if spec.counts:
        return _log1p(dense)
    kinds = np.array(spec.transform)
    logs = kinds == "log1p"
    features = np.zeros_like(dense)
    if logs.any():
        features[:, logs] = _log1p(dense[:, logs])
    same = kinds == "identity"
    features[:, same] = dense[:, same]
    scaled = kinds == "standardise"
    if scaled.any():
        mean, deviation = np.array(spec.mean)[scaled], np.array(spec.deviation)[scaled]
        # In float64: of a column that is large and varies little, float32 would leave only noise.
        apart = (dense[:, scaled].astype(np.float64) - mean) / deviation
        features[:, scaled] = apart.clip(-_LARGEST, _LARGEST)
    return np.nan_to_num(features, copy=False, nan=0.0)


def _log1p(dense: NDArray[np.float32]) -> NDArray[np.float32]:
    # Of NaN and 0 the larger is 0: a missing value needs no case of its own.
    features = np.fmax(dense, np.float32(0))
    return np.log1p(features, out=features)
