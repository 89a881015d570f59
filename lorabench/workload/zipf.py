"""Exact bounded Zipf variates for any exponent >= 0, in constant memory.

P(K = k) = k^-s / sum_{j=1..n} j^-s for k = 1..n. Rejection-inversion after W. Hörmann and
G. Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions",
ACM TOMACS 6(3), 1996: invert the integral of the hat x^-s, round, and reject the little that the
hat has too much. It needs no table, so 10^7 ids cost what 10 do, and, unlike a truncated
``Generator.zipf``, it covers s <= 1, where recommendation data lives. The drawing is C
(``kernels/generate/zipf.h``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.generate import zipf


@dataclass(frozen=True)
class BoundedZipf:
    """The law on 1..n with exponent s.

    Parameters
    ----------
    n : int
        Number of ranks, at least 1 and less than 2^53.
    exponent : float
        s >= 0; 0 is the uniform law.

    Raises
    ------
    ValueError
        `n` or `exponent` out of range.

    Examples
    --------
    >>> ranks = BoundedZipf(1000, 1.05).sample(np.random.default_rng(0), 5)
    >>> bool(((ranks >= 1) & (ranks <= 1000)).all())
    True
    """

    n: int
    exponent: float

    def __post_init__(self) -> None:
        if not 1 <= self.n < 2**53:
            raise ValueError(f"n: found {self.n}, expected at least 1 and less than 2^53")
        if not (np.isfinite(self.exponent) and self.exponent >= 0):
            raise ValueError(f"exponent: found {self.exponent}, expected a finite number >= 0")

    def sample(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Draw `size` independent ranks, int64 array in 1..n."""
        ranks = np.empty(size, np.int64)
        zipf(rng.bit_generator, self.n, self.exponent, ranks)
        return ranks
