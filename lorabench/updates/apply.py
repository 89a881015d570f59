"""A serving cluster's copy of the tables, and how deltas are applied to it: all of one, or nothing.

What a delta says is checked before the first row is written: its version, its rows, that its
values are finite. What it does to predictions shows only once it is there: **canary** samples,
whose labels are known, are scored before and after, and a delta that makes them clearly worse is
**rolled back** from an **undo log**, the old values of the rows that it wrote. So a poisoned push,
of values that are finite and wrong, is served for as long as scoring takes. Elsewhere this is done
to whole models on a part of the hosts; a delta is small enough for its log to stay in memory.

Rows are written while queries are served, as parameter servers do: a query may read some rows of
the new version and some of the old. What they pooled before is marked as out of date
(`TableSet.changing`).
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lorabench.model.tables import TableSet
from lorabench.updates.delta import Delta, Version

PRE_TRAINED = Version(0, -math.inf)
"""Of tables that no delta has come to."""

Canary = Callable[[], NDArray[np.float32]]
"""Scores labelled samples by what is served now: their log losses [n], the same n each time."""


class Reason(StrEnum):
    """Why a delta was not kept."""

    STALE = "stale"
    OTHER_TABLES = "other tables"
    OUT_OF_RANGE = "row out of range"
    DUPLICATE = "duplicate row"
    NON_FINITE = "value not finite"
    WORSE = "worse on the canary"


@dataclass(frozen=True)
class Applied:
    """A delta that is served now.

    Attributes
    ----------
    version : Version
        Of the delta.
    rows, evicted : int
        Rows written and rows set to zero.
    undo_bytes : int
        Of the undo log that it took meanwhile.
    loss_before, loss_after : float or None
        Mean log loss of the canary; None without one, or where nothing was written.
    """

    version: Version
    rows: int
    evicted: int
    undo_bytes: int
    loss_before: float | None = None
    loss_after: float | None = None


@dataclass(frozen=True)
class Refused:
    """A delta that is not served; the tables are, to the byte, what they were.

    Attributes
    ----------
    version : Version
        Of the delta.
    reason : Reason
        Of its kind.
    text : str
        What was found and what was expected.
    rolled_back : bool
        It was written and put back; else it was refused before.
    """

    version: Version
    reason: Reason
    text: str
    rolled_back: bool = False


class _UnfitError(Exception):
    """A delta cannot be applied."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


