"""What an applier writes into the served tables: rows of a push, in the order of their arrival.

Two kinds. A delta is rows of all tables, ascending, as a file of them has; it is there as a whole
and written over and over, so that a slice however short is one in which a push is being applied. A
stream is the rows that training has just touched, batch by batch, as FBGEMM's raw embedding
streaming sends them: a label delay after they were served, as often as the traffic asks for them.
Here are rows only; who writes them has their values (`lorabench.targets.node.applier`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench.model.tables import TableLayout
from lorabench.targets.load import Schedule
from lorabench.targets.trace import NS
from lorabench.updates.rows import RowNumbers

# What is written of a delta before anybody may interrupt: some hundred microseconds of work.
_PIECE_BYTES = 512 << 10

# Rows whose lot is drawn at once.
_DRAWN = 1 << 22


@dataclass(frozen=True, eq=False)
class Push:
    """Rows of F tables, in P pieces that are written one after the other.

    Attributes
    ----------
    rows : int32 [N]
        Numbers of the rows, piece by piece and within a piece table by table, ascending.
    offsets : int64 [P, F + 1]
        Where the rows of each table begin in each piece, and where those of the last end.
    due_ns : int64 [P] or None
        When a piece has arrived, ns of the case's clock; None where all of it is there, to be
        written over and over.
    """

    rows: NDArray[np.int32]
    offsets: NDArray[np.int64]
    due_ns: NDArray[np.int64] | None = None


def delta_push(sparse: NDArray[np.int32], layout: TableLayout, share: float, seed: int) -> Push:
    """Draw the rows of a delta.

    Those that the traffic touches come first: all of them where they are less than the delta has
    room for, and then others, as the traffic of other nodes would have touched.

    Parameters
    ----------
    sparse : int32 [N, C]
        Ids of the traffic.
    layout : TableLayout
        Of the tables.
    share : float
        Rows of the delta as a share of all, about: each row's lot is drawn by itself.
    seed : int
        Equal seeds, equal deltas.
    """
    numbers = RowNumbers(layout)
    touched = np.zeros(numbers.count, np.bool_)
    for column, base in enumerate(numbers.of_columns):
        touched[sparse[:, column] + base] = True
    hot, wanted = int(touched.sum()), share * len(touched)
    of_hot, of_others = min(1.0, wanted / max(1, hot)), 0.0
    if hot < wanted:
        of_others = (wanted - hot) / (len(touched) - hot)
    rng = np.random.default_rng((seed, 13))
    chosen = []
    for begin in range(0, len(touched), _DRAWN):
        part = touched[begin : begin + _DRAWN]
        lot = rng.random(len(part), np.float32)
        chosen.append(begin + np.flatnonzero(lot < np.where(part, of_hot, of_others)))
    flat = np.concatenate(chosen)
    edges = np.searchsorted(flat, numbers.starts)
    cuts = np.arange(0, len(flat), max(1, _PIECE_BYTES // (4 * layout.dim)))
    ends = np.append(cuts[1:], len(flat))[: len(cuts)]
    offsets = np.clip(edges, cuts[:, None], ends[:, None])
    return Push(np.concatenate(numbers.split(flat)), offsets)


def stream_push(
    sparse: NDArray[np.int32],
    served: Schedule,
    layout: TableLayout,
    *,
    batch: int,
    delay_s: float,
) -> Push:
    """Return the rows that training touches by queries whose labels have arrived.

    Parameters
    ----------
    sparse : int32 [N, C]
        Ids of all rows that a round serves.
    served : Schedule
        Queries that were due a label delay before.
    layout : TableLayout
        Of the tables.
    batch : int
        Samples that are trained on at once: a row is sent once for each batch that touches it.
    delay_s : float
        From a query to its labels.
    """
    numbers = RowNumbers(layout)
    first, count = served.first_rows(len(sparse)), served.rows.astype(np.int64)
    before = np.cumsum(count) - count
    sample = np.repeat(first - before, count) + np.arange(int(count.sum()))
    due = np.repeat(served.arrivals + int(delay_s * NS), count)
    rows, offsets, due_ns = [np.zeros(0, np.int32)], [], []
    at = 0
    for begin in range(0, len(sample), batch):
        each = np.unique(numbers.of_samples(sparse[sample[begin : begin + batch]]))
        rows += numbers.split(each)
        offsets.append(at + np.searchsorted(each, numbers.starts))
        due_ns.append(due[min(begin + batch, len(sample)) - 1])
        at += len(each)
    return Push(
        np.concatenate(rows),
        np.array(offsets, np.int64).reshape(-1, len(numbers.starts)),
        np.array(due_ns, np.int64),
    )
