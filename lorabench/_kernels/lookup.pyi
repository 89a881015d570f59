"""Lookups in base tables.

Letters: B batch, F sparse features (one table each), D embedding dim, R rank, V rows of a table,
S slots. Batches come in one of three layouts:

* one-hot, ``indices`` [B, F], ``offsets`` None: one row a table and sample;
* of fixed hotness, ``indices`` [B, C], ``offsets`` None: ``hotness[f]`` rows a sample of table f,
  those of one feature behind those of the one before (C is the sum; `Tables` knows the hotness);
* multi-hot, ``indices`` [N] table by table and ``offsets`` [F * B + 1]: bag ``b`` of table ``f``
  is ``indices[offsets[f * B + b]:offsets[f * B + b + 1]]`` (the layout of FBGEMM's table-batched
  embedding). An empty bag gives zeros.

Indices and offsets are int32 or int64, each as it likes. ``weights``, float32 of the shape of
``indices``, scale each row (mode "sum" only, and not in the layout of fixed hotness); mode "mean"
divides by the bag's size. Tables are float32, or bf16 given as its bits in uint16
(``tensor.view(torch.uint16).numpy()``).
"""

from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int32] | NDArray[np.int64]
Weights = NDArray[np.float32] | NDArray[np.uint16]

@final
class Tables:
    """The base embedding tables of a set, their addresses resolved once.

    Parameters
    ----------
    arrays : sequence of float32 or uint16 (bf16) [V_f, D] arrays
        One a sparse feature; read-only ones will do. D is the same for all.
    hotness : sequence of int, length F, optional
        Rows that a sample looks up in each table; one by default.
    version : int64 [1], optional
        In the memory of the tables; see `advance_version`.

    Attributes
    ----------
    columns : int
        C, rows that a sample looks up in all tables.
    reusable_features : tuple of int, length K
        Tables whose pooled base vectors are worth keeping for the trainer: a bag's rows, L * D
        floats, are more than its sum twice over, once written and once read (L > 2).
    reusable_rows : int
        Rows that a sample looks up in those.
    """

    arrays: tuple[Weights, ...]
    dim: int
    count: int
    hotness: tuple[int, ...]
    columns: int
    reusable_features: tuple[int, ...]
    reusable_rows: int
    def __new__(
        cls,
        arrays: Sequence[Weights],
        hotness: Sequence[int] | None = None,
        version: NDArray[np.int64] | None = None,
    ) -> Tables: ...
    @property
    def version(self) -> int:
        """The tables' version just now, odd while they are being changed; 0 if they have none.

        Read before rows are: vectors pooled from them are good for as long as it is even and the
        same.
        """

    def lookup(
        self,
        indices: Indices,
        out: NDArray[np.float32],
        offsets: Indices | None = None,
        *,
        weights: NDArray[np.float32] | None = None,
        mode: Literal["sum", "mean"] = "sum",
        base: NDArray[np.float32] | None = None,
    ) -> None:
        """Pool the rows of every bag: ``out[b, f] = sum w_i W_f[i]``, `out` float32 [B, F, D].

        With `base` float32 [B, K, D], the pooled vectors of `reusable_features`, no row of those is
        read.
        """

    def gather(self, indices: Indices, base: NDArray[np.float32]) -> None:
        """Pool only the bags of `reusable_features`, into `base` float32 [B, K, D]."""

def random_read(table: NDArray[np.float32], rows: int, *, ahead: int, seed: int) -> float:
    """Read `rows` random rows of `table` [V, D], each prefetched `ahead` rows early; their sum.

    The limit that lookups are held against: `ahead` is a power of two up to 256, and the caller
    takes the best.
    """

def advance_version(version: NDArray[np.int64]) -> None:
    """Count a table set's `version` [1] up: before its tables are changed, and again afterwards.

    Odd, they are being changed, and what was pooled from them is not to be kept.
    """
