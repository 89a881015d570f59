"""Mean and deviation of dense columns, of which the transform ``standardise`` is made.

They are taken from a stream's first rows: what comes later is not known yet when a model is made,
and must not reach it through its inputs. Batches are put together by the update of Chan, Golub and
LeVeque ("Updating formulae and a pairwise algorithm for computing sample variances", 1979), which
loses nothing where a column is large and varies little.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lorabench.workload.features import DenseSpec, Transform

SAMPLE_ROWS = 1 << 20
"""Rows that are looked at: the first ones."""


@dataclass
class Moments:
    """What was seen of some columns so far; all of it goes into JSON.

    Parameters
    ----------
    columns : list of int
        Which, from 0.
    rows : int
        Rows that were looked at.
    counts, means, squares : list
        Of each column the values that were there, their mean, and the sum of their squared
        distances from it.
    """

    columns: list[int]
    rows: int = 0
    counts: list[int] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, transforms: Sequence[Transform]) -> Self:
        """Return the moments of those columns that are to be standardised, with nothing seen."""
        columns = [i for i, transform in enumerate(transforms) if transform == "standardise"]
        n = len(columns)
        return cls(columns, 0, [0] * n, [0.0] * n, [0.0] * n)

    def add(self, dense: NDArray[np.float32]) -> None:
        """Look at rows, float32 [D, N], NaN where missing; at none beyond `SAMPLE_ROWS`."""
        taken = dense[:, : SAMPLE_ROWS - self.rows]
        self.rows += taken.shape[1]
        for i, column in enumerate(self.columns):
            values = taken[column].astype(np.float64)
            values = values[~np.isnan(values)]
            if not len(values):
                continue
            mean = float(values.mean())
            apart = mean - self.means[i]
            before, n = self.counts[i], len(values)
            self.counts[i] = before + n
            self.means[i] += apart * n / (before + n)
            self.squares[i] += float(((values - mean) ** 2).sum())
            self.squares[i] += apart**2 * before * n / (before + n)

    def deviation(self, i: int) -> float:
        """Return the standard deviation of the i-th of `columns`; 1 where nothing varies."""
        if self.squares[i] <= 0:
            return 1.0
        return float(np.sqrt(self.squares[i] / self.counts[i]))


def standardised(dense: DenseSpec, transforms: Sequence[Transform], moments: Moments) -> DenseSpec:
    """Return a spec with transforms, and the mean and deviation that some of them take.

    Parameters
    ----------
    dense : DenseSpec
        All else.
    transforms : sequence of Transform, length D
        Of each column.
    moments : Moments
        Of those that are standardised.
    """
    content = dense.model_dump()
    content["transform"] = tuple(transforms)
    content.pop("mean", None)
    content.pop("deviation", None)
    if moments.columns:
        mean, deviation = [0.0] * dense.count, [1.0] * dense.count
        for i, column in enumerate(moments.columns):
            mean[column], deviation[column] = moments.means[i], moments.deviation(i)
        content.update(mean=tuple(mean), deviation=tuple(deviation))
    return DenseSpec.model_validate(content)
