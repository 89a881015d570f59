"""A block of rows, column by column: the one currency of the workload room.

The generator, the Criteo reader and the store all hand out blocks, and nobody downstream can tell
which of them did. A block holds what was logged, ids already turned into table rows; how a model
likes its dense inputs is one function beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MISSING_DENSE = int(np.iinfo(np.int32).min)
"""Stands for a missing dense value."""

MISSING_ROW = 0
"""The table row of a missing categorical value."""


@dataclass(frozen=True, eq=False)
class Block:
    """N consecutive rows of a workload.

    Parameters
    ----------
    label : int8 array [N]
        1 for a click, else 0.
    time_ns : int64 array [N]
        When the row was logged, workload time in ns; non-decreasing.
    dense : int32 array [N, num_dense]
        Raw values, `MISSING_DENSE` where missing.
    sparse : int32 array [N, C]
        Table rows, `MISSING_ROW` where missing; feature f's hotness[f] columns after those of the
        features before it.

    `dense` and `sparse` may be contiguous by row or by column: blocks come and are stored by
    column, models want them by row (`by_row`).
    """

    label: NDArray[np.int8]
    time_ns: NDArray[np.int64]
    dense: NDArray[np.int32]
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


def dense_features(dense: NDArray[np.int32]) -> NDArray[np.float32]:
    """Turn raw integers into a model's inputs: log(1 + max(x, 0)), missing as 0.

    The reference DLRM's preprocessing of Criteo (Naumov et al. 2019, ``data_utils.py``). Missing
    values need no case of their own: `MISSING_DENSE` is negative.

    Parameters
    ----------
    dense : int32 array [N, num_dense]

    Returns
    -------
    float32 array [N, num_dense]
    """
    features = np.maximum(dense, 0).astype(np.float32)
    return np.log1p(features, out=features)
