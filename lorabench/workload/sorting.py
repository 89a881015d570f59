"""Rows in order of time, whatever order they come in: an external merge sort (Knuth, TAOCP 3, 5.4).

What is read is cut into runs that fit into memory; each is sorted and written beside the journal of
`lorabench.workload.parts`, with a note. Then all runs are merged, a block of each in memory. Rows
of one time keep the order that they had. After a kill, runs that are whole are not sorted again;
the input is read again, to see that it is the same. Disk: as many bytes as the rows take.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.workload.inputs import Input, RawBatch
from lorabench.workload.parts import SORTED, checksum, half_of, settle, write_json

_RUN_BYTES = 64 << 20
_MERGE_BYTES = 64 << 20
_BATCH_ROWS = 65_536

Heard = Callable[[Sequence[InputError], Mapping[str, int]], None]
"""Told of the bad rows and the remarks of each batch."""

Rows = NDArray[np.void]


@dataclass(frozen=True)
class _Run:
    """A sorted run: its file, its rows, and its SHA-256 (hex)."""

    path: Path
    rows: int
    sha256: str


class SortedInput(Input):
    """Rows of another input in order of time, as `sort_rows` left them in runs.

    Parameters
    ----------
    source : Input
        Theirs.
    runs : sequence of _Run
        The runs.
    dtype : numpy dtype
        Of a row in them.
    """

    timed = True

    def __init__(self, source: Input, runs: Sequence[_Run], dtype: np.dtype[Any]) -> None:
        self.name = source.name
        self.identity = source.identity
        self.num_dense, self.num_sparse = source.num_dense, source.num_sparse
        self.transforms = source.transforms
        self.rows_given, self.synthetic = source.rows_given, source.synthetic
        self.preset = source.preset
        self.notes = source.notes
        self.labelled = source.labelled
        self._runs = tuple(runs)
        self._dtype = dtype
        self._digest = hashlib.sha256("".join(run.sha256 for run in runs).encode()).hexdigest()

    def batches(self, done: int, read: str, *, keep_bad: bool, jobs: int) -> Iterator[RawBatch]:  # noqa: ARG002
        """Merge the runs."""
        if done and read != self._digest:
            raise InputError(
                f"{self.name}: found other rows than those taken in before, expected the same input"
            )
        for number, rows in enumerate(_in_batches(self._merged())):
            if number >= done:  # copies: a row's fields lie at any address
                yield RawBatch(
                    np.array(rows["label"], order="C"),
                    np.array(rows["time_ns"], order="C"),
                    np.array(rows["dense"].T, order="C"),
                    np.array(rows["ids"].T, order="C"),
                    (),
                    self._digest,
                )

    def _merged(self) -> Iterator[Rows]:
        room = max(16, _MERGE_BYTES // (max(1, len(self._runs)) * self._dtype.itemsize))
        cursors = [_Cursor(run, self._dtype, room) for run in self._runs]
        while cursors := [cursor for cursor in cursors if cursor.fill()]:
            # What is not in memory yet is not earlier than this.
            bound = min(int(cursor.rows["time_ns"][-1]) for cursor in cursors)
            earlier = [cursor.take(bound, "left") for cursor in cursors]
            together = np.concatenate(earlier)
            yield together[np.argsort(together["time_ns"], kind="stable")]
            for cursor in cursors:  # of one time: run after run, as they came
                while cursor.fill() and cursor.rows["time_ns"][0] == bound:
                    yield cursor.take(bound, "right")


class _Cursor:
    """A place in a run, and the rows from there that are in memory."""

    def __init__(self, run: _Run, dtype: np.dtype[Any], room: int) -> None:
        self._run = run
        self._dtype = dtype
        self._room = room
        self._next = 0
        self.rows: Rows = np.empty(0, dtype)

    def fill(self) -> bool:
        """Read on where no row is left in memory; whether there is one."""
        if not len(self.rows) and self._next < self._run.rows:
            count = min(self._room, self._run.rows - self._next)
            place = self._next * self._dtype.itemsize
            self.rows = np.fromfile(self._run.path, self._dtype, count, offset=place)
            if len(self.rows) < count:
                raise OSError(f"{self._run.path.name} was truncated")
            self._next += count
        return len(self.rows) > 0

    def take(self, bound: int, side: Any) -> Rows:
        """Take the rows before a time, or up to it."""
        count = int(np.searchsorted(self.rows["time_ns"], bound, side))
        taken, self.rows = self.rows[:count], self.rows[count:]
        return taken


def _in_batches(pieces: Iterator[Rows]) -> Iterator[Rows]:
    """Cut rows into batches of one length, so that they depend on the rows alone."""
    waiting: list[Rows] = []
    ready = 0
    for piece in pieces:
        waiting.append(piece)
        ready += len(piece)
        if ready >= _BATCH_ROWS:
            together = np.concatenate(waiting)
            whole = ready - ready % _BATCH_ROWS
            yield from np.split(together[:whole], range(_BATCH_ROWS, whole, _BATCH_ROWS))
            waiting, ready = [together[whole:].copy()], ready - whole
    if ready:
        yield np.concatenate(waiting)


def sort_rows(
    source: Input,
    place: Path,
    heard: Heard,
    *,
    keep_bad: bool,
    jobs: int,
    progress: Callable[[int], None],
) -> SortedInput:
    """Sort the rows of an input by time.

    Parameters
    ----------
    source : Input
        The rows; they have times.
    place : Path
        Folder for the runs; those that an earlier call with the same input left are taken up.
    heard : callable
        Told of bad rows and remarks.
    keep_bad : bool
        Whether bad rows are left out and told of, or raised.
    jobs : int
        Threads that parse.
    progress : callable
        Told how many rows are sorted.

    Raises
    ------
    InputError
        Bad input, rows without times, or an input that changed since the runs were written.
    OSError
        The folder cannot be written to.
    """
    if not source.timed:
        raise InputError(
            f"--sort: found rows without times ({source.name}), expected a column map with time"
        )
    sorter = _Sorter(source, place, heard)
    sorter.take_up()
    batches = source.batches(sorter.batches, sorter.read, keep_bad=keep_bad, jobs=jobs)
    for batch in batches:
        sorter.add(batch)
        progress(sorter.rows)
    sorter.write()
    return SortedInput(source, sorter.runs, sorter.dtype)


class _Sorter:
    """Collects batches and writes them as runs."""

    def __init__(self, source: Input, place: Path, heard: Heard) -> None:
        self._place = place
        self._heard = heard
        self._waiting: list[RawBatch] = []
        self._bad: list[str] = []
        self._remarks: dict[str, int] = {}
        self.dtype = np.dtype(
            [
                ("time_ns", np.int64),
                ("label", np.int8),
                ("dense", np.float32, (source.num_dense,)),
                ("ids", np.int64, (source.num_sparse,)),
            ]
        )
        self.runs: list[_Run] = []
        self.batches, self.read, self.rows = 0, "", 0

    def take_up(self) -> None:
        """Go on behind the runs that an earlier call finished."""
        while (note := self._whole(len(self.runs))) is not None:
            run = _Run(self._path(len(self.runs)), note["rows"], note["sha256"])
            self.runs.append(run)
            self.batches, self.read = note["batches"], note["read"]
            self.rows += run.rows
            self._heard([InputError(words) for words in note["bad"]], note["remarks"])
        for later in self._place.glob(f"{SORTED}*"):
            if int(later.name.removeprefix(SORTED).split(".")[0]) >= len(self.runs):
                later.unlink()

    def _whole(self, number: int) -> Any:
        """Return the note of a run; None where it is not as it was written."""
        path = self._path(number)
        try:
            note = json.loads(path.with_suffix(".json").read_bytes())
            return note if checksum(path) == note["sha256"] else None
        except (ValueError, KeyError, TypeError, FileNotFoundError):
            return None

    def _path(self, number: int) -> Path:
        return self._place / f"{SORTED}{number:05d}.rows"

    def add(self, batch: RawBatch) -> None:
        """Take in a batch, and write a run once there are enough rows."""
        self._heard(batch.bad, batch.remarks)
        self._bad += map(str, batch.bad)
        for words, count in batch.remarks.items():
            self._remarks[words] = self._remarks.get(words, 0) + count
        self._waiting.append(batch)
        self.batches, self.read = self.batches + 1, batch.read
        self.rows += len(batch.label)
        if sum(len(one.label) for one in self._waiting) * self.dtype.itemsize >= _RUN_BYTES:
            self.write()

    def write(self) -> None:
        """Write what was taken in as a run, if there is anything."""
        if not self._waiting:
            return
        rows = np.empty(sum(len(batch.label) for batch in self._waiting), self.dtype)
        at = 0
        for batch in self._waiting:
            part = rows[at : at + len(batch.label)]
            part["time_ns"], part["label"] = batch.time_ns, batch.label
            part["dense"], part["ids"] = batch.dense.T, batch.ids.T
            at += len(part)
        self._waiting = []
        rows = rows[np.argsort(rows["time_ns"], kind="stable")]
        path = self._path(len(self.runs))
        half = half_of(path)
        try:
            rows.tofile(half)
            run = _Run(path, len(rows), checksum(half))
            settle(half, path)
        except OSError:
            half.unlink(missing_ok=True)
            raise
        note = {
            "rows": run.rows,
            "sha256": run.sha256,
            "batches": self.batches,
            "read": self.read,
            "bad": self._bad,
            "remarks": self._remarks,
        }
        write_json(path.with_suffix(".json"), note)
        self.runs.append(run)
        self._bad, self._remarks = [], {}