@dataclass(frozen=True)
class Bound:
    """How much worse the canary may get.

    A delta is rolled back where the mean log loss of the canary samples rises by more than both: a
    share of what it was, below which a change does not matter, and so many standard errors of the
    paired differences, below which it cannot be told from none.

    Parameters
    ----------
    share : float
        Of the loss before, at least 0.
    z : float
        Standard errors, at least 0.
    """

    share: float = 0.01
    z: float = 3.0

    def exceeded(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
        """Whether losses [n] after a delta are too much worse than those before, of the same n.

        Losses that are not finite any more always are.
        """
        if not len(after):
            return False
        worse = after.astype(np.float64) - before
        if not np.isfinite(after).all():
            return bool(np.isfinite(before).all())
        if not np.isfinite(before).all():
            return False
        mean = float(worse.mean())
        error = float(worse.std()) / math.sqrt(len(worse))
        return mean > self.share * float(before.mean(dtype=np.float64)) and mean > self.z * error


_BOUND = Bound()


@dataclass
class ApplyCounts:
    """What came of the deltas so far.

    Attributes
    ----------
    applied : int
        Served.
    refused : counter of Reason
        Never written.
    rolled_back : counter of Reason
        Written and put back.
    undo_bytes : int
        The largest undo log.
    """

    applied: int
    refused: Counter[Reason]
    rolled_back: Counter[Reason]
    undo_bytes: int


class ServedTables:
    """Tables that are served and kept fresh by deltas.

    Parameters
    ----------
    tables : TableSet
        Writable; written in place.
    version : Version
        Of what is in them.
    bound : Bound
        How much worse a delta may make the canary.

    Attributes
    ----------
    version : Version
        Of the last delta that was applied.
    counts : ApplyCounts
    """

    def __init__(
        self, tables: TableSet, version: Version = PRE_TRAINED, bound: Bound = _BOUND
    ) -> None:
        self.tables = tables
        self.version = version
        self.bound = bound
        self.counts = ApplyCounts(0, Counter(), Counter(), 0)

    def apply(self, delta: Delta, canary: Canary | None = None) -> Applied | Refused:
        """Serve a delta, all of it or nothing.

        Parameters
        ----------
        delta : Delta
            Rows that are evicted are served as zero from then on.
        canary : callable, optional
            Scores a few thousand samples of the latest whose labels are known; it is called before
            and after the rows are written. Without one, any finite values are served.
        """
        try:
            self._check(delta)
        except _UnfitError as error:
            self.counts.refused[error.reason] += 1
            return Refused(delta.version, error.reason, error.text)
        evicted = sum(len(rows) for rows in delta.evicted)
        if not delta.count + evicted:  # a quiet interval
            return self._kept(Applied(delta.version, 0, 0, 0))
        before = None if canary is None else canary().copy()
        undo = self._undo_log(delta)
        undo_bytes = sum(rows.nbytes + values.nbytes for rows, values in undo)
        self.counts.undo_bytes = max(self.counts.undo_bytes, undo_bytes)
        loss_before = loss_after = None
        try:
            self._write(delta)
            if canary is not None and before is not None:
                after = canary()
                loss_before, loss_after = (
                    float(one.mean(dtype=np.float64)) if len(one) else None
                    for one in (before, after)
                )
                if self.bound.exceeded(before, after):
                    self._put_back(undo)
                    return self._rolled_back(delta, loss_before, loss_after)
        except BaseException:
            # Whatever ends this on its way, half a delta is never served.
            self._put_back(undo)
            raise
        return self._kept(
            Applied(delta.version, delta.count, evicted, undo_bytes, loss_before, loss_after)
        )

    def _kept(self, applied: Applied) -> Applied:
        self.version = applied.version
        self.counts.applied += 1
        return applied

    def _rolled_back(self, delta: Delta, before: float | None, after: float | None) -> Refused:
        self.counts.rolled_back[Reason.WORSE] += 1
        text = (
            f"found a log loss of {after:.4f} on the canary, expected at most "
            f"{1 + self.bound.share:g} times the {before:.4f} before it"
        )
        return Refused(delta.version, Reason.WORSE, text, rolled_back=True)

    def _check(self, delta: Delta) -> None:
        """Raise `_UnfitError` where a delta cannot be applied."""
        if not delta.version.follows(self.version):
            raise _UnfitError(
                Reason.STALE,
                f"found step {delta.step} of {delta.time_s:.10g} s, expected one after step "
                f"{self.version.step} of {self.version.time_s:.10g} s, which is served",
            )
        layout = self.tables.layout
        tables = {len(layout.rows), len(delta.rows), len(delta.values)}
        if len(tables | ({len(delta.evicted)} if delta.evicted else set())) > 1:
            raise _UnfitError(
                Reason.OTHER_TABLES,
                f"found rows of {len(delta.rows)} tables, expected {len(layout.rows)}",
            )
        for f, (rows, values) in enumerate(zip(delta.rows, delta.values, strict=True)):
            if values.shape != (len(rows), layout.dim):
                raise _UnfitError(
                    Reason.OTHER_TABLES,
                    f"table {f}: found values {list(values.shape)}, expected "
                    f"{[len(rows), layout.dim]}",
                )
            _check_rows(f, np.concatenate([rows, delta.evicted_of(f)]), layout.rows[f])
            finite = np.isfinite(values).all(axis=1)
            if not finite.all():
                raise _UnfitError(
                    Reason.NON_FINITE,
                    f"table {f}, row {rows[finite.argmin()]}: found a value that is NaN or "
                    "infinite, expected none",
                )

    def _undo_log(self, delta: Delta) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Return the rows of each table that a delta writes, with what is in them now."""
        log = []
        for f, table in enumerate(self.tables.arrays):
            rows = np.concatenate([delta.rows[f], delta.evicted_of(f)])
            log.append((rows, table[rows]))
        return log

    def _write(self, delta: Delta) -> None:
        with self.tables.changing():
            for f, table in enumerate(self.tables.arrays):
                table[delta.rows[f]] = delta.values[f]
                table[delta.evicted_of(f)] = 0

    def _put_back(self, log: list[tuple[NDArray[np.int32], NDArray[np.float32]]]) -> None:
        with self.tables.changing():
            for table, (rows, values) in zip(self.tables.arrays, log, strict=True):
                table[rows] = values


def _check_rows(f: int, rows: NDArray[np.int32], size: int) -> None:
    strays = rows[(rows < 0) | (rows >= size)]
    if len(strays):
        raise _UnfitError(
            Reason.OUT_OF_RANGE, f"table {f}: found row {strays[0]}, expected 0 to {size - 1}"
        )
    if (rows[1:] > rows[:-1]).all():  # as they usually come
        return
    ordered = np.sort(rows)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(again):
        raise _UnfitError(
            Reason.DUPLICATE, f"table {f}: found row {again[0]} again, expected it once"
        )
