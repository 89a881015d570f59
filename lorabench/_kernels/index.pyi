"""Row -> slot, alone."""

from typing import final

import numpy as np
from numpy.typing import NDArray

@final
class RowIndex:
    """Row -> slot, as every adapted table has one; here alone, for those who measure or test it.

    Parameters
    ----------
    capacity : int
        Most rows that it ever holds at one time.
    """

    capacity: int
    used: int
    def __new__(cls, capacity: int) -> RowIndex: ...
    def insert(self, rows: NDArray[np.int32], slots: NDArray[np.int32]) -> None:
        """Insert `rows` [n], none of them there yet, with their `slots` [n], both from 0 up.

        A row that cannot go in raises `ValueError`; those before it are in.
        """

    def find(self, rows: NDArray[np.int32], slots: NDArray[np.int32]) -> None:
        """Write the slot of each of `rows` [n], or -1, to `slots` [n]."""

    def erase(self, rows: NDArray[np.int32]) -> int:
        """Forget `rows` [n]; returns how many of them were there."""
