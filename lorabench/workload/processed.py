"""Click logs that others have made ready: the reference DLRM's processed files, TorchRec's arrays.

Their ids are rows of the tables of whoever was trained on them: id i is row i, from 0 on, and there
is no row for a missing one. So ids are never hashed or numbered here, and one that lies beyond its
table is refused, unless it was asked for that ids wrap round, as the reference's
``--max-ind-range`` and TorchRec's loaders make them. Layouts are those of facebookresearch/dlrm's
``data_utils.py`` and ``data_loader_terabyte.py``, and of ``torchrec.datasets.criteo``; which one
is recognised in `lorabench.workload.processed_files`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.workload.arrays import Array
from lorabench.workload.inputs import Input, RawBatch

ProcessedKind = Literal["dlrm-npz", "dlrm-bin", "torchrec-npy"]

# 64 of them are a part of a store.
_BATCH_ROWS = 16_384

_MOST_ROWS = 2**31 - 2

# What TorchRec fills labels up with where there are none.
_NO_LABEL = -1

_WRAPPED = "--wrap-ids takes ids modulo the rows, as --max-ind-range and TorchRec's loaders do"


@dataclass(frozen=True, eq=False)
class Day:
    """Rows that lie in arrays of as many rows, or in one that has all columns.

    Parameters
    ----------
    label, dense : Array
        [N] or [N, 1]; [N, D].
    sparse : tuple of Array
        [N, F], or an array [N, L_f] for each feature; with `packed`, none.
    packed : int
        Dense columns of a single array ``label`` [N, 1 + D + F]; 0 where there are several arrays.
    """

    label: Array
    dense: Array
    sparse: tuple[Array, ...]
    packed: int = 0

    def __post_init__(self) -> None:
        for array in (self.dense, *self.sparse):
            if len(array) != len(self.label):
                raise InputError(
                    f"{array.name}: found {len(array):,} rows, expected the {len(self.label):,} of "
                    f"{self.label.name}"
                )
            if len(array.shape) != 2:
                raise InputError(
                    f"{array.name}: found shape {list(array.shape)}, expected rows and columns"
                )
        if not self.packed and int(np.prod(self.label.shape[1:])) != 1:
            raise InputError(
                f"{self.label.name}: found shape {list(self.label.shape)}, expected a label a row"
            )

    def __len__(self) -> int:
        return len(self.label)

    @property
    def num_dense(self) -> int:
        """Dense columns, D."""
        return self.packed or self.dense.shape[1]

    @property
    def hotness(self) -> tuple[int, ...]:
        """Ids a row of each feature."""
        if self.packed:
            return (1,) * (self.label.shape[1] - 1 - self.packed)
        if len(self.sparse) == 1:
            return (1,) * self.sparse[0].shape[1]
        return tuple(array.shape[1] for array in self.sparse)

    def parts(self, start: int) -> Iterator["_Part"]:
        """Walk the rows from `start` on."""
        if self.packed:
            for rows in self.label.parts(start, _BATCH_ROWS):
                dense, ids = rows[:, 1 : 1 + self.packed], rows[:, 1 + self.packed :]
                yield _Part(self, start, rows[:, 0], dense, [ids])
                start += len(rows)
            return
        walks = [one.parts(start, _BATCH_ROWS) for one in (self.label, self.dense, *self.sparse)]
        for label, dense, *sparse in zip(*walks, strict=True):
            yield _Part(self, start, label.reshape(-1), dense, sparse)
            start += len(label)


@dataclass(frozen=True, eq=False)
class _Part:
    """Some rows of a day, as they are stored."""

    day: Day
    start: int
    label: NDArray[Any]
    dense: NDArray[Any]
    sparse: list[NDArray[Any]]

    def checksum(self, total: Any) -> None:
        for part in (self.label, self.dense, *self.sparse):
            total.update(np.ascontiguousarray(part).data)

    @property
    def unlabelled(self) -> bool:
        """Whether it says that no row has a label, as TorchRec does of the contest's test set."""
        return bool((self.label == _NO_LABEL).all())

    def labels(self, *, labelled: bool) -> NDArray[np.int8]:
        """Labels [N]; all 0 of rows that are to have none."""
        good = (self.label == 0) | (self.label == 1) if labelled else self.label == _NO_LABEL
        if not good.all():
            row = int(good.argmin())
            expected = "a label, 0 or 1" if labelled else f"{_NO_LABEL}, as in the rows before it"
            raise self._strange(self.day.label, row, None, str(self.label[row]), expected)
        return (self.label * labelled).astype(np.int8)

    def values(self) -> NDArray[np.float32]:
        """Dense values [D, N], NaN where missing."""
        with np.errstate(over="ignore"):
            found = np.ascontiguousarray(self.dense.T, np.float32)
        if (strange := np.isinf(found)).any():
            column, row = map(int, np.argwhere(strange)[0])
            what = str(self.dense[row, column])
            raise self._strange(
                self.day.dense, row, column + self._before(1), what, "a number within float32"
            )
        return found

    def ids(self, *, any_integer: bool = False) -> NDArray[np.int64]:
        """Ids [C, N]: rows of tables, or any integers."""
        made = []
        for number, part in enumerate(self.sparse):
            ids = np.ascontiguousarray(part.T)
            with np.errstate(invalid="ignore"):
                whole = ids.astype(np.int64)
            bad = whole != ids
            expected = "an id, an integer"
            if not any_integer:
                bad |= (whole < 0) | (whole > _MOST_ROWS)
                expected = f"the row of a table, an integer from 0 to {_MOST_ROWS}; {_WRAPPED}"
            if bad.any():
                column, row = map(int, np.argwhere(bad)[0])
                array = self.day.label if self.day.packed else self.day.sparse[number]
                place = column + self._before(1 + self.day.packed)
                raise self._strange(array, row, place, str(part[row, column]), expected)
            made.append(whole)
        return np.concatenate(made)

    def _before(self, columns: int) -> int:
        """Return how many columns of the same array lie before those that are looked at."""
        return columns if self.day.packed else 0

    def _strange(
        self, array: Array, row: int, column: int | None, found: str, expected: str
    ) -> InputError:
        place = "" if column is None else f", column {column + 1}"
        return InputError(
            f"{array.name}, row {self.start + row + 1}{place}: found {found}, expected {expected}"
        )


