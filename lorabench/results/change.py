"""How far one side's values are from another's, with its uncertainty: the arithmetic of comparing.

A quantity that is positive on both sides is compared by its ratio, on logarithms; one that may be
on either side of zero, by its difference. Where both sides were measured in turn, block by block,
the change is taken within each pair (paired t); where not, by Welch's t (Welch 1947, The
generalization of Student's problem when several different population variances are involved,
Biometrika 34; degrees of freedom after Satterthwaite 1946).
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lorabench.results.schema import Better
from lorabench.results.statistics import LEVEL

Kind = Literal["ratio", "difference"]

POWER = 0.8
"""How often a change that data "could have shown" would have been."""


@dataclass(frozen=True)
class Change:
    """Head against base.

    Parameters
    ----------
    kind : {"ratio", "difference"}
        What is estimated: head / base, by its logarithm, or head - base.
    better : {"lower", "higher"}
        Which way is better.
    centre : float
        The logarithm of the ratio, or the difference.
    error : float or None
        Its standard error; None with too few values for one.
    freedom : float
        Degrees of freedom of that.
    n : tuple of int
        Values of base and of head; of pairs, twice their number.
    paired : bool
        Taken within pairs.
    """

    kind: Kind
    better: Better
    centre: float
    error: float | None
    freedom: float
    n: tuple[int, int]
    paired: bool

    @property
    def value(self) -> float:
        """Head / base, or head - base."""
        return self._out(self.centre)

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Return the interval that leaves out `level` on either side; None where there is none."""
        half = self._half(level)
        if half is None:
            return None
        return self._out(self.centre - half), self._out(self.centre + half)

    def worse_by(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Return the interval of how much worse head is, below 0 for better: see `tolerated`."""
        half, sign = self._half(level), self._sign
        if half is None:
            return None
        return sign * self.centre - half, sign * self.centre + half

    def p_worse(self, limit: float) -> float | None:
        """Return the one-sided p of head being worse by more than `limit` (of `tolerated`)."""
        if self.error is None:
            return None
        beyond = self._sign * self.centre - limit
        if self.error == 0:
            return 0.0 if beyond > 0 else 1.0
        from scipy.special import stdtr

        return float(stdtr(self.freedom, -beyond / self.error))

    def least(self, level: float = LEVEL, power: float = POWER) -> float | None:
        """Return the smallest change that these data would have told from none, as `worse_by`.

        (t_{1-level} + t_{power}) times the standard error (Bloom 1995, Minimum Detectable Effects).
        """
        half, rest = self._half(level), self._half(1 - power)
        return None if half is None or rest is None else half + rest

    def least_shown(self, level: float = LEVEL) -> float | None:
        """Return that as a share of base that head is worse by, or as a difference."""
        least = self.least(level)
        return None if least is None else self.as_share(least)

    def as_share(self, worse: float) -> float:
        """Return how much worse, given as in `worse_by`, as a share of base, or a difference.

        Of something of which more is better, a share that is lost: 0.5 for half.
        """
        if self.kind == "difference":
            return _number(worse)
        return _exp(worse) - 1 if self.better == "lower" else 1 - _exp(-worse)

    @property
    def _sign(self) -> int:
        return 1 if self.better == "lower" else -1

    def _out(self, value: float) -> float:
        return _exp(value) if self.kind == "ratio" else _number(value)

    def _half(self, level: float) -> float | None:
        if self.error is None:
            return None
        if self.error == 0:
            return 0.0
        # scipy.special and not scipy.stats, which takes most of a second to import.
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 1 - level)) * self.error


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


def _number(value: float) -> float:
    # Of a few values far apart an interval may reach beyond what a number can be.
    return max(-sys.float_info.max, min(sys.float_info.max, value))


def tolerated(share: float, better: Better) -> float:
    """Return by how much worse, as `Change.worse_by`, a ratio may be for a tolerance in share.

    A latency may grow to 1 + `share` times its base, a rate may fall to 1 - `share` times.

    Examples
    --------
    >>> round(tolerated(0.1, "lower"), 4), round(tolerated(0.1, "higher"), 4)
    (0.0953, 0.1054)
    """
    return math.log1p(share) if better == "lower" else -math.log1p(-share)


def change(
    base: Sequence[float | None],
    head: Sequence[float | None],
    *,
    better: Better,
    paired: bool,
    signed: bool = False,
) -> Change | None:
    """Compare two sides' values.

    Parameters
    ----------
    base, head : sequence of float or None
        One a block, or one a run; None where there was none. Of pairs, the same place in both.
    better : {"lower", "higher"}
        Which way is better.
    paired : bool
        They were measured in turn.
    signed : bool
        The quantity may be on either side of zero: it is compared by its difference. So is one
        that is not positive everywhere.

    Returns
    -------
    Change or None
        None where a side has no value, or no pair is whole.
    """
    if paired:
        pairs = [
            (b, h) for b, h in zip(base, head, strict=False) if b is not None and h is not None
        ]
        sides = [[b for b, _ in pairs], [h for _, h in pairs]]
    else:
        sides = [[value for value in side if value is not None] for side in (base, head)]
    if not all(sides):
        return None
    kind: Kind = "difference"
    if not signed and all(value > 0 for side in sides for value in side):
        kind, sides = "ratio", [[math.log(value) for value in side] for side in sides]
    centre, error, freedom = (_paired if paired else _welch)(*sides)
    if not math.isfinite(centre):
        return None  # so large that not even their difference is a number
    if error is not None and not math.isfinite(error):
        error = None
    counts = len(sides[0]), len(sides[1])
    return Change(kind, better, centre, error, freedom, counts, paired)


def _paired(before: Sequence[float], after: Sequence[float]) -> tuple[float, float | None, float]:
    """Return the mean difference within pairs, its standard error and degrees of freedom."""
    apart = [h - b for b, h in zip(before, after, strict=True)]
    centre, variance = _moments(apart)
    error = None if variance is None else math.sqrt(variance / len(apart))
    return centre, error, len(apart) - 1


def _welch(before: Sequence[float], after: Sequence[float]) -> tuple[float, float | None, float]:
    """Return the difference of two means, its standard error and that one's degrees of freedom."""
    (low, var_low), (high, var_high) = _moments(before), _moments(after)
    if var_low is None or var_high is None:
        return high - low, None, 0.0
    parts = var_low / len(before), var_high / len(after)
    total = sum(parts)
    if total == 0:
        return high - low, 0.0, len(before) + len(after) - 2
    # As shares: squares of small variances would be too small for a number.
    freedom = 1 / sum(
        (part / total) ** 2 / (len(side) - 1)
        for part, side in zip(parts, (before, after), strict=True)
    )
    return high - low, math.sqrt(total), freedom


def _moments(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and variance; no variance of a single value, and 0 of values that are equal."""
    n, largest = len(values), max(map(abs, values))
    if min(values) == max(values):
        return values[0], 0.0 if n > 1 else None
    # Shares of the largest: squares of large values would be no numbers any more.
    shares = [value / largest for value in values]
    centre = math.fsum(shares) / n
    variance = math.fsum((share - centre) ** 2 for share in shares) / (n - 1)
    return centre * largest, variance * largest * largest
