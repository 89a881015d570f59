"""Real rows as they are read, batch by batch: what any input gives, and raw Criteo lines as one."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.workload.criteo import NUM_DENSE, NUM_SPARSE, line_chunks, parse_lines
from lorabench.workload.features import Transform
from lorabench.workload.generator import in_order
from lorabench.workload.manifest import is_synthetic


@dataclass(frozen=True, eq=False)
class RawBatch:
    """N rows as they were read.

    Attributes
    ----------
    label : int8 [N]
    time_ns : int64 [N] or None
        None where the data have no times.
    dense : float32 [D, N]
        NaN where missing.
    ids : int64 [F, N]
        -1 where missing.
    bad : tuple of InputError
        Lines that were left out.
    read : str
        Checksum of all input up to here.
    remarks : dict of str to int
        What was done to values that could not be taken as they are, and how often.
    """

    label: NDArray[np.int8]
    time_ns: NDArray[np.int64] | None
    dense: NDArray[np.float32]
    ids: NDArray[np.int64]
    bad: tuple[InputError, ...]
    read: str
    remarks: Mapping[str, int] = field(default_factory=dict)

    def behind(self, rows: int) -> "RawBatch":
        """Return it without its first rows."""
        time_ns = None if self.time_ns is None else self.time_ns[rows:]
        return replace(
            self,
            label=self.label[rows:],
            time_ns=time_ns,
            dense=self.dense[:, rows:],
            ids=self.ids[:, rows:],
        )


class Input:
    """Rows to take in.

    Attributes
    ----------
    name : str
        For the manifest.
    identity : list
        What must be the same when a run goes on, as JSON.
    num_dense, num_sparse : int
        Columns.
    transforms : tuple of Transform, length num_dense, or None
        How dense values become inputs of the model; None leaves that to the preset.
    rows_given : bool
        Ids are rows of tables, to be taken as they are.
    synthetic : bool
        What wrote the rows says that they were generated.
    timed, labelled : bool
        Whether the rows have times, and labels.
    notes : tuple of str
        What was recognised and what is left out, for the user and the manifest.
    preset : str
        Whose tables and model go with such rows, where no other is asked for.
    """

    name: str
    identity: list[Any]
    num_dense: int
    num_sparse: int
    transforms: tuple[Transform, ...] | None = None
    rows_given = False
    synthetic = False
    timed: bool = False
    labelled: bool = True
    notes: tuple[str, ...] = ()
    preset: str = "criteo-kaggle"

    def batches(self, done: int, read: str, *, keep_bad: bool, jobs: int) -> Iterator[RawBatch]:
        """Batches behind the first `done`, up to which the checksum must be `read`."""
        raise NotImplementedError

    def from_row(self, start: int) -> Iterator[RawBatch]:
        """Batches from row `start` on; here, what lies before it is read and passed over."""
        for batch in self.batches(0, "", keep_bad=False, jobs=1):
            rows = len(batch.label)
            if rows > start:
                yield batch.behind(start) if start else batch
            start = max(0, start - rows)


class CriteoInput(Input):
    """Raw Criteo files, one after the other; ``-`` is stdin.

    Parameters
    ----------
    paths : sequence of Path
        Plain or gzipped, which shows from the bytes.
    """

    num_dense, num_sparse = NUM_DENSE, NUM_SPARSE

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self.name = ", ".join(path.name for path in self._paths)
        self.identity = [path.name for path in self._paths]
        self.synthetic = all(map(is_synthetic, self._paths))

    def batches(self, done: int, read: str, *, keep_bad: bool, jobs: int) -> Iterator[RawBatch]:
        """Parse on `jobs` threads, which has no influence on the rows."""

        def parsed(item: tuple[Path, int, bytes, str]) -> RawBatch:
            path, line, lines, total = item
            bad: list[InputError] = []
            raw = parse_lines(lines, path, line, bad.append if keep_bad else None)
            return RawBatch(raw.label, None, raw.dense, raw.ids, tuple(bad), total)

        yield from in_order(parsed, self._chunks(done, read), jobs)

    def _chunks(self, done: int, read: str) -> Iterator[tuple[Path, int, bytes, str]]:
        total = hashlib.sha256()
        number = 0
        for path in self._paths:
            for line, lines in line_chunks(path):
                total.update(lines)
                number += 1
                if number > done:
                    yield path, line, lines, total.hexdigest()
                elif number == done and total.hexdigest() != read:
                    raise InputError(
                        f"{path}: up to line {line + lines.count(10)}: found other lines than "
                        "those taken in before, expected the same input"
                    )
        if number < done:
            raise InputError(f"{self.name}: found fewer lines than were taken in before")