@dataclass(frozen=True, eq=False)
class ProcessedRows:
    """What was recognised.

    Parameters
    ----------
    kind : str
        Whose layout it is.
    name : str
        Of the data, for people.
    days : tuple of Day
        The rows, in order.
    counts : tuple of int or None
        Rows of each feature's table, where the data say that.
    counts_from : str
        Where they do.
    notes : tuple of str
        What was passed over.
    """

    kind: ProcessedKind
    name: str
    days: tuple[Day, ...]
    counts: tuple[int, ...] | None = None
    counts_from: str = ""
    notes: tuple[str, ...] = ()

    @property
    def hotness(self) -> tuple[int, ...]:
        """Ids a row of each feature."""
        return self.days[0].hotness

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, each once."""
        arrays = (one for day in self.days for one in (day.label, day.dense, *day.sparse))
        return tuple(dict.fromkeys(array.path for array in arrays))


class ProcessedInput(Input):
    """Rows whose ids are rows of tables.

    Parameters
    ----------
    logs : ProcessedRows
        Where they are.
    tables : sequence of int, length F, or None
        Rows of each table, of which an id must be one. None: as many as there are ids, which takes
        a look at all of them where the data have no counts.
    wrap : bool
        Take ids modulo the rows of their table instead.

    Raises
    ------
    InputError
        The days do not fit together, or tables have fewer rows than the data have ids.
    """

    rows_given = True

    def __init__(
        self, logs: ProcessedRows, tables: Sequence[int] | None = None, *, wrap: bool = False
    ) -> None:
        first = logs.days[0]
        for day in logs.days[1:]:
            if (day.num_dense, day.hotness) != (first.num_dense, first.hotness):
                raise InputError(
                    f"{day.label.path}: found {day.num_dense} dense and {len(day.hotness)} sparse "
                    f"features, expected the {first.num_dense} and {len(first.hotness)} of "
                    f"{first.label.path}"
                )
        self.logs = logs
        self.name = logs.name
        self.identity = [*(path.name for path in logs.files), "rows", wrap]
        self.num_dense, self.num_sparse = first.num_dense, len(first.hotness)
        self.hotness = first.hotness
        self.rows = sum(map(len, logs.days))
        # TorchRec's files hold logarithms, the reference's the counts.
        self.logarithms = logs.kind == "torchrec-npy"
        self.transforms = ("identity" if self.logarithms else "log1p",) * self.num_dense
        self.wrap = wrap
        self.labelled = not next(first.parts(0)).unlabelled
        self._owner = "the checkpoint's" if tables is not None else logs.counts_from
        if logs.counts is not None and len(logs.counts) != self.num_sparse:
            raise InputError(
                f"{logs.counts_from}: found {len(logs.counts)} counts, expected one for each "
                f"of {self.num_sparse} features"
            )
        self.tables = None if tables is None else tuple(tables)
        if self.tables is not None:
            self._check_tables(self.tables)
        elif logs.counts is not None:
            self.tables = logs.counts
        self.notes = self._assumed()

    def _check_tables(self, tables: tuple[int, ...]) -> None:
        if len(tables) != self.num_sparse:
            raise InputError(
                f"checkpoint: found {len(tables)} tables, expected {self.num_sparse} for "
                f"{self.name}"
            )
        for number, (found, wanted) in enumerate(zip(tables, self.logs.counts or (), strict=False)):
            if found < wanted and not self.wrap:
                raise InputError(
                    f"checkpoint: found a table of {found:,} rows for feature {number + 1} "
                    f"(emb_l.{number}), expected at least {wanted:,} by {self.logs.counts_from}: "
                    "it was trained on other rows, or with --max-ind-range (then --wrap-ids)"
                )

    def _assumed(self) -> tuple[str, ...]:
        """Return what is assumed of the data, and what is left out."""
        how = "modulo their number of rows" if self.wrap else "as they are"
        told = [f"{self.name}: ids are rows of the tables, {how}; none is hashed"]
        if not self.labelled:
            told.append(f"{self.name}: rows have no labels ({_NO_LABEL} in each)")
        if self.logarithms:
            told.append("dense values are taken as they are, for TorchRec stores logarithms")
        counts = self.logs.counts
        if counts is not None and self.tables is not None and not self.wrap:
            larger = [f for f, (a, b) in enumerate(zip(self.tables, counts, strict=True)) if a > b]
            if larger:
                f = larger[0]
                told.append(
                    f"{len(larger)} tables of the checkpoint have more rows than "
                    f"{self.logs.counts_from} counts ids (feature {f + 1}: {self.tables[f]:,} "
                    f"for {counts[f]:,}): it may have been trained on other rows"
                )
        return (*told, *self.logs.notes)

    def with_counted_tables(self) -> "ProcessedInput":
        """Return the same rows with tables that hold their ids; reads all where none are known."""
        if self.tables is not None:
            return self
        top = np.zeros(self.num_sparse, np.int64)
        starts = np.cumsum((0, *self.hotness[:-1]))
        for day in self.logs.days:
            for part in day.parts(0):
                top = np.maximum(top, np.maximum.reduceat(part.ids().max(axis=1), starts))
        counts = tuple(int(one) + 1 for one in top)
        note = f"tables have as many rows as the largest of all {self.rows:,} rows' ids takes"
        logs = replace(
            self.logs,
            counts=counts,
            counts_from="the largest ids",
            notes=(*self.logs.notes, note),
        )
        return ProcessedInput(logs, wrap=self.wrap)

    def batches(self, done: int, read: str, *, keep_bad: bool, jobs: int) -> Iterator[RawBatch]:  # noqa: ARG002
        """Batches behind the first `done`; what lies before is read for its checksum."""
        total = hashlib.sha256()
        number = 0
        for day in self.logs.days:
            for part in day.parts(0):
                part.checksum(total)
                number += 1
                if number == done and total.hexdigest() != read:
                    raise InputError(
                        f"{day.label.path}: up to row {part.start + len(part.label)}: found other "
                        "rows than those taken in before, expected the same input"
                    )
                if number > done:
                    yield self._batch(part, total.hexdigest())
        if number < done:
            raise InputError(f"{self.name}: found fewer rows than were taken in before")

    def from_row(self, start: int) -> Iterator[RawBatch]:
        """Batches from a row on; days before it are not read."""
        for day in self.logs.days:
            if start < len(day):
                for part in day.parts(start):
                    yield self._batch(part, "")
            start = max(0, start - len(day))

    def _batch(self, part: _Part, read: str) -> RawBatch:
        return RawBatch(
            part.labels(labelled=self.labelled), None, part.values(), self._placed(part), (), read
        )

    def _placed(self, part: _Part) -> NDArray[np.int64]:
        """Return ids that are rows of their tables."""
        ids = part.ids(any_integer=self.wrap)
        if self.tables is None:
            return ids
        tops = np.repeat(np.array(self.tables, np.int64), self.hotness)[:, None]
        if self.wrap:
            ids %= tops
            return ids
        if (strays := ids >= tops).any():
            column, row = map(int, np.argwhere(strays)[0])
            feature = int(np.searchsorted(np.cumsum(self.hotness), column, side="right"))
            raise InputError(
                f"{part.day.label.path}, row {part.start + row + 1}: found id "
                f"{ids[column, row]:,} of feature {feature + 1}, expected a row of its table, 0 to "
                f"{self.tables[feature] - 1:,} ({self._owner}); {_WRAPPED}"
            )
        return ids
