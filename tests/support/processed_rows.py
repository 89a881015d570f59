"""Click logs as the reference DLRM's and TorchRec's preprocessing write them, small and random."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DENSE, SPARSE = 13, 26


@dataclass(frozen=True, eq=False)
class Logs:
    """Rows whose ids are numbered as they appear.

    Attributes
    ----------
    dense : int32 [N, 13]
    ids : int64 [N, 26]
        Each column has all ids below its count.
    label : int32 [N]
    counts : int32 [26]
    """

    dense: NDArray[np.int32]
    ids: NDArray[np.int64]
    label: NDArray[np.int32]
    counts: NDArray[np.int32]
    days: list[int] = field(default_factory=list)

    @classmethod
    def draw(cls, rows: int, most: int = 40, seed: int = 0) -> "Logs":
        """Draw rows; the first features have one and two ids."""
        rng = np.random.default_rng(seed)
        counts = np.concatenate([[1, 2], rng.integers(3, most, SPARSE - 2)]).astype(np.int32)
        ids = rng.integers(0, counts, (rows, SPARSE))
        ids[: counts.max()] = np.minimum(np.arange(counts.max())[:, None], counts - 1)
        dense = rng.integers(0, 5000, (rows, DENSE)).astype(np.int32)
        return cls(dense, ids, rng.integers(0, 2, rows).astype(np.int32), counts)

    def cut(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Rows start .. stop as the reference names and types them: X_cat column by column."""
        ids = np.asfortranarray(self.ids[start:stop].astype(np.float64))
        return {"X_cat": ids, "X_int": self.dense[start:stop], "y": self.label[start:stop]}

    def write_whole(self, path: Path) -> Path:
        """Write ``kaggleAdDisplayChallenge_processed.npz``."""
        np.savez_compressed(path, **self.cut(0, len(self.label)), counts=self.counts)
        return path

    def write_days(self, folder: Path, bounds: Sequence[int], stem: str = "train_day") -> Path:
        """Write the files that ``--memory-map`` takes: all of them float64, row by row."""
        name = stem.removesuffix("_day")
        for day, (start, stop) in enumerate(itertools.pairwise(bounds)):
            rows = {key: np.ascontiguousarray(one) for key, one in self.cut(start, stop).items()}
            rows = {key: one.astype(np.float64) for key, one in rows.items()}
            np.savez_compressed(folder / f"{stem}_{day}_reordered.npz", **rows)
        np.savez_compressed(folder / f"{name}_day_count.npz", total_per_file=np.diff(bounds))
        np.savez_compressed(folder / f"{name}_fea_count.npz", counts=self.counts)
        return folder

    def write_binary(self, path: Path) -> Path:
        """Write what ``numpy_to_binary`` does."""
        columns = [self.label[:, None], self.dense, self.ids]
        path.write_bytes(np.concatenate(columns, axis=1).astype(np.int32).tobytes())
        return path

    def logarithms(self) -> NDArray[np.float32]:
        """Dense values as TorchRec stores them."""
        return np.log(self.dense - (self.dense.min() - 2), dtype=np.float32)

    def write_arrays(self, folder: Path, bounds: Sequence[int], suffix: str = "") -> Path:
        """Write ``day_N_dense.npy``, ``day_N_sparse.npy`` and ``day_N_labels.npy``."""
        for day, (start, stop) in enumerate(itertools.pairwise(bounds)):
            np.save(folder / f"day_{day}_dense.npy", self.logarithms()[start:stop])
            sparse = self.ids[start:stop].astype(np.int32)
            np.save(folder / f"day_{day}_sparse{suffix}.npy", sparse)
            np.save(folder / f"day_{day}_labels.npy", self.label[start:stop].reshape(-1, 1))
        return folder
