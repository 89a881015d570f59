"""Replay rings of a model's samples: how both ends lay the same memory out.

A server appends what it served, the trainer takes it; the ring itself is ``kernels/shared/ring.h``.
What a record holds follows from the tables: the ids of every feature, and with data reuse the
pooled base vectors of those features where keeping them saves bytes
(``Tables.reusable_features``).

A sample's number is its row of the feed, so a trainer could read the feed instead. It is not given
it: the feed stands for requests, which no server keeps, and what a server has to keep of them for a
trainer, copied once, is part of what co-location costs and what ``--replay-bytes`` bounds.
"""

from lorabench._kernels.lookup import Tables
from lorabench._kernels.replay import ReplayRing
from lorabench.errors import InputError
from lorabench.memory import Region


def open_ring(region: Region, tables: Tables, num_dense: int, *, reuse: bool = False) -> ReplayRing:
    """Open one end of a ring.

    Parameters
    ----------
    region : Region
        Its memory.
    tables : Tables
        Base tables, whose ids the samples are.
    num_dense : int
        Dense features of a sample.
    reuse : bool
        With room for the base vectors that are worth keeping. The other end must agree, and one of
        them resets the ring before it is used.

    Raises
    ------
    InputError
        The memory does not hold a single sample.
    """
    base = len(tables.reusable_features) * tables.dim if reuse else 0
    try:
        return ReplayRing(region.mapping, num_dense, tables.columns, base)
    except ValueError as error:
        raise InputError(f"--replay-bytes: {str(error).removeprefix('mapping: ')}") from None
