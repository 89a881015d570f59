"""Which table row an id gets: by hashing, or numbered as ids first appear."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.ingest import Dictionary, hash_ids
from lorabench.errors import InputError
from lorabench.workload.spec import WorkloadSpec

_MOST_IDS = 2**31 - 3


class HashedRows:
    """Rows by hashing, into tables of the base's cardinalities."""

    def __init__(self, base: WorkloadSpec) -> None:
        self._cardinalities = base.sparse.cardinality

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the table row of each id; int32 [F, N]."""
        rows = np.empty(ids.shape, np.int32)
        for f, cardinality in enumerate(self._cardinalities):
            hash_ids(ids[f], cardinality, rows[f])
        return rows

    def distinct(self) -> list[int]:
        """Return how many ids each feature has; of hashed ones nobody knows."""
        return []

    def put_down(self, side: Path) -> None:
        """Nothing to keep."""

    def take_up(self, side: Path) -> None:
        """Nothing was kept."""


class GivenRows:
    """Rows as they are: ids of data that others have made ready."""

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Rows of ids, [F, N]."""
        return ids.astype(np.int32)

    def distinct(self) -> list[int]:
        """Nothing is counted."""
        return []

    def put_down(self, side: Path) -> None:
        """Nothing to keep."""

    def take_up(self, side: Path) -> None:
        """Nothing was kept."""


class ExactRows:
    """Rows by dictionaries, one a feature; each part keeps the ids that it was first to see."""

    def __init__(self, features: int) -> None:
        self._dictionaries = [Dictionary(_MOST_IDS) for _ in range(features)]
        self._kept = [0] * features

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the table row of each id; int32 [F, N]."""
        rows = np.empty(ids.shape, np.int32)
        for f, dictionary in enumerate(self._dictionaries):
            try:
                dictionary.rows(ids[f], rows[f])
            except (OverflowError, MemoryError) as error:
                raise InputError(
                    f"sparse column {f + 1}: {error}; expected fewer, or --ids hash"
                ) from None
        return rows

    def distinct(self) -> list[int]:
        """Return how many ids each feature has; of hashed ones nobody knows."""
        return [len(dictionary) for dictionary in self._dictionaries]

    def put_down(self, side: Path) -> None:
        """Keep what is new since the last part."""
        new: dict[str, Any] = {}
        for f, (dictionary, kept) in enumerate(zip(self._dictionaries, self._kept, strict=True), 1):
            new[f"c{f}"] = np.empty(len(dictionary) - kept, np.int64)
            dictionary.copy_ids(kept, new[f"c{f}"])
        with side.open("wb") as file:
            np.savez(file, **new)
        self._kept = self.distinct()

    def take_up(self, side: Path) -> None:
        """Go on with what an earlier run kept."""
        with np.load(side, allow_pickle=False) as new:
            for f, dictionary in enumerate(self._dictionaries, 1):
                dictionary.rows(new[f"c{f}"], np.empty(len(new[f"c{f}"]), np.int32))
        self._kept = self.distinct()
