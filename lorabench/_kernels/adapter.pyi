"""The adapter in shared memory: its size, its layout, and a server's lookups with it.

Batches as in `lorabench._kernels.lookup`.
"""

from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.lookup import Indices, Tables
from lorabench._kernels.memory import Mapping

PIN_BYTES: int
MAX_RANK: int

def adapter_bytes(
    slots: NDArray[np.int64], rank: int | Sequence[int] | NDArray[np.int64], dim: int
) -> int:
    """Bytes of the shared memory of an adapter, both sides, for `slots` int64 [F].

    `rank` is one for all tables or one a table. A table with slots but rank 0 has a plain delta
    [slots, dim], and then must have as many rows.
    """

def slot_state_bytes(slots: NDArray[np.int64], rows: NDArray[np.int64] | None = None) -> int:
    """Bytes that an `AdapterWriter` keeps for itself.

    Accumulators, rows, counts of lookups, dirty marks and sketches, for `slots` int64 [F] of tables
    of `rows` int64 [F], 1 to 2^31 - 1 each; without `rows` nothing is pruned, and there are no
    sketches.
    """

def format_adapter(
    sides: Mapping,
    slots: NDArray[np.int64],
    rank: int | Sequence[int] | NDArray[np.int64],
    dim: int,
) -> None:
    """Lay out an empty adapter: active side 0, epoch 0, no row adapted.

    What `sides` has beyond the layout's bytes is room for `writer.AdapterWriter.relayout`.
    """

def clear_pin(pins: Mapping, server: int) -> None:
    """Take back the pin of a server that is dead, so that the writer need not defer for ever."""

@final
class AdapterReader:
    """A server's view of the adapter.

    Parameters
    ----------
    sides : Mapping
        The adapter; a read-only mapping.
    pins : Mapping
        One pin line of `PIN_BYTES` a server; writable.
    server : int
        Which line is this reader's. No two readers may share one.
    """

    def __new__(cls, sides: Mapping, pins: Mapping, server: int) -> AdapterReader: ...
    def lookup(
        self,
        tables: Tables,
        indices: Indices,
        out: NDArray[np.float32],
        offsets: Indices | None = None,
        *,
        weights: NDArray[np.float32] | None = None,
        mode: Literal["sum", "mean"] = "sum",
        base: NDArray[np.float32] | None = None,
    ) -> int:
        """Pool with the LoRA term, all tables from one epoch, and return that epoch.

        ``out[b, f] = sum W_f[i] + (sum A_f[slot(i)]) @ B_f``, `out` float32 [B, F, D]. `base`
        float32 [B, K, D] gets the first sum, without the term, of ``tables.reusable_features``.
        """
