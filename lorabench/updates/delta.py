"""What is sent: rows of embedding tables, as they were at one moment of training."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Encoding = Literal["fp32", "int8"]
"""Of embeddings on the link or on disk; the latter row-wise (`lorabench.updates.quantise`)."""


@dataclass(frozen=True)
class Version:
    """Which state of training rows are of.

    Parameters
    ----------
    step : int
        Samples that had been learned from.
    time_s : float
        When it was, in the stream's own time.
    """

    step: int
    time_s: float

    def follows(self, other: "Version") -> bool:
        """Whether it may be served after another one; if not, it is stale.

        Nothing may have been learned in an interval: the same step at a later time follows.
        """
        return self.step >= other.step and self.time_s >= other.time_s and self != other


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
        Rows of each table that are no longer kept, and served as zero; empty for none at all. None
        of them is among `rows`.
    """

    step: int
    time_s: float
    rows: tuple[NDArray[np.int32], ...]
    values: tuple[NDArray[np.float32], ...]
    evicted: tuple[NDArray[np.int32], ...] = field(default=())

    @property
    def version(self) -> Version:
        """Which state of training its rows are of."""
        return Version(self.step, self.time_s)

    @property
    def count(self) -> int:
        """Rows of all tables together."""
        return sum(len(rows) for rows in self.rows)

    @property
    def evicted_count(self) -> int:
        """Rows of all tables together that are no longer kept."""
        return sum(len(rows) for rows in self.evicted)

    def evicted_of(self, table: int) -> NDArray[np.int32]:
        """Rows int32 [m_f] of a table that are no longer kept, ascending and each once."""
        return self.evicted[table] if self.evicted else np.empty(0, np.int32)
