"""Exact bounded Zipf variates for any exponent >= 0, vectorised, in constant memory.

P(K = k) = k^-s / sum_{j=1..n} j^-s for k = 1..n. Rejection-inversion after W. Hörmann and
G. Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions",
ACM TOMACS 6(3), 1996: invert the integral of the hat x^-s, round, and reject the little that the
hat has too much. It needs no table, so 10^7 ids cost what 10 do, and, unlike a truncated
``Generator.zipf``, it covers s <= 1, where recommendation data lives.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BoundedZipf:
    """The law on 1..n with exponent s.

    Parameters
    ----------
    n : int
        Number of ranks, at least 1.
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
        if self.n < 1:
            raise ValueError(f"n: found {self.n}, expected at least 1")
        if not (np.isfinite(self.exponent) and self.exponent >= 0):
            raise ValueError(f"exponent: found {self.exponent}, expected a finite number >= 0")

    def sample(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Draw `size` independent ranks, int64 array in 1..n."""
        ranks = np.empty(size, np.int64)
        pending = np.arange(size)
        # The hat's integral over the interval of each k is at least its probability, except
        # for k = 1, whose interval is cut to have exactly h(1) = 1 (the paper's section 2).
        low = float(self._integral(np.array(1.5))) - 1.0
        high = float(self._integral(np.array(self.n + 0.5)))
        two = np.array(2.0)
        squeeze = 2.0 - float(self._inverse(self._integral(two + 0.5) - self._hat(two)))
        while pending.size:
            u = high + rng.random(pending.size) * (low - high)
            x = self._inverse(u)
            k = np.clip(np.floor(x + 0.5), 1.0, float(self.n))
            accepted = k - x <= squeeze
            doubtful = np.flatnonzero(~accepted)
            at = k[doubtful]
            accepted[doubtful] = u[doubtful] >= self._integral(at + 0.5) - self._hat(at)
            ranks[pending[accepted]] = k[accepted]
            pending = pending[~accepted]
        return ranks

    def _hat(self, x: Floats) -> Floats:
        return np.asarray(x**-self.exponent)

    def _integral(self, x: Floats) -> Floats:
        """H(x) = (x^(1-s) - 1) / (1-s), and log x at s = 1."""
        q = 1.0 - self.exponent
        log_x = np.log(x)
        return np.asarray(log_x if q == 0 else np.expm1(q * log_x) / q)

    def _inverse(self, y: Floats) -> Floats:
        q = 1.0 - self.exponent
        if q == 0:
            return np.asarray(np.exp(y))
        # Rounding may push the argument past the pole at -1, where the inverse is infinite.
        with np.errstate(divide="ignore"):
            return np.asarray(np.exp(np.log1p(np.maximum(q * y, -1.0)) / q))
