"""What is sent: rows of embedding tables, as they were at one moment of training."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Delta:
    """Rows that a training cluster sends; of a quiet interval, none.

    Attributes
    ----------
    step : int
        Samples that had been learned from when they were taken.
    time_s : float
        When they were taken, in the stream's own time.
    rows : tuple of int32 [n_f]
        Of each table, ascending and each once.
    values : tuple of float32 [n_f, D]
        Their embeddings then.
    evicted : tuple of int32 [m_f]
        Rows of each table that are no longer kept, and served as zero; empty for none at all.
    """

    step: int
    time_s: float
    rows: tuple[NDArray[np.int32], ...]
    values: tuple[NDArray[np.float32], ...]
    evicted: tuple[NDArray[np.int32], ...] = field(default=())

    @property
    def count(self) -> int:
        """Rows of all tables together."""
        return sum(len(rows) for rows in self.rows)
