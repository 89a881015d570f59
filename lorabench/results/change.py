"""How far one side's values are from another's, with its uncertainty: the arithmetic of comparing.

A quantity that is positive on both sides is compared by its ratio, on logarithms; one that may be
on either side of zero, by its difference. Where both sides were measured in turn, block by block,
the change is taken within each pair (paired t); where not, by Welch's t (Welch 1947, The
generalization of Student's problem when several different population variances are involved,
Biometrika 34; degrees of freedom after Satterthwaite 1946). Of quantities whose values now and then
meet a neighbour, a fifth of the values is trimmed on either side, with the errors that go with that
(Yuen 1974, The two-sample trimmed t for unequal population variances, Biometrika 61).
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lorabench.results.schema import Better
from lorabench.results.statistics import LEVEL

Kind = Literal["ratio", "difference"]

TRIMMED = 0.2
"""Share of the values that is left out on either side where some of them meet a neighbour."""

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


def more_often(base: tuple[int, int], head: tuple[int, int]) -> float:
    """Return the chance of something happening so much more often to head though it is alike.

    Fisher's exact test, one-sided (Fisher 1935, The Design of Experiments, 12.1).

    Parameters
    ----------
    base, head : tuple of int
        How often it happened, of how many.

    Examples
    --------
    >>> more_often((0, 4), (4, 4))
    0.014285714285714285
    """
    (few, n), (many, m) = base, head
    ways = math.comb(n + m, few + many)
    more = range(many, min(m, few + many) + 1)
    return sum(math.comb(m, k) * math.comb(n, few + many - k) for k in more) / ways


def change(
    base: Sequence[float | None],
    head: Sequence[float | None],
    *,
    better: Better,
    paired: bool,
    signed: bool = False,
    trim: float = 0.0,
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
    trim : float
        Share of the values, or of the pairs' changes, that is left out on either side; below 0.5.

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
    before, after = sides
    if paired:
        centre, error, freedom = _one([h - b for b, h in zip(before, after, strict=True)], trim)
    else:
        centre, error, freedom = _two(_one(before, trim), _one(after, trim))
    if not math.isfinite(centre):
        return None  # so large that not even their difference is a number
    if error is not None and not math.isfinite(error):
        error = None
    return Change(kind, better, centre, error, freedom, (len(before), len(after)), paired)


_Mean = tuple[float, float | None, float]
"""A mean, its standard error, None where there is none, and that one's degrees of freedom."""


def _two(base: _Mean, head: _Mean) -> _Mean:
    """Return head - base, after Welch."""
    centre, errors = head[0] - base[0], (base[1], head[1])
    if errors[0] is None or errors[1] is None:
        return centre, None, 0.0
    error = math.hypot(errors[0], errors[1])
    if error == 0:
        return centre, 0.0, base[2] + head[2]
    # As shares: powers of small errors would be too small for a number.
    shares = (errors[0] / error) ** 4 / base[2], (errors[1] / error) ** 4 / head[2]
    return centre, error, 1 / sum(shares)


def _one(values: Sequence[float], trim: float) -> _Mean:
    """Return the mean of what trimming leaves; values that are equal have no error."""
    ordered = sorted(values)
    n, cut = len(ordered), int(trim * len(ordered))
    kept = ordered[cut : n - cut]
    if kept[0] == kept[-1]:
        return kept[0], 0.0 if n > 1 else None, float(len(kept) - 1)
    # Shares of the largest: squares of large values would be no numbers any more.
    largest = max(map(abs, kept))
    shares = [min(max(value, kept[0]), kept[-1]) / largest for value in ordered]
    centre = math.fsum(shares[cut : n - cut]) / len(kept)
    middle = math.fsum(shares) / n
    squares = math.fsum((share - middle) ** 2 for share in shares)
    error = math.sqrt(squares / (len(kept) * (len(kept) - 1)))
    return centre * largest, error * largest, float(len(kept) - 1)
