"""Where B comes from: the top principal directions of the gradients of the looked-up embeddings.

Second moments of the per-sample gradients are kept per table, uncentred and packed (only the lower
triangle), while the trainer warms up; their leading eigenvectors become the rows of B, orthonormal
and fixed from then on. A rank-R term in that basis holds the largest share of the gradients'
energy that any rank-R term could (Eckart and Young 1936).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lorabench._hotpath import add_gram
from lorabench.model.adapter import second_moment_size


class SecondMoments:
    """Running uncentred second moments of gradients, one D x D matrix an adapted table.

    Parameters
    ----------
    tables : sequence of int
        Which of the F tables are adapted.
    dim : int
        D.
    """

    def __init__(self, tables: Sequence[int], dim: int) -> None:
        self._tables = np.array(tables, dtype=np.int64)
        self._lower = np.tril_indices(dim)
        self._dim = dim
        self._packed = np.zeros((len(self._tables), second_moment_size(dim)), np.float32)
        self.samples = 0

    def add(self, grad: NDArray[np.float32]) -> None:
        """Add the outer products of `grad` [B, F, D], one a sample and table."""
        add_gram(grad, self._tables, self._packed)
        self.samples += grad.shape[0]

    def basis(self, rank: int, tables: int) -> NDArray[np.float32]:
        """Orthonormal leading directions.

        Parameters
        ----------
        rank : int
            R.
        tables : int
            F.

        Returns
        -------
        float32 [F, R, D]
            By falling eigenvalue; zero for tables that are not adapted.
        """
        full = np.zeros((len(self._tables), self._dim, self._dim))
        full[:, self._lower[0], self._lower[1]] = self._packed
        # eigh reads the lower triangle alone and gives rising eigenvalues.
        _, vectors = np.linalg.eigh(full)
        basis = np.zeros((tables, rank, self._dim), np.float32)
        basis[self._tables] = vectors[:, :, ::-1][:, :, :rank].transpose(0, 2, 1)
        return basis
