"""Training steps of whole tables, and what a trainer finds out about gradients.

Batches as in `lorabench._kernels.lookup`.
"""

from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.lookup import Indices, Tables

@final
class TableOptimizer:
    """Training of whole tables, full rank: SGD, or row-wise Adagrad.

    Parameters
    ----------
    arrays : sequence of float32 [V_f, D] arrays
        Writable; moved in place. No more than 2^31 - 1 rows, which the step numbers by int32.
    accumulators : sequence of float32 [V_f] arrays, optional
        Of row-wise Adagrad: each row's running sum of mean squared gradients (Naumov et al. 2019).
        Without them the step is plain SGD.
    hotness : sequence of int, length F, optional
        As for `Tables`.
    """

    tables: Tables
    accumulators: tuple[NDArray[np.float32], ...]
    def __new__(
        cls,
        arrays: Sequence[NDArray[np.float32]],
        accumulators: Sequence[NDArray[np.float32]] | None = None,
        hotness: Sequence[int] | None = None,
    ) -> TableOptimizer: ...
    def step(
        self,
        indices: Indices,
        grad: NDArray[np.float32],
        *,
        learning_rate: float,
        epsilon: float = 1e-8,
        offsets: Indices | None = None,
        weights: NDArray[np.float32] | None = None,
        mode: Literal["sum", "mean"] = "sum",
    ) -> None:
        """Move the rows of every bag by `grad` float32 [B, F, D], the gradient by each bag.

        Rows that a batch repeats are summed before the step, in the order of the batch.
        """

@final
class RowWriter:
    """The tables of a set, to have rows written into them while others may read.

    Parameters
    ----------
    arrays : sequence of float32 [V_f, D] arrays
        Writable, of no more than 2^31 - 1 rows.
    """

    tables: Tables
    def __new__(cls, arrays: Sequence[NDArray[np.float32]]) -> RowWriter: ...
    def write(
        self,
        rows: NDArray[np.int32],
        values: NDArray[np.float32],
        offsets: NDArray[np.int64],
    ) -> int:
        """Write `values` [n, D] to `rows` [n], those of table f from ``offsets[f]`` on.

        `offsets` [F + 1] may leave out what comes before the first and after the last of them. A
        reader may see a row half old and half new. Returns how many rows were written; where one is
        no row of its table, none is.
        """

def top_rows(x: NDArray[np.float32], rows: NDArray[np.int64], norms: NDArray[np.float32]) -> None:
    """Return the k rows of `x` [n, W] with the largest Euclidean norm, the largest first.

    k is the length of `rows` and `norms`, which are written. Equal norms go by row number; a row
    that holds a NaN comes last, with norm -1.
    """

def add_gram(
    x: NDArray[np.float32], tables: NDArray[np.int64], packed: NDArray[np.float32]
) -> None:
    """Add ``x[:, f].T @ x[:, f]`` to ``packed[i]`` for each ``f = tables[i]``.

    `x` is [B, F, D], `packed` [T, D (D + 1) / 2]: lower triangles, row by row.
    """
