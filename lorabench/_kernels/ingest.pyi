"""Raw Criteo lines, and ids to table rows."""

import numpy as np
from numpy.typing import NDArray

def parse_criteo(
    text: NDArray[np.uint8],
    label: NDArray[np.int8],
    dense: NDArray[np.float32],
    ids: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Parse raw Criteo lines until one is bad, or the room is full.

    Parameters
    ----------
    text : uint8 [bytes]
        Whole lines: it ends with a line feed.
    label : int8 [N]
        Written, as are the next two.
    dense : float32 [13, N]
        The integer, rounded to the nearest float32; NaN where missing.
    ids : int64 [26, N]
        -1 where missing.

    Returns
    -------
    rows, bytes, column : int
        How many lines were parsed, the bytes they take, and the bad column of the line behind them:
        40 if it has more columns, -1 if none is bad.
    """

def format_criteo(
    label: NDArray[np.int8], dense: NDArray[np.float32], ids: NDArray[np.int64]
) -> bytearray:
    """Write raw Criteo lines, the inverse of `parse_criteo`; ids as 8 digits.

    Dense values are integers within 2^31 of 0, or NaN; what float32 rounds to 2^31 is written as
    2^31 - 1.
    """

def hash_ids(ids: NDArray[np.int64], cardinality: int, rows: NDArray[np.int32]) -> None:
    """Write ``1 + mix64(id) % cardinality`` of `ids` [N] to `rows` [N], 0 for a negative id.

    mix64 is splitmix64's finaliser, Stafford's variant 13.
    """

class Dictionary:
    """Ids to table rows, numbered from 1 in the order in which the ids first appear.

    Parameters
    ----------
    most : int
        Distinct ids that it may hold; below 2^31 - 1. It takes 24 to 48 bytes an id.
    """

    def __new__(cls, most: int) -> Dictionary: ...
    def __len__(self) -> int: ...
    def rows(self, ids: NDArray[np.int64], rows: NDArray[np.int32]) -> None:
        """Write the rows of `ids` [N] to `rows` [N], 0 for a negative id; new ids get new rows.

        Raises
        ------
        OverflowError
            More distinct ids than it may hold.
        MemoryError
            No room for more.
        """

    def copy_ids(self, first: int, ids: NDArray[np.int64]) -> None:
        """Write the ids of rows ``first + 1`` to the last to `ids`."""
