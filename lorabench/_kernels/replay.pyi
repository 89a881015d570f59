"""The ring in which one server leaves served samples to one trainer."""

from typing import final

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.memory import Mapping

@final
class ReplayRing:
    """Bounded ring of served samples: one server appends, one trainer takes.

    Parameters
    ----------
    mapping : Mapping
        Writable memory, all zero at first; its length bounds the ring.
    num_dense, num_sparse : int
        Dense features, and ids, a sample.
    base : int
        Floats of pooled base vectors that are kept with a sample; with any, `reset` comes before
        the first use, and both ends must agree.
    """

    def __new__(
        cls, mapping: Mapping, num_dense: int, num_sparse: int, base: int = 0
    ) -> ReplayRing: ...
    @property
    def capacity(self) -> int:
        """Samples that fit."""

    @property
    def appended(self) -> int:
        """Samples appended since the last reset."""

    @property
    def dropped(self) -> int:
        """Samples that found the ring full."""

    @property
    def base_bytes(self) -> int:
        """What keeping base vectors adds to a sample: the vectors and their version."""

    def reset(self) -> None:
        """Empty the ring and lay it out as this end has it; only while neither end uses it."""

    @property
    def offered_ns(self) -> int:
        """What offering has taken, ns, since `offer_from`."""

    def offer_from(
        self,
        dense: NDArray[np.float32],
        sparse: NDArray[np.int32],
        first_row: NDArray[np.int64],
        rows: NDArray[np.int32],
        answered_ns: NDArray[np.int64],
    ) -> None:
        """Say what is offered: queries of these rows.

        Parameters
        ----------
        dense : float32 [N, num_dense]
        sparse : int32 [N, num_sparse]
        first_row : int64 [Q]
            Of each query; a sample's number is its row.
        rows : int32 [Q]
            How many it has.
        answered_ns : int64 [Q]
            When it was answered; read when it is offered.
        """

    def offer(self, at: int, end: int, until_ns: int) -> int:
        """Append queries from `at` on, up to `end`, one by one while there is time.

        Each only if, going by the last few, it will be done before ``time.monotonic_ns()`` reaches
        `until_ns`. What does not fit is dropped, as `append` has it.

        Returns
        -------
        int
            The first query that was not offered.
        """

    def append(
        self,
        first: int,
        served_ns: int,
        dense: NDArray[np.float32],
        sparse: NDArray[np.int32],
        *,
        version: int = 0,
        base: NDArray[np.float32] | None = None,
    ) -> bool:
        """Append samples ``first, first + 1, ...``, all or none; False if they were dropped.

        `base` float32 [n, K, D] where base vectors are kept, read from tables of `version`.
        """

    def take(
        self,
        before_ns: int,
        keys: NDArray[np.int64],
        dense: NDArray[np.float32],
        sparse: NDArray[np.int32],
        *,
        versions: NDArray[np.int64] | None = None,
        base: NDArray[np.float32] | None = None,
    ) -> int:
        """Take the oldest samples served at or before `before_ns`, as many as the arrays hold.

        `keys` int64 [n, 2] gets (sample, served_ns), `dense` and `sparse` its features, and where
        base vectors are kept `base` [n, K, D] those and `versions` [n] theirs. Returns how many
        were taken.
        """

    def due(self, before_ns: int) -> int:
        """How many samples wait that were served at or before `before_ns`."""

    def skip(self, n: int) -> None:
        """Give up the `n` oldest samples unread."""
