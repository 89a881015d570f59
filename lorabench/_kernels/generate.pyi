"""What generated workloads are drawn by."""

import numpy as np
from numpy.typing import NDArray

def zipf(
    bit_generator: np.random.BitGenerator, n: int, exponent: float, out: NDArray[np.int64]
) -> None:
    """Fill `out` [N] with ranks 1..n, ``P(K = k) ~ k**-exponent``, exactly, for exponents >= 0.

    References
    ----------
    W. Hoermann and G. Derflinger, "Rejection-inversion to generate variates from monotone discrete
    distributions", ACM TOMACS 6(3), 1996.
    """

def place_ranks(
    bit_generator: np.random.BitGenerator,
    ranks: NDArray[np.int64],
    swaps: NDArray[np.float64],
    newcomers: NDArray[np.float64],
    rows: NDArray[np.int32],
    *,
    ids: int,
    multiplier: int,
    offset: int,
    key: int,
    missing: float,
    hot: int,
) -> None:
    """Write to `rows` [N] the table rows that hold popularity `ranks` [N] of one feature.

    `swaps` and `newcomers` [ticks] are the clocks of the popularity drift, read once for each
    N / ticks ranks. Rank k's own row is ``1 + (multiplier * (k - 1) + offset) % ids``; with
    probability `missing` the row is 0; newcomers take only ranks up to `hot`. The equations are in
    `lorabench.workload.generator`.
    """

def plant_sums(
    rows: NDArray[np.int32],
    hotness: NDArray[np.int32],
    keys: NDArray[np.uint32],
    knots: NDArray[np.uint32],
    near: NDArray[np.float32],
    far: NDArray[np.float32],
    sums: NDArray[np.float32],
    *,
    start: int,
    own: float,
    day: float,
) -> None:
    """Sum the planted model's parameters over the features, for samples start .. start + n.

    Parameters
    ----------
    rows : int32 [columns, N]
        Table rows, feature f's ``hotness[f]`` columns after those of the features before it.
    hotness : int32 [F]
    keys : uint32 [F, dims + 1, 2]
        Of the hashes: of each feature's preference, its factors, and its daily preference.
    knots : uint32 [dims]
        Whole quarter turns of the shared drift.
    near, far : float32 [dims]
        Weights of a parameter's value at the last knot and at the next one.
    sums : float32 [3, n]
        Written: sums of preferences, of the products of every two features' factors, of daily
        preferences.
    start : int
        First sample.
    own : float
        Clock of each row's own drift.
    day : float
        Weight of the daily preference; at 0 it is not computed.
    """
